#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/values.h"
#include "scheduler.h"

enum { AT_ONCE = 64 }; /* bindings in flight */

static kube_call_t pod_call(const sched_pod_t *p, char ns[256], char name[256], const char *sub) {
  kg_view_t v = kg_view_of(p->doc);
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
    sched_unpark_related(ctx, s);
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
      if (kg_msg_code(m) != KG_ENOTFOUND) sched_park(ctx, s, p), sched_unpark_all(ctx, s);
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

static void bind(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, uint32_t node) {
  flight_t *f = calloc(1, sizeof *f);
  if (!f) return;
  f->next = s->flights;
  if (f->next) f->next->prev = f;
  s->flights = f;
  kube_call_t call = pod_call(p, f->ns, f->name, "binding");
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

/* --- when nothing fits
 * --------------------------------------------------------------------------------------------------- */

typedef struct {
  char text[16][160];
  unsigned count[16];
  size_t n;
} reasons_t;

static void note(reasons_t *r, const char *why) {
  size_t i = 0;
  while (i < r->n && strcmp(r->text[i], why) != 0) i++;
  if (i == r->n) {
    if (r->n == 16) return;
    snprintf(r->text[r->n++], sizeof r->text[0], "%s", why);
  }
  r->count[i]++;
}

static int by_text(const void *a, const void *b) {
  return strcmp(a, b);
}

static void sentence(reasons_t *r, size_t nodes, char *out, size_t size) {
  char parts[16][192];
  if (!nodes) {
    snprintf(out, size, "no nodes available to schedule pods");
    return;
  }
  for (size_t i = 0; i < r->n; i++) snprintf(parts[i], sizeof parts[i], "%u %s", r->count[i], r->text[i]);
  qsort(parts, r->n, sizeof parts[0], by_text);
  size_t at = (size_t)snprintf(out, size, "0/%zu nodes are available: ", nodes);
  for (size_t i = 0; i < r->n && at < size; i++)
    at += (size_t)snprintf(out + at, size - at, "%s%s", i ? ", " : "", parts[i]);
  if (at < size) snprintf(out + at, size - at, ".");
}

static kg_doc_t *condition_patch(kg_ctx_t *ctx, const char *message) {
  char now[32];
  kube_time_format(kg_wall_us(ctx), now);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "status");
  kg_pack_map(&p);
  kg_pack_key(&p, "conditions");
  kg_pack_array(&p);
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "type", "PodScheduled");
  kg_pack_kv_str(&p, "status", "False");
  kg_pack_kv_str(&p, "reason", "Unschedulable");
  kg_pack_kv_str(&p, "message", message);
  kg_pack_kv_str(&p, "lastTransitionTime", now);
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static bool said_already(const sched_pod_t *p, const char *message) {
  kg_iter_t it = kg_iter(kg_view_path(kg_view_of(p->doc), "status", "conditions", NULL));
  while (kg_iter_next(&it))
    if (kg_str_is(kg_view_str(kg_view_get(it.value, "type")), "PodScheduled"))
      return kg_str_is(kg_view_str(kg_view_get(it.value, "message")), message);
  return false;
}

static void unschedulable(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, const char *message) {
  char ns[256], name[256];
  kube_call_t call = pod_call(p, ns, name, "status");
  s->failed++;
  p->attempts++;
  sched_park(ctx, s, p);
  kube_event(ctx, s->recorder, kg_view_of(p->doc), "Warning", "FailedScheduling", "%s", message);
  if (said_already(p, message)) return;
  call.patch_type = "strategic";
  call.object = condition_patch(ctx, message);
  kube_api_patch(ctx, &call, NULL, NULL);
  kg_doc_unref(call.object);
}

/* --- one pod after the other
 * -------------------------------------------------------------------------------------------------- */

static void schedule(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p) {
  reasons_t reasons = {.n = 0};
  char buf[192], message[2048];
  size_t fit = 0, nodes = 0;
  if (!sched_relate(s, p)) {
    unschedulable(ctx, s, p, "the scheduler is out of memory");
    return;
  }
  for (size_t i = 0; i < s->n_nodes; i++) {
    if (!s->nodes[i].doc) continue;
    nodes++;
    const char *why = sched_filter(s, p, &s->nodes[i], buf, sizeof buf);
    if (!why && s->refine) why = s->refine(ctx, s, p, (uint32_t)i, buf, sizeof buf);
    if (why)
      note(&reasons, why);
    else
      s->fit[fit++] = (uint32_t)i;
  }
  if (fit) {
    size_t choice = s->pick(ctx, s, p, s->fit, fit);
    bind(ctx, s, p, s->fit[choice < fit ? choice : 0]);
    return;
  }
  sentence(&reasons, nodes, message, sizeof message);
  unschedulable(ctx, s, p, message);
}

void sched_work(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  sched_t *s = self;
  s->work_timer = 0;
  /* A few at a time: the lane has other plugins, and answers free more places. */
  for (int i = 0; i < 16 && s->first && s->binding < AT_ONCE && !s->draining; i++) schedule(ctx, s, s->first);
  if (s->binding < AT_ONCE) sched_kick(ctx, s);
}
