/* One container: brought to run, brought to an end, and how often that is tried again. */
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>

#include "node.h"

enum {
  CRASH_FIRST_MS = 10 * 1000,
  CRASH_LAST_MS = 300 * 1000,
  PULL_SHOWN_MS = 5 * 1000,
  STOP_RETRY_MS = 1000,
  SIGNAL_RETRY_MS = 100,
  EPHEMERAL_MOST = 32, /* of one pod */
  LEAST_GRACE_MS = 2000,
  OLDEST_KEPT = 2 /* attempts */
};

/* --- what there is
 * ----------------------------------------------------------------------------------------------------- */

static void add_boxes(pod_t *p, const char *list, bool ephemeral) {
  for (kg_iter_t it = kg_iter(kg_view_get(pod_spec(p), list)); kg_iter_next(&it);) {
    if (p->nboxes == p->room || (ephemeral && pod_box(p, VIEW_STR(it.value, "name")))) continue;
    box_t *b = calloc(1, sizeof *b);
    if (!b) return;
    p->boxes[p->nboxes++] = b;
    b->pod = p;
    b->name = kg_str_dup(VIEW_STR(it.value, "name"));
    b->kind = ephemeral ? BOX_EPHEMERAL : BOX_MAIN;
    if (!strcmp(list, "initContainers"))
      b->kind = kg_str_is(VIEW_STR(it.value, "restartPolicy"), "Always") ? BOX_SIDECAR : BOX_INIT;
    for (int k = 0; k < PROBE_KINDS; k++) b->probe[k] = (probe_t){.box = b, .kind = (probe_kind_t)k};
  }
}

void boxes_make(pod_t *p) {
  kg_view_t spec = pod_spec(p);
  size_t n = kg_view_count(kg_view_get(spec, "containers")) + kg_view_count(kg_view_get(spec, "initContainers"));
  p->boxes = calloc(n + EPHEMERAL_MOST, sizeof *p->boxes);
  if (!p->boxes) return;
  p->room = n + EPHEMERAL_MOST;
  add_boxes(p, "initContainers", false);
  add_boxes(p, "containers", false);
  boxes_add_ephemeral(p);
}

void boxes_add_ephemeral(pod_t *p) {
  add_boxes(p, "ephemeralContainers", true);
}

const char *box_list(const box_t *b) {
  return b->kind == BOX_MAIN ? "containers" : b->kind == BOX_EPHEMERAL ? "ephemeralContainers" : "initContainers";
}

static void end_free(box_end_t *e) {
  free(e->id);
  free(e->message);
  *e = (box_end_t){0};
}

void box_free(box_t *b) {
  probes_stop(b);
  hook_cancel(b);
  kg_timer_cancel(b->pod->agent->ctx, b->timer);
  end_free(&b->end);
  end_free(&b->last);
  box_amounts_free(b);
  kg_doc_unref(b->user);
  char *const owned[] = {b->name, b->id, b->image, b->image_id, b->image_user, b->wait_message, b->pull_error};
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
  free(b);
}

box_t *pod_box(const pod_t *p, kg_str_t name) {
  for (size_t i = 0; i < p->nboxes; i++)
    if (kg_str_is(name, p->boxes[i]->name)) return p->boxes[i];
  return NULL;
}

kg_view_t box_spec(const box_t *b) {
  return kube_list_find(kg_view_get(pod_spec(b->pod), box_list(b)), "name", kg_str(b->name));
}

void box_id(const pod_t *p, const char *name, int64_t attempt, char *buf, size_t n) {
  snprintf(buf, n, "%s-%s-%lld", p->uid, name, (long long)attempt);
}

const char *box_shown_id(const char *id, char buf[SHOWN_ID]) {
  unsigned char sum[EVP_MAX_MD_SIZE] = {0};
  size_t n = strlen(id);
  bool is_one = n == SHOWN_ID - 1 && strspn(id, "0123456789abcdef") == n; /* from the API, of one long gone */
  if (is_one) return strcpy(buf, id);
  EVP_Digest(id, n, sum, NULL, EVP_sha256(), NULL);
  for (size_t i = 0; i < SHOWN_ID / 2; i++) snprintf(buf + 2 * i, 3, "%02x", sum[i]);
  return buf;
}

void box_log_path(const box_t *b, int64_t attempt, char *buf, size_t n) {
  snprintf(buf, n, "%s/%s/%lld.log", b->pod->logs, b->name, (long long)attempt);
}

void box_message_path(const box_t *b, int64_t attempt, char *buf, size_t n) {
  char dir[3072];
  pod_dir(b->pod, dir, sizeof dir);
  snprintf(buf, n, "%s/containers/%s/%lld", dir, b->name, (long long)attempt);
}

