/* The nodes and pods there are, and who is where. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/placement.h"
#include "kube/values.h"
#include "preempt.h"
#include "relations.h"

/* --- nodes
 * ------------------------------------------------------------------------------------------------------------ */

kg_str_t sched_label(const sched_node_t *n, kg_str_t key) {
  if (kg_str_eq(key, KG_STR(SCHED_HOSTNAME))) return n->hostname;
  if (kg_str_eq(key, KG_STR(SCHED_ZONE))) return n->zone;
  return kg_view_str(kg_view_get_str(n->labels, key));
}

/* Where the nodes of such names begin: an index and one; 0: none. */
static uint32_t *named(sched_t *s, kg_str_t name) {
  return &s->named[kg_hash_str(KG_HASH_START, name) % SCHED_NAMES];
}

sched_node_t *sched_node_named(sched_t *s, kg_str_t name) {
  uint32_t i = *named(s, name);
  while (i && !kg_str_is(name, s->nodes[i - 1].name)) i = s->nodes[i - 1].next;
  return i ? &s->nodes[i - 1] : NULL;
}

/* A node's slot stays when it goes: pods may still be counted on it, and it may come back. */
static sched_node_t *node_make(sched_t *s, kg_str_t name) {
  sched_node_t *n = sched_node_named(s, name);
  if (n) return n;
  if (s->n_nodes == s->room_nodes) {
    size_t room = s->room_nodes ? s->room_nodes * 2 : 16;
    sched_node_t *nodes = realloc(s->nodes, room * sizeof *nodes);
    if (nodes) s->nodes = nodes;
    uint32_t *fit = realloc(s->fit, room * sizeof *fit);
    if (fit) s->fit = fit;
    uint32_t *maybe = realloc(s->maybe, room * sizeof *maybe);
    if (maybe) s->maybe = maybe;
    if (!nodes || !fit || !maybe) return NULL;
    s->room_nodes = room;
  }
  n = &s->nodes[s->n_nodes];
  *n = (sched_node_t){.name = kg_str_dup(name)};
  if (!n->name) return NULL;
  n->next = *named(s, name);
  *named(s, name) = (uint32_t)++s->n_nodes;
  return n;
}

static kg_doc_t *copy_of(kg_view_t v) {
  return kg_doc_copy(v.p, kg_view_span(v));
}

/* What it may help. */
static unsigned helped_by(kg_view_t old, kg_view_t now) {
  static const struct {
    const char *part, *key;
    unsigned why;
  } parts[] = {{"metadata", "labels", SCHED_WHY_NODE | SCHED_WHY_SPREAD | SCHED_WHY_AFFINITY | SCHED_WHY_VOLUME},
               {"spec", "taints", SCHED_WHY_NODE | SCHED_WHY_SPREAD},
               {"spec", "unschedulable", SCHED_WHY_NODE},
               {"status", "allocatable", SCHED_WHY_ROOM}};
  unsigned why = SCHED_WHY_OTHER;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (!kg_view_equal(kg_view_path(old, parts[i].part, parts[i].key, NULL),
                       kg_view_path(now, parts[i].part, parts[i].key, NULL)))
      why |= parts[i].why;
  return why;
}

static void read_node(sched_t *s, sched_node_t *n) {
  kg_view_t v = kg_view_of(n->doc), spec = kg_view_get(v, "spec");
  n->labels = kube_labels(v);
  n->taints = kg_view_get(spec, "taints");
  n->unschedulable = kg_view_bool(kg_view_get(spec, "unschedulable"), false);
  n->hostname = kg_view_str(kg_view_get(n->labels, SCHED_HOSTNAME));
  n->zone = kg_view_str(kg_view_get(n->labels, SCHED_ZONE));
  sched_read_allocatable(s, v, n);
}

void sched_node_changed(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  sched_t *s = self;
  sched_node_t *n = node_make(s, kube_name(now));
  if (!n) {
    kg_log(ctx, KG_LOG_ERROR, "out of memory: a node is not seen");
    return;
  }
  kg_doc_t *doc = change == KUBE_DELETED
                      ? NULL
                      : kg_doc_ref(kube_informer_get(s->node_informer, (kg_str_t){NULL, 0}, kube_name(now)));
  if (change != KUBE_DELETED && !doc) doc = copy_of(now);
  unsigned why = change == KUBE_MODIFIED ? helped_by(old, now) : SCHED_WHY_ANY;
  kg_doc_unref(n->doc);
  n->doc = doc;
  if (doc) read_node(s, n);
  sched_unpark(ctx, s, why);
}

