/* Makes pods and takes them away. */
#include <stdlib.h>
#include <string.h>

#include "job.h"

enum { BACKOFF_MS = 10 * 1000, BACKOFF_LAST_MS = 600 * 1000 };

/* --- deleting ----------------------------------------------------------------------------------------------------- */

typedef struct taking {
  pass_t *p;
  const jobpod_t *pod;
} taking_t;

static void let_go(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)self;
  const taking_t *t = arg;
  if (kg_msg_type(m) != KG_MSG_REPLY) return;
  ctl_pod_delete(ctx, s, &t->p->c->base, &t->p->c->ahead, t->p->doc, t->pod->object);
}

/* A pod of a job that has failed counts as failed; one that is taken away otherwise loses its finalizer first, so that
 * it counts for nothing. */
static void delete_pod(pass_t *p, jobpod_t *pod, bool counts) {
  if (counts || !pod->tracked) {
    ctl_pod_delete(p->ctx, p->sync, &p->c->base, &p->c->ahead, p->doc, pod->object);
  } else {
    taking_t *t = kube_arena_alloc(p->arena, sizeof *t);
    *t = (taking_t){p, pod};
    remove_finalizer(p->ctx, p->sync, pod->object, let_go, t);
  }
  p->ready -= pod->ready;
  pod->active = pod->ready = false;
  p->active--;
  p->terminating++;
}

static void delete_all(pass_t *p, bool count) {
  for (size_t i = 0; i < p->n; i++)
    if (p->pods[i].active) delete_pod(p, &p->pods[i], count);
}

/* Not ready before ready, younger before older; indexed: the highest index first. */
static int by_worth(const void *x, const void *y) {
  const jobpod_t *a = *(jobpod_t *const *)x, *b = *(jobpod_t *const *)y;
  if (a->index != b->index) return a->index > b->index ? -1 : 1;
  if (a->ready != b->ready) return a->ready ? 1 : -1;
  kg_str_t s = kg_view_str(kg_view_path(a->object, "metadata", "creationTimestamp", NULL)),
           t = kg_view_str(kg_view_path(b->object, "metadata", "creationTimestamp", NULL));
  return -kg_str_cmp(s, t);
}

static void delete_some(pass_t *p, int64_t n) {
  jobpod_t **order = kube_arena_alloc(p->arena, (p->n + 1) * sizeof *order);
  size_t count = 0;
  for (size_t i = 0; i < p->n; i++)
    if (p->pods[i].active) order[count++] = &p->pods[i];
  qsort(order, count, sizeof *order, by_worth);
  for (size_t i = 0; i < count && (int64_t)i < n; i++) delete_pod(p, order[i], false);
}

/* Of two active pods of one index, or one whose index is done, the surplus goes. */
static void delete_surplus(pass_t *p) {
  uint8_t *seen = kube_arena_alloc(p->arena, (size_t)p->completions + 1);
  for (size_t i = 0; i < p->n; i++) {
    jobpod_t *pod = &p->pods[i];
    if (!pod->active) continue;
    bool bad = pod->index < 0 || pod->index >= p->completions || seen[pod->index] || p->done[pod->index] ||
               p->lost[pod->index];
    if (!bad) seen[pod->index] = 1;
    if (bad) delete_pod(p, pod, false);
  }
}

/* --- creating ----------------------------------------------------------------------------------------------------- */

static void add_env(kube_arena_t *a, kube_node_t *containers) {
  for (uint32_t i = 0; containers && containers->type == KG_V_ARRAY && i < containers->c.n; i++) {
    kube_node_t *env = kube_get(containers->c.items[i], "env"), *e = kube_map(a);
    bool there = false;
    if (!env || env->type != KG_V_ARRAY) kube_set(a, containers->c.items[i], "env", env = kube_array(a));
    for (uint32_t k = 0; k < env->c.n; k++)
      there |= kg_str_is(kube_node_str(kube_get(env->c.items[k], "name")), "JOB_COMPLETION_INDEX");
    if (there) continue;
    kube_set(a, e, "name", kube_str(a, "JOB_COMPLETION_INDEX"));
    kube_node_t *ref = kube_sub(a, kube_sub(a, e, "valueFrom"), "fieldRef");
    kube_set(a, ref, "fieldPath", kube_str(a, "metadata.labels['" INDEX_NOTE "']"));
    kube_push(a, env, e);
  }
}

/* Failures of that index so far, as the next pod's annotations tell them on. */
static void note_failures(pass_t *p, kube_node_t *notes, int64_t index) {
  int64_t failures = 0, ignored = 0;
  for (size_t i = 0; i < p->n; i++) {
    const jobpod_t *pod = &p->pods[i];
    if (pod->index != index || !pod->failed) continue;
    int64_t f = note_int(pod->object, FAILURES_NOTE, 0) + (pod->action != POLICY_IGNORE),
            g = note_int(pod->object, IGNORED_NOTE, 0) + (pod->action == POLICY_IGNORE);
    if (f > failures) failures = f;
    if (g > ignored) ignored = g;
  }
  kube_set(p->arena, notes, FAILURES_NOTE, kube_strf(p->arena, "%lld", (long long)failures));
  if (ignored) kube_set(p->arena, notes, IGNORED_NOTE, kube_strf(p->arena, "%lld", (long long)ignored));
}

