/* From one state of a service to the next, as commands. */
#include <stdio.h>

#include "proxy.h"

static const char *const PLACE_NAMES[PLACES] = {"services",   "services-inside", "node-ports", "node-ports-inside",
                                                "backends",   "node-backends",   "refused",    "node-refused",
                                                "restricted", "allowed"};
static const char *const PROTOCOLS[] = {"tcp", "udp", "sctp"};

static bool has_ip(place_t p) {
  return p != NODE_PORTS && p != NODE_INSIDE && p != NODE_BACKENDS && p != NODE_REFUSED;
}

static bool on_node(place_t p) {
  return p == NODE_PORTS || p == NODE_INSIDE;
}

static void put_key(kube_buf_t *b, const element_t *e) {
  if (b->n) kube_buf_addz(b, ", ");
  if (has_ip(e->place)) {
    ip_put(b, e->ip);
    kube_buf_addz(b, " . ");
  }
  kube_buf_fmt(b, "%s . %u", PROTOCOLS[e->protocol], e->port);
  if (e->place == BACKENDS || e->place == NODE_BACKENDS) kube_buf_fmt(b, " . %u", e->slot);
  if (e->place == ALLOWED) {
    kube_buf_addz(b, " . ");
    ip_put(b, e->slot);
    kube_buf_fmt(b, "/%u", e->bits);
  }
}

static void put_verdict(kube_buf_t *b, const element_t *e) {
  static const char *const chains[] = {"plain", "masq", "inside"};
  if (e->verdict == REJECT) return kube_buf_addz(b, " : goto refuse");
  if (e->verdict == DROP) return kube_buf_addz(b, " : drop");
  if (e->verdict == OWN) return kube_buf_fmt(b, " : goto pick-%u", e->to);
  kube_buf_fmt(b, " : goto %s%s-%u", on_node(e->place) ? "node-" : "", chains[e->verdict], e->to);
}

static void put_value(kube_buf_t *b, const element_t *e) {
  if (e->place == RESTRICTED || e->place == ALLOWED) return;
  if (e->place != BACKENDS && e->place != NODE_BACKENDS) return put_verdict(b, e);
  kube_buf_addz(b, " : ");
  ip_put(b, e->to);
  kube_buf_fmt(b, " . %u", e->to_port);
}

static void remove_element(change_t *c, const element_t *e) {
  put_key(&c->remove[e->place], e);
}

static void add_element(change_t *c, const element_t *e) {
  put_key(&c->add[e->place], e);
  put_value(&c->add[e->place], e);
}

/* Both are sorted. */
static void compare_elements(change_t *c, const elements_t *live, const elements_t *wanted) {
  size_t i = 0, j = 0;
  while (i < live->n || j < wanted->n) {
    int o = i == live->n ? 1 : j == wanted->n ? -1 : element_order(&live->all[i], &wanted->all[j]);
    if (o == 0 && element_equal(&live->all[i], &wanted->all[j])) {
      i++, j++;
      continue;
    }
    if (o <= 0) remove_element(c, &live->all[i++]);
    if (o >= 0) add_element(c, &wanted->all[j++]);
  }
}

/* --- affinity ----------------------------------------------------------------------------------------------------- */

static void backend_name(char name[64], const affinity_t *a, const backend_t *b) {
  snprintf(name, 64, "to-%u-%08x-%u", a->number, b->ip, b->port);
}

static bool has_backend(const affinity_t *a, const backend_t *b) {
  for (size_t i = 0; a && i < a->n; i++)
    if (a->backends[i].ip == b->ip && a->backends[i].port == b->port) return true;
  return false;
}

static void make_backend(kube_buf_t *b, const frame_t *f, const affinity_t *a, const backend_t *to) {
  char name[64];
  backend_name(name, a, to);
  kube_buf_fmt(b, "add set ip %s seen-%s { type ipv4_addr; flags dynamic,timeout; timeout %llds; }\n", f->table, name,
               (long long)a->timeout_s);
  kube_buf_fmt(b, "add chain ip %s %s\nadd rule ip %s %s meta l4proto %s update @seen-%s { ip saddr } %sdnat to ",
               f->table, name, f->table, name, PROTOCOLS[a->tag >> 20], name,
               a->masquerade ? "meta mark set meta mark | 0x4000 " : "");
  ip_put(b, to->ip);
  kube_buf_fmt(b, ":%u\n", to->port);
}

