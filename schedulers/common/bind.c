/* A pod that found its node is bound to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/values.h"
#include "scheduler.h"

kube_call_t sched_pod_call(const kg_doc_t *pod, char ns[256], char name[256], const char *sub) {
  kg_view_t v = kg_view_of(pod);
  snprintf(ns, 256, KG_STR_FMT, KG_STR_ARG(kube_namespace(v)));
  snprintf(name, 256, KG_STR_FMT, KG_STR_ARG(kube_name(v)));
  return (kube_call_t){.gvr = {"", "v1", "pods"},
                       .ns = ns,
                       .name = name,
                       .sub = sub,
                       .field_manager = "kube-scheduler",
                       .grace_seconds = -1};
}

/* What the answer to a binding needs to know: the pod may be gone by then. */
typedef struct sched_flight {
  struct sched_flight *prev, *next; /* among those without an answer */
  char ns[256], name[256], uid[64], node[256];
} flight_t;

static void land(sched_t *s, flight_t *f) {
  if (f->prev)
    f->prev->next = f->next;
  else
    s->flights = f->next;
  if (f->next) f->next->prev = f->prev;
  free(f);
}

void sched_free_flights(sched_t *s) {
  while (s->flights) land(s, s->flights);
}

static void bound(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  sched_t *s = self;
  flight_t *f = arg;
  sched_pod_t *p = sched_pod_of(s, kg_str(f->ns), kg_str(f->name), false);
  if (p && (p->state != SCHED_BINDING || !kg_str_is(kube_uid(kg_view_of(p->doc)), f->uid))) p = NULL;
  s->binding--;
  if (p) p->state = SCHED_IDLE;
  if (kg_msg_type(m) == KG_MSG_REPLY) {
    s->bound++;
    sched_unpark(ctx, s, SCHED_WHY_SPREAD | SCHED_WHY_AFFINITY);
    if (p)
      kube_event(ctx, s->recorder, kg_view_of(p->doc), "Normal", "Scheduled", "Successfully assigned %s/%s to %s",
                 f->ns, f->name, f->node);
  } else {
    if (kg_msg_code(m) == KG_ECONFLICT) s->conflicts++;
    kg_log(ctx, KG_LOG_WARN, "binding of %s/%s to %s was refused: %s", f->ns, f->name, f->node, kg_msg_text(m));
    bool still = p && !kg_view_str(kg_view_path(kg_view_of(p->doc), "spec", "nodeName", NULL)).n;
    if (still) {
      sched_count(s, p, -1);
      p->attempts++;
      /* Lost in the store's or the kernel's trouble: again. Refused by the api: only a change of the pod can help. */
      if (kg_msg_code(m) != KG_ENOTFOUND) sched_park(ctx, s, p, SCHED_WHY_ANY), sched_unpark(ctx, s, SCHED_WHY_ANY);
    }
  }
  land(s, f);
  sched_maybe_drained(ctx, s);
  sched_kick(ctx, s);
}

static kg_doc_t *binding_doc(const flight_t *f) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "apiVersion", "v1");
  kg_pack_kv_str(&p, "kind", "Binding");
  kg_pack_key(&p, "metadata");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", f->name);
  kg_pack_kv_str(&p, "namespace", f->ns);
  kg_pack_kv_str(&p, "uid", f->uid);
  kg_pack_end(&p);
  kg_pack_key(&p, "target");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "apiVersion", "v1");
  kg_pack_kv_str(&p, "kind", "Node");
  kg_pack_kv_str(&p, "name", f->node);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

void sched_bind(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, uint32_t node) {
  flight_t *f = calloc(1, sizeof *f);
  if (!f) return;
  f->next = s->flights;
  if (f->next) f->next->prev = f;
  s->flights = f;
  kube_call_t call = sched_pod_call(p->doc, f->ns, f->name, "binding");
  snprintf(f->uid, sizeof f->uid, KG_STR_FMT, KG_STR_ARG(kube_uid(kg_view_of(p->doc))));
  snprintf(f->node, sizeof f->node, "%s", s->nodes[node].name);
  sched_dequeue(s, p);
  sched_count(s, p, (int32_t)node);
  p->state = SCHED_BINDING;
  s->binding++;
  call.object = binding_doc(f);
  kube_api_create(ctx, &call, bound, f);
  kg_doc_unref(call.object);
}
