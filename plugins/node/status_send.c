/* The status of a pod as the API has it: put together, compared with what was sent, sent. */
#include <stdio.h>

#include "node.h"

enum { RETRY_MS = 1000 };

static const char *const TYPES[CONDITIONS] = {"PodReadyToStartContainers", "Initialized",     "Ready",
                                              "ContainersReady",           "PodScheduled",    "DisruptionTarget",
                                              "PodResizeInProgress",       "PodResizePending"};

/* --- conditions
 * -------------------------------------------------------------------------------------------------------- */

static void set_condition(pod_t *p, int which, bool on, const char *reason, const char *message) {
  condition_t *c = &p->cond[which];
  if (!c->there || c->on != on) now_text(p->agent, c->since);
  c->there = true;
  c->on = on;
  c->reason = reason;
  set_str(&c->message, message && *message ? strdup(message) : NULL);
}

/* "containers with ... status: [a b]" of the boxes that are bad; NULL: none. malloc'ed. */
static char *names_of(const pod_t *p, const char *what, bool (*bad)(const box_t *b)) {
  kube_buf_t t = {0};
  for (size_t i = 0; i < p->nboxes; i++)
    if (bad(p->boxes[i])) kube_buf_fmt(&t, "%s%s", t.n ? " " : "", p->boxes[i]->name);
  char *text = t.n ? format("containers with %s status: [%.*s]", what, (int)t.n, t.p) : NULL;
  kube_buf_free(&t);
  return text;
}

static bool is_unready(const box_t *b) {
  return b->kind != BOX_INIT && b->kind != BOX_EPHEMERAL && !box_ready(b);
}

static bool is_incomplete(const box_t *b) {
  return b->kind == BOX_INIT ? !box_ready(b) : b->kind == BOX_SIDECAR && !box_started(b);
}

static void initialized(pod_t *p, const char *phase) {
  char *text = names_of(p, "incomplete", is_incomplete);
  bool ran = false;
  for (size_t i = 0; i < p->nboxes; i++)
    ran |= p->boxes[i]->kind == BOX_MAIN && (p->boxes[i]->state == BOX_RUNNING || p->boxes[i]->last.there);
  if (!strcmp(phase, "Succeeded"))
    set_condition(p, COND_INITIALIZED, true, "PodCompleted", NULL);
  else if (!text || ran)
    set_condition(p, COND_INITIALIZED, true, NULL, NULL);
  else
    set_condition(p, COND_INITIALIZED, false, "ContainersNotInitialized", text);
  free(text);
}

static void containers_ready(pod_t *p, const char *phase) {
  char *text = names_of(p, "unready", is_unready);
  if (!strcmp(phase, "Succeeded"))
    set_condition(p, COND_CONTAINERS, false, "PodCompleted", NULL);
  else if (!strcmp(phase, "Failed"))
    set_condition(p, COND_CONTAINERS, false, "PodFailed", NULL);
  else if (text)
    set_condition(p, COND_CONTAINERS, false, "ContainersNotReady", text);
  else
    set_condition(p, COND_CONTAINERS, true, NULL, NULL);
  free(text);
}

static kg_view_t shown_condition(const pod_t *p, kg_str_t type) {
  return kube_list_find(kg_view_path(pod_object(p), "status", "conditions", NULL), "type", type);
}

/* Readiness gates: conditions of others that must hold. NULL: they do. malloc'ed. */
static char *closed_gates(const pod_t *p) {
  kube_buf_t t = {0};
  for (kg_iter_t it = kg_iter(kg_view_get(pod_spec(p), "readinessGates")); kg_iter_next(&it);) {
    kg_str_t type = VIEW_STR(it.value, "conditionType");
    kg_view_t c = shown_condition(p, type);
    kg_str_t status = VIEW_STR(c, "status");
    if (!kg_view_there(c))
      kube_buf_fmt(&t, "%scorresponding condition of pod readiness gate \"" KG_STR_FMT "\" does not exist.",
                   t.n ? ", " : "", KG_STR_ARG(type));
    else if (!kg_str_is(status, "True"))
      kube_buf_fmt(&t, "%sthe status of pod readiness gate \"" KG_STR_FMT "\" is not \"True\", but " KG_STR_FMT,
                   t.n ? ", " : "", KG_STR_ARG(type), KG_STR_ARG(status));
  }
  char *text = t.n ? strndup(t.p, t.n) : NULL;
  kube_buf_free(&t);
  return text;
}

static void ready(pod_t *p) {
  const condition_t *c = &p->cond[COND_CONTAINERS];
  if (!c->on) return set_condition(p, COND_READY, false, c->reason, c->message);
  char *closed = closed_gates(p);
  set_condition(p, COND_READY, !closed, closed ? "ReadinessGatesNotReady" : NULL, closed);
  free(closed);
}

