#ifndef KOGGE_PACK_H
#define KOGGE_PACK_H
/*
 * Builds msgpack. A packer is a growing buffer in the caller's frame; errors (out of memory, nesting mistakes) are
 * sticky and come out once, in kg_pack_doc(). One thread at a time.
 *
 *   kg_pack_t p = kg_pack();
 *   kg_pack_map(&p);
 *     kg_pack_key(&p, "name"); kg_pack_str(&p, "x");
 *   kg_pack_end(&p);
 *   kg_doc_t *doc = kg_pack_doc(&p);     // the packer is empty and reusable afterwards
 */
#include "kogge/doc.h"
#include "kogge/view.h"

#define KG_PACK_MAX_DEPTH KG_DOC_MAX_DEPTH

typedef struct kg_pack {
  uint8_t *data;
  size_t size, room;
  unsigned depth;
  bool failed;
  struct {
    uint32_t head;  /* offset of the container's header */
    uint32_t count; /* values written into it so far */
    bool map;
  } open[KG_PACK_MAX_DEPTH];
} kg_pack_t;

static inline kg_pack_t kg_pack(void) {
  kg_pack_t p;
  p.data = NULL;
  p.size = p.room = 0;
  p.depth = 0;
  p.failed = false;
  return p;
}

/* Opens a map or an array whose length need not be known; kg_pack_end() closes the innermost one. */
KG_PUBLIC void kg_pack_map(kg_pack_t *p);
KG_PUBLIC void kg_pack_array(kg_pack_t *p);
KG_PUBLIC void kg_pack_end(kg_pack_t *p);

KG_PUBLIC void kg_pack_nil(kg_pack_t *p);
KG_PUBLIC void kg_pack_bool(kg_pack_t *p, bool v);
KG_PUBLIC void kg_pack_int(kg_pack_t *p, int64_t v);   /* shortest form */
KG_PUBLIC void kg_pack_uint(kg_pack_t *p, uint64_t v); /* shortest form; equal bytes to kg_pack_int for equal values */
KG_PUBLIC void kg_pack_float(kg_pack_t *p, double v);
KG_PUBLIC void kg_pack_str(kg_pack_t *p, const char *z); /* NULL packs nil */
KG_PUBLIC void kg_pack_strn(kg_pack_t *p, kg_str_t s);   /* absent packs nil */
KG_PUBLIC void kg_pack_fmt(kg_pack_t *p, const char *fmt, ...) KG_PRINTF(2, 3);
KG_PUBLIC void kg_pack_bin(kg_pack_t *p, const void *data, size_t n);
KG_PUBLIC void kg_pack_view(kg_pack_t *p, kg_view_t v); /* copies the value's bytes; absent packs nil */

static inline void kg_pack_key(kg_pack_t *p, const char *key) {
  kg_pack_str(p, key);
}

/* Shorthands for a pair in a map. */
KG_PUBLIC void kg_pack_kv_str(kg_pack_t *p, const char *key, const char *z);
KG_PUBLIC void kg_pack_kv_strn(kg_pack_t *p, const char *key, kg_str_t s);
KG_PUBLIC void kg_pack_kv_int(kg_pack_t *p, const char *key, int64_t v);
KG_PUBLIC void kg_pack_kv_bool(kg_pack_t *p, const char *key, bool v);
KG_PUBLIC void kg_pack_kv_view(kg_pack_t *p, const char *key, kg_view_t v);

/* Hands the bytes over as a document (caller owns one reference) and empties the packer. NULL if anything failed or a
 * container is still open; the memory is freed then. */
KG_PUBLIC kg_doc_t *kg_pack_doc(kg_pack_t *p);
/* Frees what was packed. */
KG_PUBLIC void kg_pack_free(kg_pack_t *p);

#endif
