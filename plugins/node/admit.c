/* What a node does not let run at all, however often it is tried. */
#include <unistd.h>

#include "kube/placement.h"
#include "node.h"

static const char *const safe[] = {"kernel.shm_rmid_forced",           "net.ipv4.ip_local_port_range",
                                   "net.ipv4.ip_local_reserved_ports", "net.ipv4.ip_unprivileged_port_start",
                                   "net.ipv4.ping_group_range",        "net.ipv4.tcp_fin_timeout",
                                   "net.ipv4.tcp_keepalive_intvl",     "net.ipv4.tcp_keepalive_probes",
                                   "net.ipv4.tcp_keepalive_time",      "net.ipv4.tcp_rmem",
                                   "net.ipv4.tcp_syncookies",          "net.ipv4.tcp_wmem"};

/* Configuration allowedUnsafeSysctls: names, or prefixes with a star at their end. */
static bool allowed(const agent_t *a, kg_str_t name) {
  for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
    if (kg_str_is(name, safe[i])) return true;
  for (kg_iter_t it = kg_iter(kg_view_get(kg_config(a->ctx), "allowedUnsafeSysctls")); kg_iter_next(&it);) {
    kg_str_t own = kg_view_str(it.value);
    bool prefix = own.n && own.p[own.n - 1] == '*';
    if (prefix ? name.n >= own.n - 1 && !memcmp(name.p, own.p, own.n - 1) : kg_str_eq(name, own)) return true;
  }
  return false;
}

static const char *refused_sysctl(const pod_t *p, char **message) {
  for (kg_iter_t it = kg_iter(kg_view_path(pod_spec(p), "securityContext", "sysctls", NULL)); kg_iter_next(&it);) {
    char *name = kg_str_dup(VIEW_STR(it.value, "name"));
    for (char *c = name; c && *c; c++)
      if (*c == '/') *c = '.';
    bool fine = name && allowed(p->agent, kg_str(name));
    if (!fine) *message = format("forbidden sysctl: \"%s\" not allowlisted", name ? name : "");
    free(name);
    if (!fine) return "SysctlForbidden";
  }
  return NULL;
}

static bool wants_apparmor(kg_view_t context) {
  kg_str_t type = VIEW_STR(context, "appArmorProfile", "type");
  return type.n && !kg_str_is(type, "Unconfined");
}

/* A profile that is asked for and not applied would be a broken promise. */
static const char *refused_apparmor(const pod_t *p, char **message) {
  bool wanted = wants_apparmor(kg_view_get(pod_spec(p), "securityContext"));
  for (size_t i = 0; i < p->nboxes; i++)
    wanted |= wants_apparmor(kg_view_get(box_spec(p->boxes[i]), "securityContext"));
  if (!wanted) return NULL;
  *message = format("Cannot enforce AppArmor: %s", access("/sys/kernel/security/apparmor/profiles", F_OK)
                                                       ? "AppArmor is not enabled on the host"
                                                       : "this node applies no profiles");
  return "AppArmor";
}

/* --- the node's labels and taints ------------------------------------------------------------------------------- */

static const char *refused_place(const pod_t *p, kg_view_t node, char **message) {
  kg_view_t spec = pod_spec(p), labels = kube_labels(node), tolerations = kg_view_get(spec, "tolerations");
  if (!kube_selects_node(spec, labels) || !kube_affine_to_node(spec, labels, kube_name(node))) {
    *message = format("Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector");
    return "NodeAffinity";
  }
  for (kg_iter_t it = kg_iter(kg_view_path(node, "spec", "taints", NULL)); kg_iter_next(&it);) {
    if (!kg_str_is(VIEW_STR(it.value, "effect"), "NoExecute") || kube_tolerated(tolerations, it.value)) continue;
    *message = format("Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate");
    return "TaintToleration";
  }
  return NULL;
}

/* --- what is left of it ------------------------------------------------------------------------------------------ */

/* Those that run, or were let in to run. */
static bool takes_part(const pod_t *p) {
  return p->doc && *p->start_time && !p->finished && !p->fail_reason && p->sandbox != SB_REMOVED;
}

static int64_t in_units(const char *resource, int64_t milli) {
  return !strcmp(resource, "cpu") ? milli : milli / 1000;
}

static const char *refused_amount(const pod_t *p, const kube_node_t *allocatable, char **message) {
  static const char *const names[][2] = {{"pods", "OutOfpods"},
                                         {"cpu", "OutOfcpu"},
                                         {"memory", "OutOfmemory"},
                                         {"ephemeral-storage", "OutOfephemeral-storage"}};
  for (size_t i = 0; i < 4; i++) {
    bool count = i == 0;
    int64_t asked = count ? 1000 : pod_request(pod_spec(p), names[i][0]), used = 0, there = 0;
    kube_quantity_milli(kube_node_str(kube_get(allocatable, names[i][0])), &there);
    for (const pod_t *other = p->agent->list; other; other = other->next)
      if (other != p && takes_part(other)) used += count ? 1000 : pod_request(pod_allocated(other), names[i][0]);
    if (!asked || used + asked <= there) continue;
    *message = format("Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld", names[i][0],
                      (long long)in_units(names[i][0], asked), (long long)in_units(names[i][0], used),
                      (long long)in_units(names[i][0], there));
    return names[i][1];
  }
  return NULL;
}

static const char *refused_ports(const pod_t *p, char **message) {
  if (!kube_wants_host_port(pod_spec(p))) return NULL;
  for (const pod_t *other = p->agent->list; other; other = other->next) {
    if (other == p || !takes_part(other) || !kube_host_ports_clash(pod_spec(p), pod_spec(other))) continue;
    *message = format("Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports");
    return "NodePorts";
  }
  return NULL;
}

const char *pod_too_big(const pod_t *p, char **message) {
  kube_arena_t *ar = kube_arena_new();
  kube_node_t *status = kube_map(ar);
  node_resources(p->agent, ar, status);
  const char *reason = refused_amount(p, kube_get(status, "allocatable"), message);
  kube_arena_free(ar);
  return reason;
}

const char *pod_refused(const pod_t *p, char **message) {
  const char *reason = refused_sysctl(p, message);
  if (!reason) reason = refused_apparmor(p, message);
  kg_doc_t *node = reason ? NULL : kube_informer_get(p->agent->node, KG_STR(""), kg_str(p->agent->name));
  if (node) reason = refused_place(p, kg_view_of(node), message);
  if (!reason) reason = refused_ports(p, message);
  return reason ? reason : pod_too_big(p, message);
}