/* --- pods
 * -------------------------------------------------------------------------------------------------------------- */

static sched_pod_t **slot(sched_t *s, const char *key) {
  sched_pod_t **at = &s->pods[kg_hash_str(KG_HASH_START, kg_str(key)) % SCHED_BUCKETS];
  while (*at && strcmp((*at)->key, key) != 0) at = &(*at)->next;
  return at;
}

sched_pod_t *sched_pod_of(sched_t *s, kg_str_t ns, kg_str_t name, bool make) {
  char key[600];
  snprintf(key, sizeof key, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(ns), KG_STR_ARG(name));
  sched_pod_t **at = slot(s, key);
  if (*at || !make) return *at;
  sched_pod_t *p = calloc(1, sizeof *p);
  if (!p || !(p->key = strdup(key))) {
    free(p);
    return NULL;
  }
  p->node = p->nominee = -1;
  return *at = p;
}

static void forget_relations(sched_t *s, sched_pod_t *p) {
  if (p->terms) s->with_terms--;
  terms_free(p->terms);
  p->terms = NULL;
  sched_owner_leave(s, p->owner);
  p->owner = NULL;
}

/* Views, strings and selectors point into the document: it is read anew with each. */
static void read_pod(sched_t *s, sched_pod_t *p) {
  kg_view_t v = kg_view_of(p->doc);
  p->spec = kg_view_get(v, "spec");
  p->labels = kube_labels(v);
  p->space = kube_namespace(v);
  p->deleting = kube_deleting(v);
  p->ports = kube_wants_host_port(p->spec);
  p->choosy = kg_view_count(kg_view_get(p->spec, "nodeSelector")) > 0 ||
              kg_view_there(kg_view_path(p->spec, "affinity", "nodeAffinity", NULL));
  p->claims = sched_has_claims(v);
  p->terms = terms_read(v);
  if (p->terms) s->with_terms++;
  p->owner = sched_owner_join(s, kg_view_str(kg_view_get(kube_controller_ref(v), "uid")));
}

static void pod_free(sched_t *s, sched_pod_t *p) {
  sched_dequeue(s, p);
  sched_nominate(s, p, -1);
  sched_count(s, p, -1);
  forget_relations(s, p);
  *slot(s, p->key) = p->next;
  kg_doc_unref(p->doc);
  free(p->key);
  free(p);
}

static void count(sched_node_t *n, const sched_pod_t *p, int sign) {
  for (int i = 0; i < SCHED_RESOURCES; i++) n->used.of[i] += sign * p->request.of[i];
  n->scored_cpu += sign * p->scored_cpu;
  n->scored_memory += sign * p->scored_memory;
  n->pods += sign;
}

static void leave(sched_node_t *n, sched_pod_t *p) {
  count(n, p, -1);
  if (p->left)
    p->left->right = p->right;
  else
    n->guests = p->right;
  if (p->right) p->right->left = p->left;
}

static void come(sched_node_t *n, sched_pod_t *p) {
  count(n, p, 1);
  p->left = NULL;
  p->right = n->guests;
  if (p->right) p->right->left = p;
  n->guests = p;
}

void sched_count(sched_t *s, sched_pod_t *p, int32_t node) {
  if (p->node == node) return;
  if (p->node >= 0) leave(&s->nodes[p->node], p);
  if (p->node >= 0 && !p->deleting) sched_owner_count(s, p->owner, (uint32_t)p->node, -1);
  p->node = node;
  if (node >= 0) come(&s->nodes[node], p);
  if (node >= 0 && !p->deleting) sched_owner_count(s, p->owner, (uint32_t)node, 1);
}

static bool terminal(kg_view_t pod) {
  kg_str_t phase = kg_view_str(kg_view_path(pod, "status", "phase", NULL));
  return kg_str_is(phase, "Succeeded") || kg_str_is(phase, "Failed");
}

static bool gated(kg_view_t pod) {
  return kg_view_count(kg_view_path(pod, "spec", "schedulingGates", NULL)) > 0;
}

