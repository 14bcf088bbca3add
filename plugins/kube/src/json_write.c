#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "kube/json.h"

/* What Go's encoder escapes: control characters, quote, backslash, <, > and &, and U+2028/9 (which start with e2 80).
 */
static bool special(unsigned char c) {
  return c < 0x20 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0xe2;
}

/* How many of the n bytes at p come before the first special one. */
static size_t plain(const char *p, size_t n) {
  size_t i = 0;
#ifdef __SSE2__
  for (; i + 16 <= n; i += 16) {
    __m128i v = _mm_loadu_si128((const __m128i *)(p + i));
    __m128i hit = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
    hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
    hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('<')));
    hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('>')));
    hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('&')));
    hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8((char)0xe2)));
    int mask = _mm_movemask_epi8(hit);
    if (mask) return i + (size_t)__builtin_ctz((unsigned)mask);
  }
#endif
  while (i < n && !special((unsigned char)p[i])) i++;
  return i;
}

static size_t escape(kube_buf_t *b, const char *p, size_t left) {
  unsigned char c = (unsigned char)*p;
  static const char short_from[] = "\"\\\n\r\t\b\f", short_to[] = "\"\\nrtbf";
  const char *at = c ? strchr(short_from, c) : NULL;
  if (at) {
    char z[2] = {'\\', short_to[at - short_from]};
    kube_buf_add(b, z, 2);
    return 1;
  }
  if (c == 0xe2) {
    bool separator = left >= 3 && (unsigned char)p[1] == 0x80 && ((unsigned char)p[2] & 0xfe) == 0xa8;
    if (separator)
      kube_buf_addz(b, (unsigned char)p[2] == 0xa8 ? "\\u2028" : "\\u2029");
    else
      kube_buf_add(b, p, 1);
    return separator ? 3 : 1;
  }
  kube_buf_fmt(b, "\\u%04x", c);
  return 1;
}

void kube_json_string(kube_buf_t *b, kg_str_t s) {
  kube_buf_add(b, "\"", 1);
  while (s.n) {
    size_t n = plain(s.p, s.n);
    kube_buf_add(b, s.p, n);
    if (n < s.n) n += escape(b, s.p + n, s.n - n);
    s.p += n;
    s.n -= n;
  }
  kube_buf_add(b, "\"", 1);
}

/* The shortest form that reads back the same, in Go's choice between plain and exponent. */
static void write_float(kube_buf_t *b, double d) {
  char z[400];
  if (!isfinite(d)) {
    kube_buf_addz(b, "null");
    return;
  }
  for (int precision = 1; precision <= 17; precision++) {
    snprintf(z, sizeof z, "%.*e", precision - 1, d);
    if (strtod(z, NULL) == d) break;
  }
  double size = fabs(d);
  if (size != 0 && (size < 1e-6 || size >= 1e21)) {
    char *e = strchr(z, 'e'); /* 1e-09 -> 1e-9 */
    if (e && e[2] == '0') memmove(e + 2, e + 3, strlen(e + 3) + 1);
    kube_buf_addz(b, z);
    return;
  }
  char *e = strchr(z, 'e');
  int digits = (int)(e - z) - (*z == '-') - (strchr(z, '.') ? 1 : 0), exponent = atoi(e + 1);
  int decimals = digits - 1 - exponent;
  snprintf(z, sizeof z, "%.*f", decimals > 0 ? decimals : 0, d);
  kube_buf_addz(b, z);
}

static void write_int(kube_buf_t *b, int64_t v) {
  char z[24];
  char *p = z + sizeof z;
  uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
  do *--p = (char)('0' + u % 10);
  while (u /= 10);
  if (v < 0) *--p = '-';
  kube_buf_add(b, p, (size_t)(z + sizeof z - p));
}

static void write_next(kube_buf_t *b, kg_view_t *rest);

static void write_container(kube_buf_t *b, kg_view_t *rest, uint32_t count, bool map) {
  kg_token_t key;
  kube_buf_add(b, map ? "{" : "[", 1);
  for (uint32_t i = 0; i < count; i++) {
    if (i) kube_buf_add(b, ",", 1);
    if (map && kg_walk(rest, &key)) {
      kube_json_string(b, key.text);
      kube_buf_add(b, ":", 1);
    }
    write_next(b, rest);
  }
  kube_buf_add(b, map ? "}" : "]", 1);
}

/* One pass over the bytes: nothing is looked at twice. */
static void write_next(kube_buf_t *b, kg_view_t *rest) {
  kg_token_t t;
  if (!kg_walk(rest, &t)) {
    b->failed = true;
    return;
  }
  switch (t.type) {
  case KG_V_BOOL:
    kube_buf_addz(b, kg_view_bool(t.value, false) ? "true" : "false");
    break;
  case KG_V_INT:
    write_int(b, kg_view_int(t.value, 0));
    break;
  case KG_V_UINT:
    kube_buf_fmt(b, "%" PRIu64, kg_view_uint(t.value, 0));
    break;
  case KG_V_FLOAT:
    write_float(b, kg_view_float(t.value, 0));
    break;
  case KG_V_STR:
  case KG_V_BIN:
    kube_json_string(b, t.text);
    break;
  case KG_V_ARRAY:
  case KG_V_MAP:
    write_container(b, rest, t.count, t.type == KG_V_MAP);
    break;
  case KG_V_NIL:
  case KG_V_NONE:
    kube_buf_addz(b, "null");
    break;
  }
}

void kube_json_write(kube_buf_t *b, kg_view_t v) {
  if (kg_view_there(v))
    write_next(b, &v);
  else
    kube_buf_addz(b, "null");
}
