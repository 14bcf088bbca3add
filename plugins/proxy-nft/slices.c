/* From EndpointSlices to backends. */
#include "kube/values.h"
#include "proxy.h"

static void add(backends_t *b, uint32_t ip, uint16_t port) {
  if (b->n == b->room) {
    size_t room = b->room ? b->room * 2 : 8;
    backend_t *all = realloc(b->all, room * sizeof *all);
    if (!all) return;
    b->all = all;
    b->room = room;
  }
  b->all[b->n++] = (backend_t){ip, port};
}

static int order(const void *a, const void *b) {
  const backend_t *x = a, *y = b;
  if (x->ip != y->ip) return x->ip < y->ip ? -1 : 1;
  return (x->port > y->port) - (x->port < y->port);
}

static void sort(backends_t *b) {
  size_t n = 0;
  if (b->n) qsort(b->all, b->n, sizeof *b->all, order);
  for (size_t i = 0; i < b->n; i++)
    if (!n || order(&b->all[i], &b->all[n - 1])) b->all[n++] = b->all[i];
  b->n = n > MOST ? MOST : n;
}

/* The number of the port with that name and protocol; 0: the slice has none. */
static uint16_t port_in(kg_view_t slice, kg_str_t name, protocol_t protocol) {
  for (kg_iter_t it = kg_iter(kg_view_get(slice, "ports")); kg_iter_next(&it);) {
    kg_str_t p = kg_view_str(kg_view_get(it.value, "protocol"));
    int64_t port = kg_view_int(kg_view_get(it.value, "port"), 0);
    if (kg_str_eq(kg_view_str(kg_view_get(it.value, "name")), name) && protocol_of(p) == protocol && port > 0 &&
        port < 65536)
      return (uint16_t)port;
  }
  return 0;
}

typedef struct sorted_out {
  backends_t ready, ending;             /* of all nodes */
  backends_t local_ready, local_ending; /* of this one */
} sorted_out_t;

static void see(sorted_out_t *s, kg_view_t endpoint, uint16_t port, const char *node) {
  kg_view_t conditions = kg_view_get(endpoint, "conditions");
  bool ready = kg_view_bool(kg_view_get(conditions, "ready"), true);
  bool serving = kg_view_bool(kg_view_get(conditions, "serving"), ready);
  bool ending = kg_view_bool(kg_view_get(conditions, "terminating"), false);
  bool local = kg_str_is(kg_view_str(kg_view_get(endpoint, "nodeName")), node);
  uint32_t ip;
  if (kube_ipv4(kg_view_str(kg_view_at(kg_view_get(endpoint, "addresses"), 0)), &ip) < 0) return;
  if (ready) {
    add(&s->ready, ip, port);
    if (local) add(&s->local_ready, ip, port);
  } else if (serving && ending) {
    add(&s->ending, ip, port);
    if (local) add(&s->local_ending, ip, port);
  }
}

static void choose(backends_t *first, backends_t *second, backends_t *chosen) {
  backends_t *one = first->n ? first : second, *other = first->n ? second : first;
  *chosen = *one;
  free(other->all);
  sort(chosen);
}

void backends_of(const service_t *s, kg_str_t port_name, protocol_t protocol, const char *node, backends_t *cluster,
                 backends_t *local) {
  sorted_out_t out = {0};
  for (size_t i = 0; i < s->nslices; i++) {
    kg_view_t slice = kg_view_of(s->slices[i]);
    if (!kg_str_is(kg_view_str(kg_view_get(slice, "addressType")), "IPv4")) continue;
    uint16_t port = port_in(slice, port_name, protocol);
    if (!port) continue;
    for (kg_iter_t it = kg_iter(kg_view_get(slice, "endpoints")); kg_iter_next(&it);) see(&out, it.value, port, node);
  }
  choose(&out.ready, &out.ending, cluster);
  choose(&out.local_ready, &out.local_ending, local);
}

size_t local_ready(const service_t *s, const char *node) {
  sorted_out_t out = {0};
  for (size_t i = 0; i < s->nslices; i++)
    for (kg_iter_t it = kg_iter(kg_view_get(kg_view_of(s->slices[i]), "endpoints")); kg_iter_next(&it);)
      see(&out, it.value, 0, node);
  sort(&out.local_ready);
  size_t n = out.local_ready.n;
  free(out.ready.all);
  free(out.ending.all);
  free(out.local_ready.all);
  free(out.local_ending.all);
  return n;
}
