/* Pods make room for a more important one. */
#include <stdio.h>
#include <stdlib.h>

#include "explain.h"
#include "kube/values.h"
#include "preempt.h"

/* A victim under way: what its answers need to know. */
typedef struct sched_eviction {
  struct sched_eviction *prev, *next;
  kg_doc_t *victim;
  char ns[256], name[256], uid[64]; /* of the pod it goes for */
  char node[256];
} eviction_t;

static void end(sched_t *s, eviction_t *e) {
  if (e->prev)
    e->prev->next = e->next;
  else
    s->evictions = e->next;
  if (e->next) e->next->prev = e->prev;
  kg_doc_unref(e->victim);
  free(e);
}

void sched_free_evictions(sched_t *s) {
  while (s->evictions) end(s, s->evictions);
}

/* The last victim's answer is here: the pod may be tried again, at once if something happened meanwhile. */
static void over(kg_ctx_t *ctx, sched_t *s, eviction_t *e, bool failed) {
  kg_view_t v = kg_view_of(e->victim);
  sched_pod_t *victim = sched_pod_of(s, kube_namespace(v), kube_name(v), false);
  if (failed && victim && kg_str_eq(kube_uid(kg_view_of(victim->doc)), kube_uid(v))) victim->told = false;
  sched_pod_t *p = sched_pod_of(s, kg_str(e->ns), kg_str(e->name), false);
  if (p && p->evicting && kg_str_is(kube_uid(kg_view_of(p->doc)), e->uid)) {
    p->moved |= failed;
    if (!--p->evicting && p->moved) sched_unpark(ctx, s, p->why);
  }
  s->evicting--;
  end(s, e);
  sched_maybe_drained(ctx, s);
}

static bool answered(kg_ctx_t *ctx, const kg_msg_t *m, const char *what) {
  if (kg_msg_type(m) == KG_MSG_REPLY) return true;
  if (kg_msg_code(m) != KG_ENOTFOUND) kg_log(ctx, KG_LOG_WARN, "%s: %s", what, kg_msg_text(m));
  return false;
}

static void deleted(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  sched_t *s = self;
  eviction_t *e = arg;
  bool done = answered(ctx, m, "a pod that should make room was not deleted");
  s->preempted += done;
  if (done)
    kube_event(ctx, s->recorder, kg_view_of(e->victim), "Normal", "Preempted", "Preempted by pod %s on node %s", e->uid,
               e->node);
  over(ctx, s, e, !done);
}

static void marked(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  eviction_t *e = arg;
  if (!answered(ctx, m, "a pod that should make room could not be told why")) {
    over(ctx, self, e, true);
    return;
  }
  char ns[256], name[256], uid[64];
  kube_call_t call = sched_pod_call(e->victim, ns, name, NULL);
  snprintf(uid, sizeof uid, KG_STR_FMT, KG_STR_ARG(kube_uid(kg_view_of(e->victim))));
  call.precondition_uid = uid;
  kube_api_delete(ctx, &call, deleted, e);
}

static kg_doc_t *mark(kg_ctx_t *ctx, const sched_t *s, kg_view_t victim) {
  char now[32], why[300];
  kube_time_format(kg_wall_us(ctx), now);
  snprintf(why, sizeof why, "%s: preempting to accommodate a higher priority pod", s->scheduler_name);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "status");
  kg_pack_map(&p);
  kg_pack_key(&p, "conditions");
  kg_pack_array(&p);
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "type", "DisruptionTarget");
  kg_pack_kv_str(&p, "status", "True");
  kg_pack_kv_str(&p, "reason", "PreemptionByScheduler");
  kg_pack_kv_str(&p, "message", why);
  kg_pack_kv_int(&p, "observedGeneration", kube_generation(victim));
  kg_pack_kv_str(&p, "lastTransitionTime", now);
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void evict(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, sched_pod_t *victim, const char *node) {
  eviction_t *e = calloc(1, sizeof *e);
  char ns[256], name[256];
  if (!e) return;
  e->next = s->evictions;
  if (e->next) e->next->prev = e;
  s->evictions = e;
  e->victim = kg_doc_ref(victim->doc);
  sched_pod_call(p->doc, e->ns, e->name, NULL);
  snprintf(e->uid, sizeof e->uid, KG_STR_FMT, KG_STR_ARG(kube_uid(kg_view_of(p->doc))));
  snprintf(e->node, sizeof e->node, "%s", node);
  victim->told = true;
  p->evicting++;
  s->evicting++;
  kube_call_t call = sched_pod_call(e->victim, ns, name, "status");
  call.patch_type = "strategic";
  call.object = mark(ctx, s, kg_view_of(victim->doc));
  kube_api_patch(ctx, &call, marked, e);
  kg_doc_unref(call.object);
}

/* Less important pods that counted on the node look for another. */
static void disappoint(kg_ctx_t *ctx, sched_t *s, const sched_pod_t *p, int32_t node) {
  for (sched_pod_t *q = s->nominees, *next; q; q = next) {
    next = q->next_nominee;
    if (q->nominee != node || q->priority >= p->priority) continue;
    sched_nominate(s, q, -1);
    sched_explain(ctx, s, q, UNSCHEDULABLE, NULL, "");
    if (q->state == SCHED_PARKED) sched_enqueue(ctx, s, q);
  }
}

void sched_evict(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, const victims_t *v) {
  p->moved = false;
  for (size_t i = 0; i < v->n; i++) {
    sched_pod_t *victim = v->of[i].pod;
    if (!v->of[i].going) evict(ctx, s, p, victim, s->nodes[v->node].name);
  }
  disappoint(ctx, s, p, (int32_t)v->node);
  sched_nominate(s, p, (int32_t)v->node);
}
