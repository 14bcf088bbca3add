/* From pods to endpoints. */
#include <stdlib.h>
#include <string.h>

#include "endpoints.h"

endpoint_t *endpoint_add(pass_t *p) {
  if (p->n == p->room) {
    size_t room = p->room ? p->room * 2 : 16;
    endpoint_t *list = kube_arena_alloc(p->arena, room * sizeof *list);
    if (p->n) memcpy(list, p->list, p->n * sizeof *list);
    p->list = list;
    p->room = room;
  }
  endpoint_t *e = &p->list[p->n++];
  memset(e, 0, sizeof *e);
  return e;
}

/* --- ports -------------------------------------------------------------------------------------------------------- */

kube_node_t *port_node(kube_arena_t *a, kg_str_t name, kg_str_t protocol, int64_t port, kg_str_t app) {
  kube_node_t *n = kube_map(a);
  kube_set(a, n, "name", name.p ? kube_strn(a, name) : kube_str(a, ""));
  kube_set(a, n, "port", kube_int(a, port));
  kube_set(a, n, "protocol", protocol.n ? kube_strn(a, protocol) : kube_str(a, "TCP"));
  if (app.n) kube_set(a, n, "appProtocol", kube_strn(a, app));
  return n;
}

static int by_text(const void *x, const void *y) {
  return strcmp(*(char *const *)x, *(char *const *)y);
}

/* Ports without order. */
const char *ports_group(kube_arena_t *a, const char *family, const kube_node_t *ports) {
  uint32_t n = ports && ports->type == KG_V_ARRAY ? ports->c.n : 0;
  char **texts = kube_arena_alloc(a, (n + 1) * sizeof *texts), *out = kube_arena_fmt(a, "%s", family);
  for (uint32_t i = 0; i < n; i++) {
    const kube_node_t *p = ports->c.items[i];
    texts[i] = kube_arena_fmt(
        a, KG_STR_FMT "/" KG_STR_FMT "/%lld/" KG_STR_FMT, KG_STR_ARG(kube_node_str(kube_get(p, "name"))),
        KG_STR_ARG(kube_node_str(kube_get(p, "protocol"))), (long long)kube_node_int(kube_get(p, "port"), -1),
        KG_STR_ARG(kube_node_str(kube_get(p, "appProtocol"))));
  }
  qsort(texts, n, sizeof *texts, by_text);
  for (uint32_t i = 0; i < n; i++) out = kube_arena_fmt(a, "%s %s", out, texts[i]);
  return out;
}

/* Sidecars are init containers that may have ports, too. */
static int64_t named_port(kg_view_t pod, kg_str_t name, kg_str_t protocol) {
  static const char *const lists[] = {"containers", "initContainers"};
  for (size_t l = 0; l < 2; l++)
    for (kg_iter_t c = kg_iter(kg_view_path(pod, "spec", lists[l], NULL)); kg_iter_next(&c);) {
      if (l && !kg_str_is(kg_view_str(kg_view_get(c.value, "restartPolicy")), "Always")) continue;
      for (kg_iter_t it = kg_iter(kg_view_get(c.value, "ports")); kg_iter_next(&it);) {
        kg_str_t proto = kg_view_str(kg_view_get(it.value, "protocol"));
        if (kg_str_eq(kg_view_str(kg_view_get(it.value, "name")), name) &&
            kg_str_eq(proto.n ? proto : KG_STR("TCP"), protocol))
          return kg_view_int(kg_view_get(it.value, "containerPort"), -1);
      }
    }
  return -1;
}