static void resizing(pod_t *p) {
  const char *error;
  if (pod_resizing(p, &error))
    set_condition(p, COND_RESIZE, true, error ? "Error" : NULL, error);
  else
    p->cond[COND_RESIZE].there = false;
  if (p->deferred)
    set_condition(p, COND_PENDING, true, "Deferred", p->deferred);
  else
    p->cond[COND_PENDING].there = false;
}

static void set_conditions(pod_t *p, const char *phase) {
  set_condition(p, COND_SANDBOX, p->sandbox == SB_READY, NULL, NULL);
  initialized(p, phase);
  containers_ready(p, phase);
  ready(p);
  set_condition(p, COND_SCHEDULED, true, NULL, NULL);
  if (p->fail_reason && !strcmp(p->fail_reason, "Evicted"))
    set_condition(p, COND_DISRUPTION, true, "TerminationByKubelet", p->fail_message);
  resizing(p);
}

static kube_node_t *text_or_nil(kube_arena_t *ar, const char *text) {
  return text && *text ? kube_str(ar, text) : kube_nil(ar);
}

/* A directive of the patch. */
static kube_node_t *taken_away(kube_arena_t *ar, const char *type) {
  kube_node_t *n = kube_map(ar);
  kube_set(ar, n, "$patch", kube_str(ar, "delete"));
  kube_set(ar, n, "type", kube_str(ar, type));
  return n;
}

static kube_node_t *conditions_of(kube_arena_t *ar, const pod_t *p) {
  kube_node_t *list = kube_array(ar);
  for (int i = 0; i < CONDITIONS; i++) {
    const condition_t *c = &p->cond[i];
    if (i == COND_DISRUPTION && !c->reason) continue; /* others' word, or nobody's */
    if (i >= COND_RESIZE && !c->there) {
      if (kg_view_there(shown_condition(p, kg_str(TYPES[i])))) kube_push(ar, list, taken_away(ar, TYPES[i]));
      continue;
    }
    kube_node_t *n = kube_map(ar);
    kube_set(ar, n, "type", kube_str(ar, TYPES[i]));
    kube_set(ar, n, "status", kube_str(ar, c->on ? "True" : "False"));
    kube_set(ar, n, "observedGeneration", kube_int(ar, kube_generation(pod_object(p))));
    kube_set(ar, n, "lastProbeTime", kube_nil(ar));
    kube_set(ar, n, "lastTransitionTime", kube_str(ar, c->since));
    kube_set(ar, n, "reason", text_or_nil(ar, c->reason));
    kube_set(ar, n, "message", text_or_nil(ar, c->message));
    kube_push(ar, list, n);
  }
  return list;
}

void status_adopt(pod_t *p) {
  for (int i = 0; i < CONDITIONS; i++) {
    kg_view_t c = shown_condition(p, kg_str(TYPES[i]));
    condition_t *mine = &p->cond[i];
    mine->type = TYPES[i];
    kg_str_t since = VIEW_STR(c, "lastTransitionTime");
    mine->there = since.n > 0;
    mine->on = kg_str_is(VIEW_STR(c, "status"), "True");
    snprintf(mine->since, sizeof mine->since, KG_STR_FMT, KG_STR_ARG(since));
  }
  snprintf(p->start_time, sizeof p->start_time, KG_STR_FMT, KG_STR_ARG(VIEW_STR(pod_object(p), "status", "startTime")));
}

/* --- the whole
 * --------------------------------------------------------------------------------------------------------- */

/* [{ip}] in the place of what is there. */
static kube_node_t *addresses(kube_arena_t *ar, const char *ip) {
  kube_node_t *list = kube_array(ar), *n = kube_map(ar), *order = kube_map(ar);
  kube_set(ar, order, "$patch", kube_str(ar, "replace"));
  kube_set(ar, n, "ip", kube_str(ar, ip));
  kube_push(ar, list, order);
  kube_push(ar, list, n);
  return list;
}

static void set_addresses(kube_arena_t *ar, kube_node_t *s, const pod_t *p) {
  const agent_t *a = p->agent;
  bool host = kg_view_bool(kg_view_get(pod_spec(p), "hostNetwork"), false);
  const char *ip = host ? a->ip : p->ip;
  if (a->ip) {
    kube_set(ar, s, "hostIP", kube_str(ar, a->ip));
    kube_set(ar, s, "hostIPs", addresses(ar, a->ip));
  }
  if (!ip || !*ip) return;
  kube_set(ar, s, "podIP", kube_str(ar, ip));
  kube_set(ar, s, "podIPs", addresses(ar, ip));
}