static void set_index(pass_t *p, kube_node_t *pod, int64_t index) {
  kube_arena_t *a = p->arena;
  kube_node_t *meta = kube_sub(a, pod, "metadata"), *spec = kube_sub(a, pod, "spec");
  kube_node_t *text = kube_strf(a, "%lld", (long long)index);
  kg_str_t name = kube_name(p->object);
  kube_set(a, kube_sub(a, meta, "annotations"), INDEX_NOTE, text);
  kube_set(a, kube_sub(a, meta, "labels"), INDEX_NOTE, text);
  kube_set(a, meta, "generateName", kube_strf(a, KG_STR_FMT "-%lld-", KG_STR_ARG(name), (long long)index));
  kube_set(a, spec, "hostname", kube_strf(a, KG_STR_FMT "-%lld", KG_STR_ARG(name), (long long)index));
  add_env(a, kube_get(spec, "containers"));
  add_env(a, kube_get(spec, "initContainers"));
  if (p->per_index) note_failures(p, kube_sub(a, meta, "annotations"), index);
}

static kube_node_t *pod_of(void *arg, size_t i) {
  pass_t *p = arg;
  kube_arena_t *a = p->arena;
  int64_t index = p->fresh ? p->fresh[i] : -1;
  ctl_owner_t owner = {p->object, "batch/v1", "Job", NULL};
  kube_node_t *pod = ctl_pod_from_template(a, kg_view_get(p->spec, "template"), &owner);
  kube_node_t *meta = kube_sub(a, pod, "metadata"), *list = kube_get(meta, "finalizers");
  if (!list || list->type != KG_V_ARRAY) kube_set(a, meta, "finalizers", list = kube_array(a));
  kube_push(a, list, kube_str(a, FINALIZER));
  if (index >= 0) set_index(p, pod, index);
  p->active++;
  return pod;
}

/* What was refused is tried again; what has ended is counted all the same. */
static void created(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  pass_t *p = arg;
  if (kg_msg_type(m) != KG_MSG_ERROR) return;
  p->active--;
  p->refused = true;
  ctl_sync_forgive(s);
}

static void send_pods(pass_t *p, int64_t n) {
  ctl_pods_create(p->ctx, p->sync, &p->c->base, &p->c->ahead, p->doc, (size_t)n, pod_of, created, p);
}

/* --- how long to wait after failures ------------------------------------------------------------------------------ */

/* Milliseconds until a pod may follow those that failed since the last success (of that index; -1: of all). */
static int64_t backoff_left(const pass_t *p, int64_t index) {
  int64_t success = 0, last = 0, n = 0;
  for (size_t i = 0; i < p->n; i++)
    if (p->pods[i].succeeded && index < 0 && p->pods[i].ended_us > success) success = p->pods[i].ended_us;
  for (size_t i = 0; i < p->n; i++) {
    const jobpod_t *pod = &p->pods[i];
    if (!pod->failed || pod->ended_us < success || (index >= 0 && pod->index != index)) continue;
    if (pod->action == POLICY_IGNORE) continue;
    n++;
    if (pod->ended_us > last) last = pod->ended_us;
  }
  if (!n) return 0;
  int64_t wait = n > 7 ? BACKOFF_LAST_MS : (int64_t)BACKOFF_MS << (n - 1);
  if (wait > BACKOFF_LAST_MS) wait = BACKOFF_LAST_MS;
  int64_t gone = (kg_wall_us(p->ctx) - last) / 1000;
  return wait - (gone > 0 ? gone : 0); /* less than none: the clock was put back */
}

static void later(pass_t *p, int64_t ms) {
  kube_queue_add_after(p->ctx, p->c->base.work.queue, ctl_sync_key(p->sync), ms + 1);
}

static void create_indexed(pass_t *p, int64_t n) {
  uint8_t *taken = kube_arena_alloc(p->arena, (size_t)p->completions + 1);
  int64_t soonest = INT64_MAX, found = 0;
  p->fresh = kube_arena_alloc(p->arena, (size_t)n * sizeof *p->fresh);
  for (size_t i = 0; i < p->n; i++) {
    const jobpod_t *pod = &p->pods[i];
    bool holds = pod->active || (pod->terminating && p->only_failed);
    if (holds && pod->index >= 0 && pod->index < p->completions) taken[pod->index] = 1;
  }
  for (int64_t i = 0; found < n && i < p->completions; i++) {
    if (taken[i] || p->done[i] || p->lost[i]) continue;
    int64_t wait = p->per_index ? backoff_left(p, i) : 0;
    if (wait > 0) {
      soonest = wait < soonest ? wait : soonest;
      continue;
    }
    p->fresh[found++] = i;
  }
  send_pods(p, found);
  if (soonest != INT64_MAX) later(p, soonest);
}

static void create_pods(pass_t *p, int64_t n) {
  int64_t wait = p->per_index ? 0 : backoff_left(p, -1);
  if (ctl_expects_creation(p->ctx, &p->c->ahead, ctl_sync_key(p->sync))) return;
  if (wait > 0) return later(p, wait);
  if (n > BURST) n = BURST;
  if (p->indexed) return create_indexed(p, n);
  send_pods(p, n);
}

/* --- how many ----------------------------------------------------------------------------------------------------- */

static int64_t wanted(const pass_t *p) {
  if (p->completions < 0) return p->succeeded > 0 ? p->active : p->parallelism;
  int64_t left = p->indexed ? p->completions - p->ndone - p->nlost : p->completions - p->succeeded;
  if (left < 0) left = 0;
  return left < p->parallelism ? left : p->parallelism;
}

void manage(pass_t *p) {
  if (is_ending(p) || p->suspended) return delete_all(p, is_ending(p));
  if (p->indexed) delete_surplus(p);
  int64_t want = wanted(p), have = p->active + (p->only_failed ? p->terminating : 0);
  if (p->active > want) return delete_some(p, p->active - want);
  if (have < want) create_pods(p, want - have);
}
