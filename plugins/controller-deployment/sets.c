#include <stdlib.h>
#include <string.h>

#include "deployment.h"

const char *set_name(const pass_t *p, const set_t *s) {
  return ctl_text(p->arena, kube_name(s->object));
}

static int64_t note_number(kg_view_t object, const char *key) {
  kg_str_t s = kg_view_str(kube_annotation(object, key));
  char text[24] = "";
  if (s.n < sizeof text) memcpy(text, s.p ? s.p : "", s.n);
  return strtoll(text, NULL, 10);
}

static set_t read_set(kg_view_t object) {
  kg_view_t spec = kg_view_get(object, "spec"), status = kg_view_get(object, "status");
  set_t s = {.object = object, .min_ready = -1, .revision = note_number(object, NOTE_REVISION)};
  s.replicas = s.want = kg_view_int(kg_view_get(spec, "replicas"), 1);
  s.actual = kg_view_int(kg_view_get(status, "replicas"), 0);
  s.ready = kg_view_int(kg_view_get(status, "readyReplicas"), 0);
  s.terminating = kg_view_int(kg_view_get(status, "terminatingReplicas"), -1);
  s.available = kg_view_int(kg_view_get(status, "availableReplicas"), 0);
  kube_time_parse(kg_view_str(kg_view_path(object, "metadata", "creationTimestamp", NULL)), &s.created_us);
  return s;
}

static int by_age(const void *x, const void *y) {
  const set_t *a = x, *b = y;
  if (a->created_us != b->created_us) return a->created_us < b->created_us ? -1 : 1;
  return kg_str_cmp(kube_name(a->object), kube_name(b->object));
}

/* Equal but for the hash label that the controller added. */
static bool same_template(const pass_t *p, const kube_node_t *wanted, kg_view_t set) {
  kube_node_t *t = kube_tree_parse(p->arena, kg_view_path(set, "spec", "template", NULL));
  kube_node_t *labels = kube_path(t, "metadata", "labels", NULL);
  if (labels) kube_del(labels, HASH_LABEL);
  if (labels && !labels->c.n) kube_del(kube_get(t, "metadata"), "labels");
  return kube_tree_equal(wanted, t);
}

void sets_read(pass_t *p) {
  size_t first, count;
  kube_informer_ns(p->c->sets, kube_namespace(p->object), &first, &count);
  p->sets = kube_arena_alloc(p->arena, (count + 1) * sizeof *p->sets);
  for (size_t i = first; i < first + count; i++) {
    kg_doc_t *doc = kube_informer_at(p->c->sets, i);
    if (ctl_claim(p->ctx, p->sync, GVR_SETS, &p->owner, kg_view_of(doc)) != CTL_OURS) continue;
    p->sets[p->n++] = read_set(kg_view_of(ctl_keep(p->sync, doc)));
  }
  qsort(p->sets, p->n, sizeof *p->sets, by_age);
  kube_node_t *wanted = kube_tree_parse(p->arena, p->template);
  kube_node_t *labels = kube_path(wanted, "metadata", "labels", NULL);
  if (labels) kube_del(labels, HASH_LABEL);
  for (size_t i = 0; i < p->n && !p->newest; i++)
    if (same_template(p, wanted, p->sets[i].object)) p->newest = &p->sets[i];
}

int64_t sets_sum(const pass_t *p, size_t offset, bool old_only) {
  int64_t sum = 0, v;
  for (size_t i = 0; i < p->n; i++) {
    if (old_only && &p->sets[i] == p->newest) continue;
    memcpy(&v, (const char *)&p->sets[i] + offset, sizeof v);
    sum += v;
  }
  return sum;
}

/* --- writing
 * ----------------------------------------------------------------------------------------------------------- */

typedef struct scaling {
  kg_doc_t *deployment;
  const char *set;
  int64_t from, to;
} scaling_t;

static void scaled(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)s;
  const scaling_t *x = arg;
  if (kg_msg_type(m) == KG_MSG_ERROR) return;
  kube_event(ctx, ((dc_t *)self)->recorder, kg_view_of(x->deployment), "Normal", "ScalingReplicaSet",
             "Scaled %s replica set %s from %lld to %lld", x->to > x->from ? "up" : "down", x->set, (long long)x->from,
             (long long)x->to);
}

static kube_call_t call_for(pass_t *p, const set_t *s, kg_doc_t *body) {
  return (kube_call_t){.gvr = GVR_SETS,
                       .ns = ctl_text(p->arena, kube_namespace(s->object)),
                       .name = set_name(p, s),
                       .object = body,
                       .grace_seconds = -1};
}

/* The resourceVersion in the object makes a write that was decided on an old state fail. */
static void write_set(pass_t *p, set_t *s) {
  kube_arena_t *a = p->arena;
  kube_node_t *object = kube_tree_parse(a, s->object), *spec = kube_sub(a, object, "spec");
  if (s->want != s->replicas) {
    set_note(p, s, NOTE_DESIRED, p->replicas);
    set_note(p, s, NOTE_MAX, p->replicas + p->surge);
  }
  kube_set(a, spec, "replicas", kube_int(a, s->want));
  if (s->min_ready >= 0) kube_set(a, spec, "minReadySeconds", kube_int(a, s->min_ready));
  if (s->notes) kube_set(a, kube_sub(a, object, "metadata"), "annotations", s->notes);
  scaling_t *x = kube_arena_alloc(a, sizeof *x);
  *x = (scaling_t){p->doc, set_name(p, s), s->replicas, s->want};
  kg_doc_t *body = kube_tree_doc(object);
  kube_call_t call = call_for(p, s, body);
  ctl_send(p->ctx, p->sync, CTL_UPDATE, &call, s->want != s->replicas ? scaled : NULL, x);
  kg_doc_unref(body);
}

void sets_write(pass_t *p) {
  for (size_t i = 0; i < p->n; i++) {
    set_t *s = &p->sets[i];
    if (s->remove) {
      kube_call_t call = call_for(p, s, NULL);
      call.precondition_uid = ctl_text(p->arena, kube_uid(s->object));
      ctl_send(p->ctx, p->sync, CTL_DELETE, &call, NULL, NULL);
    } else if (s->want != s->replicas || s->notes || s->min_ready >= 0) {
      write_set(p, s);
    }
  }
}
