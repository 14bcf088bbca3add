#ifndef KOGGE_API_CUSTOM_H
#define KOGGE_API_CUSTOM_H
/*
 * Custom kinds: what CustomResourceDefinitions add to what is served. A kind is compiled when its definition is seen in
 * the cache; the resource structures stay where they are while the definition changes, so that requests may hold them.
 * Lane thread.
 */
#include "api.h"
#include "kube/custom.h"

typedef struct custom_version {
  kube_resource_t r;
  kube_scale_paths_t scale;
  bool served, storage, deprecated, gone;
  const char *warning;
  kube_structural_t *schema;
} custom_version_t;

typedef struct custom {
  struct custom *next;
  char *name; /* of the definition: "widgets.ex.io" */
  kube_arena_t *arena;
  kg_doc_t *doc;
  custom_version_t **versions; /* each allocated by itself */
  size_t nversions;
  collection_t *c;
  bool established, deleting;
} custom_t;

/* A served version; NULL: none. */
const kube_resource_t *custom_find(const api_t *api, kg_str_t group, kg_str_t version, kg_str_t resource);
collection_t *custom_collection(const api_t *api, const kube_resource_t *r);
bool custom_ending(const api_t *api, const kube_resource_t *r); /* its definition is being deleted */
/* A change of a definition. now NULL: it is gone. */
void custom_seen(api_t *api, const object_t *now, kg_str_t name);
void custom_free(api_t *api);
/* Everything that is served; valid until the next change of a definition. */
const kube_catalog_t *custom_catalog(api_t *api);

/* definition.c: the status the server keeps in definitions, and their end. */
void definition_seen(api_t *api);
void definition_created(write_t *w, kube_node_t *object);
void definition_updated(write_t *w, kube_node_t *object, const kube_node_t *old);
bool definition_delete(write_t *w, kube_node_t *object); /* marks it as terminating */

/* A stored object with the defaults that the schema of its kind has now; caller owns the reference (to the same
 * document when nothing was missing). */
kg_doc_t *custom_defaulted(const kube_resource_t *r, kg_doc_t *doc);

#endif
