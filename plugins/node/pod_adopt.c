/* What runs already is taken over as it is: after a start of kogge, or when the runtime was away. */
#include <stdio.h>

#include "node.h"

/* --- containers
 * ---------------------------------------------------------------------------------------------------------- */

static bool newer(kg_view_t c, kg_view_t than) {
  return !kg_view_there(than) ||
         kg_view_int(kg_view_get(c, "attempt"), 0) > kg_view_int(kg_view_get(than, "attempt"), 0);
}

static kg_view_t sandbox_in(kg_view_t list, kg_str_t id) {
  for (kg_iter_t it = kg_iter(kg_view_get(list, "sandboxes")); kg_iter_next(&it);)
    if (kg_str_eq(VIEW_STR(it.value, "id"), id)) return it.value;
  return (kg_view_t){0};
}

/* Sandboxes are named after their pod's uid (pod_sync.c): nothing is looked up for each of all containers. */
static bool in_sandbox_of(const pod_t *p, kg_view_t container) {
  kg_str_t sandbox = VIEW_STR(container, "sandbox");
  size_t n = strlen(p->uid);
  return sandbox.n > n && !memcmp(sandbox.p, p->uid, n) && sandbox.p[n] == '-';
}

/* The two latest containers of this name. */
static void latest(const box_t *b, kg_view_t list, kg_view_t *now, kg_view_t *before) {
  *now = *before = (kg_view_t){0};
  for (kg_iter_t it = kg_iter(kg_view_get(list, "containers")); kg_iter_next(&it);) {
    if (!in_sandbox_of(b->pod, it.value) || !kg_str_is(VIEW_STR(it.value, "name"), b->name)) continue;
    if (newer(it.value, *now)) {
      *before = *now;
      *now = it.value;
    } else if (newer(it.value, *before)) {
      *before = it.value;
    }
  }
}

static void take_exit(box_t *b, kg_view_t c) {
  box_exited(b, kg_view_int(kg_view_get(c, "exitCode"), 0), kg_view_bool(kg_view_get(c, "oom"), false),
             kg_view_int(kg_view_get(c, "started"), 0), kg_view_int(kg_view_get(c, "finished"), 0), true);
}

static void take_id(box_t *b, kg_view_t c, kg_view_t list) {
  set_str(&b->id, kg_str_dup(VIEW_STR(c, "id")));
  set_str(&b->image, kg_str_dup(VIEW_STR(c, "image")));
  set_str(&b->image_id, kg_str_dup(VIEW_STR(c, "imageID")));
  box_user_known(b, c);
  b->attempt = kg_view_int(kg_view_get(c, "attempt"), 0);
  b->in_sandbox = kg_view_int(kg_view_get(sandbox_in(list, VIEW_STR(c, "sandbox")), "attempt"), 0);
}

/* What the API last said of it. */
static kg_view_t shown_status(const box_t *b) {
  const char *list = b->kind == BOX_MAIN        ? "containerStatuses"
                     : b->kind == BOX_EPHEMERAL ? "ephemeralContainerStatuses"
                                                : "initContainerStatuses";
  return kube_list_find(kg_view_path(pod_object(b->pod), "status", list, NULL), "name", kg_str(b->name));
}

static void found_running(box_t *b, kg_view_t c) {
  box_amounts_found(b, shown_status(b));
  box_is_running(b, kg_view_int(kg_view_get(c, "started"), 0));
}

static void adopt_box(box_t *b, kg_view_t list) {
  kg_view_t now, before;
  latest(b, list, &now, &before);
  if (kg_view_there(before)) {
    take_id(b, before, list);
    take_exit(b, before);
    b->last = b->end;
    b->end = (box_end_t){0};
    b->state = BOX_NONE;
  }
  if (!kg_view_there(now)) return;
  take_id(b, now, list);
  kg_str_t state = VIEW_STR(now, "state");
  if (kg_str_is(state, "running"))
    found_running(b, now);
  else if (kg_str_is(state, "exited"))
    take_exit(b, now);
  /* One that was made and not started is started by repeating what made it. */
}

/* It ran once and the runtime knows nothing of it: what the API last said, or that nobody knows. */
static void adopt_lost(box_t *b) {
  kg_view_t shown = shown_status(b), ended = kg_view_path(shown, "state", "terminated", NULL);
  kg_str_t id = VIEW_STR(shown, "containerID");
  bool waits = kg_view_there(kg_view_path(shown, "state", "waiting", NULL));
  if (waits) ended = kg_view_path(shown, "lastState", "terminated", NULL);
  if (waits && !kg_view_there(ended)) return; /* it was made, perhaps, and never ran */
  const char *slash = id.n > 3 ? memmem(id.p, id.n, "://", 3) : NULL;
  if (!slash) return;
  int64_t started = 0, finished = 0;
  set_str(&b->id, kg_str_dup((kg_str_t){slash + 3, (size_t)(id.p + id.n - slash - 3)}));
  b->attempt = kg_view_int(kg_view_get(shown, "restartCount"), 0);
  set_str(&b->image_id, kg_str_dup(VIEW_STR(shown, "imageID")));
  kube_time_parse(VIEW_STR(ended, "startedAt"), &started);
  kube_time_parse(VIEW_STR(ended, "finishedAt"), &finished);
  b->in_sandbox = -1;
  box_exited(b, kg_view_int(kg_view_get(ended, "exitCode"), 137), false, started, finished, kg_view_there(ended));
}

