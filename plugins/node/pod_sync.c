/* One look at a pod: what is the next step towards what is wanted? Each answer and each event leads to another look. */
#include <stdio.h>

#include "node.h"

enum {
  SANDBOX_TIMEOUT_MS = 120 * 1000,
  BACKOFF_FIRST_MS = 500,
  BACKOFF_LAST_MS = 122 * 1000,
  RETRY_MS = 1000,
  EVICT_GRACE_MS = 1000,
  FORCED_GRACE_MS = 1000 /* as a kubelet: never less than a second */
};

static int64_t now_of(const pod_t *p) {
  return kg_now_ms(p->agent->ctx);
}

static int64_t grow(int64_t *backoff) {
  *backoff = !*backoff ? BACKOFF_FIRST_MS : 2 * *backoff < BACKOFF_LAST_MS ? 2 * *backoff : BACKOFF_LAST_MS;
  return *backoff;
}

/* --- volumes and sandbox
 * ---------------------------------------------------------------------------------------------- */

static bool volumes_ready(pod_t *p) {
  kg_error_t err = {0};
  if (p->volumes == 1) return true;
  if (p->volumes_retry_ms > now_of(p)) {
    pod_wake(p, p->volumes_retry_ms);
    return false;
  }
  int r = volumes_prepare(p, &err);
  if (r == 0) {
    p->volumes = 1;
    storage_soon(p->agent);
    p->volumes_backoff_ms = 0;
    return true;
  }
  if (r < 0) {
    pod_event(p, "Warning", "FailedMount", "%s", err.text);
    p->volumes_retry_ms = now_of(p) + grow(&p->volumes_backoff_ms);
    pod_wake(p, p->volumes_retry_ms);
  }
  return false;
}

static void sandbox_failed(pod_t *p, const char *why) {
  p->sandbox = SB_NONE;
  p->sandbox_retry_ms = now_of(p) + grow(&p->sandbox_backoff_ms);
  pod_wake(p, p->sandbox_retry_ms);
  if (!pod_ending(p)) pod_event(p, "Warning", "FailedCreatePodSandBox", "Failed to create pod sandbox: %s", why);
}

static void sandbox_made(pod_t *p, box_t *b, const kg_msg_t *m) {
  (void)b;
  kg_view_t args = kg_msg_args(m);
  if (kg_msg_type(m) != KG_MSG_REPLY) return sandbox_failed(p, kg_msg_text(m));
  p->sandbox = SB_READY;
  p->sandbox_backoff_ms = 0;
  set_str(&p->ip, kg_str_dup(VIEW_STR(args, "ip")));
  set_str(&p->netns, kg_str_dup(VIEW_STR(args, "netns")));
}

/* One runtime runs all pods: it answers to its own name, and to those the configuration gives it (runtimeHandlers). */
static bool handler_is_ours(const agent_t *a, kg_str_t handler) {
  if (!handler.n || (a->runtime_name && kg_str_is(handler, a->runtime_name))) return true;
  for (kg_iter_t it = kg_iter(kg_view_get(kg_config(a->ctx), "runtimeHandlers")); kg_iter_next(&it);)
    if (kg_str_eq(handler, kg_view_str(it.value))) return true;
  return false;
}

/* 0: a runtime of this node is meant; 1: the class is not known yet; -1 with a sentence. */
static int check_class(const pod_t *p, kg_error_t *err) {
  kg_str_t name = VIEW_STR(pod_spec(p), "runtimeClassName");
  if (!name.n) return 0;
  kube_informer_t *classes = agent_runtime_classes(p->agent);
  kg_doc_t *class = classes ? kube_informer_get(classes, KG_STR(""), name) : NULL;
  if (!class && classes && !kube_informer_synced(classes)) return 1;
  kg_str_t handler = VIEW_STR(kg_view_of(class), "handler");
  if (!class) return kg_error_set(err, KG_ENOTFOUND, "RuntimeClass \"" KG_STR_FMT "\" not found", KG_STR_ARG(name));
  if (handler_is_ours(p->agent, handler)) return 0;
  return kg_error_set(err, KG_EINVAL, "no runtime for \"" KG_STR_FMT "\" is configured", KG_STR_ARG(handler));
}

