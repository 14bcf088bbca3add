/* What the API shows of a container, and the phase of a pod. */
#include "node.h"

enum { MESSAGES_MOST = 12 * 1024 };

static void set_time(kube_arena_t *ar, kube_node_t *n, const char *key, int64_t us) {
  char text[32];
  if (us <= 0) {
    kube_set(ar, n, key, kube_nil(ar));
    return;
  }
  kube_time_format(us, text);
  kube_set(ar, n, key, kube_str(ar, text));
}

static kube_node_t *container_id(kube_arena_t *ar, const box_t *b, const char *id) {
  const char *runtime = b->pod->agent->runtime_name;
  char shown[SHOWN_ID];
  return kube_strf(ar, "%s://%s", runtime ? runtime : "unknown", box_shown_id(id, shown));
}

/* --- states
 * ------------------------------------------------------------------------------------------------------------ */

/* All containers of a pod together may say so much. */
static kube_node_t *message_of(kube_arena_t *ar, const box_t *b, const char *text) {
  size_t n = strlen(text), most = MESSAGES_MOST / b->pod->nboxes;
  if (n > most)
    for (n = most; n && (text[n] & 0xc0) == 0x80;) n--;
  return kube_strn(ar, (kg_str_t){text, n});
}

static kube_node_t *terminated(kube_arena_t *ar, const box_t *b, const box_end_t *e) {
  kube_node_t *n = kube_map(ar), *state = kube_map(ar);
  kube_set(ar, n, "exitCode", kube_int(ar, e->exit));
  kube_set(ar, n, "reason", kube_str(ar, e->reason));
  if (e->message) kube_set(ar, n, "message", message_of(ar, b, e->message));
  set_time(ar, n, "startedAt", e->started_us);
  if (!strcmp(e->reason, "StartError")) /* as containerd says it */
    kube_set(ar, n, "startedAt", kube_str(ar, "1970-01-01T00:00:00Z"));
  set_time(ar, n, "finishedAt", e->finished_us);
  if (e->id) kube_set(ar, n, "containerID", container_id(ar, b, e->id));
  kube_set(ar, state, "terminated", n);
  return state;
}

static bool has_init(const pod_t *p) {
  return p->nboxes && p->boxes[0]->kind != BOX_MAIN;
}

static kube_node_t *waiting(kube_arena_t *ar, const box_t *b) {
  kube_node_t *n = kube_map(ar), *state = kube_map(ar);
  const char *initial = has_init(b->pod) ? "PodInitializing" : "ContainerCreating";
  kube_set(ar, n, "reason", kube_str(ar, b->wait_reason ? b->wait_reason : initial));
  if (b->wait_reason && b->wait_message && *b->wait_message) kube_set(ar, n, "message", kube_str(ar, b->wait_message));
  kube_set(ar, state, "waiting", n);
  return state;
}

static kube_node_t *running(kube_arena_t *ar, const box_t *b) {
  kube_node_t *n = kube_map(ar), *state = kube_map(ar);
  set_time(ar, n, "startedAt", b->started_us);
  kube_set(ar, state, "running", n);
  return state;
}

/* It ended, and waits for something before it runs again. */
static bool waits_again(const box_t *b) {
  return b->state == BOX_EXITED && b->wait_reason && !pod_ending(b->pod);
}

/* It runs, and its postStart hook is not over: it does not count as running before that. */
static bool is_hooking(const box_t *b) {
  return b->state == BOX_RUNNING && !b->hook_done && !b->stopping;
}

/* Of a deleted pod, and nothing runs any more. */
static bool is_over(const pod_t *p) {
  return kube_deleting(pod_object(p)) && p->sandbox >= SB_STOPPED;
}

static bool never_begun(const box_t *b) {
  const pod_t *p = b->pod;
  return b->state == BOX_NONE && b->kind == BOX_MAIN && !p->fail_reason && is_over(p) &&
         (p->initialized || !has_init(p));
}

static kube_node_t *state_of(kube_arena_t *ar, const box_t *b, kube_node_t **last) {
  static const box_end_t unknown = {.exit = 137, .reason = "ContainerStatusUnknown", .message = LOST_MESSAGE};
  *last = b->last.there ? terminated(ar, b, &b->last) : kube_map(ar);
  if (never_begun(b)) return terminated(ar, b, &unknown);
  if (b->state == BOX_NONE || is_hooking(b)) return waiting(ar, b);
  if (b->state == BOX_RUNNING) return running(ar, b);
  kube_node_t *ended = terminated(ar, b, &b->end);
  if (!waits_again(b)) return ended;
  *last = ended;
  return waiting(ar, b);
}

/* --- the rest
 * ---------------------------------------------------------------------------------------------------------- */

static kube_node_t *user_of(kube_arena_t *ar, kg_view_t user) {
  kube_node_t *n = kube_map(ar), *linux_user = kube_sub(ar, n, "linux");
  kube_set(ar, linux_user, "uid", kube_int(ar, kg_view_int(kg_view_get(user, "uid"), 0)));
  kube_set(ar, linux_user, "gid", kube_int(ar, kg_view_int(kg_view_get(user, "gid"), 0)));
  kube_set(ar, linux_user, "supplementalGroups", kube_tree_parse(ar, kg_view_get(user, "additionalGids")));
  return n;
}

