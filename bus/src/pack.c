#include "kogge/pack.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Containers are opened with a 3-byte head (count of 16 bits); kg_pack_end() mends it: shorter in place would move
 * bytes for nothing, longer is needed past 65,535 elements only. */
enum { OPEN_HEAD = 3 };

static uint8_t *grow(kg_pack_t *p, size_t n) {
  if (p->failed) return NULL;
  if (p->room - p->size < n) {
    size_t room = p->room ? p->room : 128;
    while (room - p->size < n) room *= 2;
    uint8_t *data = room <= 4ull * KG_DOC_MAX_BYTES ? realloc(p->data, room) : NULL;
    if (!data) {
      p->failed = true;
      return NULL;
    }
    p->data = data;
    p->room = room;
  }
  uint8_t *at = p->data + p->size;
  p->size += n;
  return at;
}

static void counted(kg_pack_t *p) {
  if (p->depth) p->open[p->depth - 1].count++;
}

static void store_be(uint8_t *at, uint64_t v, unsigned n) {
  for (unsigned i = 0; i < n; i++) at[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

/* One byte of type and n bytes of value, as one value of the innermost container. */
static void scalar(kg_pack_t *p, uint8_t type, uint64_t v, unsigned n) {
  uint8_t *at = grow(p, 1 + n);
  if (!at) return;
  at[0] = type;
  store_be(at + 1, v, n);
  counted(p);
}

static void begin(kg_pack_t *p, bool map) {
  if (p->depth == KG_PACK_MAX_DEPTH) p->failed = true;
  uint32_t head = (uint32_t)p->size;
  uint8_t *at = grow(p, OPEN_HEAD);
  if (!at) return;
  at[0] = map ? 0xde : 0xdc;
  counted(p);
  p->open[p->depth].head = head;
  p->open[p->depth].count = 0;
  p->open[p->depth].map = map;
  p->depth++;
}

void kg_pack_map(kg_pack_t *p) {
  begin(p, true);
}
void kg_pack_array(kg_pack_t *p) {
  begin(p, false);
}

void kg_pack_end(kg_pack_t *p) {
  if (p->failed) return;
  if (p->depth == 0 || (p->open[p->depth - 1].map && p->open[p->depth - 1].count % 2)) {
    p->failed = true; /* nothing open, or a key without its value */
    return;
  }
  p->depth--;
  uint32_t head = p->open[p->depth].head, count = p->open[p->depth].count;
  bool map = p->open[p->depth].map;
  if (map) count /= 2;
  if (count <= 0xffff) {
    store_be(p->data + head + 1, count, 2);
    return;
  }
  if (!grow(p, 2)) return;
  memmove(p->data + head + OPEN_HEAD + 2, p->data + head + OPEN_HEAD, p->size - 2 - head - OPEN_HEAD);
  p->data[head] = map ? 0xdf : 0xdd;
  store_be(p->data + head + 1, count, 4);
}

void kg_pack_nil(kg_pack_t *p) {
  scalar(p, 0xc0, 0, 0);
}
void kg_pack_bool(kg_pack_t *p, bool v) {
  scalar(p, v ? 0xc3 : 0xc2, 0, 0);
}

void kg_pack_uint(kg_pack_t *p, uint64_t v) {
  if (v < 0x80)
    scalar(p, (uint8_t)v, 0, 0);
  else if (v <= 0xff)
    scalar(p, 0xcc, v, 1);
  else if (v <= 0xffff)
    scalar(p, 0xcd, v, 2);
  else if (v <= 0xffffffff)
    scalar(p, 0xce, v, 4);
  else
    scalar(p, 0xcf, v, 8);
}

void kg_pack_int(kg_pack_t *p, int64_t v) {
  if (v >= 0)
    kg_pack_uint(p, (uint64_t)v);
  else if (v >= -32)
    scalar(p, (uint8_t)v, 0, 0);
  else if (v >= INT8_MIN)
    scalar(p, 0xd0, (uint64_t)v, 1);
  else if (v >= INT16_MIN)
    scalar(p, 0xd1, (uint64_t)v, 2);
  else if (v >= INT32_MIN)
    scalar(p, 0xd2, (uint64_t)v, 4);
  else
    scalar(p, 0xd3, (uint64_t)v, 8);
}

void kg_pack_float(kg_pack_t *p, double v) {
  uint64_t raw;
  memcpy(&raw, &v, sizeof raw);
  scalar(p, 0xcb, raw, 8);
}

static void bytes(kg_pack_t *p, const uint8_t *head, unsigned nhead, const void *data, size_t n) {
  uint8_t *at = grow(p, nhead + n);
  if (!at) return;
  if (nhead) memcpy(at, head, nhead);
  if (n) memcpy(at + nhead, data, n);
  counted(p);
}

void kg_pack_strn(kg_pack_t *p, kg_str_t s) {
  uint8_t head[5];
  unsigned n = s.n < 32 ? 1 : s.n <= 0xff ? 2 : s.n <= 0xffff ? 3 : 5;
  if (!s.p) {
    kg_pack_nil(p);
    return;
  }
  if (s.n > KG_DOC_MAX_BYTES) {
    p->failed = true;
    return;
  }
  head[0] = n == 1 ? (uint8_t)(0xa0 | s.n) : n == 2 ? 0xd9 : n == 3 ? 0xda : 0xdb;
  if (n > 1) store_be(head + 1, s.n, n - 1);
  bytes(p, head, n, s.p, s.n);
}

void kg_pack_str(kg_pack_t *p, const char *z) {
  kg_pack_strn(p, kg_str(z));
}

void kg_pack_fmt(kg_pack_t *p, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  char *z = NULL;
  int n = vasprintf(&z, fmt, ap);
  va_end(ap);
  if (n < 0) {
    p->failed = true;
    return;
  }
  kg_pack_strn(p, (kg_str_t){z, (size_t)n});
  free(z);
}

void kg_pack_bin(kg_pack_t *p, const void *data, size_t n) {
  uint8_t head[5];
  unsigned width = n <= 0xff ? 1 : n <= 0xffff ? 2 : 4;
  if (n > KG_DOC_MAX_BYTES) {
    p->failed = true;
    return;
  }
  head[0] = width == 1 ? 0xc4 : width == 2 ? 0xc5 : 0xc6;
  store_be(head + 1, n, width);
  bytes(p, head, 1 + width, data, n);
}

void kg_pack_view(kg_pack_t *p, kg_view_t v) {
  size_t n = kg_view_span(v);
  if (n == 0)
    kg_pack_nil(p);
  else
    bytes(p, NULL, 0, v.p, n);
}

void kg_pack_kv_str(kg_pack_t *p, const char *key, const char *z) {
  kg_pack_key(p, key);
  kg_pack_str(p, z);
}
void kg_pack_kv_strn(kg_pack_t *p, const char *key, kg_str_t s) {
  kg_pack_key(p, key);
  kg_pack_strn(p, s);
}
void kg_pack_kv_int(kg_pack_t *p, const char *key, int64_t v) {
  kg_pack_key(p, key);
  kg_pack_int(p, v);
}
void kg_pack_kv_bool(kg_pack_t *p, const char *key, bool v) {
  kg_pack_key(p, key);
  kg_pack_bool(p, v);
}
void kg_pack_kv_view(kg_pack_t *p, const char *key, kg_view_t v) {
  kg_pack_key(p, key);
  kg_pack_view(p, v);
}

void kg_pack_free(kg_pack_t *p) {
  free(p->data);
  p->data = NULL;
  p->size = p->room = 0;
  p->depth = 0;
  p->failed = false;
}

kg_doc_t *kg_pack_doc(kg_pack_t *p) {
  if (p->failed || p->depth || !p->size) {
    kg_pack_free(p);
    return NULL;
  }
  /* A document lives long: give back what the doubling took too much. */
  kg_doc_t *doc = kg_doc_copy(p->data, p->size);
  kg_pack_free(p);
  return doc;
}
