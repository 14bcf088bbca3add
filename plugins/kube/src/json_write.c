#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/json.h"

/* What Go's encoder escapes: control characters, quote, backslash, <, > and &, and U+2028/9 (which start with e2 80).
 */
static bool special(unsigned char c) {
  return c < 0x20 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0xe2;
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
  size_t from = 0;
  for (size_t i = 0; i < s.n;) {
    if (!special((unsigned char)s.p[i])) {
      i++;
      continue;
    }
    kube_buf_add(b, s.p + from, i - from);
    i += escape(b, s.p + i, s.n - i);
    from = i;
  }
  if (s.n > from) kube_buf_add(b, s.p + from, s.n - from);
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

static void write_container(kube_buf_t *b, kg_view_t v) {
  kg_iter_t it = kg_iter(v);
  kube_buf_add(b, it.map ? "{" : "[", 1);
  for (bool first = true; kg_iter_next(&it); first = false) {
    if (!first) kube_buf_add(b, ",", 1);
    if (it.map) {
      kube_json_string(b, kg_view_str(it.key));
      kube_buf_add(b, ":", 1);
    }
    kube_json_write(b, it.value);
  }
  kube_buf_add(b, kg_view_type(v) == KG_V_MAP ? "}" : "]", 1);
}

void kube_json_write(kube_buf_t *b, kg_view_t v) {
  switch (kg_view_type(v)) {
  case KG_V_BOOL:
    kube_buf_addz(b, kg_view_bool(v, false) ? "true" : "false");
    break;
  case KG_V_INT:
    write_int(b, kg_view_int(v, 0));
    break;
  case KG_V_UINT:
    kube_buf_fmt(b, "%" PRIu64, kg_view_uint(v, 0));
    break;
  case KG_V_FLOAT:
    write_float(b, kg_view_float(v, 0));
    break;
  case KG_V_STR:
    kube_json_string(b, kg_view_str(v));
    break;
  case KG_V_BIN:
    kube_json_string(b, kg_view_bin(v));
    break;
  case KG_V_ARRAY:
  case KG_V_MAP:
    write_container(b, v);
    break;
  case KG_V_NIL:
  case KG_V_NONE:
    kube_buf_addz(b, "null");
    break;
  }
}