static bool sandbox_ready(pod_t *p) {
  kg_error_t err = {0};
  if (p->sandbox == SB_READY) return true;
  if (p->sandbox != SB_NONE) return false;
  if (p->sandbox_retry_ms > now_of(p)) {
    pod_wake(p, p->sandbox_retry_ms);
    return false;
  }
  if (!kg_view_bool(kg_view_get(pod_spec(p), "hostUsers"), true)) {
    sandbox_failed(p, "user namespaces (hostUsers: false) are not supported by this node");
    return false;
  }
  int waits = check_class(p, &err);
  if (waits < 0) sandbox_failed(p, err.text);
  if (waits) return false;
  set_str(&p->sandbox_id, format("%s-%lld", p->uid, (long long)p->sandbox_attempt));
  p->sandbox = SB_STARTING;
  pod_call(p, NULL, "runtime.sandbox.run", sandbox_args(p, p->sandbox_id), SANDBOX_TIMEOUT_MS, sandbox_made);
  return false;
}

/* --- a pod that is to run
 * ---------------------------------------------------------------------------------------------- */

static bool init_done(const box_t *b) {
  return b->state == BOX_EXITED && b->end.exit == 0 && b->in_sandbox == b->pod->sandbox_attempt;
}

/* True: the next one may begin. */
static bool init_step(pod_t *p, box_t *b) {
  if (b->kind == BOX_SIDECAR) {
    box_ensure(b);
    return box_started(b);
  }
  if (init_done(b)) return true;
  bool failed = b->state == BOX_EXITED && b->in_sandbox == p->sandbox_attempt;
  if (failed && !box_restarts(b))
    p->finished = true;
  else
    box_ensure(b);
  return false;
}

static bool initialize(pod_t *p) {
  for (size_t i = 0; i < p->nboxes && !p->initialized; i++) {
    box_t *b = p->boxes[i];
    if ((b->kind == BOX_INIT || b->kind == BOX_SIDECAR) && !init_step(p, b)) return false;
  }
  p->initialized = true;
  return true;
}

static void run_containers(pod_t *p) {
  bool over = true;
  for (size_t i = 0; i < p->nboxes; i++) {
    box_t *b = p->boxes[i];
    bool ended = b->state == BOX_EXITED && b->step == STEP_IDLE && !box_restarts(b);
    if (b->kind == BOX_INIT || b->kind == BOX_EPHEMERAL || ended) continue;
    if (b->kind == BOX_MAIN) over = false;
    box_ensure(b);
  }
  if (over) p->finished = true;
}