static void set_boxes(kube_arena_t *ar, kube_node_t *s, pod_t *p) {
  kube_node_t *main = kube_array(ar), *init = kube_array(ar), *ephemeral = kube_array(ar);
  for (size_t i = 0; i < p->nboxes; i++) {
    box_t *b = p->boxes[i];
    kube_push(ar, b->kind == BOX_MAIN ? main : b->kind == BOX_EPHEMERAL ? ephemeral : init, box_status(ar, b));
  }
  if (ephemeral->c.n) kube_set(ar, s, "ephemeralContainerStatuses", ephemeral);
  if (init->c.n) kube_set(ar, s, "initContainerStatuses", init);
  kube_set(ar, s, "containerStatuses", main);
}

/* Of a pod that has resources of its own, beside those of its containers. */
static void set_pod_amounts(kube_arena_t *ar, kube_node_t *s, kg_view_t own) {
  if (!kg_view_count(own)) return;
  kube_set(ar, s, "resources", kube_tree_parse(ar, own));
  kube_set(ar, s, "allocatedResources", kube_tree_parse(ar, kg_view_get(own, "requests")));
}

/* A strategic merge patch: conditions of others stay; the uid guards against a pod of the same name. */
static kg_doc_t *make_patch(pod_t *p) {
  kube_arena_t *ar = kube_arena_new();
  kube_node_t *patch = kube_map(ar), *s = kube_sub(ar, patch, "status");
  const char *phase = pod_phase(p);
  bool refused = p->fail_reason && !*p->start_time; /* nothing of it was ever begun */
  set_conditions(p, phase);
  kube_set(ar, kube_sub(ar, patch, "metadata"), "uid", kube_str(ar, p->is_static ? p->mirror_uid : p->uid));
  kube_set(ar, s, "observedGeneration", kube_int(ar, kube_generation(pod_object(p))));
  kube_set(ar, s, "phase", kube_str(ar, phase));
  if (!refused) kube_set(ar, s, "conditions", conditions_of(ar, p));
  if (p->fail_reason) kube_set(ar, s, "reason", kube_str(ar, p->fail_reason));
  if (p->fail_message) kube_set(ar, s, "message", kube_str(ar, p->fail_message));
  set_addresses(ar, s, p);
  if (*p->start_time) kube_set(ar, s, "startTime", kube_str(ar, p->start_time));
  if (!refused) set_boxes(ar, s, p);
  set_pod_amounts(ar, s, kg_view_get(pod_allocated(p), "resources"));
  kube_set(ar, s, "qosClass", kube_str(ar, pod_qos(pod_spec(p))));
  kg_doc_t *doc = kube_tree_doc(patch);
  kube_arena_free(ar);
  return doc;
}

static void on_retry(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  pod_t *p = arg;
  p->status_retry = 0;
  status_send(p);
}

static void answered(pod_t *p, box_t *b, const kg_msg_t *m) {
  (void)b;
  int code = kg_msg_code(m);
  p->sending = false;
  if (kg_msg_type(m) == KG_MSG_REPLY || code == KG_ENOTFOUND) return;
  kg_log(p->agent->ctx, KG_LOG_DEBUG, "status of pod %s/%s: %s", p->ns, p->name, kg_msg_text(m));
  kg_doc_clear(&p->sent);
  if (!p->status_retry) p->status_retry = kg_timer(p->agent->ctx, RETRY_MS, 0, on_retry, p);
}

/* One that had ended before we knew it keeps what the API says of it. */
static bool is_history(const pod_t *p) {
  return p->sent_final || p->gone || !p->doc || (p->is_static && !p->mirror_uid);
}

/* It runs in a moment, or the next one is made at once: what is in between is not told, as a kubelet, which does this
 * in one pass, does not see it. A wait that has a reason (no image, it does not start) is. */
static bool changes_over(const box_t *b) {
  if (b->wait_reason) return false;
  return (b->state == BOX_EXITED && b->renewing && b->step != STEP_PULL) ||
         (b->state == BOX_NONE && b->step == STEP_START);
}

static bool is_in_between(const pod_t *p) {
  for (size_t i = 0; i < p->nboxes && !pod_ending(p); i++)
    if (changes_over(p->boxes[i])) return true;
  return false;
}

void status_send(pod_t *p) {
  if (is_history(p) || p->sending || p->status_retry || is_in_between(p)) return;
  kg_doc_t *patch = make_patch(p);
  if (!patch || (p->sent && kg_view_equal(kg_view_of(p->sent), kg_view_of(patch)))) {
    kg_doc_unref(patch);
    return;
  }
  kg_doc_unref(p->sent);
  p->sent = patch;
  p->sending = true;
  op_t *op = pod_op(p, NULL, answered);
  kube_call_t call = {.gvr = {"", "v1", "pods"},
                      .ns = p->ns,
                      .name = p->name,
                      .sub = "status",
                      .object = patch,
                      .patch_type = "strategic",
                      .field_manager = "kubelet"};
  pod_op_set(op, kube_api_patch(p->agent->ctx, &call, pod_replied, op));
}

bool status_settled(const pod_t *p) {
  return is_history(p) || (!p->sending && !p->status_retry && p->sent);
}
