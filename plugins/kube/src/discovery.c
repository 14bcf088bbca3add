/* Discovery documents, legacy and aggregated, written from the resource table. */
#include <stdio.h>
#include <string.h>

#include "schema_tables.h"

static const struct {
  unsigned bit;
  const char *name;
} verb_names[] = {{KUBE_V_CREATE, "create"}, {KUBE_V_DELETE, "delete"}, {KUBE_V_DELETECOLLECTION, "deletecollection"},
                  {KUBE_V_GET, "get"},       {KUBE_V_LIST, "list"},     {KUBE_V_PATCH, "patch"},
                  {KUBE_V_UPDATE, "update"}, {KUBE_V_WATCH, "watch"}};

/* What a subresource takes and gives; kind NULL: the resource's own. */
typedef struct sub {
  const char *resource, *name; /* resource NULL: any */
  const char *group, *version, *kind;
  unsigned verbs;
} sub_t;
enum {
  CHANGE = KUBE_V_GET | KUBE_V_PATCH | KUBE_V_UPDATE,
  PROXY = KUBE_V_CREATE | KUBE_V_DELETE | KUBE_V_GET | KUBE_V_PATCH | KUBE_V_UPDATE
};
static const sub_t subs[] = {
    {NULL, "scale", "autoscaling", "v1", "Scale", CHANGE},
    {NULL, "token", "authentication.k8s.io", "v1", "TokenRequest", KUBE_V_CREATE},
    {NULL, "binding", "", "v1", "Binding", KUBE_V_CREATE},
    {NULL, "eviction", "policy", "v1", "Eviction", KUBE_V_CREATE},
    {NULL, "exec", "", "v1", "PodExecOptions", KUBE_V_CREATE | KUBE_V_GET},
    {NULL, "attach", "", "v1", "PodAttachOptions", KUBE_V_CREATE | KUBE_V_GET},
    {NULL, "portforward", "", "v1", "PodPortForwardOptions", KUBE_V_CREATE | KUBE_V_GET},
    {"pods", "proxy", "", "v1", "PodProxyOptions", PROXY},
    {"nodes", "proxy", "", "v1", "NodeProxyOptions", PROXY},
    {"services", "proxy", "", "v1", "ServiceProxyOptions", PROXY},
    {NULL, "log", NULL, NULL, NULL, KUBE_V_GET},
    {NULL, "finalize", NULL, NULL, NULL, KUBE_V_UPDATE},
};

static sub_t sub_of(const kube_resource_t *r, const char *name) {
  sub_t found = {.name = name, .verbs = CHANGE};
  for (size_t i = 0; i < sizeof subs / sizeof *subs; i++) {
    if (strcmp(subs[i].name, name) == 0 && (!subs[i].resource || strcmp(subs[i].resource, r->resource) == 0))
      found = subs[i];
  }
  if (!found.kind) {
    found.group = r->group;
    found.version = r->version;
    found.kind = r->kind;
  }
  return found;
}

static void pack_verbs(kg_pack_t *p, unsigned verbs) {
  kg_pack_key(p, "verbs");
  kg_pack_array(p);
  for (size_t i = 0; i < sizeof verb_names / sizeof *verb_names; i++) {
    if (verbs & verb_names[i].bit) kg_pack_str(p, verb_names[i].name);
  }
  kg_pack_end(p);
}

static void pack_list(kg_pack_t *p, const char *key, const char *const *list) {
  if (!list || !*list) return;
  kg_pack_key(p, key);
  kg_pack_array(p);
  for (; *list; list++) kg_pack_str(p, *list);
  kg_pack_end(p);
}

static void pack_group_version(kg_pack_t *p, const char *key, const char *group, const char *version) {
  kg_pack_key(p, key);
  kg_pack_fmt(p, "%s%s%s", group, *group ? "/" : "", version);
}

/* --- legacy
 * ----------------------------------------------------------------------------------------------------------------- */

