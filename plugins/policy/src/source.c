/* Where a script comes from. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"

static char *read_file(const char *path, size_t *size, kg_error_t *err) {
  FILE *f = fopen(path, "re");
  char *text = malloc(POLICY_MAX_SOURCE + 1);
  *size = f && text ? fread(text, 1, POLICY_MAX_SOURCE + 1, f) : 0;
  if (!f) kg_error_set(err, KG_ENOTFOUND, "script %s cannot be read: %s", path, strerror(errno));
  if (f) fclose(f);
  if (f && *size && *size <= POLICY_MAX_SOURCE) return text;
  if (f) kg_error_set(err, KG_EINVAL, "script %s is %s", path, *size ? "too long" : "empty");
  free(text);
  return NULL;
}

char *policy_configured(kg_view_t config, char name[256], size_t *size, kg_error_t *err) {
  kg_str_t file = kg_view_str(kg_view_get(config, "script")), source = kg_view_str(kg_view_get(config, "source"));
  char path[4096];
  snprintf(name, 256, "source");
  *size = source.n;
  if (source.n) return kg_str_dup(source);
  if (!file.n) {
    kg_error_set(err, KG_ENOTFOUND, "the configuration needs script: FILE, or source: TEXT");
    return NULL;
  }
  snprintf(path, sizeof path, KG_STR_FMT, KG_STR_ARG(file));
  const char *slash = strrchr(path, '/');
  snprintf(name, 256, "%s", slash ? slash + 1 : path);
  return read_file(path, size, err);
}
