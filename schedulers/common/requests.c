/* What pods ask for and nodes have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/values.h"
#include "scheduler.h"

/* What a container without requests counts when nodes are scored, so that many of them spread too (as Kubernetes does).
 */
enum { NOTHING_CPU = 100, NOTHING_MEMORY = 200 << 20 };

int sched_resource_index(sched_t *s, kg_str_t name) {
  int i = 0;
  while (i < SCHED_RESOURCES && s->resource[i] && !kg_str_is(name, s->resource[i])) i++;
  if (i == SCHED_RESOURCES) return -1;
  if (s->resource[i]) return i;
  char lack[300];
  snprintf(lack, sizeof lack, "Insufficient " KG_STR_FMT, KG_STR_ARG(name));
  if (!s->lack[i]) s->lack[i] = strdup(lack);
  if (s->lack[i]) s->resource[i] = kg_str_dup(name);
  return s->resource[i] ? i : -1;
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
    if (i >= 0)
      out->of[i] = amount(i, it.value);
    else
      s->nameless = true;
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

/* Of the same name among the statuses. */
static kg_view_t status_of(kg_view_t statuses, kg_view_t container) {
  return kube_list_find(statuses, "name", kg_view_str(kg_view_get(container, "name")));
}

/* What a container asks for and, while a resize is under way, what it was given or has (KEP-1287): the most of them.
 * One that says nothing about cpu or memory counts a little in `scored`. */
static void container_request(sched_t *s, kg_view_t container, kg_view_t status, sched_amounts_t *r,
                              sched_amounts_t *scored) {
  static const sched_amounts_t none;
  kg_view_t requests = kg_view_path(container, "resources", "requests", NULL);
  kg_view_t lists[] = {requests, kg_view_get(status, "allocatedResources"),
                       kg_view_path(status, "resources", "requests", NULL)};
  *r = none;
  for (size_t i = 0; i < 3; i++) {
    sched_amounts_t more = {0};
    read_list(s, lists[i], &more);
    at_least(r, &more, &none);
  }
  *scored = *r;
  if (!kg_view_there(kg_view_get(requests, "cpu"))) scored->of[SCHED_CPU] = NOTHING_CPU;
  if (!kg_view_there(kg_view_get(requests, "memory"))) scored->of[SCHED_MEMORY] = NOTHING_MEMORY;
}

typedef struct sums {
  sched_amounts_t all, sidecars, most; /* of all at once; of sidecars so far; while an init container runs */
} sums_t;

static void add_container(sums_t *t, const sched_amounts_t *r, bool init, bool sidecar) {
  if (init && !sidecar) {
    at_least(&t->most, r, &t->sidecars);
    return;
  }
  add(&t->all, r);
  if (sidecar) add(&t->sidecars, r);
}

/* Init containers run one after another before the others, but those that restart always (sidecars) stay (KEP-753). */
static void read_containers(sched_t *s, kg_view_t pod, bool init, sums_t *sum, sums_t *scored) {
  kg_view_t list = kg_view_path(pod, "spec", init ? "initContainers" : "containers", NULL);
  kg_view_t statuses = kg_view_path(pod, "status", init ? "initContainerStatuses" : "containerStatuses", NULL);
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) {
    bool sidecar = init && kg_str_is(kg_view_str(kg_view_get(it.value, "restartPolicy")), "Always");
    sched_amounts_t r, more;
    container_request(s, it.value, status_of(statuses, it.value), &r, &more);
    add_container(sum, &r, init, sidecar);
    add_container(scored, &more, init, sidecar);
  }
}

static bool of_whole_pods(int resource, kg_str_t name) {
  static const char huge[] = "hugepages-";
  return resource == SCHED_CPU || resource == SCHED_MEMORY ||
         (name.n > sizeof huge - 1 && memcmp(name.p, huge, sizeof huge - 1) == 0);
}

/* What the pod asks for as a whole stands above what its containers do (KEP-2837). */
static void read_whole(sched_t *s, kg_view_t pod, sums_t *sum, sums_t *scored) {
  for (kg_iter_t it = kg_iter(kg_view_path(pod, "spec", "resources", "requests", NULL)); kg_iter_next(&it);) {
    kg_str_t name = kg_view_str(it.key);
    int i = sched_resource_index(s, name);
    if (i >= 0 && of_whole_pods(i, name)) sum->all.of[i] = scored->all.of[i] = amount(i, it.value);
  }
}

void sched_read_request(sched_t *s, kg_view_t pod, sched_pod_t *out) {
  static const sched_amounts_t none;
  sums_t sum = {0}, scored = {0};
  sched_amounts_t overhead = {0};
  s->nameless = false;
  read_containers(s, pod, true, &sum, &scored);
  read_containers(s, pod, false, &sum, &scored);
  at_least(&sum.all, &sum.most, &none);
  at_least(&scored.all, &scored.most, &none);
  read_whole(s, pod, &sum, &scored);
  read_list(s, kg_view_path(pod, "spec", "overhead", NULL), &overhead);
  add(&sum.all, &overhead);
  add(&scored.all, &overhead);
  out->request = sum.all;
  out->scored_cpu = scored.all.of[SCHED_CPU];
  out->scored_memory = scored.all.of[SCHED_MEMORY];
  out->asks_more = s->nameless;
  out->priority = kg_view_int(kg_view_path(pod, "spec", "priority", NULL), 0);
}

void sched_read_allocatable(sched_t *s, kg_view_t node, sched_node_t *out) {
  kg_view_t list = kg_view_path(node, "status", "allocatable", NULL);
  if (!kg_view_there(list)) list = kg_view_path(node, "status", "capacity", NULL);
  out->allocatable = (sched_amounts_t){0};
  read_list(s, list, &out->allocatable);
  out->max_pods = amount(SCHED_RESOURCES, kg_view_get(list, "pods"));
}
