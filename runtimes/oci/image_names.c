/* Names of images as people write them, and in full. */
#include <ctype.h>
#include <stdio.h>

#include "image_store.h"

bool image_is_hex(const char *p, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!isdigit((unsigned char)p[i]) && !(p[i] >= 'a' && p[i] <= 'f')) return false;
  return n > 0;
}

bool image_is_digest(kg_str_t s) {
  return s.n == 7 + HEX && !memcmp(s.p, "sha256:", 7) && image_is_hex(s.p + 7, HEX);
}

/* The first part is a registry if it could be a host: it has a dot or a port, or is localhost. */
static bool is_registry(const char *p, size_t n) {
  return memchr(p, '.', n) || memchr(p, ':', n) || (n == 9 && !memcmp(p, "localhost", 9));
}

static bool path_char(char c) {
  return (c >= 'a' && c <= 'z') || isdigit((unsigned char)c) || c == '.' || c == '_' || c == '-' || c == '/';
}

static bool path_is_good(const char *p, size_t n) {
  if (!n || !isalnum((unsigned char)p[0]) || !isalnum((unsigned char)p[n - 1])) return false;
  for (size_t i = 0; i < n; i++)
    if (!path_char(p[i]) || (p[i] == '/' && i + 1 < n && p[i + 1] == '/')) return false;
  return true;
}

static bool tag_is_good(const char *p, size_t n) {
  if (!n || n > 128 || p[0] == '.' || p[0] == '-') return false;
  for (size_t i = 0; i < n; i++)
    if (!isalnum((unsigned char)p[i]) && !strchr("._-", p[i])) return false;
  return true;
}

char *image_name_full(kg_str_t name, kg_error_t *err) {
  static const char invalid[] = "couldn't parse image name \"" KG_STR_FMT "\": invalid reference format";
  const char *slash = name.n ? memchr(name.p, '/', name.n) : NULL, *at = name.n ? memchr(name.p, '@', name.n) : NULL;
  bool host = slash && is_registry(name.p, (size_t)(slash - name.p));
  const char *path = host ? slash + 1 : name.p, *end = at && at >= path ? at : name.p + name.n, *tag = NULL;
  for (const char *p = end; p > path && p[-1] != '/'; p--)
    if (p[-1] == ':') tag = p;
  size_t npath = (size_t)((tag ? tag - 1 : end) - path);
  bool digest =
      at && (size_t)(name.p + name.n - at) == 8 + HEX && !memcmp(at, "@sha256:", 8) && image_is_hex(at + 8, HEX);
  bool good = name.n && name.n < 512 && path_is_good(path, npath) && (!tag || tag_is_good(tag, (size_t)(end - tag)));
  if (!good || (at && !digest)) {
    kg_error_set(err, KG_EINVAL, invalid, KG_STR_ARG(name));
    return NULL;
  }
  char *full = NULL;
  bool library = !host && !memchr(path, '/', npath);
  const char *suffix = digest ? at : tag ? tag - 1 : ":latest";
  size_t nsuffix = digest ? 8 + HEX : tag ? (size_t)(end - tag + 1) : 7;
  int n = asprintf(&full, "%.*s/%s%.*s%.*s", host ? (int)(slash - name.p) : 9, host ? name.p : "docker.io",
                   library ? "library/" : "", (int)npath, path, (int)nsuffix, suffix);
  if (n >= 0) return full;
  kg_error_set(err, KG_EINTERNAL, "out of memory");
  return NULL;
}
