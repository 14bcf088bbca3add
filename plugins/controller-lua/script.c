/* The script: from the configuration into force, and which keys a change concerns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller.h"

/* --- watch -------------------------------------------------------------------------------------------------------- */

static char *keep(script_t *s, kg_str_t text) {
  char *copy = s->ntexts < sizeof s->texts / sizeof *s->texts ? kg_str_dup(text) : NULL;
  if (copy) s->texts[s->ntexts++] = copy;
  return copy;
}

/* Takes "group/version/resource" apart, in place. */
static int split(char *text, kube_gvr_t *out) {
  char *last = text ? strrchr(text, '/') : NULL;
  if (!last || !last[1] || last == text) return -1;
  *last = 0;
  char *first = strchr(text, '/');
  if (first) *first = 0;
  *out = (kube_gvr_t){first ? text : "", first ? first + 1 : text, last + 1};
  return strchr(out->version, '/') || !*out->version ? -1 : 0;
}

int gvr_read(kube_arena_t *a, kg_str_t text, kube_gvr_t *out, kg_error_t *err) {
  if (text.n && split(ctl_text(a, text), out) == 0) return 0;
  return kg_error_set(err, KG_EINVAL, "\"" KG_STR_FMT "\" is no collection: group/version/resource", KG_STR_ARG(text));
}

static int read_watch(script_t *s, size_t i, kg_view_t v, kg_error_t *err) {
  bool plain = kg_view_type(v) == KG_V_STR;
  kg_str_t resource = kg_view_str(plain ? v : kg_view_get(v, "resource"));
  kg_str_t ns = kg_view_str(kg_view_get(v, "namespace")), fields = kg_view_str(kg_view_get(v, "fields"));
  ctl_watch_t *w = &s->watches[i];
  if (split(keep(s, resource), &w->gvr) < 0)
    return kg_error_set(err, KG_EINVAL, "watch: \"" KG_STR_FMT "\" is no collection: group/version/resource",
                        KG_STR_ARG(resource));
  if (!plain && ns.n) w->ns = keep(s, ns);
  if (!plain && fields.n) w->field_selector = keep(s, fields);
  return 0;
}

static int read_watches(script_t *s, kg_error_t *err) {
  size_t n = kg_view_count(kg_view_of(s->watch));
  if (kg_view_type(kg_view_of(s->watch)) != KG_V_ARRAY || !n || n > CTL_INFORMERS)
    return kg_error_set(err, KG_EINVAL, "watch must be a list of 1 to %d collections", CTL_INFORMERS);
  for (size_t i = 0; i < n; i++)
    if (read_watch(s, i, kg_view_at(kg_view_of(s->watch), i), err) < 0) return -1;
  return 0;
}