static void pack_api_resource(kg_pack_t *p, const kube_resource_t *r) {
  kg_pack_map(p);
  kg_pack_kv_str(p, "name", r->resource);
  kg_pack_kv_str(p, "singularName", r->singular);
  kg_pack_kv_bool(p, "namespaced", r->namespaced);
  kg_pack_kv_str(p, "kind", r->kind);
  pack_verbs(p, r->verbs);
  pack_list(p, "shortNames", r->short_names);
  pack_list(p, "categories", r->categories);
  kg_pack_end(p);
  for (const char *const *s = r->subresources; *s; s++) {
    sub_t sub = sub_of(r, *s);
    kg_pack_map(p);
    kg_pack_key(p, "name");
    kg_pack_fmt(p, "%s/%s", r->resource, sub.name);
    kg_pack_kv_str(p, "singularName", "");
    kg_pack_kv_bool(p, "namespaced", r->namespaced);
    if (strcmp(sub.group, r->group) != 0 || strcmp(sub.version, r->version) != 0) {
      kg_pack_kv_str(p, "group", sub.group);
      kg_pack_kv_str(p, "version", sub.version);
    }
    kg_pack_kv_str(p, "kind", sub.kind);
    pack_verbs(p, sub.verbs);
    kg_pack_end(p);
  }
}

static kg_doc_t *resource_list(const kube_catalog_t *c, const char *group, const char *version) {
  kg_pack_t p = kg_pack();
  bool any = false;
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "kind", "APIResourceList");
  kg_pack_kv_str(&p, "apiVersion", "v1");
  pack_group_version(&p, "groupVersion", group, version);
  kg_pack_key(&p, "resources");
  kg_pack_array(&p);
  for (size_t i = 0; i < c->n; i++) {
    const kube_resource_t *r = c->all[i];
    if (strcmp(r->group, group) != 0 || strcmp(r->version, version) != 0) continue;
    any = true;
    pack_api_resource(&p, r);
  }
  kg_pack_end(&p);
  kg_pack_end(&p);
  if (any) return kg_pack_doc(&p);
  kg_pack_free(&p);
  return NULL;
}

/* Whether i is the first resource of its group (and version, when by_version). */
static bool starts_group(const kube_catalog_t *c, size_t i, bool by_version) {
  for (size_t k = 0; k < i; k++) {
    const kube_resource_t *a = c->all[k], *b = c->all[i];
    if (strcmp(a->group, b->group) == 0 && (!by_version || strcmp(a->version, b->version) == 0)) return false;
  }
  return true;
}

static void pack_version(kg_pack_t *p, const kube_resource_t *r) {
  kg_pack_map(p);
  pack_group_version(p, "groupVersion", r->group, r->version);
  kg_pack_kv_str(p, "version", r->version);
  kg_pack_end(p);
}

/* The pairs of an APIGroup; first: index of the group's first resource, which is of the preferred version. */
static void pack_group(const kube_catalog_t *c, kg_pack_t *p, size_t first) {
  kg_pack_kv_str(p, "name", c->all[first]->group);
  kg_pack_key(p, "versions");
  kg_pack_array(p);
  for (size_t i = first; i < c->n; i++) {
    if (strcmp(c->all[i]->group, c->all[first]->group) == 0 && starts_group(c, i, true)) pack_version(p, c->all[i]);
  }
  kg_pack_end(p);
  kg_pack_key(p, "preferredVersion");
  pack_version(p, c->all[first]);
}