static void check_deadline(pod_t *p) {
  kg_view_t limit = kg_view_get(pod_spec(p), "activeDeadlineSeconds");
  int64_t since;
  if (kg_view_type(limit) != KG_V_INT || pod_ending(p) || kube_time_parse(kg_str(p->start_time), &since)) return;
  int64_t left = kg_view_int(limit, 0) * 1000 - (kg_wall_us(p->agent->ctx) - since) / 1000;
  if (left > 0) return pod_wake(p, now_of(p) + left);
  p->fail_reason = "DeadlineExceeded";
  set_str(&p->fail_message, strdup("Pod was active on the node longer than the specified deadline"));
  pod_event(p, "Normal", "DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
}

/* Before anything of it has run. */
static void check_admission(pod_t *p) {
  char *message = NULL;
  const char *reason = *p->start_time || p->sandbox != SB_NONE ? NULL : pod_refused(p, &message);
  if (!reason) return;
  p->fail_reason = reason;
  set_str(&p->fail_message, format("Pod was rejected: %s", message ? message : ""));
  pod_event(p, "Warning", reason, "%s", message ? message : "");
  free(message);
}

static void sync_running(pod_t *p) {
  check_admission(p);
  if (p->fail_reason) return;
  if (!*p->start_time) now_text(p->agent, p->start_time);
  pod_allocate(p);
  check_deadline(p);
  if (pod_ending(p) || !volumes_ready(p) || !sandbox_ready(p)) return;
  for (size_t i = 0; i < p->nboxes; i++) {
    box_follow_image(p->boxes[i]);
    if (p->boxes[i]->kind == BOX_EPHEMERAL && p->boxes[i]->state == BOX_NONE) box_ensure(p->boxes[i]);
  }
  if (initialize(p)) run_containers(p);
  pod_resize(p);
  if (p->finished) pod_kick(p);
}

/* --- a pod that is to end
 * ---------------------------------------------------------------------------------------------- */

/* A pod whose object is gone while it runs was deleted by force: it is not asked what it would like. */
static int64_t grace_of(const pod_t *p) {
  if (p->fail_reason && !strcmp(p->fail_reason, "Evicted")) return EVICT_GRACE_MS;
  if (p->gone && !p->is_static) return FORCED_GRACE_MS;
  int64_t asked = kg_view_int(kg_view_path(pod_object(p), "metadata", "deletionGracePeriodSeconds", NULL), -1);
  if (asked < 0) asked = kg_view_int(kg_view_get(pod_spec(p), "terminationGracePeriodSeconds"), 30);
  return asked > 0 ? asked * 1000 : FORCED_GRACE_MS;
}

static void interrupt(box_t *b) {
  pod_t *p = b->pod;
  if (b->step == STEP_IMAGE || b->step == STEP_PULL) {
    pod_cancel(p, b->pull_call);
    b->step = STEP_IDLE;
  }
}

static void end_box(box_t *b, int64_t grace) {
  interrupt(b);
  if (b->state != BOX_RUNNING || b->step != STEP_IDLE) return;
  if (!b->stopping) box_event(b, "Normal", "Killing", "Stopping container %s", b->name);
  if (!b->stopping || grace < b->stop_grace_ms) box_stop(b, grace);
}

/* True: nothing runs and nothing is being started. All preStop hooks begin at once; sidecars end last, in the reverse
 * order of their start. */
static bool end_boxes(pod_t *p) {
  int64_t grace = grace_of(p);
  bool over = true;
  for (size_t i = 0; i < p->nboxes; i++) {
    box_t *b = p->boxes[i];
    end_box(b, grace);
    if (b->awaits_turn) box_signal(b);
    if (box_busy(b)) over = false;
  }
  return over;
}

static void sandbox_stopped(pod_t *p, box_t *b, const kg_msg_t *m) {
  (void)b;
  bool done = kg_msg_type(m) == KG_MSG_REPLY;
  p->sandbox = done ? SB_STOPPED : SB_READY;
  if (done) return;
  p->sandbox_retry_ms = now_of(p) + RETRY_MS;
  kg_log(p->agent->ctx, KG_LOG_WARN, "sandbox of pod %s/%s could not be stopped: %s", p->ns, p->name, kg_msg_text(m));
}

static bool sandbox_over(pod_t *p) {
  if (p->sandbox == SB_NONE) p->sandbox = SB_STOPPED;
  if (p->sandbox != SB_READY) return p->sandbox >= SB_STOPPED;
  if (p->sandbox_retry_ms > now_of(p)) {
    pod_wake(p, p->sandbox_retry_ms);
    return false;
  }
  p->sandbox = SB_STOPPING;
  pod_call(p, NULL, "runtime.sandbox.stop", id_args(p->sandbox_id), SANDBOX_TIMEOUT_MS, sandbox_stopped);
  return false;
}

static void delete_answered(pod_t *p, box_t *b, const kg_msg_t *m) {
  (void)b;
  if (kg_msg_type(m) == KG_MSG_REPLY || kg_msg_code(m) == KG_ENOTFOUND) return;
  p->delete_asked = false;
  pod_wake(p, now_of(p) + RETRY_MS);
}

/* Everything has ended and the API knows how: the object may go. */
static void finish_deletion(pod_t *p) {
  status_send(p);
  if (!kube_deleting(pod_object(p)) || p->delete_asked || !status_settled(p)) return;
  p->delete_asked = true;
  op_t *op = pod_op(p, NULL, delete_answered);
  kube_call_t call = {
      .gvr = {"", "v1", "pods"}, .ns = p->ns, .name = p->name, .grace_seconds = 0, .precondition_uid = p->uid};
  pod_op_set(op, kube_api_delete(p->agent->ctx, &call, pod_replied, op));
}

static void sync_ending(pod_t *p) {
  if (!end_boxes(p) || !sandbox_over(p)) return;
  if (p->volumes) {
    volumes_remove(p);
    pods_allocate_again(p->agent);
    p->volumes = 0;
  }
  if (p->gone)
    pod_remove(p);
  else
    finish_deletion(p);
}

void pod_sync(pod_t *p) {
  agent_t *a = p->agent;
  if (!a->active || !a->adopted) return;
  bool gone = p->gone; /* then the pod may be freed in here */
  if (!gone && !pod_ending(p)) sync_running(p);
  if (!gone && !pod_ending(p)) return status_send(p);
  if (!gone) status_send(p);
  sync_ending(p);
  if (!gone) status_send(p);
}
