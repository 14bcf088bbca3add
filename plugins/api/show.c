/* Discovery, OpenAPI, tables: what the schema tables know, asked for by the gateway. */
#include <stdio.h>
#include <string.h>

#include "custom.h"

/* Takes over doc, borrows args (NULL: none). */
static void answer_doc(kg_ctx_t *ctx, const kg_msg_t *m, kg_doc_t *args, kg_doc_t *doc) {
  if (doc) {
    kg_reply(ctx, m, args, &doc, 1);
  } else {
    fault_t f;
    req_t q = {.ctx = ctx, .m = m};
    fault_resource(&f);
    fault_answer(&q, &f);
  }
  kg_doc_unref(doc);
}

static const char *what_of(const kg_msg_t *m, char buf[300]) {
  kg_str_t what = arg_str(kg_msg_args(m), "what");
  size_t n = what.n < 299 ? what.n : 299;
  if (n) memcpy(buf, what.p, n);
  buf[n] = '\0';
  return buf;
}

void on_discovery(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  char buf[300];
  answer_doc(ctx, m, NULL, kube_discovery_doc(custom_catalog(self), what_of(m, buf)));
}

static void forget_openapi(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  api_t *api = self;
  kg_doc_unref(api->openapi.doc);
  api->openapi.doc = NULL;
  api->openapi.timer = 0;
}

/* Megabytes each: 1,000 who ask at once get the same one. The caller owns a reference. */
static kg_doc_t *openapi_doc(kg_ctx_t *ctx, api_t *api, const char *what) {
  const kube_catalog_t *catalog = custom_catalog(api);
  bool same = api->openapi.doc && api->openapi.stamp == catalog->stamp && !strcmp(api->openapi.what, what);
  if (same) return kg_doc_ref(api->openapi.doc);
  kg_doc_t *doc = kube_openapi_doc(catalog, what);
  if (!doc) return NULL;
  kg_doc_unref(api->openapi.doc);
  api->openapi.doc = kg_doc_ref(doc);
  api->openapi.stamp = catalog->stamp;
  snprintf(api->openapi.what, sizeof api->openapi.what, "%s", what);
  if (!api->openapi.timer) api->openapi.timer = kg_timer(ctx, 500, 0, forget_openapi, NULL);
  return doc;
}

void on_openapi(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  char buf[300], hash[20];
  const char *what = what_of(m, buf);
  kg_doc_t *args = NULL;
  if (kube_openapi_hash(custom_catalog(self), what, hash)) {
    kg_pack_t p = kg_pack();
    kg_pack_map(&p);
    kg_pack_kv_str(&p, "hash", hash);
    kg_pack_end(&p);
    args = kg_pack_doc(&p);
  }
  answer_doc(ctx, m, args, openapi_doc(ctx, self, what));
  kg_doc_unref(args);
}

static void pack_names(kg_pack_t *p, const char *key, const char *const *names) {
  kg_pack_key(p, key);
  kg_pack_array(p);
  for (; names && *names; names++) kg_pack_str(p, *names);
  kg_pack_end(p);
}

static void pack_verbs(kg_pack_t *p, unsigned verbs) {
  static const char *const names[] = {"get",    "list",  "watch",  "create",
                                      "update", "patch", "delete", "deletecollection"};
  kg_pack_key(p, "verbs");
  kg_pack_array(p);
  for (int i = 0; i < 8; i++)
    if (verbs >> i & 1) kg_pack_str(p, names[i]);
  kg_pack_end(p);
}

void on_resolve(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_view_t a = kg_msg_args(m);
  const kube_resource_t *r = resource_find(self, arg_str(a, "g"), arg_str(a, "v"), arg_str(a, "r"));
  if (!r) return answer_doc(ctx, m, NULL, NULL);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "kind", r->kind);
  kg_pack_kv_str(&p, "listKind", r->list_kind);
  kg_pack_kv_str(&p, "singular", r->singular);
  kg_pack_kv_bool(&p, "namespaced", r->namespaced);
  pack_verbs(&p, r->verbs);
  pack_names(&p, "subresources", r->subresources);
  pack_names(&p, "shortNames", r->short_names);
  pack_names(&p, "categories", r->categories);
  const char *warning = resource_warning(self, r);
  if (warning) pack_names(&p, "warnings", (const char *const[]){warning, NULL});
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

/* --- tables ------------------------------------------------------------------------------------------------------ */

static void pack_table_meta(kg_pack_t *p, kg_view_t list, const kg_msg_t *m) {
  kg_pack_key(p, "metadata");
  kg_pack_map(p);
  kg_view_t rv = kg_view_get(list, "rv");
  if (!kg_view_there(list) && kg_msg_ndocs(m) == 1)
    rv = kg_view_path(kg_view_of(kg_msg_doc(m, 0)), "metadata", "resourceVersion", NULL);
  if (kg_view_there(rv)) kg_pack_kv_view(p, "resourceVersion", rv);
  if (kg_view_there(kg_view_get(list, "continue"))) kg_pack_kv_view(p, "continue", kg_view_get(list, "continue"));
  if (kg_view_there(kg_view_get(list, "remaining")))
    kg_pack_kv_view(p, "remainingItemCount", kg_view_get(list, "remaining"));
  kg_pack_end(p);
}

static void pack_row(kg_pack_t *p, const kube_resource_t *r, kg_view_t object, kg_str_t include, int64_t now) {
  kg_pack_map(p);
  kg_pack_key(p, "cells");
  kube_table_cells(p, r, object, now);
  kg_pack_key(p, "object");
  if (kg_str_is(include, "None")) {
    kg_pack_nil(p);
  } else if (kg_str_is(include, "Object")) {
    kg_pack_view(p, object);
  } else {
    kg_pack_map(p);
    kg_pack_kv_str(p, "kind", "PartialObjectMetadata");
    kg_pack_kv_str(p, "apiVersion", "meta.k8s.io/v1");
    kg_pack_kv_view(p, "metadata", kg_view_get(object, "metadata"));
    kg_pack_end(p);
  }
  kg_pack_end(p);
}

void on_table(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_view_t a = kg_msg_args(m);
  const kube_resource_t *r = resource_find(self, arg_str(a, "g"), arg_str(a, "v"), arg_str(a, "r"));
  if (!r) return answer_doc(ctx, m, NULL, NULL);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "kind", "Table");
  kg_pack_kv_str(&p, "apiVersion", "meta.k8s.io/v1");
  pack_table_meta(&p, kg_view_get(a, "list"), m);
  kg_pack_key(&p, "columnDefinitions");
  if (kg_view_bool(kg_view_get(a, "headers"), true))
    kube_table_columns(&p, r);
  else
    kg_pack_nil(&p);
  kg_pack_key(&p, "rows");
  kg_pack_array(&p);
  for (size_t i = 0; i < kg_msg_ndocs(m); i++)
    pack_row(&p, r, kg_view_of(kg_msg_doc(m, i)), arg_str(a, "includeObject"), kg_wall_us(ctx));
  kg_pack_end(&p);
  kg_pack_end(&p);
  answer_doc(ctx, m, NULL, kg_pack_doc(&p));
}