void box_wait(box_t *b, const char *reason, const char *fmt, ...) {
  char text[2048];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  b->wait_reason = reason;
  set_str(&b->wait_message, strdup(text));
}

bool box_started(const box_t *b) {
  const probe_t *startup = &b->probe[PROBE_STARTUP];
  return b->state == BOX_RUNNING && b->hook_done && (!startup->there || (startup->known && startup->good));
}

bool box_ready(const box_t *b) {
  const probe_t *readiness = &b->probe[PROBE_READINESS];
  if (b->kind == BOX_EPHEMERAL) return false;
  if (b->kind == BOX_INIT) return b->state == BOX_EXITED && b->end.exit == 0;
  return box_started(b) && (!readiness->there || (readiness->known && readiness->good));
}

bool box_busy(const box_t *b) {
  return b->state == BOX_RUNNING || b->step == STEP_CREATE || b->step == STEP_START;
}

bool box_policy_is(const box_t *b, const char *policy) {
  kg_str_t own = VIEW_STR(box_spec(b), "restartPolicy");
  return kg_str_is(own.n ? own : VIEW_STR(pod_spec(b->pod), "restartPolicy"), policy);
}

/* restartPolicyRules of a container with a restartPolicy of its own: the first that speaks of the exit code counts. */
static bool rule_restarts(const box_t *b) {
  kg_view_t spec = box_spec(b);
  if (!VIEW_STR(spec, "restartPolicy").n) return false;
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "restartPolicyRules")); kg_iter_next(&it);) {
    kg_view_t codes = kg_view_get(it.value, "exitCodes");
    bool in = false, not_in = kg_str_is(VIEW_STR(codes, "operator"), "NotIn");
    for (kg_iter_t v = kg_iter(kg_view_get(codes, "values")); kg_iter_next(&v);)
      in |= kg_view_int(v.value, -1) == b->end.exit;
    if (kg_view_there(codes) && in != not_in) return kg_str_is(VIEW_STR(it.value, "action"), "Restart");
  }
  return false;
}

bool box_restarts(const box_t *b) {
  if (b->kind == BOX_SIDECAR || b->renewing) return true;
  if (b->kind == BOX_EPHEMERAL) return false;
  if (rule_restarts(b)) return true;
  if (box_policy_is(b, "Never")) return false;
  if (b->kind == BOX_INIT || box_policy_is(b, "OnFailure")) return b->end.exit != 0;
  return true;
}

/* --- towards running
 * -------------------------------------------------------------------------------------------------- */

/* Milliseconds for which a container that ended must still wait; grows the backoff when it need not. The first restart
 * comes at once, and ten minutes without one forget what was. */
static int64_t crash_left(box_t *b) {
  int64_t now = kg_wall_us(b->pod->agent->ctx) / 1000, ended = b->end.finished_us / 1000;
  if (ended <= 0 || ended > now) ended = now;
  if (b->crash_ms && ended - b->crash_at > 2 * CRASH_LAST_MS) b->crash_ms = 0;
  if (b->crash_ms && now - ended < b->crash_ms) return b->crash_ms - (now - ended);
  b->crash_ms = !b->crash_ms ? CRASH_FIRST_MS : 2 * b->crash_ms < CRASH_LAST_MS ? 2 * b->crash_ms : CRASH_LAST_MS;
  b->crash_at = now;
  return 0;
}

/* True: it has to wait for its restart. */
static bool backing_off(box_t *b) {
  pod_t *p = b->pod;
  char text[32];
  int64_t left = crash_left(b);
  if (left <= 0) return false;
  go_duration(b->crash_ms, text);
  b->retry_ms = kg_now_ms(p->agent->ctx) + left;
  pod_wake(p, b->retry_ms);
  box_wait(b, "CrashLoopBackOff", "back-off %s restarting failed container=%s pod=%s_%s(%s)", text, b->name, p->name,
           p->ns, p->uid);
  box_event(b, "Warning", "BackOff", "Back-off restarting failed container %s in pod %s_%s(%s)", b->name, p->name,
            p->ns, p->uid);
  return true;
}

/* A failed pull shows its error for a while, then that it waits. */
static void show_pull_backoff(box_t *b, int64_t now) {
  pod_t *p = b->pod;
  if (!b->pull_error || !b->wait_reason || strcmp(b->wait_reason, "ErrImagePull") != 0) return;
  if (now < b->pull_failed_ms + PULL_SHOWN_MS) return pod_wake(p, b->pull_failed_ms + PULL_SHOWN_MS);
  kg_str_t image = VIEW_STR(box_spec(b), "image");
  box_wait(b, "ImagePullBackOff", "Back-off pulling image \"" KG_STR_FMT "\": ErrImagePull: %s", KG_STR_ARG(image),
           b->pull_error);
  box_event(b, "Normal", "BackOff", "Back-off pulling image \"" KG_STR_FMT "\"", KG_STR_ARG(image));
  box_event(b, "Warning", "Failed", "Error: ImagePullBackOff");
}