static kg_doc_t *group_list(const kube_catalog_t *c) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "kind", "APIGroupList");
  kg_pack_kv_str(&p, "apiVersion", "v1");
  kg_pack_key(&p, "groups");
  kg_pack_array(&p);
  for (size_t i = 0; i < c->n; i++) {
    if (!*c->all[i]->group || !starts_group(c, i, false)) continue;
    kg_pack_map(&p);
    pack_group(c, &p, i);
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static kg_doc_t *one_group(const kube_catalog_t *c, const char *group) {
  for (size_t i = 0; i < c->n && *group; i++) {
    if (strcmp(c->all[i]->group, group) != 0) continue;
    kg_pack_t p = kg_pack();
    kg_pack_map(&p);
    kg_pack_kv_str(&p, "kind", "APIGroup");
    kg_pack_kv_str(&p, "apiVersion", "v1");
    pack_group(c, &p, i);
    kg_pack_end(&p);
    return kg_pack_doc(&p);
  }
  return NULL;
}

static kg_doc_t *versions(void) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "kind", "APIVersions");
  kg_pack_key(&p, "versions");
  kg_pack_array(&p);
  kg_pack_str(&p, "v1");
  kg_pack_end(&p);
  kg_pack_key(&p, "serverAddressByClientCIDRs");
  kg_pack_array(&p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

/* --- aggregated: apidiscovery.k8s.io/v2
 * -------------------------------------------------------------------------------------- */

static void pack_kind(kg_pack_t *p, const char *group, const char *version, const char *kind) {
  kg_pack_key(p, "responseKind");
  kg_pack_map(p);
  kg_pack_kv_str(p, "group", group);
  kg_pack_kv_str(p, "version", version);
  kg_pack_kv_str(p, "kind", kind);
  kg_pack_end(p);
}

static void pack_resource_discovery(kg_pack_t *p, const kube_resource_t *r) {
  kg_pack_map(p);
  kg_pack_kv_str(p, "resource", r->resource);
  pack_kind(p, r->group, r->version, r->kind);
  kg_pack_kv_str(p, "scope", r->namespaced ? "Namespaced" : "Cluster");
  kg_pack_kv_str(p, "singularResource", r->singular);
  pack_verbs(p, r->verbs);
  pack_list(p, "shortNames", r->short_names);
  pack_list(p, "categories", r->categories);
  if (*r->subresources) {
    kg_pack_key(p, "subresources");
    kg_pack_array(p);
    for (const char *const *s = r->subresources; *s; s++) {
      sub_t sub = sub_of(r, *s);
      kg_pack_map(p);
      kg_pack_kv_str(p, "subresource", sub.name);
      pack_kind(p, sub.group, sub.version, sub.kind);
      pack_verbs(p, sub.verbs);
      kg_pack_end(p);
    }
    kg_pack_end(p);
  }
  kg_pack_end(p);
}

static void pack_version_discovery(const kube_catalog_t *c, kg_pack_t *p, const kube_resource_t *first) {
  kg_pack_map(p);
  kg_pack_kv_str(p, "version", first->version);
  kg_pack_key(p, "resources");
  kg_pack_array(p);
  for (size_t i = 0; i < c->n; i++) {
    const kube_resource_t *r = c->all[i];
    if (strcmp(r->group, first->group) == 0 && strcmp(r->version, first->version) == 0) pack_resource_discovery(p, r);
  }
  kg_pack_end(p);
  kg_pack_kv_str(p, "freshness", "Current");
  kg_pack_end(p);
}

static kg_doc_t *aggregated(const kube_catalog_t *c, bool core) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "kind", "APIGroupDiscoveryList");
  kg_pack_kv_str(&p, "apiVersion", "apidiscovery.k8s.io/v2");
  kg_pack_key(&p, "metadata");
  kg_pack_map(&p);
  kg_pack_end(&p);
  kg_pack_key(&p, "items");
  kg_pack_array(&p);
  for (size_t i = 0; i < c->n; i++) {
    const kube_resource_t *first = c->all[i];
    if (!*first->group != core || !starts_group(c, i, false)) continue;
    kg_pack_map(&p);
    kg_pack_key(&p, "metadata");
    kg_pack_map(&p);
    if (*first->group) kg_pack_kv_str(&p, "name", first->group);
    kg_pack_end(&p);
    kg_pack_key(&p, "versions");
    kg_pack_array(&p);
    for (size_t k = i; k < c->n; k++) {
      if (strcmp(c->all[k]->group, first->group) == 0 && starts_group(c, k, true))
        pack_version_discovery(c, &p, c->all[k]);
    }
    kg_pack_end(&p);
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

kg_doc_t *kube_discovery_doc(const kube_catalog_t *c, const char *what) {
  if (strcmp(what, "/api") == 0) return versions();
  if (strcmp(what, "/apis") == 0) return group_list(c);
  if (strcmp(what, "aggregated-api") == 0) return aggregated(c, true);
  if (strcmp(what, "aggregated-apis") == 0) return aggregated(c, false);
  if (strncmp(what, "/api/", 5) == 0) return resource_list(c, "", what + 5);
  if (strncmp(what, "/apis/", 6) != 0) return NULL;
  const char *group = what + 6, *slash = strchr(group, '/');
  if (!slash) return one_group(c, group);
  char name[128];
  snprintf(name, sizeof name, "%.*s", (int)(slash - group), group);
  return *name ? resource_list(c, name, slash + 1) : NULL;
}