static kube_node_t *mounts_of(kube_arena_t *ar, const box_t *b, kg_view_t spec) {
  kube_node_t *list = kube_array(ar);
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "volumeMounts")); kg_iter_next(&it);) {
    kube_node_t *m = kube_map(ar);
    bool ro = kg_view_bool(kg_view_get(it.value, "readOnly"), false);
    kube_set(ar, m, "name", kube_strn(ar, VIEW_STR(it.value, "name")));
    kube_set(ar, m, "mountPath", kube_strn(ar, VIEW_STR(it.value, "mountPath")));
    if (ro) kube_set(ar, m, "readOnly", kube_bool(ar, true));
    bool all = ro && mount_is_recursive(b->pod, it.value, volume_named(b->pod, VIEW_STR(it.value, "name")));
    if (ro) kube_set(ar, m, "recursiveReadOnly", kube_str(ar, all ? "Enabled" : "Disabled"));
    kube_push(ar, list, m);
  }
  return list;
}

kube_node_t *box_status(kube_arena_t *ar, box_t *b) {
  kg_view_t spec = box_spec(b), resources = box_amounts(b),
            wanted = kg_view_path(box_allocated(b), "resources", "requests", NULL);
  kube_node_t *n = kube_map(ar), *last, *state = state_of(ar, b, &last), *mounts = mounts_of(ar, b, spec);
  kube_set(ar, n, "name", kube_str(ar, b->name));
  kube_set(ar, n, "state", state);
  kube_set(ar, n, "lastState", last);
  kube_set(ar, n, "ready", kube_bool(ar, box_ready(b)));
  kube_set(ar, n, "restartCount", kube_int(ar, b->attempt));
  kube_set(ar, n, "image", kube_strn(ar, VIEW_STR(spec, "image")));
  kube_set(ar, n, "imageID", kube_str(ar, b->image_id ? b->image_id : ""));
  if (b->id) kube_set(ar, n, "containerID", container_id(ar, b, b->id));
  kube_set(ar, n, "started", kube_bool(ar, box_started(b)));
  if (kg_view_count(resources)) {
    kube_set(ar, n, "resources", kube_tree_parse(ar, resources));
  }
  if (kg_view_there(wanted)) kube_set(ar, n, "allocatedResources", kube_tree_parse(ar, wanted));
  if (mounts->c.n) kube_set(ar, n, "volumeMounts", mounts);
  if (b->user) kube_set(ar, n, "user", user_of(ar, kg_view_of(b->user)));
  return n;
}

/* --- phase
 * ------------------------------------------------------------------------------------------------------------- */

typedef struct counts {
  unsigned waiting, running, stopped, restarts, succeeded, init_pending;
  bool init_failed;
} counts_t;

static void count_init(const box_t *b, counts_t *n) {
  bool ended = b->state == BOX_EXITED || (b->state == BOX_NONE && b->last.there);
  int64_t exit = b->state == BOX_EXITED ? b->end.exit : b->last.exit;
  if (!ended)
    n->init_pending++;
  else if (exit != 0 && b->state == BOX_EXITED && !box_restarts(b))
    n->init_failed = true;
  else if (exit != 0 || b->state != BOX_EXITED)
    n->init_pending++;
}

static void count_sidecar(const box_t *b, counts_t *n) {
  if (b->state == BOX_RUNNING) {
    n->running++;
    if (!box_started(b) && !b->pod->initialized) n->init_pending++;
  } else if (b->state == BOX_NONE && !b->last.there && !b->pod->initialized) {
    n->init_pending++;
  }
}

static void count_main(const box_t *b, counts_t *n) {
  bool ended = b->state == BOX_EXITED || b->last.there;
  if (is_hooking(b) && !ended) {
    n->waiting++;
  } else if (b->state == BOX_RUNNING) {
    n->running++;
  } else if (!ended) {
    n->waiting++;
  } else {
    n->stopped++;
    if (b->state == BOX_EXITED ? box_restarts(b) : true) n->restarts++;
    if ((b->state == BOX_EXITED ? b->end.exit : b->last.exit) == 0) n->succeeded++;
  }
}

/* pkg/kubelet getPhase: a pod that runs once is pending no more; one that is to end has its last phase when nothing of
 * it runs. */
const char *pod_phase(const pod_t *p) {
  counts_t n = {0};
  kg_str_t shown = VIEW_STR(pod_object(p), "status", "phase");
  if (kg_str_is(shown, "Succeeded")) return "Succeeded";
  if (kg_str_is(shown, "Failed") || p->fail_reason) return "Failed";
  for (size_t i = 0; i < p->nboxes; i++) {
    const box_t *b = p->boxes[i];
    if (b->kind == BOX_EPHEMERAL) continue;
    (b->kind == BOX_MAIN ? count_main : b->kind == BOX_INIT ? count_init : count_sidecar)(b, &n);
  }
  const char *idle = is_over(p) ? "Failed" : "Pending";
  if (n.init_failed) return n.running ? "Pending" : "Failed";
  if (n.init_pending || n.waiting) return idle;
  if (n.running) return "Running";
  if (!n.stopped) return idle;
  if (n.restarts && !pod_ending(p)) return "Running";
  return n.stopped == n.succeeded ? "Succeeded" : "Failed";
}
