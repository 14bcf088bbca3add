/* NodeMetrics and PodMetrics from readings. */
#include <stdio.h>

#include "metrics.h"

static kube_node_t *usage(kube_arena_t *ar, kg_view_t reading) {
  kube_node_t *u = kube_map(ar);
  int64_t rate = kg_view_int(kg_view_get(reading, "cpu_rate"), 0);
  kube_set(ar, u, "cpu", rate ? kube_strf(ar, "%lldn", (long long)rate) : kube_str(ar, "0"));
  kube_set(ar, u, "memory",
           kube_strf(ar, "%lldKi", (long long)kg_view_int(kg_view_get(reading, "memory_ws"), 0) / 1024));
  return u;
}

static kube_node_t *head(kube_arena_t *ar, kg_view_t object, const char *kind, kg_view_t reading) {
  kube_node_t *m = kube_map(ar), *meta = kube_map(ar);
  kg_view_t labels = kube_labels(object);
  char time[32];
  kube_time_format(kg_view_int(kg_view_get(reading, "time"), 0), time);
  kube_set(ar, m, "kind", kube_str(ar, kind));
  kube_set(ar, m, "apiVersion", kube_str(ar, "metrics.k8s.io/v1beta1"));
  kube_set(ar, meta, "name", kube_strn(ar, kube_name(object)));
  if (kube_namespace(object).n) kube_set(ar, meta, "namespace", kube_strn(ar, kube_namespace(object)));
  kube_set(ar, meta, "creationTimestamp", kube_str(ar, time));
  if (kg_view_count(labels)) kube_set(ar, meta, "labels", kube_tree_parse(ar, labels));
  kube_set(ar, m, "metadata", meta);
  kube_set(ar, m, "timestamp", kube_str(ar, time));
  double window = (double)kg_view_int(kg_view_get(reading, "window_us"), 0) / 1e6;
  kube_set(ar, m, "window", kube_strf(ar, "%.3fs", window));
  return m;
}

static kg_view_t reading_of(const question_t *q, kg_str_t node) {
  for (size_t i = 0; i < q->nreadings; i++)
    if (kg_str_eq(kg_view_str(kg_view_get(kg_view_of(q->readings[i]), "node")), node))
      return kg_view_of(q->readings[i]);
  return (kg_view_t){0};
}

static kube_node_t *node_metrics(kube_arena_t *ar, const question_t *q, kg_view_t node) {
  kg_view_t reading = reading_of(q, kube_name(node));
  if (!kg_view_there(reading)) return NULL;
  kube_node_t *m = head(ar, node, "NodeMetrics", reading);
  kube_set(ar, m, "usage", usage(ar, reading));
  return m;
}

static kube_node_t *pod_metrics(kube_arena_t *ar, const question_t *q, kg_view_t pod) {
  kg_view_t reading = reading_of(q, kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL)));
  kube_node_t *list = kube_array(ar);
  for (kg_iter_t it = kg_iter(kg_view_get(reading, "containers")); kg_iter_next(&it);) {
    if (!kg_str_eq(kg_view_str(kg_view_get(it.value, "pod")), kube_name(pod)) ||
        !kg_str_eq(kg_view_str(kg_view_get(it.value, "ns")), kube_namespace(pod)))
      continue;
    kube_node_t *c = kube_map(ar);
    kube_set(ar, c, "name", kube_strn(ar, kg_view_str(kg_view_get(it.value, "container"))));
    kube_set(ar, c, "usage", usage(ar, it.value));
    kube_push(ar, list, c);
  }
  if (!list->c.n) return NULL;
  kube_node_t *m = head(ar, pod, "PodMetrics", reading);
  kube_set(ar, m, "containers", list);
  return m;
}

static kg_doc_t *list_head(const question_t *q) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "kind", q->pods ? "PodMetricsList" : "NodeMetricsList");
  kg_pack_kv_str(&p, "apiVersion", "metrics.k8s.io/v1beta1");
  kg_pack_kv_str(&p, "rv", "");
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void not_there(kg_ctx_t *ctx, const question_t *q) {
  kg_str_t name = kg_view_str(kg_view_get(kg_msg_args(q->request), "name"));
  const char *kind = q->pods ? "podmetrics" : "nodemetrics";
  kg_fail(ctx, q->request, KG_ENOTFOUND, "%s.metrics.k8s.io \"" KG_STR_FMT "\" not found", kind, KG_STR_ARG(name));
}

void question_answer(kg_ctx_t *ctx, const question_t *q) {
  kube_arena_t *ar = kube_arena_new();
  kg_doc_t **docs = calloc(q->nobjects + 1, sizeof *docs), *args = list_head(q);
  size_t n = 0;
  for (size_t i = 0; docs && i < q->nobjects; i++) {
    kg_view_t object = kg_view_of(q->objects[i]);
    kube_node_t *m = q->pods ? pod_metrics(ar, q, object) : node_metrics(ar, q, object);
    if (m) docs[n++] = kube_tree_doc(m);
  }
  if (q->one && !n)
    not_there(ctx, q);
  else
    kg_reply(ctx, q->request, args, docs, n);
  for (size_t i = 0; i < n; i++) kg_doc_unref(docs[i]);
  free(docs);
  kg_doc_unref(args);
  kube_arena_free(ar);
}
