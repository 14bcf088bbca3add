/* URLs: /api/V/..., /apis/G/V/..., [watch/] [namespaces/NS/] RESOURCE [/NAME [/SUBRESOURCE [/...]]] */
#include "gateway.h"

enum { MAX_PARTS = 64 };

static size_t split(char *text, char *parts[MAX_PARTS]) {
  size_t n = 0;
  for (char *s = text; *s && n < MAX_PARTS;) {
    char *slash = strchr(s, '/');
    if (slash) *slash = 0;
    if (*s) parts[n++] = s;
    if (!slash) break;
    s = slash + 1;
  }
  return n;
}

static bool namespace_sub(const char *s) {
  return !strcmp(s, "status") || !strcmp(s, "finalize");
}

int gw_route_parse(const char *path, gw_route_t *r, char **text) {
  char *parts[MAX_PARTS], *copy = strdup(path);
  *r = (gw_route_t){.group = "", .version = "", .ns = "", .resource_name = "", .name = "", .sub = "", .rest = ""};
  if (!copy) return -1;
  *text = copy;
  size_t n = split(copy, parts), i = 0;
  if (n && !strcmp(parts[0], "api"))
    i = 1;
  else if (n > 1 && !strcmp(parts[0], "apis")) {
    r->group = parts[1];
    i = 2;
  } else
    return -1;
  if (i >= n) return 0;
  r->version = parts[i++];
  if (i < n && !strcmp(parts[i], "watch")) {
    r->watch = true;
    i++;
  }
  if (i + 1 < n && !strcmp(parts[i], "namespaces") && i + 2 < n && !namespace_sub(parts[i + 2])) {
    r->ns = parts[i + 1];
    i += 2;
  }
  if (i >= n) return r->watch ? -1 : 0;
  r->resource = true;
  r->resource_name = parts[i++];
  if (i < n) r->name = parts[i++];
  if (i < n) r->sub = parts[i++];
  if (i < n) r->rest = path + (parts[i] - copy); /* split() keeps positions */
  return 0;
}
