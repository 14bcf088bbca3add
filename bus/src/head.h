#ifndef KG_HEAD_H
#define KG_HEAD_H
/* One msgpack value's head: what it is and how long its own bytes are. The one place that knows the format's first
 * bytes. */
#include "kogge/view.h"

typedef struct kg_head {
  kg_vtype_t type; /* KG_V_NONE: malformed, or an extension type (the bus has none) */
  uint32_t length; /* bytes (STR, BIN), elements (ARRAY) or pairs (MAP) that follow */
  uint32_t own;    /* bytes of the head itself, for scalars of the whole value */
} kg_head_t;

/* Reads the head at p; KG_V_NONE if it, or a string's bytes, would reach past end. */
kg_head_t kg_head_read(const uint8_t *p, const uint8_t *end);

/* kg_doc_check() for one value and whatever follows it: *used tells how long it is. */
int kg_value_check(const void *data, size_t size, size_t *used, kg_error_t *err);
bool kg_utf8_ok(const uint8_t *p, size_t n);

static inline uint64_t kg_load_be(const uint8_t *p, unsigned n) {
  uint64_t v = 0;
  for (unsigned i = 0; i < n; i++) v = v << 8 | p[i];
  return v;
}

#endif