/* The sets of a chain can go only after its rules. */
static void drop_backend(kube_buf_t *b, const frame_t *f, const affinity_t *a, const backend_t *to) {
  char name[64];
  backend_name(name, a, to);
  kube_buf_fmt(b, "flush chain ip %s %s\ndelete chain ip %s %s\ndelete set ip %s seen-%s\n", f->table, name, f->table,
               name, f->table, name);
}

static void put_picks(kube_buf_t *b, const frame_t *f, const affinity_t *a) {
  char name[64];
  kube_buf_fmt(b, "flush chain ip %s pick-%u\n", f->table, a->number);
  for (size_t i = 0; i < a->n; i++) {
    backend_name(name, a, &a->backends[i]);
    kube_buf_fmt(b, "add rule ip %s pick-%u ip saddr @seen-%s goto %s\n", f->table, a->number, name, name);
  }
  kube_buf_fmt(b, "add rule ip %s pick-%u numgen random mod %zu vmap { ", f->table, a->number, a->n);
  for (size_t i = 0; i < a->n; i++) {
    backend_name(name, a, &a->backends[i]);
    kube_buf_fmt(b, "%s%zu : goto %s", i ? ", " : "", i, name);
  }
  kube_buf_addz(b, " }\n");
}

static const affinity_t *numbered(const affinity_t *all, size_t n, uint32_t number) {
  for (size_t i = 0; i < n; i++)
    if (all[i].number == number) return &all[i];
  return NULL;
}

static bool same_backends(const affinity_t *a, const affinity_t *b) {
  return a->n == b->n && !memcmp(a->backends, b->backends, a->n * sizeof *a->backends);
}

static void change_affinity(change_t *c, const frame_t *f, const affinity_t *old, const affinity_t *now) {
  if (old && same_backends(old, now)) return;
  if (!old) kube_buf_fmt(&c->chains, "add chain ip %s pick-%u\n", f->table, now->number);
  for (size_t i = 0; i < now->n; i++)
    if (!has_backend(old, &now->backends[i])) make_backend(&c->chains, f, now, &now->backends[i]);
  put_picks(&c->chains, f, now);
  for (size_t i = 0; old && i < old->n; i++)
    if (!has_backend(now, &old->backends[i])) drop_backend(&c->chains, f, old, &old->backends[i]);
}

static void drop_affinity(change_t *c, const frame_t *f, const affinity_t *a) {
  kube_buf_fmt(&c->after, "flush chain ip %s pick-%u\ndelete chain ip %s pick-%u\n", f->table, a->number, f->table,
               a->number);
  for (size_t i = 0; i < a->n; i++) drop_backend(&c->after, f, a, &a->backends[i]);
}

/* --- clients over UDP ----------------------------------------------------------------------------------------------
 */

static void led_to(leds_t *out, const element_t *e, uint32_t to, uint16_t to_port) {
  leds_add(out, (led_t){.ip = e->ip, .port = e->port, .to = to, .to_port = to_port});
}

/* The UDP frontends among live, and their backends if wanted. */
static void udp_frontends(leds_t *out, const elements_t *live, bool backends) {
  for (size_t i = 0; i < live->n; i++) {
    const element_t *e = &live->all[i];
    bool backend = e->place == BACKENDS || e->place == NODE_BACKENDS;
    if (e->protocol != UDP || e->place == RESTRICTED || e->place == ALLOWED || (backend && !backends)) continue;
    led_to(out, e, backend ? e->to : 0, backend ? e->to_port : 0);
  }
}

/* A service with affinity says its backends apart. */
static void udp_affinities(leds_t *out, const elements_t *live, const affinity_t *all, size_t n) {
  for (size_t i = 0; i < live->n; i++) {
    const element_t *e = &live->all[i];
    const affinity_t *a = e->protocol == UDP && e->verdict == OWN ? numbered(all, n, e->to) : NULL;
    for (size_t k = 0; a && k < a->n; k++) led_to(out, e, a->backends[k].ip, a->backends[k].port);
  }
}

