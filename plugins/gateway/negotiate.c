/* Which form the client wants: JSON, a Table, metadata only, aggregated discovery. */
#include <strings.h>

#include "gateway.h"

typedef struct clause {
  char type[64], as[40], g[40], v[16];
  double q;
} clause_t;

static void trim_copy(char *to, size_t room, const char *p, size_t n) {
  while (n && (*p == ' ' || *p == '\t')) p++, n--;
  while (n && (p[n - 1] == ' ' || p[n - 1] == '\t')) n--;
  if (n >= room) n = room - 1;
  memcpy(to, p, n);
  to[n] = 0;
}

static void parse_clause(const char *p, size_t n, clause_t *c) {
  *c = (clause_t){.q = 1};
  const char *end = p + n;
  for (bool first = true; p < end; first = false) {
    const char *semi = memchr(p, ';', (size_t)(end - p));
    size_t len = (size_t)((semi ? semi : end) - p);
    const char *eq = memchr(p, '=', len);
    if (first)
      trim_copy(c->type, sizeof c->type, p, len);
    else if (eq) {
      char key[16];
      trim_copy(key, sizeof key, p, (size_t)(eq - p));
      const char *v = eq + 1;
      size_t vn = len - (size_t)(v - p);
      if (!strcmp(key, "as")) trim_copy(c->as, sizeof c->as, v, vn);
      if (!strcmp(key, "g")) trim_copy(c->g, sizeof c->g, v, vn);
      if (!strcmp(key, "v")) trim_copy(c->v, sizeof c->v, v, vn);
      if (!strcmp(key, "q")) c->q = strtod(v, NULL);
    }
    p = semi ? semi + 1 : end;
  }
}

static bool is_protobuf(const clause_t *c) {
  return !strcasecmp(c->type, GW_PROTOBUF);
}

static gw_form_t form_of(const clause_t *c) {
  /* Its second name is what kubectl sends, its third what the registry of media types allows. */
  if (!strncasecmp(c->type, "application/com.github.proto-openapi.spec.v2", 44)) return GW_FORM_OPENAPI;
  bool json = is_protobuf(c) || !strcasecmp(c->type, "application/json") || !strcmp(c->type, "*/*") ||
              !strcmp(c->type, "application/*");
  if (!json || c->q <= 0) return GW_FORM_NONE;
  if (!*c->as) return GW_FORM_JSON;
  if (!strcmp(c->g, "meta.k8s.io") && !strcmp(c->v, "v1")) {
    if (!strcmp(c->as, "Table") && !is_protobuf(c)) return GW_FORM_TABLE;
    if (!strcmp(c->as, "PartialObjectMetadata") || !strcmp(c->as, "PartialObjectMetadataList")) return GW_FORM_META;
  }
  if (!is_protobuf(c) && !strcmp(c->g, "apidiscovery.k8s.io") && !strcmp(c->v, "v2") &&
      !strcmp(c->as, "APIGroupDiscoveryList"))
    return GW_FORM_DISCOVERY;
  return GW_FORM_NONE;
}

/* Reviews are answered, not kept: they are in no table and have no metadata of their own. */
static bool has_no_metadata(const gw_ex_t *ex, gw_form_t form) {
  const char *group = ex->route.group;
  return (form == GW_FORM_TABLE || form == GW_FORM_META) && !strcmp(ex->method, "POST") &&
         (!strcmp(group, "authorization.k8s.io") || !strcmp(group, "authentication.k8s.io"));
}

void gw_negotiate(gw_ex_t *ex) {
  const char *accept = gw_header(ex, "accept");
  ex->form = accept && *accept ? GW_FORM_NONE : GW_FORM_JSON;
  double best = 0;
  for (const char *p = accept; p && *p;) {
    size_t n = strcspn(p, ",");
    clause_t c;
    parse_clause(p, n, &c);
    gw_form_t form = form_of(&c);
    if (form != GW_FORM_NONE && c.q > best && !has_no_metadata(ex, form)) {
      ex->form = form;
      ex->protobuf = is_protobuf(&c);
      ex->meta_one = !strcmp(c.as, "PartialObjectMetadata");
      best = c.q;
    }
    p += n + (p[n] == ',');
  }
  char *include = gw_query(ex, "includeObject", NULL);
  snprintf(ex->include_object, sizeof ex->include_object, "%s",
           include && (!strcmp(include, "None") || !strcmp(include, "Object")) ? include : "Metadata");
  free(include);
}
