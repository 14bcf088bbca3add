/* Controllers in Lua: the script says what is to be done, this does it, with the queue and the patience of the others.
 */
#include <stdio.h>
#include <string.h>

#include "controller.h"

/* --- what the script sees ----------------------------------------------------------------------------------------- */

static int find(void *arg, kg_str_t name) {
  const lua_controller_t *c = arg;
  const script_t *s = c->trying ? c->trying : &c->script;
  for (int i = 0; i < CTL_INFORMERS && s->watches[i].gvr.resource; i++) {
    const kube_gvr_t *g = &s->watches[i].gvr;
    char text[300];
    snprintf(text, sizeof text, "%s%s%s/%s", g->group, *g->group ? "/" : "", g->version, g->resource);
    if (kg_str_is(name, text)) return i;
  }
  return -1;
}

static kg_view_t get(void *arg, int i, kg_str_t ns, kg_str_t name) {
  lua_controller_t *c = arg;
  kube_informer_t *inf = c->trying ? NULL : c->base.informers[i];
  return kg_view_of(inf ? kube_informer_get(inf, ns, name) : NULL);
}

static bool at(void *arg, int collection, kg_str_t ns, size_t i, kg_view_t *out) {
  lua_controller_t *c = arg;
  kube_informer_t *inf = c->trying ? NULL : c->base.informers[collection];
  size_t first = 0, count = inf ? kube_informer_count(inf) : 0;
  if (inf && ns.n) kube_informer_ns(inf, ns, &first, &count);
  if (i >= count) return false;
  *out = kg_view_of(kube_informer_at(inf, first + i));
  return true;
}

/* --- a pass ------------------------------------------------------------------------------------------------------- */

static void look_again(kg_ctx_t *ctx, lua_controller_t *c, const char *key, double seconds) {
  if (seconds > 0) ctl_work_add_after(ctx, &c->base.work, key, (int64_t)(seconds * 1000));
}

static int reconcile(kg_ctx_t *ctx, lua_controller_t *c, ctl_sync_t *s, kg_view_t object, kg_error_t *err) {
  kg_str_t ns, name;
  policy_result_t r;
  ctl_split(ctl_sync_key(s), &ns, &name);
  policy_arg_t args[] = {POLICY_FIELD_STR("key", kg_str(ctl_sync_key(s))), POLICY_FIELD_STR("namespace", ns),
                         POLICY_FIELD_STR("name", name), POLICY_FIELD_VIEW("object", object),
                         POLICY_FIELD_NUMBER("now", (double)kg_wall_us(ctx) / 1e6)};
  if (policy_call(c->script.policy, c->script.reconcile, args, sizeof args / sizeof *args, &r, err) < 0) return -1;
  kg_view_t actions = kg_view_of(r.doc);
  bool none = r.type == KG_V_NIL || (r.type == KG_V_MAP && !kg_view_count(actions));
  int rc = 0;
  if (r.type == KG_V_ARRAY)
    rc = actions_send(ctx, c, s, object, actions, err);
  else if (!none)
    rc = kg_error_set(err, KG_EINVAL, "reconcile gave neither nothing nor a list of actions");
  kg_view_t extra = kg_view_of(r.extra);
  look_again(ctx, c, ctl_sync_key(s), kg_view_float(extra, (double)kg_view_int(extra, 0)));
  policy_result_clear(&r);
  return rc;
}

static void sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  lua_controller_t *c = self;
  kg_str_t ns, name;
  kg_error_t err = {0};
  ctl_sync_t *s = ctl_sync_begin(&c->base.work, key);
  ctl_split(key, &ns, &name);
  kg_doc_t *doc = kube_informer_get(c->base.informers[0], ns, name);
  if (reconcile(ctx, c, s, kg_view_of(doc ? ctl_keep(s, doc) : NULL), &err) < 0) {
    script_failed(ctx, c, key, &err);
    ctl_sync_failed(s);
  }
  ctl_sync_end(ctx, self, s);
}

static void on_other(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)change, (void)old, (void)arg;
  lua_controller_t *c = self;
  if (c->base.work.queue) script_keys(ctx, c, now);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void put(lua_controller_t *c, const script_t *s) {
  c->script = *s;
  memcpy(c->spec.watches, s->watches, sizeof c->spec.watches);
  for (int i = 0; c->spec.watches[i].gvr.resource; i++) {
    c->spec.watches[i].fn = i ? on_other : ctl_on_key;
    c->spec.watches[i].keys = i == 0;
  }
}

static int begin(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  lua_controller_t *c = self;
  script_t s;
  c->documents = (policy_documents_t){find, get, at, c};
  c->spec = *c->base.spec;
  c->base.spec = &c->spec;
  snprintf(c->manager, sizeof c->manager, "lua-%.60s", kg_name(ctx));
  if (script_read(ctx, c, kg_config(ctx), &s, err) < 0) return -1;
  put(c, &s);
  return 0;
}

/* Another script for the same collections, tried before; what is there is looked at with its eyes. */
static int configure(kg_ctx_t *ctx, void *self, kg_view_t config, kg_error_t *err) {
  lua_controller_t *c = self;
  script_t s, old = c->script;
  if (script_read(ctx, c, config, &s, err) < 0) return kg_error_prefix(err, "the last good script stays in force");
  if (!script_same_watches(&s, &old)) {
    script_free(&s);
    return kg_error_set(err, KG_EINVAL,
                        "the script watches other collections than the one in force: reload the plugin");
  }
  put(c, &s);
  script_free(&old);
  ctl_work_add_all(ctx, &c->base.work, c->base.informers[0]);
  return 0;
}

static void stats(void *self, kg_pack_t *p) {
  const lua_controller_t *c = self;
  kg_pack_kv_int(p, "actions", (int64_t)c->actions);
  kg_pack_kv_int(p, "errors", (int64_t)c->errors);
  kg_pack_kv_int(p, "memory", (int64_t)policy_memory(c->script.policy));
  if (c->last_error[0]) kg_pack_kv_str(p, "last_error", c->last_error);
}

static void end(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  script_free(&((lua_controller_t *)self)->script);
}

static const ctl_spec_t spec = {.size = sizeof(lua_controller_t),
                                .component = "controller-lua",
                                .sync = sync,
                                .parallel = 16,
                                .begin = begin,
                                .stats = stats,
                                .end = end};

CTL_PLUGIN(spec, .name = "controller-lua", .summary = "Reconciles what a script watches.", .configure = configure);