/* A pod of another name, or a new one in an old one's place: what was known of the old one does not hold. */
static void forget_if_other(sched_t *s, sched_pod_t *p, kg_view_t now) {
  if (!p->doc || kg_str_eq(kube_uid(kg_view_of(p->doc)), kube_uid(now))) return;
  sched_dequeue(s, p);
  sched_nominate(s, p, -1);
  sched_count(s, p, -1);
  p->attempts = p->evicting = 0;
  p->told = false;
  p->state = SCHED_IDLE;
}

static void update_doc(sched_t *s, sched_pod_t *p, kg_view_t old, kg_view_t now) {
  kg_doc_t *doc = kg_doc_ref(kube_informer_get(s->pod_informer, kube_namespace(now), kube_name(now)));
  if (!doc) doc = copy_of(now);
  int32_t node = p->node;
  sched_count(s, p, -1); /* requests may change by resize: count anew */
  forget_relations(s, p);
  kg_doc_unref(p->doc);
  p->doc = doc;
  read_pod(s, p);
  sched_read_request(s, now, p);
  sched_read_nominee(s, p, old);
  sched_count(s, p, node);
}

/* Pods that come may be those others want to be with, or are spread with; those that go make room, too. */
enum { CAME = SCHED_WHY_SPREAD | SCHED_WHY_AFFINITY, GONE = CAME | SCHED_WHY_ROOM | SCHED_WHY_OTHER };

static void pod_bound(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, kg_view_t now, kg_str_t node_name) {
  sched_dequeue(s, p);
  sched_nominate(s, p, -1);
  p->attempts = 0;
  bool same = p->node >= 0 && kg_str_is(node_name, s->nodes[p->node].name);
  sched_node_t *n = same ? &s->nodes[p->node] : node_make(s, node_name);
  bool was = p->node >= 0;
  sched_count(s, p, n && !terminal(now) ? (int32_t)(n - s->nodes) : -1);
  if (was && p->node < 0)
    sched_unpark(ctx, s, GONE);
  else if (!was)
    sched_unpark(ctx, s, CAME);
}

void sched_ns_changed(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)change, (void)old, (void)now, (void)arg;
  sched_unpark(ctx, self, SCHED_WHY_AFFINITY);
}

static bool ours(const sched_t *s, kg_view_t pod) {
  kg_str_t name = kg_view_str(kg_view_path(pod, "spec", "schedulerName", NULL));
  return kg_str_is(name.n ? name : KG_STR("default-scheduler"), s->scheduler_name);
}

/* It waits, and tolerates more now, or asks for less: at once again. */
static bool respecified(kg_view_t old, kg_view_t now) {
  return kg_view_there(old) && !kg_view_equal(kg_view_get(old, "spec"), kg_view_get(now, "spec"));
}

void sched_pod_changed(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)arg;
  sched_t *s = self;
  sched_pod_t *p = sched_pod_of(s, kube_namespace(now), kube_name(now), change != KUBE_DELETED);
  if (!p) return;
  if (change == KUBE_DELETED) {
    bool was = p->node >= 0;
    pod_free(s, p);
    if (was) sched_unpark(ctx, s, GONE);
    return;
  }
  forget_if_other(s, p, now);
  update_doc(s, p, old, now);
  kg_str_t node = kg_view_str(kg_view_path(now, "spec", "nodeName", NULL));
  bool relabelled = change == KUBE_MODIFIED && !kg_view_equal(kube_labels(old), kube_labels(now));
  if (p->node >= 0 && relabelled) sched_unpark(ctx, s, CAME);
  if (node.n)
    pod_bound(ctx, s, p, now, node);
  else if (!ours(s, now) || kube_deleting(now) || terminal(now) || gated(now))
    sched_dequeue(s, p);
  else if (p->node < 0 &&
           (p->state == SCHED_IDLE || (p->state == SCHED_PARKED && (relabelled || respecified(old, now)))))
    sched_enqueue(ctx, s, p);
}

void sched_free_cluster(sched_t *s) {
  for (size_t b = 0; b < SCHED_BUCKETS; b++)
    while (s->pods[b]) pod_free(s, s->pods[b]);
  for (size_t i = 0; i < s->n_nodes; i++) {
    kg_doc_unref(s->nodes[i].doc);
    free(s->nodes[i].name);
  }
  free(s->nodes);
  free(s->fit);
  free(s->maybe);
}