static kube_node_t *ports_of(pass_t *p, kg_view_t pod) {
  kube_node_t *ports = kube_array(p->arena);
  for (kg_iter_t it = kg_iter(kg_view_path(p->service, "spec", "ports", NULL)); kg_iter_next(&it);) {
    kg_view_t target = kg_view_get(it.value, "targetPort");
    kg_str_t protocol = kg_view_str(kg_view_get(it.value, "protocol"));
    int64_t port =
        kg_view_type(target) == KG_V_STR ? named_port(pod, kg_view_str(target), protocol) : kg_view_int(target, 0);
    if (kg_view_type(target) == KG_V_INT && port == 0) port = kg_view_int(kg_view_get(it.value, "port"), -1);
    if (!kg_view_there(target)) port = kg_view_int(kg_view_get(it.value, "port"), -1);
    if (port < 0) continue;
    kube_push(p->arena, ports,
              port_node(p->arena, kg_view_str(kg_view_get(it.value, "name")), protocol, port,
                        kg_view_str(kg_view_get(it.value, "appProtocol"))));
  }
  return ports;
}

/* --- one pod ------------------------------------------------------------------------------------------------------ */

static kube_node_t *target_ref(kube_arena_t *a, kg_view_t pod) {
  kube_node_t *ref = kube_map(a);
  kube_set(a, ref, "kind", kube_str(a, "Pod"));
  kube_set(a, ref, "namespace", kube_strn(a, kube_namespace(pod)));
  kube_set(a, ref, "name", kube_strn(a, kube_name(pod)));
  kube_set(a, ref, "uid", kube_strn(a, kube_uid(pod)));
  return ref;
}

static void set_str(kube_arena_t *a, kube_node_t *m, const char *key, kg_str_t s) {
  if (s.n) kube_set(a, m, key, kube_strn(a, s));
}

static kg_str_t hostname_of(const pass_t *p, kg_view_t pod) {
  kg_view_t spec = kg_view_get(pod, "spec");
  bool ours = kg_str_eq(kg_view_str(kg_view_get(spec, "subdomain")), p->name);
  return ours ? kg_view_str(kg_view_get(spec, "hostname")) : (kg_str_t){NULL, 0};
}

static kg_str_t zone_of(const pass_t *p, kg_str_t node) {
  kg_str_t none = {NULL, 0};
  kg_doc_t *doc = node.n ? kube_informer_get(p->c->base.informers[NODES], none, node) : NULL;
  return kg_view_str(kg_view_get(kube_labels(kg_view_of(doc)), "topology.kubernetes.io/zone"));
}

static void set_hint(kube_arena_t *a, kube_node_t *hints, const char *key, kg_str_t name) {
  kube_node_t *one = kube_map(a), *list = kube_array(a);
  if (!name.n) return;
  kube_set(a, one, "name", kube_strn(a, name));
  kube_push(a, list, one);
  kube_set(a, hints, key, list);
}

/* Whose clients should prefer the endpoint: those of its zone, and if the service says so those of its node. */
static void add_hints(const pass_t *p, kube_node_t *endpoint, kg_str_t zone, kg_str_t node) {
  kg_str_t wanted = kg_view_str(kg_view_path(p->service, "spec", "trafficDistribution", NULL));
  bool by_node = kg_str_is(wanted, "PreferSameNode");
  if (!by_node && !kg_str_is(wanted, "PreferSameZone") && !kg_str_is(wanted, "PreferClose")) return;
  kube_node_t *hints = kube_map(p->arena);
  set_hint(p->arena, hints, "forZones", zone);
  if (by_node) set_hint(p->arena, hints, "forNodes", node);
  if (hints->c.n) kube_set(p->arena, endpoint, "hints", hints);
}

static kube_node_t *slice_form(pass_t *p, kg_view_t pod, kg_str_t ip, bool serving, bool publish) {
  kube_arena_t *a = p->arena;
  kube_node_t *e = kube_map(a), *addresses = kube_array(a);
  bool terminating = kube_deleting(pod), ready = publish || (serving && !terminating);
  kg_str_t node = kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL)), zone = zone_of(p, node);
  kube_push(a, addresses, kube_strn(a, ip));
  kube_set(a, e, "addresses", addresses);
  kube_node_t *c = kube_sub(a, e, "conditions");
  kube_set(a, c, "ready", kube_bool(a, ready));
  kube_set(a, c, "serving", kube_bool(a, serving));
  kube_set(a, c, "terminating", kube_bool(a, terminating));
  set_str(a, e, "hostname", hostname_of(p, pod));
  kube_set(a, e, "targetRef", target_ref(a, pod));
  set_str(a, e, "nodeName", node);
  set_str(a, e, "zone", zone);
  if (ready) add_hints(p, e, zone, node);
  return e;
}