void box_ensure(box_t *b) {
  int64_t now = kg_now_ms(b->pod->agent->ctx);
  if (b->step != STEP_IDLE || b->state == BOX_RUNNING) return;
  if (b->retry_ms > now) {
    pod_wake(b->pod, b->retry_ms);
    return show_pull_backoff(b, now);
  }
  if (b->state == BOX_EXITED && !b->lost && backing_off(b)) return;
  box_image(b);
}

/* --- another image
 * -------------------------------------------------------------------------------------------------------- */

/* What was waited for was the other image's fault. */
static void forget_backoffs(box_t *b) {
  if (b->step == STEP_IMAGE || b->step == STEP_PULL) pod_cancel(b->pod, b->pull_call);
  b->step = STEP_IDLE;
  b->retry_ms = b->crash_ms = b->pull_ms = 0;
  set_str(&b->pull_error, NULL);
  set_str(&b->image, NULL);
}

void box_follow_image(box_t *b) {
  if (!b->image || kg_str_is(VIEW_STR(box_spec(b), "image"), b->image) || b->stopping) return;
  if (b->step == STEP_CREATE || b->step == STEP_START || b->kind == BOX_EPHEMERAL) return;
  if (b->state != BOX_RUNNING) return forget_backoffs(b);
  if (b->kind == BOX_INIT) return;
  box_event(b, "Normal", "Killing", "Container %s definition changed, will be restarted", b->name);
  b->crash_ms = 0;
  box_renew(b, box_grace(b));
}

void box_user_known(box_t *b, kg_view_t container) {
  kg_view_t user = kg_view_get(container, "user");
  kg_doc_unref(b->user);
  b->user = kg_view_type(user) == KG_V_MAP ? kg_doc_copy(user.p, kg_view_span(user)) : NULL;
}

/* --- running and ended
 * ------------------------------------------------------------------------------------------------ */

static void forget_message(box_t *b) {
  b->wait_reason = NULL;
  set_str(&b->wait_message, NULL);
}

static void ignored(pod_t *p, box_t *b, const kg_msg_t *m) {
  (void)p, (void)b, (void)m;
}

/* Of what has ended, the last one is kept for its log. */
static void remove_old(box_t *b) {
  char id[512], path[4096];
  if (b->attempt < OLDEST_KEPT) return;
  box_id(b->pod, b->name, b->attempt - OLDEST_KEPT, id, sizeof id);
  log_unlink(b, id);
  pod_call(b->pod, b, "runtime.container.remove", id_args(id), 0, ignored);
  box_message_path(b, b->attempt - OLDEST_KEPT, path, sizeof path);
  kube_remove_tree(path);
}

static void post_started(box_t *b, const char *error) {
  b->hook_running = false;
  b->hook_done = true;
  pod_kick(b->pod);
  if (!error) return;
  box_event(b, "Warning", "FailedPostStartHook", "PostStartHook failed");
  box_event(b, "Normal", "Killing", "FailedPostStartHook");
  kg_log(b->pod->agent->ctx, KG_LOG_INFO, "postStart of %s in pod %s/%s failed: %s", b->name, b->pod->ns, b->pod->name,
         error);
  box_stop(b, box_grace(b));
}

void box_is_running(box_t *b, int64_t started_us) {
  if (b->state == BOX_RUNNING || b->state == BOX_EXITED) return;
  bool ours = b->step != STEP_IDLE; /* else it was found running: its hook has been */
  b->state = BOX_RUNNING;
  b->step = STEP_IDLE;
  b->started_us = started_us ? started_us : kg_wall_us(b->pod->agent->ctx);
  b->retry_ms = 0;
  b->stopping = false;
  b->hook_done = !ours;
  log_link(b);
  forget_message(b);
  pod_kick(b->pod);
  probes_start(b);
  rotate_soon(b->pod->agent);
  if (!ours) return;
  box_event(b, "Normal", "Started", "Container started");
  remove_old(b);
  b->hook_running = true;
  box_run_hook(b, "postStart", -1, post_started);
}

static const char *reason_of(int64_t exit, bool oom, bool known) {
  return !known ? "ContainerStatusUnknown" : oom ? "OOMKilled" : exit ? "Error" : "Completed";
}

