/* Descriptions of types and fields, found in one text. */
#include <stdio.h>
#include <string.h>

#include "openapi.h"

static const char *after_line(const char *p) {
  return strchr(p, '\n') + 1;
}

static kg_str_t line_at(const char *p) {
  return (kg_str_t){p, (size_t)(after_line(p) - p) - 1};
}

const char *kube_explain_of(const char *type) {
  char start[256];
  snprintf(start, sizeof start, "\n%s\t", type);
  const char *at = strstr(kube_explain_text, start);
  return at ? at + strlen(start) : NULL;
}

kg_str_t kube_explain(const char *block, const char *field) {
  if (!block) return (kg_str_t){0};
  if (!field) return line_at(block);
  size_t n = strlen(field);
  for (const char *at = after_line(block); *at == ' '; at = after_line(at))
    if (!strncmp(at + 1, field, n) && at[1 + n] == '\t') return line_at(at + n + 2);
  return (kg_str_t){0};
}

void kube_explain_pack(kg_pack_t *p, kg_str_t text) {
  if (!text.n) return;
  kg_pack_key(p, "description");
  kg_pack_strn(p, text);
}
