/* What is to be done now; in order, nothing is done before the one before is well. */
#include "statefulset.h"

static void replace_ended(pass_t *p, const member_t *m) {
  kg_str_t phase = kg_view_str(kg_view_path(m->object, "status", "phase", NULL)), ns = kube_namespace(p->object);
  bool failed = kg_str_is(phase, "Failed");
  kube_event(p->ctx, p->c->base.recorder, p->object, failed ? "Warning" : "Normal",
             failed ? "RecreatingFailedPod" : "RecreatingTerminatedPod",
             "StatefulSet " KG_STR_FMT "/" KG_STR_FMT " is recreating %s Pod " KG_STR_FMT, KG_STR_ARG(ns),
             KG_STR_ARG(kube_name(p->object)), failed ? "failed" : "terminated", KG_STR_ARG(kube_name(m->object)));
  pod_delete(p, m);
}

/* True: go on with the next one. */
static bool bring_up(pass_t *p, const member_t *m) {
  if (!kg_view_there(m->object)) {
    pod_create(p, m);
    return !p->monotonic;
  }
  claims_retain(p, m, false);
  if (m->deleting) return !p->monotonic;
  if (m->ended) {
    replace_ended(p, m);
    return !p->monotonic;
  }
  if (m->pending) claims_create(p, m);
  return !p->monotonic || (m->ready && m->available);
}

/* The pod that is the first not to be well may go though others wait for it. */
static const member_t *first_unhealthy(const pass_t *p) {
  for (int64_t i = 0; i < p->replicas; i++)
    if (kg_view_there(p->pods[i].object) && (!p->pods[i].ready || p->pods[i].deleting)) return &p->pods[i];
  for (size_t i = p->ncondemned; i-- > 0;)
    if (!p->condemned[i].ready || p->condemned[i].deleting) return &p->condemned[i];
  return NULL;
}

static bool take_down(pass_t *p, const member_t *m, const member_t *unhealthy) {
  claims_retain(p, m, true);
  if (m->deleting) return !p->monotonic;
  if (p->monotonic && m != unhealthy && !(m->ready && m->available)) return false;
  pod_delete(p, m);
  return !p->monotonic;
}

/* --- updates ------------------------------------------------------------------------------------------------------ */

static bool is_healthy(const member_t *m) {
  return kg_view_there(m->object) && m->ready && m->available && !m->deleting;
}

static void update(pass_t *p) {
  kg_view_t rolling = kg_view_path(p->spec, "updateStrategy", "rollingUpdate", NULL);
  int64_t partition = kg_view_int(kg_view_get(rolling, "partition"), 0), sick = 0;
  kg_view_t most = kg_view_get(rolling, "maxUnavailable");
  int64_t allowed = kg_view_there(most) ? ctl_resolve(most, p->replicas, false, 0) : 1;
  if (allowed < 1) allowed = 1;
  for (int64_t i = 0; i < p->replicas; i++) sick += !is_healthy(&p->pods[i]);
  for (int64_t i = p->replicas - 1; i >= partition && i >= 0; i--) {
    const member_t *m = &p->pods[i];
    bool old = kg_view_there(m->object) && !kg_str_eq(m->revision, p->update->name);
    if (old && !m->deleting) {
      bool well = is_healthy(m);
      if (well && sick >= allowed) return;
      pod_delete(p, m);
      sick += well;
      if (sick >= allowed) return;
    } else if (!is_healthy(m) && sick >= allowed) {
      return;
    }
  }
}

void roll(pass_t *p) {
  const member_t *unhealthy = first_unhealthy(p);
  for (int64_t i = 0; i < p->replicas; i++)
    if (!bring_up(p, &p->pods[i])) return;
  for (size_t i = 0; i < p->ncondemned; i++)
    if (!take_down(p, &p->condemned[i], unhealthy)) return;
  if (!kg_str_is(kg_view_str(kg_view_path(p->spec, "updateStrategy", "type", NULL)), "OnDelete")) update(p);
}
