#ifndef KOGGE_VIEW_H
#define KOGGE_VIEW_H
/*
 * A view reads msgpack where it lies: no allocation, no copy. It borrows the bytes; whoever made it keeps the document
 * alive. Every step is bounds-checked, so a view over malformed bytes yields KG_V_NONE, never a bad read. Views are two
 * pointers: pass them by value. Any thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kogge/doc.h"

typedef enum {
  KG_V_NONE = 0, /* absent, or malformed */
  KG_V_NIL,
  KG_V_BOOL,
  KG_V_INT,  /* fits int64_t */
  KG_V_UINT, /* above INT64_MAX */
  KG_V_FLOAT,
  KG_V_STR,
  KG_V_BIN,
  KG_V_ARRAY,
  KG_V_MAP,
} kg_vtype_t;

typedef struct kg_view {
  const uint8_t *p;   /* first byte of the value; NULL: absent */
  const uint8_t *end; /* no byte at or after this may be read */
} kg_view_t;

/* A string that is not NUL-terminated. */
typedef struct kg_str {
  const char *p; /* NULL: absent */
  size_t n;
} kg_str_t;

#define KG_STR(lit) ((kg_str_t){(lit), sizeof(lit) - 1})
#define KG_STR_FMT "%.*s"
#define KG_STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

KG_PUBLIC kg_str_t kg_str(const char *z);            /* of a C string; NULL gives absent */
KG_PUBLIC bool kg_str_eq(kg_str_t a, kg_str_t b);    /* absent equals empty */
KG_PUBLIC bool kg_str_is(kg_str_t a, const char *z); /* z must not be NULL */
KG_PUBLIC int kg_str_cmp(kg_str_t a, kg_str_t b);    /* bytewise, like memcmp */
KG_PUBLIC bool kg_str_utf8(kg_str_t s);              /* whether it is well-formed UTF-8 (RFC 3629) */
KG_PUBLIC void kg_str_mend(char *z);                 /* takes away a character that snprintf() cut at the end */
KG_PUBLIC char *kg_str_dup(kg_str_t s);              /* malloc'ed C string; caller frees */

/* FNV-1a, 64 bits: `h` grown by n bytes, KG_HASH_START at first. The same on every machine and in every version. */
#define KG_HASH_START 14695981039346656037u
static inline uint64_t kg_hash(uint64_t h, const void *data, size_t n) {
  const uint8_t *p = (const uint8_t *)data;
  for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 1099511628211u;
  return h;
}
static inline uint64_t kg_hash_str(uint64_t h, kg_str_t s) {
  return kg_hash(h, s.p, s.n);
}

KG_PUBLIC kg_view_t kg_view_of(const kg_doc_t *doc); /* doc may be NULL: absent */
KG_PUBLIC kg_view_t kg_view_bytes(const void *data, size_t size);

KG_PUBLIC kg_vtype_t kg_view_type(kg_view_t v);
static inline bool kg_view_there(kg_view_t v) {
  return v.p != NULL;
}
/* Bytes the value occupies; 0 if malformed. `kg_view_t.p` with this length is the value's own msgpack. */
KG_PUBLIC size_t kg_view_span(kg_view_t v);

/* Scalars; the fallback is returned when the type does not match. Strings are borrowed. */
KG_PUBLIC bool kg_view_bool(kg_view_t v, bool fallback);
KG_PUBLIC int64_t kg_view_int(kg_view_t v, int64_t fallback);
KG_PUBLIC uint64_t kg_view_uint(kg_view_t v, uint64_t fallback);
KG_PUBLIC double kg_view_float(kg_view_t v, double fallback); /* takes integers too */
KG_PUBLIC kg_str_t kg_view_str(kg_view_t v);                  /* {NULL,0} when not a string */
KG_PUBLIC kg_str_t kg_view_bin(kg_view_t v);

/* Number of elements (array) or pairs (map); 0 for anything else. */
KG_PUBLIC size_t kg_view_count(kg_view_t v);

/* Value under `key` in a map (first match); absent if there is none or v is no map. */
KG_PUBLIC kg_view_t kg_view_get(kg_view_t v, const char *key);
KG_PUBLIC kg_view_t kg_view_get_str(kg_view_t v, kg_str_t key);
/* Follows a path of map keys, the last argument is NULL: kg_view_path(v, "spec", "nodeName", NULL). */
KG_PUBLIC kg_view_t kg_view_path(kg_view_t v, ...) __attribute__((sentinel));
/* Element i of an array. O(i): iterate instead where every element is wanted. */
KG_PUBLIC kg_view_t kg_view_at(kg_view_t v, size_t i);

/* for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) { it.key (maps only), it.value } */
typedef struct kg_iter {
  const uint8_t *p, *end;
  size_t left;
  bool map;
  kg_view_t key; /* set for maps */
  kg_view_t value;
} kg_iter_t;
KG_PUBLIC kg_iter_t kg_iter(kg_view_t v);
KG_PUBLIC bool kg_iter_next(kg_iter_t *it);

/* Deep equality: maps compare without order, 1 and 1u are equal, 1 and 1.0 are not. */
KG_PUBLIC bool kg_view_equal(kg_view_t a, kg_view_t b);

/* Writes JSON text of v into a malloc'ed, NUL-terminated string (for logs and the command line). Caller frees. */
KG_PUBLIC char *kg_view_to_json(kg_view_t v);

#endif