static kube_node_t *legacy_form(pass_t *p, kg_view_t pod, kg_str_t ip) {
  kube_arena_t *a = p->arena;
  kube_node_t *e = kube_map(a);
  kube_set(a, e, "ip", kube_strn(a, ip));
  set_str(a, e, "hostname", hostname_of(p, pod));
  set_str(a, e, "nodeName", kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL)));
  kube_set(a, e, "targetRef", target_ref(a, pod));
  return e;
}

static kg_str_t address_of(kg_view_t pod, bool v6) {
  for (kg_iter_t it = kg_iter(kg_view_path(pod, "status", "podIPs", NULL)); kg_iter_next(&it);) {
    kg_str_t ip = kg_view_str(kg_view_get(it.value, "ip"));
    if (ip.n && (memchr(ip.p, ':', ip.n) != NULL) == v6) return ip;
  }
  kg_str_t ip = kg_view_str(kg_view_path(pod, "status", "podIP", NULL));
  return ip.n && (memchr(ip.p, ':', ip.n) != NULL) == v6 ? ip : (kg_str_t){NULL, 0};
}

bool is_headless(kg_view_t service) {
  return kg_str_is(kg_view_str(kg_view_path(service, "spec", "clusterIP", NULL)), "None");
}

const char *service_family(const pass_t *p) {
  kg_view_t first = kg_view_at(kg_view_path(p->service, "spec", "ipFamilies", NULL), 0);
  return kg_str_is(kg_view_str(first), "IPv6") ? "IPv6" : "IPv4";
}

static void add_pod(pass_t *p, kg_view_t pod, const char *family, bool first) {
  kg_str_t ip = address_of(pod, !strcmp(family, "IPv6"));
  bool publish = kg_view_bool(kg_view_path(p->service, "spec", "publishNotReadyAddresses", NULL), false);
  if (!ip.n) return;
  endpoint_t *e = endpoint_add(p);
  e->ready = ctl_pod_ready(pod, NULL);
  e->slice = slice_form(p, pod, ip, e->ready, publish);
  e->ports = ports_of(p, pod);
  e->family = family;
  e->group = ports_group(p->arena, family, e->ports);
  if (first && (publish || !kube_deleting(pod))) e->legacy = legacy_form(p, pod, ip);
  e->ready |= publish;
}

static bool has_ended(kg_view_t pod) {
  kg_str_t phase = kg_view_str(kg_view_path(pod, "status", "phase", NULL));
  return kg_str_is(phase, "Succeeded") || kg_str_is(phase, "Failed");
}

void gather(pass_t *p) {
  size_t first, count;
  const kube_informer_t *pods = p->c->base.informers[PODS];
  kg_view_t families = kg_view_path(p->service, "spec", "ipFamilies", NULL);
  kube_selector_t *s = kube_selector_of_map(kg_view_path(p->service, "spec", "selector", NULL));
  kube_informer_ns(pods, p->ns, &first, &count);
  for (size_t i = first; s && i < first + count; i++) {
    kg_doc_t *doc = kube_informer_at(pods, i);
    kg_view_t pod = kg_view_of(doc);
    if (has_ended(pod) || !kube_selector_matches(s, kube_labels(pod))) continue;
    ctl_keep(p->sync, doc);
    add_pod(p, pod, service_family(p), true);
    kg_str_t second = kg_view_str(kg_view_at(families, 1));
    if (second.n) add_pod(p, pod, kg_str_is(second, "IPv6") ? "IPv6" : "IPv4", false);
  }
  kube_selector_free(s);
}