void change_fresh(change_t *c, const frame_t *f, const service_t *s) {
  udp_frontends(&c->udp, &s->live, true);
  udp_affinities(&c->udp, &s->live, s->affinities, s->naffinities);
  const elements_t none = {0};
  for (size_t i = 0; i < s->naffinities; i++) change_affinity(c, f, NULL, &s->affinities[i]);
  compare_elements(c, &none, &s->live);
}

void change_service(change_t *c, const frame_t *f, service_t *s, elements_t wanted, affinity_t *affinities, size_t n) {
  for (size_t i = 0; i < n; i++)
    change_affinity(c, f, numbered(s->affinities, s->naffinities, affinities[i].number), &affinities[i]);
  compare_elements(c, &s->live, &wanted);
  udp_frontends(&c->udp, &s->live, false);
  udp_frontends(&c->udp, &wanted, true);
  udp_affinities(&c->udp, &wanted, affinities, n);
  for (size_t i = 0; i < s->naffinities; i++)
    if (!numbered(affinities, n, s->affinities[i].number)) drop_affinity(c, f, &s->affinities[i]);
  affinities_free(s->affinities, s->naffinities);
  s->affinities = affinities;
  s->naffinities = n;
  free(s->live.all);
  s->live = wanted;
}

/* --- two services with one address and port ----------------------------------------------------------------------- */

static int order_of_pointers(const void *a, const void *b) {
  return element_order(*(element_t *const *)a, *(element_t *const *)b);
}

static void compact(elements_t *e) {
  size_t n = 0;
  for (size_t i = 0; i < e->n; i++)
    if (e->all[i].place != PLACES) e->all[n++] = e->all[i];
  e->n = n;
}

size_t drop_duplicates(services_t *all) {
  size_t n = 0, k = 0, dropped = 0;
  for (service_t *s = NULL; (s = services_next(all, s));) n += s->live.n;
  element_t **sorted = malloc((n + 1) * sizeof *sorted);
  if (!sorted) return 0;
  for (service_t *s = NULL; (s = services_next(all, s));)
    for (size_t i = 0; i < s->live.n; i++) sorted[k++] = &s->live.all[i];
  qsort(sorted, n, sizeof(element_t *), order_of_pointers);
  const element_t *last = NULL;
  for (size_t i = 0; i < n; i++) {
    if (last && element_same_key(last, sorted[i])) {
      sorted[i]->place = PLACES;
      dropped++;
    } else {
      last = sorted[i];
    }
  }
  free(sorted);
  for (service_t *s = NULL; dropped && (s = services_next(all, s));) compact(&s->live);
  return dropped;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static void put_elements(kube_buf_t *b, const frame_t *f, const char *command, const kube_buf_t *groups) {
  for (int place = 0; place < PLACES; place++) {
    if (!groups[place].n) continue;
    kube_buf_fmt(b, "%s element ip %s %s { ", command, f->table, PLACE_NAMES[place]);
    kube_buf_add(b, groups[place].p, groups[place].n);
    kube_buf_addz(b, " }\n");
    b->failed |= groups[place].failed;
  }
}

bool change_empty(const change_t *c) {
  for (int i = 0; i < PLACES; i++)
    if (c->remove[i].n || c->add[i].n) return false;
  return !c->chains.n && !c->after.n;
}

void change_free(change_t *c) {
  for (int i = 0; i < PLACES; i++) {
    kube_buf_free(&c->remove[i]);
    kube_buf_free(&c->add[i]);
  }
  kube_buf_free(&c->chains);
  kube_buf_free(&c->after);
}

void change_text(change_t *c, const frame_t *f, kube_buf_t *b) {
  kube_buf_add(b, c->chains.p ? c->chains.p : "", c->chains.n);
  put_elements(b, f, "delete", c->remove);
  put_elements(b, f, "add", c->add);
  kube_buf_add(b, c->after.p ? c->after.p : "", c->after.n);
  b->failed |= c->chains.failed || c->after.failed;
  change_free(c);
}