void box_exited(box_t *b, int64_t exit, bool oom, int64_t started_us, int64_t finished_us, bool known) {
  agent_t *a = b->pod->agent;
  probes_stop(b);
  hook_cancel(b);
  kg_timer_cancel(a->ctx, b->timer);
  b->timer = 0;
  end_free(&b->end);
  b->end = (box_end_t){.there = true,
                       .id = b->id ? strdup(b->id) : NULL,
                       .exit = exit,
                       .started_us = started_us ? started_us : b->started_us,
                       .finished_us = finished_us ? finished_us
                                      : known     ? kg_wall_us(a->ctx)
                                                  : 0,
                       .reason = reason_of(exit, oom, known)};
  b->state = BOX_EXITED;
  b->step = STEP_IDLE;
  b->lost = b->stopping = b->hook_running = b->hook_done = b->awaits_turn = false;
  b->retry_ms = 0;
  if (known) log_link(b); /* it ended before its start was told */
  forget_message(b);
  b->end.message = known ? box_termination_message(b) : strdup(LOST_MESSAGE);
  pod_kick(b->pod);
}

void box_lost(box_t *b) {
  box_exited(b, 137, false, b->started_us, 0, false);
  b->lost = true;
}

/* --- towards its end
 * --------------------------------------------------------------------------------------------------- */

static void on_stop_retry(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  box_t *b = arg;
  b->timer = 0;
  b->stopping = b->awaits_turn = false;
  pod_kick(b->pod);
}

static void on_signal_again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  box_t *b = arg;
  b->timer = 0;
  box_signal(b);
}

/* The end itself comes with the runtime's watch; without it the stop is repeated. A runtime that took another's place
 * is told what is left of the grace period. */
static void stop_answered(pod_t *p, box_t *b, const kg_msg_t *m) {
  if (b->state != BOX_RUNNING) return;
  if (kg_msg_code(m) == KG_EUNAVAILABLE && !b->timer) {
    b->timer = kg_timer(p->agent->ctx, SIGNAL_RETRY_MS, 0, on_signal_again, b);
    return;
  }
  if (kg_msg_type(m) == KG_MSG_ERROR)
    kg_log(p->agent->ctx, KG_LOG_WARN, "container %s in pod %s/%s could not be stopped: %s", b->name, p->ns, p->name,
           kg_msg_text(m));
  agent_relist(p->agent, 100);
  if (!b->timer) b->timer = kg_timer(p->agent->ctx, STOP_RETRY_MS, 0, on_stop_retry, b);
}

static void send_stop(box_t *b, int64_t grace_ms) {
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "id", b->id);
  kg_pack_kv_int(&k, "grace_ms", grace_ms);
  kg_pack_end(&k);
  pod_call(b->pod, b, "runtime.container.stop", kg_pack_doc(&k), grace_ms + 60 * 1000, stop_answered);
}

/* In a pod that ends, a sidecar ends after the containers it serves and the sidecars that came after it. */
static bool others_first(const box_t *b) {
  const pod_t *p = b->pod;
  if (b->kind != BOX_SIDECAR || !pod_ending(p)) return false;
  bool later = false;
  for (size_t i = 0; i < p->nboxes; i++) {
    const box_t *other = p->boxes[i];
    if (box_busy(other) && (other->kind != BOX_SIDECAR || later)) return true;
    later |= other == b;
  }
  return false;
}

/* Its hook is over. What hook and others left of the grace period, but some, is its own. */
void box_signal(box_t *b) {
  int64_t now = kg_now_ms(b->pod->agent->ctx), used = now - b->stop_began_ms, left = b->stop_grace_ms - used;
  if (b->state != BOX_RUNNING) return;
  b->awaits_turn = left > 0 && others_first(b);
  if (b->awaits_turn) return pod_wake(b->pod, now + left);
  send_stop(b, left > LEAST_GRACE_MS || used < 10 ? left : LEAST_GRACE_MS);
}

static void pre_stopped(box_t *b, const char *error) {
  if (error) box_event(b, "Warning", "FailedPreStopHook", "PreStopHook failed");
  b->hook_running = false;
  box_signal(b);
}

int64_t box_grace(const box_t *b) {
  return kg_view_int(kg_view_get(pod_spec(b->pod), "terminationGracePeriodSeconds"), 30) * 1000;
}

void box_renew(box_t *b, int64_t grace_ms) {
  b->renewing = true;
  box_stop(b, grace_ms);
}

void box_stop(box_t *b, int64_t grace_ms) {
  if (b->state != BOX_RUNNING) return;
  bool again = b->stopping;
  b->stopping = true;
  b->stop_grace_ms = grace_ms;
  b->stop_began_ms = kg_now_ms(b->pod->agent->ctx);
  hook_cancel(b); /* a postStart that still runs, or a preStop that had more time */
  if (again) return box_signal(b);
  b->hook_running = true;
  box_run_hook(b, "preStop", grace_ms, pre_stopped);
}
