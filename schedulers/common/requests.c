#include <stdio.h>

#include "kube/values.h"
#include "scheduler.h"

/* What a container without requests counts when nodes are scored, so that many of them spread too (as Kubernetes does).
 */
enum { NOTHING_CPU = 100, NOTHING_MEMORY = 200 << 20 };

int sched_resource_index(sched_t *s, kg_str_t name) {
  for (int i = 0; i < SCHED_RESOURCES; i++) {
    if (!s->resource[i]) s->resource[i] = kg_str_dup(name);
    if (!s->resource[i]) return -1;
    if (kg_str_is(name, s->resource[i])) return i;
  }
  return -1;
}

static int64_t amount(int resource, kg_view_t v) {
  int64_t n = 0;
  kg_str_t s = kg_view_str(v);
  char number[24];
  if (!s.p) { /* a plain number in the document */
    int len = snprintf(number, sizeof number, "%lld", (long long)kg_view_int(v, 0));
    s = (kg_str_t){number, (size_t)len};
  }
  if (resource == SCHED_CPU ? kube_quantity_milli(s, &n) : kube_quantity_value(s, &n)) return 0;
  return n;
}

static void read_list(sched_t *s, kg_view_t list, sched_amounts_t *out) {
  kg_iter_t it = kg_iter(list);
  while (kg_iter_next(&it)) {
    kg_str_t name = kg_view_str(it.key);
    if (kg_str_is(name, "pods")) continue;
    int i = sched_resource_index(s, name);
    if (i >= 0) out->of[i] = amount(i, it.value);
  }
}

static void add(sched_amounts_t *sum, const sched_amounts_t *a) {
  for (int i = 0; i < SCHED_RESOURCES; i++) sum->of[i] += a->of[i];
}
static void at_least(sched_amounts_t *max, const sched_amounts_t *a, const sched_amounts_t *plus) {
  for (int i = 0; i < SCHED_RESOURCES; i++) {
    int64_t v = a->of[i] + plus->of[i];
    if (v > max->of[i]) max->of[i] = v;
  }
}

static sched_amounts_t container_request(sched_t *s, kg_view_t container) {
  sched_amounts_t r = {0};
  read_list(s, kg_view_path(container, "resources", "requests", NULL), &r);
  return r;
}

/* Init containers run one after another before the others, but those that restart always (sidecars) stay (KEP-753). */
static sched_amounts_t init_request(sched_t *s, kg_view_t spec, sched_amounts_t *sidecars) {
  sched_amounts_t max = {0};
  *sidecars = (sched_amounts_t){0};
  kg_iter_t it = kg_iter(kg_view_get(spec, "initContainers"));
  while (kg_iter_next(&it)) {
    sched_amounts_t r = container_request(s, it.value);
    if (kg_str_is(kg_view_str(kg_view_get(it.value, "restartPolicy")), "Always"))
      add(sidecars, &r);
    else
      at_least(&max, &r, sidecars);
  }
  return max;
}

void sched_read_request(sched_t *s, kg_view_t pod, sched_pod_t *out) {
  kg_view_t spec = kg_view_get(pod, "spec");
  sched_amounts_t sidecars, sum = {0}, none = {0}, overhead = {0}, init = init_request(s, spec, &sidecars);
  out->scored_cpu = out->scored_memory = 0;
  kg_iter_t it = kg_iter(kg_view_get(spec, "containers"));
  while (kg_iter_next(&it)) {
    sched_amounts_t r = container_request(s, it.value);
    add(&sum, &r);
    out->scored_cpu += r.of[SCHED_CPU] ? r.of[SCHED_CPU] : NOTHING_CPU;
    out->scored_memory += r.of[SCHED_MEMORY] ? r.of[SCHED_MEMORY] : NOTHING_MEMORY;
  }
  add(&sum, &sidecars);
  at_least(&sum, &init, &none);
  read_list(s, kg_view_get(spec, "overhead"), &overhead);
  add(&sum, &overhead);
  out->request = sum;
  out->priority = kg_view_int(kg_view_get(spec, "priority"), 0);
}

void sched_read_allocatable(sched_t *s, kg_view_t node, sched_node_t *out) {
  kg_view_t list = kg_view_path(node, "status", "allocatable", NULL);
  if (!kg_view_there(list)) list = kg_view_path(node, "status", "capacity", NULL);
  out->allocatable = (sched_amounts_t){0};
  read_list(s, list, &out->allocatable);
  out->max_pods = amount(SCHED_RESOURCES, kg_view_get(list, "pods"));
}
