#include "kube/client.h"

#include <string.h>

static void option(kg_pack_t *p, const char *key, const char *value) {
  if (value && *value) kg_pack_kv_str(p, key, value);
}

static void delete_options(kg_pack_t *p, const kube_call_t *c) {
  option(p, "propagationPolicy", c->propagation);
  if (c->grace_seconds >= 0) kg_pack_kv_int(p, "gracePeriodSeconds", c->grace_seconds);
  if (!c->precondition_uid && !c->resource_version) return;
  kg_pack_key(p, "preconditions");
  kg_pack_map(p);
  option(p, "uid", c->precondition_uid);
  option(p, "resourceVersion", c->resource_version);
  kg_pack_end(p);
}

/* Who compares, ignores or takes over what controllers own knows them by this name. */
static const char *own_manager(kg_ctx_t *ctx) {
  return strncmp(kg_name(ctx), "controller-", 11) == 0 ? "kube-controller-manager" : kg_name(ctx);
}

static kg_doc_t *arguments(kg_ctx_t *ctx, const char *topic, const kube_call_t *c) {
  kg_pack_t p = kg_pack();
  bool deletes = strncmp(topic, "api.delete", 10) == 0;
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "g", c->gvr.group);
  kg_pack_kv_str(&p, "v", c->gvr.version);
  kg_pack_kv_str(&p, "r", c->gvr.resource);
  option(&p, "ns", c->ns);
  option(&p, "name", c->name);
  option(&p, "sub", c->sub);
  option(&p, "patch", c->patch_type);
  option(&p, "labelSelector", c->label_selector);
  option(&p, "fieldSelector", c->field_selector);
  option(&p, "continue", c->cont);
  if (c->limit) kg_pack_kv_int(&p, "limit", c->limit);
  if (c->force) kg_pack_kv_bool(&p, "force", true);
  if (c->dry_run) kg_pack_kv_bool(&p, "dryRun", true);
  if (c->object || c->patch_type)
    kg_pack_kv_str(&p, "fieldManager", c->field_manager ? c->field_manager : own_manager(ctx));
  if (deletes)
    delete_options(&p, c);
  else
    option(&p, "resourceVersion", c->resource_version);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static uint64_t send(kg_ctx_t *ctx, const char *topic, const kube_call_t *c, bool stream, kg_reply_fn fn, void *arg) {
  kg_doc_t *args = arguments(ctx, topic, c);
  kg_doc_t *docs[] = {c->object};
  uint64_t id = kg_send(ctx, &(kg_request_t){.service = "api",
                                             .topic = topic,
                                             .args = args,
                                             .docs = docs,
                                             .ndocs = c->object ? 1 : 0,
                                             .timeout_ms = c->timeout_ms,
                                             .stream = stream,
                                             .fn = fn,
                                             .arg = arg});
  kg_doc_unref(args);
  return id;
}

uint64_t kube_api_get(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg) {
  return send(ctx, "api.get", c, false, fn, arg);
}
uint64_t kube_api_list(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg) {
  return send(ctx, "api.list", c, false, fn, arg);
}
uint64_t kube_api_watch(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg) {
  return send(ctx, "api.watch", c, true, fn, arg);
}
uint64_t kube_api_create(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg) {
  return send(ctx, "api.create", c, false, fn, arg);
}
uint64_t kube_api_update(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg) {
  return send(ctx, "api.update", c, false, fn, arg);
}
uint64_t kube_api_patch(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg) {
  return send(ctx, "api.patch", c, false, fn, arg);
}
uint64_t kube_api_delete(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg) {
  return send(ctx, "api.delete", c, false, fn, arg);
}
uint64_t kube_api_delete_all(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg) {
  return send(ctx, "api.deletecollection", c, false, fn, arg);
}
