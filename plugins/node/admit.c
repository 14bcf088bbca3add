/* What a node does not let run at all, however often it is tried. */
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

const char *pod_refused(const pod_t *p, char **message) {
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
