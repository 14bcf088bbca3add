#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "kube/json.h"

/* What Go's encoder escapes: control characters, quote, backslash, <, > and &, and U+2028/9 (which start with e2 80). A
 * bit for each of 16 bytes that is one of them. */
#ifdef __SSE2__
static inline unsigned specials(const char *p) {
  __m128i x = _mm_loadu_si128((const __m128i *)p);
  __m128i bad = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
  bad = _mm_or_si128(bad, _mm_cmpeq_epi8(x, _mm_set1_epi8('"')));
  bad = _mm_or_si128(bad, _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));
  bad = _mm_or_si128(bad, _mm_cmpeq_epi8(x, _mm_set1_epi8('&')));
  bad = _mm_or_si128(bad, _mm_cmpeq_epi8(x, _mm_set1_epi8((char)0xe2)));
  __m128i angle = _mm_and_si128(x, _mm_set1_epi8((char)0xfd)); /* < and > differ in this bit */
  bad = _mm_or_si128(bad, _mm_cmpeq_epi8(angle, _mm_set1_epi8('<')));
  return (unsigned)_mm_movemask_epi8(bad);
}
#else
static bool special(unsigned char c) {
  return c < 0x20 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0xe2;
}

static inline unsigned specials(const char *p) {
  unsigned bits = 0;
  for (unsigned i = 0; i < 16; i++) bits |= (unsigned)special((unsigned char)p[i]) << i;
  return bits;
}
#endif

/* Text on its way into a buffer: what lies between `to` and `limit` may be written without asking. */
typedef struct out {
  kube_buf_t *b;
  char *to, *limit;
  const uint8_t *end; /* of the document: nothing at or behind it may be read */
} out_t;

static void out_begin(out_t *o) {
  o->to = o->b->p ? o->b->p + o->b->n : NULL;
  o->limit = o->b->failed || !o->b->p ? o->to : o->b->p + o->b->room;
}

static void out_end(out_t *o) {
  if (o->b->p && !o->b->failed) o->b->n = (size_t)(o->to - o->b->p);
}

static bool grow(out_t *o, size_t n) {
  out_end(o);
  bool ok = kube_buf_room(o->b, n) != NULL;
  out_begin(o);
  return ok;
}

static inline bool room(out_t *o, size_t n) {
  return (size_t)(o->limit - o->to) >= n || grow(o, n);
}