bool script_same_watches(const script_t *a, const script_t *b) {
  return kg_view_equal(kg_view_of(a->watch), kg_view_of(b->watch));
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void log_line(void *ctx, const char *text) {
  kg_log(ctx, KG_LOG_INFO, "%s", text);
}

/* What the script calls its sample, if it has one: it must not fail on that. */
static int try(lua_controller_t *c, script_t *s, kg_error_t *err) {
  kg_doc_t *sample = NULL;
  policy_result_t r;
  kg_error_t why = {0};
  if (policy_global(s->policy, "sample", &sample, err) < 0) return -1;
  policy_arg_t args[] = {POLICY_FIELD_VIEW("object", kg_view_get(kg_view_of(sample), "object")),
                         POLICY_FIELD_STR("key", KG_STR("default/sample")),
                         POLICY_FIELD_STR("namespace", KG_STR("default")), POLICY_FIELD_STR("name", KG_STR("sample")),
                         POLICY_FIELD_NUMBER("now", 0)};
  c->trying = s;
  int rc = sample ? policy_call(s->policy, s->reconcile, args, sizeof args / sizeof *args, &r, &why) : 0;
  c->trying = NULL;
  if (sample && rc == 0) policy_result_clear(&r);
  kg_doc_unref(sample);
  return rc == 0 ? 0 : kg_error_set(err, KG_EINVAL, "tried on its sample: %.460s", why.text);
}

static int make(kg_ctx_t *ctx, lua_controller_t *c, const char *name, kg_str_t source, script_t *out, kg_error_t *err) {
  policy_options_t o = {.seed = kg_random(ctx), .log = log_line, .log_arg = ctx, .documents = &c->documents};
  *out = (script_t){.policy = policy_new(name, source, &o, err)};
  if (!out->policy) return -1;
  out->reconcile = policy_function(out->policy, "reconcile");
  out->keys = policy_function(out->policy, "keys");
  int rc = out->reconcile ? 0 : kg_error_set(err, KG_EINVAL, "%s: there is no function reconcile", name);
  if (rc == 0) rc = policy_global(out->policy, "watch", &out->watch, err);
  if (rc == 0) rc = read_watches(out, err);
  if (rc == 0) rc = try(c, out, err);
  if (rc < 0) script_free(out);
  return rc;
}

int script_read(kg_ctx_t *ctx, lua_controller_t *c, kg_view_t config, script_t *out, kg_error_t *err) {
  char name[256];
  size_t size;
  char *text = policy_configured(config, name, &size, err);
  int rc = text ? make(ctx, c, name, (kg_str_t){text, size}, out, err) : -1;
  free(text);
  return rc;
}

void script_free(script_t *s) {
  policy_free(s->policy);
  kg_doc_unref(s->watch);
  for (size_t i = 0; i < s->ntexts; i++) free(s->texts[i]);
  *s = (script_t){0};
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

void script_failed(kg_ctx_t *ctx, lua_controller_t *c, const char *key, const kg_error_t *err) {
  c->errors++;
  snprintf(c->last_error, sizeof c->last_error, "%s: %.200s", key, err->text);
  kg_log(ctx, KG_LOG_WARN, "%s", c->last_error);
}

static void add(kg_ctx_t *ctx, lua_controller_t *c, kg_str_t text) {
  char key[CTL_KEY_MAX];
  if (!text.n || text.n + 1 >= sizeof key) return;
  bool bare = !memchr(text.p, '/', text.n); /* of no namespace */
  snprintf(key, sizeof key, "%s" KG_STR_FMT, bare ? "/" : "", KG_STR_ARG(text));
  ctl_work_add(ctx, &c->base.work, key);
}

/* Its owner, if that is of the first collection. */
static void add_owner(kg_ctx_t *ctx, lua_controller_t *c, kg_view_t object) {
  kg_view_t ref = kube_controller_ref(object);
  kg_str_t name = kg_view_str(kg_view_get(ref, "name")), uid = kg_view_str(kg_view_get(ref, "uid"));
  kg_str_t places[] = {kube_namespace(object), {"", 0}};
  char key[CTL_KEY_MAX];
  for (int i = 0; name.n && i < 2; i++) {
    kg_doc_t *owner = kube_informer_get(c->base.informers[0], places[i], name);
    if (!owner || !kg_str_eq(kube_uid(kg_view_of(owner)), uid)) continue;
    ctl_work_add(ctx, &c->base.work, ctl_key(kg_view_of(owner), key));
    return;
  }
}

void script_keys(kg_ctx_t *ctx, lua_controller_t *c, kg_view_t object) {
  policy_arg_t args[] = {POLICY_ARG_VIEW(object)};
  policy_result_t r;
  kg_error_t err = {0};
  if (!c->script.keys) {
    add_owner(ctx, c, object);
    return;
  }
  if (policy_call(c->script.policy, c->script.keys, args, 1, &r, &err) < 0) {
    script_failed(ctx, c, "keys", &err);
    return;
  }
  kg_view_t v = kg_view_of(r.doc);
  add(ctx, c, kg_view_str(v));
  for (kg_iter_t it = kg_iter(r.type == KG_V_ARRAY ? v : (kg_view_t){0}); kg_iter_next(&it);)
    add(ctx, c, kg_view_str(it.value));
  policy_result_clear(&r);
}