/* --- pods
 * ---------------------------------------------------------------------------------------------------------------- */

static kg_view_t latest_sandbox(const pod_t *p, kg_view_t list) {
  kg_view_t best = {0};
  for (kg_iter_t it = kg_iter(kg_view_get(list, "sandboxes")); kg_iter_next(&it);)
    if (kg_str_is(VIEW_STR(it.value, "uid"), p->uid) && newer(it.value, best)) best = it.value;
  return best;
}

static void take_sandbox(pod_t *p, kg_view_t s) {
  set_str(&p->sandbox_id, kg_str_dup(VIEW_STR(s, "id")));
  set_str(&p->ip, kg_str_dup(VIEW_STR(s, "ip")));
  set_str(&p->netns, kg_str_dup(VIEW_STR(s, "netns")));
  p->sandbox_attempt = kg_view_int(kg_view_get(s, "attempt"), 0);
  p->sandbox = SB_READY;
}

static void old_stopped(pod_t *p, box_t *b, const kg_msg_t *m) {
  (void)p, (void)b, (void)m;
}

/* Those that were not finished when kogge was killed, or whose name spaces have gone: they still hold an address. */
static void stop_old_sandboxes(pod_t *p, kg_view_t list) {
  for (kg_iter_t it = kg_iter(kg_view_get(list, "sandboxes")); kg_iter_next(&it);) {
    if (!kg_str_is(VIEW_STR(it.value, "uid"), p->uid) || kg_str_is(VIEW_STR(it.value, "state"), "ready")) continue;
    char *id = kg_str_dup(VIEW_STR(it.value, "id"));
    pod_call(p, NULL, "runtime.sandbox.stop", id_args(id ? id : ""), 0, old_stopped);
    free(id);
  }
}

void pod_adopt(pod_t *p, kg_view_t list) {
  kg_view_t s = latest_sandbox(p, list);
  bool ready = kg_str_is(VIEW_STR(s, "state"), "ready");
  if (ready)
    take_sandbox(p, s);
  else if (kg_view_there(s))
    p->sandbox_attempt = kg_view_int(kg_view_get(s, "attempt"), 0) + 1;
  if (p->finished && !ready) p->sandbox = SB_STOPPED;
  stop_old_sandboxes(p, list);
  backoffs_take(p);
  pod_allocation_found(p);
  for (size_t i = 0; i < p->nboxes; i++) {
    box_t *b = p->boxes[i];
    adopt_box(b, list);
    if (b->state == BOX_NONE && !b->id) adopt_lost(b);
    if (ready && b->kind == BOX_MAIN && b->state != BOX_NONE && b->in_sandbox == p->sandbox_attempt)
      p->initialized = true;
  }
}

static kg_view_t container_in(kg_view_t list, const char *id) {
  for (kg_iter_t it = kg_iter(kg_view_get(list, "containers")); kg_iter_next(&it);)
    if (kg_str_is(VIEW_STR(it.value, "id"), id)) return it.value;
  return (kg_view_t){0};
}

static void relist_box(box_t *b, kg_view_t list, int64_t asked_us) {
  if (b->step != STEP_IDLE || !b->id || b->state == BOX_EXITED) return;
  kg_view_t c = container_in(list, b->id);
  kg_str_t state = VIEW_STR(c, "state");
  if (kg_str_is(state, "exited"))
    take_exit(b, c);
  else if (kg_str_is(state, "running"))
    box_is_running(b, kg_view_int(kg_view_get(c, "started"), 0));
  else if (b->state == BOX_RUNNING && b->started_us < asked_us)
    box_exited(b, 137, false, b->started_us, 0, false);
}

/* The sandbox has gone (the machine was started again): a new one is made, and in it everything from the start. */
static void sandbox_lost(pod_t *p) {
  pod_event(p, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
  p->sandbox = pod_ending(p) ? SB_STOPPED : SB_NONE;
  p->sandbox_attempt++;
  p->initialized = false;
  set_str(&p->ip, NULL);
}

/* The runtime does not know the sandbox: it is another one, or has lost everything. Containers ended with it, not of
 * themselves; what failed or was waited for there may go well here. */
static void lost_with_runtime(pod_t *p) {
  for (size_t i = 0; i < p->nboxes; i++) {
    box_t *b = p->boxes[i];
    if (b->state == BOX_RUNNING) box_lost(b);
    b->retry_ms = b->pull_ms = 0;
  }
}

/* Nothing of it would run again: it needs no sandbox for that. */
static bool is_over(const pod_t *p) {
  for (size_t i = 0; i < p->nboxes; i++)
    if (p->boxes[i]->kind == BOX_MAIN && (p->boxes[i]->state != BOX_EXITED || box_restarts(p->boxes[i]))) return false;
  return true;
}

void pod_relisted(pod_t *p, kg_view_t list, int64_t asked_us) {
  bool known = p->sandbox != SB_READY || kg_view_there(sandbox_in(list, kg_str(p->sandbox_id)));
  if (!known) lost_with_runtime(p);
  for (size_t i = 0; i < p->nboxes; i++) relist_box(p->boxes[i], list, asked_us);
  if (p->sandbox != SB_READY) return;
  kg_view_t s = latest_sandbox(p, list);
  if (!kg_str_is(VIEW_STR(s, "id"), p->sandbox_id) || !kg_str_is(VIEW_STR(s, "state"), "ready")) sandbox_lost(p);
  if (p->sandbox == SB_NONE && is_over(p)) p->finished = true;
}
