/* How many pods there should be: what Deployments, ReplicaSets, StatefulSets, ReplicationControllers and custom kinds
 * with a scale say. */
#include <string.h>

#include "disruption.h"
#include "kube/schema.h"

static const kube_gvr_t GVR_DEFINITIONS = {"apiextensions.k8s.io", "v1", "customresourcedefinitions"};

static kg_view_t owner_in(const pass_t *p, unsigned informer, kg_view_t ref) {
  kg_doc_t *doc = kube_informer_get(p->c->base.informers[informer], kube_namespace(p->object),
                                    kg_view_str(kg_view_get(ref, "name")));
  kg_view_t v = kg_view_of(doc);
  return doc && kg_str_eq(kube_uid(v), kg_view_str(kg_view_get(ref, "uid"))) ? v : (kg_view_t){0};
}

/* The workload that says how many pods there should be; absent: nobody does. */
static kg_view_t scaler(const pass_t *p, kg_view_t pod) {
  static const struct {
    const char *kind;
    unsigned informer;
  } kinds[] = {{"ReplicaSet", REPLICASETS}, {"StatefulSet", STATEFULSETS}, {"ReplicationController", CONTROLLERS}};
  kg_view_t ref = kube_controller_ref(pod), owner = {0};
  for (size_t i = 0; i < 3; i++)
    if (kg_str_is(kg_view_str(kg_view_get(ref, "kind")), kinds[i].kind)) owner = owner_in(p, kinds[i].informer, ref);
  ref = kube_controller_ref(owner);
  if (!kg_str_is(kg_view_str(kg_view_get(ref, "kind")), "Deployment")) return owner;
  kg_view_t deployment = owner_in(p, DEPLOYMENTS, ref);
  return kg_view_there(deployment) ? deployment : owner;
}

/* Group and version of a reference. */
static void read_version(kg_view_t ref, kg_str_t *group, kg_str_t *version) {
  kg_str_t whole = kg_view_str(kg_view_get(ref, "apiVersion"));
  const char *slash = whole.n ? memchr(whole.p, '/', whole.n) : NULL;
  *group = (kg_str_t){whole.p, slash ? (size_t)(slash - whole.p) : 0};
  *version = slash ? (kg_str_t){slash + 1, whole.n - group->n - 1} : whole;
}

static const kube_resource_t *builtin(kg_view_t ref) {
  kg_str_t group, version;
  read_version(ref, &group, &version);
  return kube_resource_by_kind(group, version, kg_view_str(kg_view_get(ref, "kind")));
}

static custom_t *custom_of(const pass_t *p, kg_view_t ref) {
  custom_t *x = p->customs;
  while (x && !kg_view_equal(kg_view_get(x->ref, "uid"), kg_view_get(ref, "uid"))) x = x->next;
  return x;
}

/* --- custom kinds ------------------------------------------------------------------------------------------------- */

static void add_custom(pass_t *p, kg_view_t pod) {
  kg_view_t ref = kube_controller_ref(pod);
  kg_str_t group, version;
  if (!kg_view_there(ref) || kg_view_there(scaler(p, pod)) || builtin(ref) || custom_of(p, ref)) return;
  custom_t *x = kube_arena_alloc(p->arena, sizeof *x);
  read_version(ref, &group, &version);
  *x = (custom_t){
      .next = p->customs, .ref = ref, .group = ctl_text(p->arena, group), .version = ctl_text(p->arena, version)};
  p->customs = x;
}

static void scaled(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)s;
  custom_t *x = arg;
  kg_view_t scale = kg_view_of(kg_msg_type(m) == KG_MSG_REPLY ? kg_msg_doc(m, 0) : NULL);
  if (!kg_view_there(scale) || !kg_str_eq(kube_uid(scale), kg_view_str(kg_view_get(x->ref, "uid")))) return;
  x->known = true;
  x->replicas = kg_view_int(kg_view_path(scale, "spec", "replicas", NULL), 0);
}

static bool is_defined_by(const custom_t *x, kg_view_t definition) {
  kg_view_t spec = kg_view_get(definition, "spec");
  return kg_str_is(kg_view_str(kg_view_get(spec, "group")), x->group) &&
         kg_view_equal(kg_view_path(spec, "names", "kind", NULL), kg_view_get(x->ref, "kind"));
}