/* An escape takes six bytes at most. */
static size_t escape(char **to, const char *p, size_t left) {
  unsigned char c = (unsigned char)*p;
  static const char short_from[] = "\"\\\n\r\t\b\f", short_to[] = "\"\\nrtbf", hex[] = "0123456789abcdef";
  const char *at = c ? strchr(short_from, c) : NULL;
  bool separator = c == 0xe2 && left >= 3 && (unsigned char)p[1] == 0x80 && ((unsigned char)p[2] & 0xfe) == 0xa8;
  if (at) {
    *(*to)++ = '\\';
    *(*to)++ = short_to[at - short_from];
  } else if (separator) {
    memcpy(*to, (unsigned char)p[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
    *to += 6;
  } else if (c == 0xe2) {
    *(*to)++ = (char)c;
  } else {
    memcpy(*to, "\\u00", 4);
    (*to)[4] = hex[c >> 4];
    (*to)[5] = hex[c & 15];
    *to += 6;
  }
  return separator ? 3 : 1;
}

/* Sixteen bytes at a time, copied before it is known that none of them needs more. */
static void put_string(out_t *o, const char *p, size_t n) {
  if (!room(o, 96 + 2)) return;
  *o->to++ = '"';
  while (n) {
    size_t step = n < 16 ? n : 16;
    char last[16];
    const char *from = p;
    if ((const char *)o->end - p < 16) from = memcpy(last, p, step);
    unsigned bad = specials(from) & ((1u << step) - 1);
    memcpy(o->to, from, 16);
    if (bad) step = (size_t)__builtin_ctz(bad);
    o->to += step;
    if (bad) step += escape(&o->to, p + step, n - step);
    p += step;
    n -= step;
    if (!room(o, 96 + 2)) return;
  }
  *o->to++ = '"';
}

void kube_json_string(kube_buf_t *b, kg_str_t s) {
  out_t o = {.b = b, .end = (const uint8_t *)s.p + s.n};
  out_begin(&o);
  put_string(&o, s.p, s.n);
  out_end(&o);
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

/* What is rare, and whatever is malformed: NULL then ends the document. */
static const uint8_t *put_other(out_t *o, const uint8_t *p) {
  kg_view_t v = {p, o->end};
  size_t span = kg_view_span(v);
  kg_vtype_t type = kg_view_type(v);
  if (type == KG_V_BIN) {
    put_string(o, kg_view_bin(v).p, kg_view_bin(v).n);
    return p + span;
  }
  out_end(o);
  if (type == KG_V_INT)
    write_int(o->b, kg_view_int(v, 0));
  else if (type == KG_V_UINT)
    kube_buf_fmt(o->b, "%" PRIu64, kg_view_uint(v, 0));
  else if (type == KG_V_FLOAT)
    write_float(o->b, kg_view_float(v, 0));
  else
    kube_buf_addz(o->b, "null");
  out_begin(o);
  return span ? p + span : NULL;
}

static const uint8_t *put_literal(out_t *o, const uint8_t *p) {
  static const char words[][6] = {"null", "", "false", "true"};
  size_t n = strlen(words[*p & 3]);
  if (!room(o, 8)) return NULL;
  memcpy(o->to, words[*p & 3], 6);
  o->to += n;
  return p + 1;
}

static const uint8_t *put_value(out_t *o, const uint8_t *p, unsigned depth);

/* n elements, or pairs for a map. */
static const uint8_t *put_container(out_t *o, const uint8_t *p, uint32_t n, bool map, unsigned depth) {
  if (depth > KG_DOC_MAX_DEPTH || !room(o, 2)) return NULL;
  *o->to++ = map ? '{' : '[';
  for (uint32_t i = 0; i < n; i++) {
    if (!room(o, 2)) return NULL;
    if (i) *o->to++ = ',';
    if (map && !(p = put_value(o, p, depth + 1))) return NULL;
    if (!room(o, 2)) return NULL;
    if (map) *o->to++ = ':';
    if (!(p = put_value(o, p, depth + 1))) return NULL;
  }
  if (!room(o, 2)) return NULL;
  *o->to++ = map ? '}' : ']';
  return p;
}

static uint32_t length_of(const uint8_t *p, unsigned width) {
  uint32_t n = 0;
  for (unsigned i = 1; i <= width; i++) n = n << 8 | p[i];
  return n;
}

/* Returns what follows the value; NULL: it is malformed, or there is no memory. */
static const uint8_t *put_value(out_t *o, const uint8_t *p, unsigned depth) {
  size_t left = (size_t)(o->end - p);
  if (!left) return NULL;
  uint8_t t = *p;
  if ((t & 0xf0) == 0x80) return put_container(o, p + 1, t & 15, true, depth);
  if ((t & 0xf0) == 0x90) return put_container(o, p + 1, t & 15, false, depth);
  if (t == 0xc0 || t == 0xc2 || t == 0xc3) return put_literal(o, p);
  bool text = (t & 0xe0) == 0xa0 || (t >= 0xd9 && t <= 0xdb), many = t >= 0xdc && t <= 0xdf;
  if (!text && !many) return put_other(o, p);
  unsigned width = !text ? (t & 1 ? 4 : 2) : t < 0xc0 ? 0 : 1u << (t - 0xd9);
  if (left < 1 + width) return NULL;
  uint32_t n = width ? length_of(p, width) : t & 31u;
  p += 1 + width;
  if (many) return put_container(o, p, n, t >= 0xde, depth);
  if (left - 1 - width < n) return NULL;
  put_string(o, (const char *)p, n);
  return p + n;
}

void kube_json_write(kube_buf_t *b, kg_view_t v) {
  if (!v.p) return kube_buf_addz(b, "null");
  out_t o = {.b = b, .end = v.end};
  out_begin(&o);
  bool good = put_value(&o, v.p, 0) != NULL;
  out_end(&o);
  if (!good) b->failed = true; /* rather no text than half of one */
}
