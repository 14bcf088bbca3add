/* JSON for people: logs, traces, the command line. The gateway has a stricter and faster writer of its own kind. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "head.h"
#include "kogge/view.h"

static void put_string(FILE *f, kg_str_t s) {
  fputc('"', f);
  for (size_t i = 0; i < s.n; i++) {
    unsigned char c = (unsigned char)s.p[i];
    if (c == '"' || c == '\\')
      fprintf(f, "\\%c", c);
    else if (c == '\n')
      fputs("\\n", f);
    else if (c < 0x20 || c == 0x7f)
      fprintf(f, "\\u%04x", c);
    else
      fputc(c, f);
  }
  fputc('"', f);
}

static void put(FILE *f, kg_view_t v, unsigned depth);

static void put_container(FILE *f, kg_view_t v, unsigned depth) {
  kg_iter_t it = kg_iter(v);
  bool map = it.map;
  fputc(map ? '{' : '[', f);
  for (bool first = true; kg_iter_next(&it); first = false) {
    if (!first) fputc(',', f);
    if (map) {
      kg_str_t key = kg_view_str(it.key);
      if (key.p)
        put_string(f, key);
      else
        fputs("\"\"", f);
      fputc(':', f);
    }
    put(f, it.value, depth + 1);
  }
  fputc(map ? '}' : ']', f);
}

static void put(FILE *f, kg_view_t v, unsigned depth) {
  switch (depth > KG_DOC_MAX_DEPTH ? KG_V_NONE : kg_view_type(v)) {
  case KG_V_BOOL:
    fputs(kg_view_bool(v, false) ? "true" : "false", f);
    break;
  case KG_V_INT:
    fprintf(f, "%" PRId64, kg_view_int(v, 0));
    break;
  case KG_V_UINT:
    fprintf(f, "%" PRIu64, kg_view_uint(v, 0));
    break;
  case KG_V_FLOAT:
    fprintf(f, "%.17g", kg_view_float(v, 0));
    break;
  case KG_V_STR:
    put_string(f, kg_view_str(v));
    break;
  case KG_V_BIN:
    fprintf(f, "\"<%zu bytes>\"", kg_view_bin(v).n);
    break;
  case KG_V_ARRAY:
  case KG_V_MAP:
    put_container(f, v, depth);
    break;
  case KG_V_NIL:
  case KG_V_NONE:
    fputs("null", f);
    break;
  }
}

char *kg_view_to_json(kg_view_t v) {
  char *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);
  if (!f) return NULL;
  put(f, v, 0);
  fclose(f);
  return text;
}