static void read_definition(pass_t *p, custom_t *x, kg_view_t definition) {
  x->resource = ctl_text(p->arena, kg_view_str(kg_view_path(definition, "spec", "names", "plural", NULL)));
  for (kg_iter_t it = kg_iter(kg_view_path(definition, "spec", "versions", NULL)); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(kg_view_get(it.value, "name")), x->version))
      x->has_scale = kg_view_there(kg_view_path(it.value, "subresources", "scale", NULL));
  if (!x->has_scale) return;
  ctl_send(p->ctx, p->sync, CTL_GET,
           &(kube_call_t){.gvr = {x->group, x->version, x->resource},
                          .ns = ctl_text(p->arena, kube_namespace(p->object)),
                          .name = ctl_text(p->arena, kg_view_str(kg_view_get(x->ref, "name"))),
                          .sub = "scale",
                          .grace_seconds = -1},
           scaled, x);
}

static void defined(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)s;
  pass_t *p = arg;
  if (kg_msg_type(m) != KG_MSG_REPLY) return;
  for (custom_t *x = p->customs; x; x = x->next)
    for (size_t i = 0; i < kg_msg_ndocs(m); i++) {
      kg_view_t definition = kg_view_of(kg_msg_doc(m, i));
      if (is_defined_by(x, definition)) read_definition(p, x, definition);
    }
}

void scales_ask(pass_t *p) {
  bool percent = kg_view_type(kg_view_get(p->spec, "minAvailable")) == KG_V_STR;
  if (!percent && !kg_view_there(kg_view_get(p->spec, "maxUnavailable"))) return;
  for (size_t i = 0; i < p->n; i++) add_custom(p, p->pods[i]);
  if (p->customs)
    ctl_send(p->ctx, p->sync, CTL_LIST, &(kube_call_t){.gvr = GVR_DEFINITIONS, .grace_seconds = -1}, defined, p);
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static const char *why_not(pass_t *p, kg_view_t pod) {
  kg_view_t ref = kube_controller_ref(pod);
  const kube_resource_t *r = builtin(ref);
  const custom_t *x = custom_of(p, ref);
  const char *resource = r ? r->resource : x ? x->resource : NULL, *group = r ? r->group : x ? x->group : "";
  if (x && !x->resource)
    return kube_arena_fmt(p->arena, "no matches for kind \"" KG_STR_FMT "\" in version \"%s/%s\"",
                          KG_STR_ARG(kg_view_str(kg_view_get(ref, "kind"))), x->group, x->version);
  if (resource && !(r ? kube_resource_has_sub(r, "scale") : x->has_scale))
    return kube_arena_fmt(p->arena, "%s%s%s does not implement the scale subresource", resource, *group ? "." : "",
                          group);
  return kube_arena_fmt(p->arena, "found no controllers for pod \"" KG_STR_FMT "\"", KG_STR_ARG(kube_name(pod)));
}

/* Who says how many pods there are, and how many; false: nobody does. */
static bool scale_for(const pass_t *p, kg_view_t pod, kg_str_t *uid, int64_t *replicas) {
  kg_view_t owner = scaler(p, pod), ref = kube_controller_ref(pod);
  const custom_t *x = kg_view_there(owner) ? NULL : custom_of(p, ref);
  *uid = x ? kg_view_str(kg_view_get(ref, "uid")) : kube_uid(owner);
  *replicas = x ? x->replicas : kg_view_int(kg_view_path(owner, "spec", "replicas", NULL), 1);
  return x ? x->known : kg_view_there(owner);
}

int64_t scale_of_all(pass_t *p) {
  kg_str_t *seen = kube_arena_alloc(p->arena, (p->n + 1) * sizeof *seen), uid;
  size_t n = 0;
  int64_t sum = 0, replicas;
  for (size_t i = 0; i < p->n && !p->error; i++) {
    size_t k = 0;
    if (!kg_view_there(kube_controller_ref(p->pods[i]))) {
      p->unmanaged = true;
      continue;
    }
    if (!scale_for(p, p->pods[i], &uid, &replicas)) {
      p->error = why_not(p, p->pods[i]);
      continue;
    }
    while (k < n && !kg_str_eq(seen[k], uid)) k++;
    if (k < n) continue;
    seen[n++] = uid;
    sum += replicas;
  }
  return sum;
}
