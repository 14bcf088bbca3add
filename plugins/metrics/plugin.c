/* The plugin: metrics.get and metrics.list, asked by the gateway for users who may. */
#include <stdio.h>

#include "metrics.h"

static void question_free(question_t *q) {
  for (size_t i = 0; i < q->nobjects; i++) kg_doc_unref(q->objects[i]);
  for (size_t i = 0; i < q->nreadings; i++) kg_doc_unref(q->readings[i]);
  free(q->objects);
  free(q->readings);
  kg_msg_unref(q->request);
  free(q);
}

static void read_one(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  question_t *q = arg;
  if (kg_msg_type(m) == KG_MSG_REPLY) q->readings[q->nreadings++] = kg_doc_ref(kg_msg_args_doc(m));
  if (--q->waiting) return;
  question_answer(ctx, q);
  question_free(q);
}

static kg_str_t node_of(const question_t *q, size_t i) {
  kg_view_t object = kg_view_of(q->objects[i]);
  return q->pods ? kg_view_str(kg_view_path(object, "spec", "nodeName", NULL)) : kube_name(object);
}

static bool seen_before(const question_t *q, size_t i) {
  for (size_t k = 0; k < i; k++)
    if (kg_str_eq(node_of(q, k), node_of(q, i))) return true;
  return false;
}

static void ask_node(kg_ctx_t *ctx, question_t *q, kg_str_t node) {
  char service[300];
  snprintf(service, sizeof service, "node/" KG_STR_FMT, KG_STR_ARG(node));
  kg_send(ctx,
          &(kg_request_t){.service = service, .topic = "node.stats", .timeout_ms = 5000, .fn = read_one, .arg = q});
}

static void read_nodes(kg_ctx_t *ctx, question_t *q) {
  q->readings = calloc(q->nobjects + 1, sizeof *q->readings);
  q->waiting = 1;
  for (size_t i = 0; q->readings && i < q->nobjects; i++) {
    if (!node_of(q, i).n || seen_before(q, i)) continue;
    q->waiting++;
    ask_node(ctx, q, node_of(q, i));
  }
  if (--q->waiting) return;
  question_answer(ctx, q);
  question_free(q);
}

static void objects_known(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  question_t *q = arg;
  size_t n = kg_msg_type(m) == KG_MSG_REPLY ? kg_msg_ndocs(m) : 0;
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    kg_fail(ctx, q->request, kg_msg_code(m), "%s", kg_msg_text(m));
    return question_free(q);
  }
  q->objects = calloc(n + 1, sizeof *q->objects);
  for (size_t i = 0; q->objects && i < n; i++) q->objects[q->nobjects++] = kg_doc_ref(kg_msg_doc(m, i));
  read_nodes(ctx, q);
}

/* The objects' own labels and fields choose. */
static void ask(kg_ctx_t *ctx, const kg_msg_t *m, bool one) {
  kg_view_t args = kg_msg_args(m);
  static const char *const keys[] = {"ns", "name", "labelSelector", "fieldSelector"};
  char *text[4];
  question_t *q = calloc(1, sizeof *q);
  if (!q) return kg_fail(ctx, m, KG_EINTERNAL, "out of memory");
  *q = (question_t){.request = kg_msg_ref(m), .one = one};
  q->pods = kg_str_is(kg_view_str(kg_view_get(args, "r")), "pods");
  for (int i = 0; i < 4; i++) text[i] = kg_str_dup(kg_view_str(kg_view_get(args, keys[i])));
  kube_call_t call = {.gvr = {"", "v1", q->pods ? "pods" : "nodes"}, .ns = text[0]};
  if (one)
    call.name = text[1];
  else
    call.label_selector = text[2], call.field_selector = text[3];
  (one ? kube_api_get : kube_api_list)(ctx, &call, objects_known, q);
  for (int i = 0; i < 4; i++) free(text[i]);
}

static void get(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  ask(ctx, m, true);
}

static void list(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  ask(ctx, m, false);
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_ready(ctx);
  return 0;
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx;
  *self = calloc(1, 1);
  return *self ? 0 : kg_error_set(err, KG_EINTERNAL, "out of memory");
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  free(self);
}

static const char *const services[] = {"metrics", NULL};
static const kg_handler_t handlers[] = {{"metrics.get", get}, {"metrics.list", list}, {0}};
KG_PLUGIN(.name = "metrics", .config_keys = "", .role = "metrics", .version = "0.1.0",
          .summary = "metrics.k8s.io: what nodes and pods use, read when asked", .services = services,
          .handlers = handlers, .create = create, .start = start, .destroy = destroy);
