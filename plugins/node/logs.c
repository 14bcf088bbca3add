/* node.logs: which container is meant, and whether it has a log yet; then the runtime's stream of its file. */
#include "node.h"

box_t *asked_box(agent_t *a, const kg_msg_t *m, pod_t **pod) {
  kg_view_t args = kg_msg_args(m);
  kg_str_t ns = VIEW_STR(args, "ns"), name = VIEW_STR(args, "pod"), container = VIEW_STR(args, "container");
  pod_t *p = *pod = agent_pod(a, ns, name);
  if (!p) {
    kg_fail(a->ctx, m, KG_ENOTFOUND, "pod \"" KG_STR_FMT "\" is not on this node", KG_STR_ARG(name));
    return NULL;
  }
  box_t *b = container.n ? pod_box(p, container) : NULL;
  for (size_t i = 0; !container.n && i < p->nboxes && !b; i++)
    if (p->boxes[i]->kind == BOX_MAIN) b = p->boxes[i];
  if (!b)
    kg_fail(a->ctx, m, KG_EINVAL, "container \"" KG_STR_FMT "\" in pod \"%s\" is not available", KG_STR_ARG(container),
            p->name);
  return b;
}

/* The attempt whose log is wanted; -1: it was answered. */
static int64_t attempt_of(agent_t *a, const kg_msg_t *m, const box_t *b, bool previous) {
  const char *reason = b->wait_reason;
  bool waits = b->state == BOX_EXITED && reason && !pod_ending(b->pod);
  if (previous) {
    if (waits && b->end.id) return b->attempt; /* shown as its last state */
    if (b->last.there) return b->attempt - 1;
    kg_fail(a->ctx, m, KG_EINVAL, "previous terminated container \"%s\" in pod \"%s\" not found", b->name,
            b->pod->name);
    return -1;
  }
  if (b->state != BOX_NONE) return b->attempt;
  if (b->last.there) return b->attempt - (b->id && b->last.id && strcmp(b->id, b->last.id) != 0);
  if (!reason) reason = b->pod->nboxes && b->pod->boxes[0]->kind != BOX_MAIN ? "PodInitializing" : "ContainerCreating";
  if (!strcmp(reason, "ErrImagePull")) reason = "image can't be pulled";
  if (!strcmp(reason, "ImagePullBackOff")) reason = "trying and failing to pull image";
  kg_fail(a->ctx, m, KG_EINVAL, "container \"%s\" in pod \"%s\" is waiting to start: %s", b->name, b->pod->name,
          reason);
  return -1;
}

static void pack_since(kg_pack_t *k, const agent_t *a, kg_view_t args) {
  int64_t seconds = kg_view_int(kg_view_get(args, "sinceSeconds"), 0), at;
  if (seconds > 0)
    kg_pack_kv_int(k, "since", kg_wall_us(a->ctx) - seconds * 1000000);
  else if (!kube_time_parse(VIEW_STR(args, "sinceTime"), &at))
    kg_pack_kv_int(k, "since", at);
}

void node_logs(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  agent_t *a = self;
  pod_t *p;
  char path[4096];
  kg_view_t args = kg_msg_args(m), tail = kg_view_get(args, "tailLines"), limit = kg_view_get(args, "limitBytes");
  box_t *b = asked_box(a, m, &p);
  bool previous = kg_view_bool(kg_view_get(args, "previous"), false);
  int64_t attempt = b ? attempt_of(a, m, b, previous) : -1;
  if (attempt < 0) return;
  box_log_path(b, attempt, path, sizeof path);
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "path", path);
  kg_pack_kv_bool(&k, "follow", kg_view_bool(kg_view_get(args, "follow"), false));
  kg_pack_kv_bool(&k, "timestamps", kg_view_bool(kg_view_get(args, "timestamps"), false));
  if (kg_view_type(tail) == KG_V_INT) kg_pack_kv_int(&k, "tail", kg_view_int(tail, 0));
  if (kg_view_type(limit) == KG_V_INT) kg_pack_kv_int(&k, "limitBytes", kg_view_int(limit, 0));
  pack_since(&k, a, args);
  kg_pack_end(&k);
  relay_open(a, m, "runtime.logs", kg_pack_doc(&k));
}
