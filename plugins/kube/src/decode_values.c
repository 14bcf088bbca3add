#include <stdlib.h>
#include <string.h>

#include "decode_values.h"
#include "kube/values.h"

static const char *kind_of(const kube_node_t *n) {
  switch (n->type) {
  case KG_V_BOOL:
    return "bool";
  case KG_V_STR:
    return "string";
  case KG_V_ARRAY:
    return "array";
  case KG_V_MAP:
    return "object";
  default:
    return "number";
  }
}

static int sextet(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Standard alphabet with padding; line breaks are ignored, as Go does. */
kube_node_t *kube_decode_base64(kube_arena_t *a, kube_node_t *n, const char **sentence) {
  char *out = kube_arena_alloc(a, n->s.n + 1);
  size_t used = 0, padding = 0;
  for (size_t i = 0; i < n->s.n; i++) {
    char c = n->s.p[i];
    if (c == '\r' || c == '\n') continue;
    bool pad = c == '=';
    if ((!pad && (sextet(c) < 0 || padding)) || (pad && (used % 4 < 2 || padding == 2))) {
      *sentence = kube_arena_fmt(a, "illegal base64 data at input byte %zu", i);
      return NULL;
    }
    padding += pad;
    out[used++] = c;
  }
  if (used % 4) {
    *sentence = kube_arena_fmt(a, "illegal base64 data at input byte %zu", n->s.n);
    return NULL;
  }
  if (used == n->s.n) return n;
  return kube_strn(a, (kg_str_t){out, used});
}

kube_node_t *kube_decode_time(kube_arena_t *a, kube_node_t *n, bool micro, const char **sentence) {
  const char *layout = micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00";
  if (n->type != KG_V_STR) {
    *sentence = kube_arena_fmt(a, "json: cannot unmarshal %s into Go value of type string", kind_of(n));
    return NULL;
  }
  int64_t us;
  if (kube_time_parse(n->s, &us) != 0) {
    kg_str_t s = n->s;
    *sentence =
        kube_arena_fmt(a, "parsing time \"" KG_STR_FMT "\" as \"%s\": cannot parse \"" KG_STR_FMT "\" as \"2006\"",
                       KG_STR_ARG(s), layout, KG_STR_ARG(s));
    return NULL;
  }
  char text[32];
  if (micro) {
    kube_time_format_micro(us, text);
  } else {
    kube_time_format(us, text);
  }
  return kg_str_is(n->s, text) ? n : kube_str(a, text);
}

kube_node_t *kube_decode_quantity(kube_arena_t *a, kube_node_t *n, const char **sentence) {
  kg_str_t s = n->s;
  if (n->type == KG_V_INT) s = kg_str(kube_arena_fmt(a, "%lld", (long long)n->i));
  if (n->type == KG_V_UINT) s = kg_str(kube_arena_fmt(a, "%llu", (unsigned long long)n->u));
  if (n->type == KG_V_FLOAT) s = kg_str(kube_arena_fmt(a, "%.17g", n->f));
  bool text = n->type == KG_V_STR || n->type == KG_V_INT || n->type == KG_V_UINT || n->type == KG_V_FLOAT;
  char *canonical = text ? kube_quantity_canonical(s) : NULL;
  if (!canonical) {
    *sentence = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    return NULL;
  }
  kube_node_t *v = n->type == KG_V_STR && kg_str_is(n->s, canonical) ? n : kube_str(a, canonical);
  free(canonical);
  return v;
}

kube_node_t *kube_decode_int_or_string(kube_arena_t *a, kube_node_t *n, const char **sentence) {
  if (n->type == KG_V_STR) return n;
  if (n->type == KG_V_INT && n->i >= INT32_MIN && n->i <= INT32_MAX) return n;
  if (n->type == KG_V_INT) {
    *sentence = kube_arena_fmt(a, "json: cannot unmarshal number %lld into Go value of type int32", (long long)n->i);
  } else if (n->type == KG_V_FLOAT) {
    *sentence = kube_arena_fmt(a, "json: cannot unmarshal number %.17g into Go value of type int32", n->f);
  } else {
    const char *type = n->type == KG_V_UINT                                                   ? "int32"
                       : n->type == KG_V_BOOL || n->type == KG_V_MAP || n->type == KG_V_ARRAY ? "int32"
                                                                                              : "string";
    *sentence = kube_arena_fmt(a, "json: cannot unmarshal %s into Go value of type %s", kind_of(n), type);
  }
  return NULL;
}
