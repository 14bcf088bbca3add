#include "kube/placement.h"

#include "kogge/pack.h"
#include "kube/values.h"

static kg_str_t field(kg_view_t v, const char *key) {
  return kg_view_str(kg_view_get(v, key));
}

/* k8s.io/component-helpers scheduling/corev1.TolerationsTolerateTaint */
bool kube_tolerates(kg_view_t toleration, kg_view_t taint) {
  kg_str_t effect = field(toleration, "effect"), key = field(toleration, "key"), op = field(toleration, "operator");
  if (effect.n && !kg_str_eq(effect, field(taint, "effect"))) return false;
  if (key.n && !kg_str_eq(key, field(taint, "key"))) return false;
  if (kg_str_is(op, "Exists")) return true;
  return key.n && kg_str_eq(field(toleration, "value"), field(taint, "value"));
}

bool kube_tolerated(kg_view_t tolerations, kg_view_t taint) {
  kg_iter_t it = kg_iter(tolerations);
  while (kg_iter_next(&it))
    if (kube_tolerates(it.value, taint)) return true;
  return false;
}

/* matchFields of a node selector term know one field: metadata.name. */
static bool fields_match(kg_view_t expressions, kg_str_t node) {
  kg_iter_t it = kg_iter(expressions);
  while (kg_iter_next(&it)) {
    bool in = false, want = kg_str_is(field(it.value, "operator"), "In");
    kg_iter_t values = kg_iter(kg_view_get(it.value, "values"));
    while (kg_iter_next(&values)) in |= kg_str_eq(kg_view_str(values.value), node);
    if (!kg_str_is(field(it.value, "key"), "metadata.name") || in != want) return false;
  }
  return true;
}

/* The expressions of a term have the form of a LabelSelector's: wrap them as one. */
static bool labels_match(kg_view_t expressions, kg_view_t labels) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_view(&p, "matchExpressions", expressions);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  kube_selector_t *selector = kube_selector_of(kg_view_of(doc), NULL);
  bool match = selector && kube_selector_matches(selector, labels);
  kube_selector_free(selector);
  kg_doc_unref(doc);
  return match;
}

bool kube_node_term_matches(kg_view_t term, kg_view_t labels, kg_str_t node) {
  kg_view_t expressions = kg_view_get(term, "matchExpressions"), fields = kg_view_get(term, "matchFields");
  if (!kg_view_count(expressions) && !kg_view_count(fields)) return false; /* an empty term matches nothing */
  if (kg_view_count(expressions) && !labels_match(expressions, labels)) return false;
  return fields_match(fields, node);
}

bool kube_affine_to_node(kg_view_t pod_spec, kg_view_t labels, kg_str_t node) {
  kg_view_t required =
      kg_view_path(pod_spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", NULL);
  if (kg_view_type(required) != KG_V_MAP) return true;
  kg_iter_t terms = kg_iter(kg_view_get(required, "nodeSelectorTerms"));
  while (kg_iter_next(&terms))
    if (kube_node_term_matches(terms.value, labels, node)) return true;
  return false;
}

bool kube_selects_node(kg_view_t pod_spec, kg_view_t labels) {
  kg_iter_t it = kg_iter(kg_view_get(pod_spec, "nodeSelector"));
  while (kg_iter_next(&it)) {
    kg_str_t have = kg_view_str(kg_view_get_str(labels, kg_view_str(it.key)));
    if (!have.p || !kg_str_eq(have, kg_view_str(it.value))) return false;
  }
  return true;
}

/* --- host ports --------------------------------------------------------------------------------------------------- */

/* Goes through the host ports of a pod: of its containers, then of its sidecars. */
typedef struct ports {
  kg_iter_t containers, ports;
  kg_view_t inits;
  bool in_init, open;
  kg_str_t ip, protocol;
  int64_t port;
} ports_t;

static ports_t ports_of(kg_view_t spec) {
  return (ports_t){.containers = kg_iter(kg_view_get(spec, "containers")),
                   .inits = kg_view_get(spec, "initContainers")};
}

static bool next_container(ports_t *p) {
  for (;;) {
    if (kg_iter_next(&p->containers)) {
      if (p->in_init && !kg_str_is(field(p->containers.value, "restartPolicy"), "Always")) continue;
      p->ports = kg_iter(kg_view_get(p->containers.value, "ports"));
      return p->open = true;
    }
    if (p->in_init) return false;
    p->in_init = true;
    p->containers = kg_iter(p->inits);
  }
}

static bool next_port(ports_t *p) {
  while (p->open || next_container(p)) {
    while (kg_iter_next(&p->ports)) {
      p->port = kg_view_int(kg_view_get(p->ports.value, "hostPort"), 0);
      p->protocol = field(p->ports.value, "protocol");
      p->ip = field(p->ports.value, "hostIP");
      if (!p->protocol.n) p->protocol = KG_STR("TCP");
      if (kg_str_is(p->ip, "0.0.0.0") || kg_str_is(p->ip, "::")) p->ip.n = 0;
      if (p->port) return true;
    }
    p->open = false;
  }
  return false;
}

bool kube_wants_host_port(kg_view_t pod_spec) {
  ports_t p = ports_of(pod_spec);
  return next_port(&p);
}

bool kube_host_ports_clash(kg_view_t pod_spec, kg_view_t other_spec) {
  for (ports_t a = ports_of(pod_spec); next_port(&a);)
    for (ports_t b = ports_of(other_spec); next_port(&b);)
      if (a.port == b.port && kg_str_eq(a.protocol, b.protocol) && (!a.ip.n || !b.ip.n || kg_str_eq(a.ip, b.ip)))
        return true;
  return false;
}
