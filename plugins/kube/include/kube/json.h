#ifndef KUBE_JSON_H
#define KUBE_JSON_H
/* JSON text <-> msgpack, without a schema: integers stay integers, other numbers become doubles, key order is kept. Any
 * thread. */
#include "kogge/doc.h"
#include "kogge/pack.h"

typedef struct kube_json_limits {
  unsigned max_depth; /* 0: KG_DOC_MAX_DEPTH */
  size_t max_bytes;   /* 0: 3 MiB */
} kube_json_limits_t;

/* Parses exactly one JSON value (whitespace around it allowed). Refuses invalid UTF-8, bare control characters, lone
 * surrogates, numbers out of range. Duplicate keys: the last one wins; when `duplicates` is not NULL the paths of such
 * keys are appended to it as an open msgpack array of strings. Caller owns the document; NULL with a sentence (byte
 * offset included). */
kg_doc_t *kube_json_parse(const char *text, size_t n, const kube_json_limits_t *limits, kg_pack_t *duplicates,
                          kg_error_t *err);

/* A growing text buffer. */
typedef struct kube_buf {
  char *p;
  size_t n, room;
  bool failed;
} kube_buf_t;
void kube_buf_add(kube_buf_t *b, const void *p, size_t n);
void kube_buf_addz(kube_buf_t *b, const char *z);
void kube_buf_fmt(kube_buf_t *b, const char *fmt, ...) KG_PRINTF(2, 3);
void kube_buf_free(kube_buf_t *b);
/* Where n bytes more may be written; they count once `n` is raised. NULL: out of memory, and `failed` is set. */
char *kube_buf_room(kube_buf_t *b, size_t n);
/* Appends n bytes as base64; no NUL counts. */
void kube_buf_base64(kube_buf_t *b, const void *p, size_t n);
/* Appends the JSON of v (compact, as Go's encoder escapes: <, >, & as \u003c...). */
void kube_json_write(kube_buf_t *b, kg_view_t v);
/* Appends v as a JSON string from raw bytes. */
void kube_json_string(kube_buf_t *b, kg_str_t s);

#endif
