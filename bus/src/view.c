#include "kogge/view.h"

#include <stdarg.h>
#include <string.h>

#include "head.h"

static const kg_view_t none;

kg_view_t kg_view_bytes(const void *data, size_t size) {
  const uint8_t *p = data;
  return size ? (kg_view_t){p, p + size} : none;
}

kg_view_t kg_view_of(const kg_doc_t *doc) {
  return kg_view_bytes(kg_doc_data(doc), kg_doc_size(doc));
}

kg_vtype_t kg_view_type(kg_view_t v) {
  return kg_head_read(v.p, v.end).type;
}

/* Walks without recursion: `left` counts the values still to be passed. Small values, which most are, need no table. */
static const uint8_t *skip(const uint8_t *p, const uint8_t *end) {
  for (uint64_t left = 1; left > 0; left--) {
    if (p >= end) return NULL;
    uint8_t b = *p;
    if (b >= 0xa0 && b < 0xc0) {
      if ((size_t)(end - p) <= (b & 0x1fu)) return NULL;
      p += 1 + (b & 0x1f);
    } else if (b < 0x80 || b >= 0xe0) {
      p++;
    } else if (b < 0xa0) {
      p++;
      left += b < 0x90 ? 2 * (b & 0x0fu) : b & 0x0fu;
    } else {
      kg_head_t h = kg_head_read(p, end);
      if (h.type == KG_V_NONE) return NULL;
      p += h.own;
      if (h.type == KG_V_STR || h.type == KG_V_BIN) p += h.length;
      if (h.type == KG_V_ARRAY) left += h.length;
      if (h.type == KG_V_MAP) left += 2 * (uint64_t)h.length;
    }
  }
  return p;
}

size_t kg_view_span(kg_view_t v) {
  const uint8_t *after = v.p ? skip(v.p, v.end) : NULL;
  return after ? (size_t)(after - v.p) : 0;
}

bool kg_view_bool(kg_view_t v, bool fallback) {
  return kg_view_type(v) == KG_V_BOOL ? *v.p == 0xc3 : fallback;
}

static int64_t load_int(const uint8_t *p) {
  uint8_t b = *p;
  if (b < 0x80 || b >= 0xe0) return (int8_t)b;
  unsigned width = 1u << ((b - (b < 0xd0 ? 0xcc : 0xd0)) & 3);
  uint64_t raw = kg_load_be(p + 1, width);
  if (b < 0xd0 || width == 8) return (int64_t)raw;
  uint64_t sign = 1ull << (8 * width - 1);
  return (int64_t)((raw ^ sign) - sign);
}

int64_t kg_view_int(kg_view_t v, int64_t fallback) {
  return kg_view_type(v) == KG_V_INT ? load_int(v.p) : fallback;
}

uint64_t kg_view_uint(kg_view_t v, uint64_t fallback) {
  kg_vtype_t t = kg_view_type(v);
  if (t == KG_V_UINT) return kg_load_be(v.p + 1, 8);
  int64_t i = kg_view_int(v, -1);
  return t == KG_V_INT && i >= 0 ? (uint64_t)i : fallback;
}

double kg_view_float(kg_view_t v, double fallback) {
  kg_vtype_t t = kg_view_type(v);
  if (t == KG_V_INT) return (double)load_int(v.p);
  if (t == KG_V_UINT) return (double)kg_load_be(v.p + 1, 8);
  if (t != KG_V_FLOAT) return fallback;
  if (*v.p == 0xca) {
    uint32_t raw = (uint32_t)kg_load_be(v.p + 1, 4);
    float f;
    memcpy(&f, &raw, sizeof f);
    return f;
  }
  uint64_t raw = kg_load_be(v.p + 1, 8);
  double d;
  memcpy(&d, &raw, sizeof d);
  return d;
}

static kg_str_t bytes_of(kg_view_t v, kg_vtype_t want) {
  kg_head_t h = kg_head_read(v.p, v.end);
  return h.type == want ? (kg_str_t){(const char *)v.p + h.own, h.length} : (kg_str_t){NULL, 0};
}
kg_str_t kg_view_str(kg_view_t v) {
  if (v.p && v.p < v.end && (*v.p & 0xe0) == 0xa0 && (size_t)(v.end - v.p) > (*v.p & 0x1fu))
    return (kg_str_t){(const char *)v.p + 1, *v.p & 0x1f};
  return bytes_of(v, KG_V_STR);
}
kg_str_t kg_view_bin(kg_view_t v) {
  return bytes_of(v, KG_V_BIN);
}

size_t kg_view_count(kg_view_t v) {
  kg_head_t h = kg_head_read(v.p, v.end);
  return h.type == KG_V_ARRAY || h.type == KG_V_MAP ? h.length : 0;
}

kg_iter_t kg_iter(kg_view_t v) {
  kg_head_t h = kg_head_read(v.p, v.end);
  if (h.type != KG_V_ARRAY && h.type != KG_V_MAP) return (kg_iter_t){0};
  return (kg_iter_t){.p = v.p + h.own, .end = v.end, .left = h.length, .map = h.type == KG_V_MAP};
}

bool kg_iter_next(kg_iter_t *it) {
  if (!it->left) return false;
  it->left--;
  if (it->map) {
    const uint8_t *after = skip(it->p, it->end);
    if (!after) return it->left = 0, false;
    it->key = (kg_view_t){it->p, it->end};
    it->p = after;
  }
  const uint8_t *after = skip(it->p, it->end);
  if (!after) return it->left = 0, false;
  it->value = (kg_view_t){it->p, it->end};
  it->p = after;
  return true;
}

/* Only what stands before the key is passed, not its value. */
kg_view_t kg_view_get_str(kg_view_t v, kg_str_t key) {
  kg_iter_t it = kg_iter(v);
  if (!it.map) return none;
  for (const uint8_t *p = it.p; it.left; it.left--) {
    kg_str_t k = kg_view_str((kg_view_t){p, v.end});
    const uint8_t *value = skip(p, v.end);
    if (!value || value == v.end) return none;
    if (k.p && k.n == key.n && memcmp(k.p, key.p, k.n) == 0) return (kg_view_t){value, v.end};
    if (!(p = skip(value, v.end))) return none;
  }
  return none;
}

kg_view_t kg_view_get(kg_view_t v, const char *key) {
  return kg_view_get_str(v, kg_str(key));
}

kg_view_t kg_view_path(kg_view_t v, ...) {
  va_list ap;
  va_start(ap, v);
  for (const char *key; v.p && (key = va_arg(ap, const char *));) v = kg_view_get(v, key);
  va_end(ap);
  return v;
}

kg_view_t kg_view_at(kg_view_t v, size_t i) {
  kg_iter_t it = kg_iter(v);
  if (it.map) return none;
  while (kg_iter_next(&it))
    if (i-- == 0) return it.value;
  return none;
}
