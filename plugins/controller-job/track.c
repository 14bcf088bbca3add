/* Counting each pod once. */
#include <string.h>

#include "job.h"

static kube_node_t *uncounted(pass_t *p, const char *what) {
  kube_node_t *u = kube_sub(p->arena, p->status, "uncountedTerminatedPods"), *list = kube_get(u, what);
  if (!list || list->type != KG_V_ARRAY) kube_set(p->arena, u, what, list = kube_array(p->arena));
  return list;
}

static jobpod_t *pod_of(pass_t *p, kg_str_t uid) {
  for (size_t i = 0; i < p->n; i++)
    if (kg_str_eq(p->pods[i].uid, uid)) return &p->pods[i];
  return NULL;
}

static int64_t count_of(const pass_t *p, const char *key) {
  return kube_node_int(kube_get(p->status, key), 0);
}

static void set_count(pass_t *p, const char *key, int64_t n, bool always) {
  if (n || always)
    kube_set(p->arena, p->status, key, kube_int(p->arena, n));
  else
    kube_del(p->status, key);
}

/* Those whose finalizer has gone become part of the number. Returns how many are still uncounted. */
static int64_t settle(pass_t *p, const char *what) {
  kube_node_t *list = uncounted(p, what);
  int64_t n = count_of(p, what);
  for (uint32_t i = 0; i < list->c.n; i++) {
    jobpod_t *pod = pod_of(p, kube_node_str(list->c.items[i]));
    if (pod && pod->tracked) {
      pod->uncounted = true;
      continue;
    }
    n++;
    kube_remove_at(list, i--);
  }
  set_count(p, what, n, false);
  return list->c.n;
}

static bool is_index(const pass_t *p, int64_t i) {
  return i >= 0 && i < p->completions;
}

/* The last failure of an index stays uncounted until a pod follows it: that pod reads from it how many there were. */
static bool is_awaited(const pass_t *p, const jobpod_t *pod) {
  if (is_ending(p) || kube_deleting(p->object) || p->done[pod->index] || p->lost[pod->index]) return false;
  for (size_t i = 0; i < p->n; i++) {
    const jobpod_t *other = &p->pods[i];
    if (other == pod || other->index != pod->index) continue;
    if (other->active || other->succeeded) return false;
    if (other->failed && other->tracked &&
        note_int(other->object, FAILURES_NOTE, 0) > note_int(pod->object, FAILURES_NOTE, 0))
      return false;
  }
  return true;
}

/* A pod that has ended since. */
static void note(pass_t *p, jobpod_t *pod) {
  bool good = pod->succeeded && (!p->indexed || (is_index(p, pod->index) && !p->done[pod->index]));
  bool bad = pod->failed && pod->action != POLICY_IGNORE && (!p->indexed || is_index(p, pod->index));
  if (pod->succeeded && p->indexed && is_index(p, pod->index)) p->done[pod->index] = 1;
  if (bad && p->per_index && !p->done[pod->index]) {
    int64_t before = note_int(pod->object, FAILURES_NOTE, 0);
    if (pod->action == POLICY_FAIL_INDEX || before >= p->max_failures) p->lost[pod->index] = 1;
    pod->delayed = is_awaited(p, pod);
    if (pod->delayed) return;
  }
  if (good || bad) kube_push(p->arena, uncounted(p, good ? "succeeded" : "failed"), kube_strn(p->arena, pod->uid));
  pod->uncounted = true; /* counted or not, it needs its finalizer no more */
}

static void read_indexes(pass_t *p) {
  size_t n = (size_t)(p->completions > 0 ? p->completions : 0) + 1;
  p->done = kube_arena_alloc(p->arena, n);
  p->lost = kube_arena_alloc(p->arena, n);
  index_parse(kube_node_str(kube_get(p->status, "completedIndexes")), p->done, p->completions);
  index_parse(kube_node_str(kube_get(p->status, "failedIndexes")), p->lost, p->completions);
}

void track_read(pass_t *p) {
  if (p->indexed) read_indexes(p);
  settle(p, "succeeded");
  settle(p, "failed");
  failure_policy(p);
  for (size_t i = 0; i < p->n; i++) {
    jobpod_t *pod = &p->pods[i];
    if (pod->tracked && !pod->uncounted && (pod->succeeded || pod->failed)) note(p, pod);
  }
  p->uncounted = uncounted(p, "succeeded")->c.n + uncounted(p, "failed")->c.n;
  for (size_t i = 0; i < p->n; i++) p->uncounted += p->pods[i].delayed || (p->pods[i].uncounted && p->pods[i].tracked);
  p->failed = count_of(p, "failed") + uncounted(p, "failed")->c.n;
  p->succeeded = count_of(p, "succeeded") + uncounted(p, "succeeded")->c.n;
  if (!p->indexed) return;
  p->ndone = index_count(p->done, p->completions);
  p->nlost = index_count(p->lost, p->completions);
}

static void drop_empty(pass_t *p, const char *what) {
  if (!uncounted(p, what)->c.n) kube_del(kube_get(p->status, "uncountedTerminatedPods"), what);
}

static void set_indexes(pass_t *p, const char *key, const uint8_t *flags) {
  kube_node_t *text = index_text(p->arena, flags, p->completions);
  if (text)
    kube_set(p->arena, p->status, key, text);
  else
    kube_del(p->status, key);
}

static void release(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *arg) {
  (void)self;
  pass_t *p = arg;
  if (p->refused) ctl_sync_failed(s);
  for (size_t i = 0; i < p->n; i++)
    if (p->pods[i].tracked && p->pods[i].uncounted) remove_finalizer(ctx, s, p->pods[i].object, NULL, NULL);
}

void track_write(kg_ctx_t *ctx, void *self, ctl_sync_t *s, void *pass) {
  (void)ctx, (void)self, (void)s;
  pass_t *p = pass;
  set_count(p, "active", p->active, false);
  set_count(p, "ready", p->ready, true);
  set_count(p, "terminating", p->terminating, true);
  drop_empty(p, "succeeded");
  drop_empty(p, "failed");
  if (p->indexed) set_indexes(p, "completedIndexes", p->done);
  if (p->per_index) set_indexes(p, "failedIndexes", p->lost);
  if (p->conditions->c.n) kube_set(p->arena, p->status, "conditions", p->conditions);
  ctl_send_status_guarded(p->ctx, p->sync, GVR_JOBS, p->object, p->status);
  ctl_sync_then(p->sync, release, p);
}
