/* ComponentStatuses: answered, not kept. Kubernetes' three names, each told by whether the plugins in its place answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

enum { PATIENCE_MS = 3000, PARTS = 6, TEXT = 200 };

/* A component is healthy when each of its parts answers. */
static const struct part {
  const char *component, *service, *topic;
} parts[PARTS] = {{"controller-manager", "controller/deployment", "plugin.ping"},
                  {"controller-manager", "controller/replicaset", "plugin.ping"},
                  {"controller-manager", "controller/endpoints", "plugin.ping"},
                  {"controller-manager", "controller/gc", "plugin.ping"},
                  {"etcd-0", "store", "store.status"},
                  {"scheduler", "scheduler", "plugin.ping"}};

typedef struct asked {
  req_t q; /* holds its message */
  bool one;
  unsigned left;
  struct answer {
    struct asked *of;
    char why[TEXT]; /* "": it is well */
  } answers[PARTS];
} asked_t;

static bool wants(const asked_t *s, const struct part *p) {
  return !s->one || kg_str_is(s->q.name, p->component);
}

static kube_node_t *condition_of(const asked_t *s, kube_arena_t *a, const char *component) {
  kube_node_t *c = kube_map(a);
  const char *why = "";
  for (int i = 0; i < PARTS && !*why; i++)
    if (!strcmp(parts[i].component, component)) why = s->answers[i].why;
  kube_set(a, c, "type", kube_str(a, "Healthy"));
  kube_set(a, c, "status", kube_str(a, *why ? "False" : "True"));
  kube_set(a, c, "message", kube_str(a, *why ? why : "ok"));
  return c;
}

static kg_doc_t *object_of(const asked_t *s, const char *component) {
  kube_arena_t *a = kube_arena_new();
  kube_node_t *o = kube_map(a), *conditions = kube_array(a);
  kube_set(a, o, "kind", kube_str(a, s->q.r->kind));
  kube_set(a, o, "apiVersion", kube_str(a, "v1"));
  kube_set(a, kube_sub(a, o, "metadata"), "name", kube_str(a, component));
  kube_push(a, conditions, condition_of(s, a, component));
  kube_set(a, o, "conditions", conditions);
  kg_doc_t *doc = kube_tree_doc(o);
  kube_arena_free(a);
  return doc;
}

static kg_doc_t *args_of(const asked_t *s) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  pack_list_head(&s->q, s->q.api->rev, &p);
  pack_warning(&s->q, &p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void tell(asked_t *s) {
  kg_doc_t *docs[PARTS], *args = args_of(s);
  size_t n = 0;
  for (int i = 0; i < PARTS; i++) {
    bool next = !i || strcmp(parts[i].component, parts[i - 1].component) != 0;
    if (next && wants(s, &parts[i]) && (docs[n] = object_of(s, parts[i].component))) n++;
  }
  kg_reply(s->q.ctx, s->q.m, args, docs, n);
  while (n) kg_doc_unref(docs[--n]);
  kg_doc_unref(args);
  kg_msg_unref((kg_msg_t *)s->q.m);
  free(s);
}

static void told(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  struct answer *answer = arg;
  if (kg_msg_type(m) != KG_MSG_REPLY) snprintf(answer->why, sizeof answer->why, "%s", kg_msg_text(m));
  if (!--answer->of->left) tell(answer->of);
}

static bool is_component(kg_str_t name) {
  for (int i = 0; i < PARTS; i++)
    if (kg_str_is(name, parts[i].component)) return true;
  return false;
}

bool component_asked(const req_t *q) {
  return q->r->virtual_ && is_resource(q->r, "", "componentstatuses");
}

void component_read(const req_t *q, bool one) {
  fault_t f;
  if (one && !is_component(q->name)) {
    fault_not_found(&f, q->r, q->name);
    return fault_answer(q, &f);
  }
  asked_t *s = calloc(1, sizeof *s);
  if (!s) return kg_fail(q->ctx, q->m, KG_EINTERNAL, "api: out of memory");
  *s = (asked_t){.q = *q, .one = one};
  s->q.m = kg_msg_ref(q->m);
  s->q.args = kg_msg_args(s->q.m);
  for (int i = 0; i < PARTS; i++) s->left += wants(s, &parts[i]);
  for (int i = 0; i < PARTS; i++) {
    s->answers[i].of = s;
    if (wants(s, &parts[i]))
      kg_send(q->ctx, &(kg_request_t){.service = parts[i].service,
                                      .topic = parts[i].topic,
                                      .timeout_ms = PATIENCE_MS,
                                      .fn = told,
                                      .arg = &s->answers[i]});
  }
}
