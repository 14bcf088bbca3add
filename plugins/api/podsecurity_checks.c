/* The checks of the Pod Security Standards, each with the version that brought it. */
#include <stdlib.h>
#include <string.h>

#include "podsecurity.h"

typedef struct check {
  kube_arena_t *a;
  const kube_node_t *spec;
  int minor;
  kube_node_t *boxes, *values; /* names of containers that do it, in order; what they set, a set */
  bool pod;                    /* the pod does it */
  const char *reason, *detail; /* reason NULL: nothing forbidden */
} check_t;

/* --- lists in words ---------------------------------------------------------------------------------------------- */

static void note(check_t *c, kg_str_t value) {
  for (uint32_t i = 0; i < c->values->c.n; i++)
    if (kg_str_eq(kube_node_str(c->values->c.items[i]), value)) return;
  kube_push(c->a, c->values, kube_strn(c->a, value));
}

static void blame(check_t *c, const kube_node_t *box) {
  kube_push(c->a, c->boxes, kube_strn(c->a, kube_node_str(kube_get(box, "name"))));
}

static int by_text(const void *x, const void *y) {
  return kg_str_cmp(kube_node_str(*(kube_node_t *const *)x), kube_node_str(*(kube_node_t *const *)y));
}

static const char *joined(check_t *c, const kube_node_t *list, const char *quote) {
  const char *text = "";
  for (uint32_t i = 0; i < list->c.n; i++)
    text = kube_arena_fmt(c->a, "%s%s%s" KG_STR_FMT "%s", text, i ? ", " : "", quote,
                          KG_STR_ARG(kube_node_str(list->c.items[i])), quote);
  return text;
}

static const char *values(check_t *c, const char *quote) {
  if (c->values->c.n) qsort(c->values->c.items, c->values->c.n, sizeof *c->values->c.items, by_text);
  return joined(c, c->values, quote);
}

/* container "a" or containers "a", "b" */
static const char *boxes(check_t *c) {
  return kube_arena_fmt(c->a, "container%s %s", c->boxes->c.n == 1 ? "" : "s", joined(c, c->boxes, "\""));
}

static const char *setters(check_t *c) {
  if (!c->boxes->c.n) return "pod";
  return c->pod ? kube_arena_fmt(c->a, "pod and %s", boxes(c)) : boxes(c);
}

static bool any(const check_t *c) {
  return c->pod || c->boxes->c.n;
}

/* --- what there is to look at ------------------------------------------------------------------------------------- */

static const kube_node_t *next_box(const check_t *c, uint32_t *i) {
  static const char *const lists[] = {"initContainers", "containers", "ephemeralContainers"};
  uint32_t at = (*i)++;
  for (size_t l = 0; l < 3; l++) {
    const kube_node_t *list = kube_get(c->spec, lists[l]);
    uint32_t n = list && list->type == KG_V_ARRAY ? list->c.n : 0;
    if (at < n) return list->c.items[at];
    at -= n;
  }
  return NULL;
}

static const kube_node_t *context(const kube_node_t *of, const char *key) {
  return kube_path(of, "securityContext", key, NULL);
}

static kg_str_t text(const kube_node_t *of, const char *key) {
  return kube_node_str(kube_get(of, key));
}

static bool one_of(kg_str_t s, const char *const *list) {
  for (; *list; list++)
    if (kg_str_is(s, *list)) return true;
  return false;
}

static uint32_t length(const kube_node_t *list) {
  return list && list->type == KG_V_ARRAY ? list->c.n : 0;
}

static bool own_users(const check_t *c) {
  return !kube_node_bool(kube_get(c->spec, "hostUsers"), true);
}

/* --- baseline ----------------------------------------------------------------------------------------------------- */

static void forbid(check_t *c, const char *reason, const char *detail) {
  c->reason = reason;
  c->detail = detail;
}

static void app_armor(check_t *c) {
  static const char *const good[] = {"RuntimeDefault", "Localhost", NULL};
  const kube_node_t *box, *p = context(c->spec, "appArmorProfile");
  if (p && !one_of(text(p, "type"), good)) c->pod = true, note(c, text(p, "type"));
  for (uint32_t i = 0; (box = next_box(c, &i));)
    if ((p = context(box, "appArmorProfile")) && !one_of(text(p, "type"), good))
      blame(c, box), note(c, text(p, "type"));
  if (any(c))
    forbid(c, c->values->c.n > 1 ? "forbidden AppArmor profiles" : "forbidden AppArmor profile",
           kube_arena_fmt(c->a, "%s must not set AppArmor profile type to %s", setters(c), values(c, "\"")));
}

static void added_capabilities(check_t *c, const char *const *good) {
  const kube_node_t *box;
  for (uint32_t i = 0; (box = next_box(c, &i));) {
    const kube_node_t *add = kube_path(box, "securityContext", "capabilities", "add", NULL);
    bool bad = false;
    for (uint32_t k = 0; k < length(add); k++) {
      kg_str_t name = kube_node_str(add->c.items[k]);
      if (!one_of(name, good)) bad = true, note(c, name);
    }
    if (bad) blame(c, box);
  }
}

static void capabilities(check_t *c) {
  static const char *const good[] = {"AUDIT_WRITE", "CHOWN",  "DAC_OVERRIDE",     "FOWNER",  "FSETID",
                                     "KILL",        "MKNOD",  "NET_BIND_SERVICE", "SETFCAP", "SETGID",
                                     "SETPCAP",     "SETUID", "SYS_CHROOT",       NULL};
  added_capabilities(c, good);
  if (any(c))
    forbid(
        c, "non-default capabilities",
        kube_arena_fmt(c->a, "%s must not include %s in securityContext.capabilities.add", boxes(c), values(c, "\"")));
}

static void host_namespaces(check_t *c) {
  static const char *const keys[] = {"hostNetwork", "hostPID", "hostIPC"};
  const char *found = "";
  for (int i = 0; i < 3; i++)
    if (kube_node_bool(kube_get(c->spec, keys[i]), false))
      found = kube_arena_fmt(c->a, "%s%s%s=true", found, *found ? ", " : "", keys[i]);
  if (*found) forbid(c, "host namespaces", found);
}

static void host_paths(check_t *c) {
  const kube_node_t *list = kube_get(c->spec, "volumes");
  for (uint32_t i = 0; i < length(list); i++)
    if (kube_get(list->c.items[i], "hostPath")) blame(c, list->c.items[i]);
  if (any(c))
    forbid(c, "hostPath volumes",
           kube_arena_fmt(c->a, "volume%s %s", c->boxes->c.n == 1 ? "" : "s", joined(c, c->boxes, "\"")));
}

static void host_ports(check_t *c) {
  const kube_node_t *box;
  for (uint32_t i = 0; (box = next_box(c, &i));) {
    const kube_node_t *ports = kube_get(box, "ports");
    bool bad = false;
    for (uint32_t k = 0; k < length(ports); k++) {
      long long port = kube_node_int(kube_get(ports->c.items[k], "hostPort"), 0);
      if (port) bad = true, note(c, kg_str(kube_arena_fmt(c->a, "%lld", port)));
    }
    if (bad) blame(c, box);
  }
  if (any(c))
    forbid(c, "hostPort",
           kube_arena_fmt(c->a, "%s use%s hostPort%s %s", boxes(c), c->boxes->c.n == 1 ? "s" : "",
                          c->values->c.n == 1 ? "" : "s", values(c, "")));
}

static void host_probes(check_t *c) {
  static const char *const askers[][2] = {
      {"livenessProbe"}, {"readinessProbe"}, {"startupProbe"}, {"lifecycle", "postStart"}, {"lifecycle", "preStop"}};
  static const char *const ways[] = {"httpGet", "tcpSocket"};
  const kube_node_t *box;
  for (uint32_t i = 0; (box = next_box(c, &i));) {
    bool bad = false;
    for (size_t k = 0; k < 10; k++) {
      const kube_node_t *asker = kube_path(box, askers[k / 2][0], askers[k / 2][1], NULL);
      kg_str_t host = text(kube_get(asker, ways[k % 2]), "host");
      if (host.n) bad = true, note(c, host);
    }
    if (bad) blame(c, box);
  }
  if (any(c))
    forbid(c, "probe or lifecycle host",
           kube_arena_fmt(c->a, "%s use%s probe or lifecycle host%s %s", boxes(c), c->boxes->c.n == 1 ? "s" : "",
                          c->values->c.n == 1 ? "" : "s", values(c, "\"")));
}

static void privileged(check_t *c) {
  const kube_node_t *box;
  for (uint32_t i = 0; (box = next_box(c, &i));)
    if (kube_node_bool(context(box, "privileged"), false)) blame(c, box);
  if (any(c))
    forbid(c, "privileged", kube_arena_fmt(c->a, "%s must not set securityContext.privileged=true", boxes(c)));
}

static void proc_mount(check_t *c) {
  const kube_node_t *box;
  if (own_users(c)) return;
  for (uint32_t i = 0; (box = next_box(c, &i));) {
    kg_str_t how = kube_node_str(context(box, "procMount"));
    if (how.n && !kg_str_is(how, "Default")) blame(c, box), note(c, how);
  }
  if (any(c))
    forbid(c, "procMount",
           kube_arena_fmt(c->a, "%s must not set securityContext.procMount to %s", boxes(c), values(c, "\"")));
}

static bool bad_selinux(check_t *c, const kube_node_t *options, bool *user, bool *role) {
  static const char *const good[] = {"",  "container_t", "container_init_t", "container_kvm_t", "container_engine_t",
                                     NULL};
  kg_str_t type = text(options, "type");
  bool bad = type.n && !one_of(type, good);
  if (bad) note(c, type);
  *user |= text(options, "user").n;
  *role |= text(options, "role").n;
  return bad || text(options, "user").n || text(options, "role").n;
}

static void selinux(check_t *c) {
  bool user = false, role = false;
  const kube_node_t *box;
  c->pod = bad_selinux(c, context(c->spec, "seLinuxOptions"), &user, &role);
  for (uint32_t i = 0; (box = next_box(c, &i));)
    if (bad_selinux(c, context(box, "seLinuxOptions"), &user, &role)) blame(c, box);
  if (!any(c)) return;
  const char *what =
      c->values->c.n ? kube_arena_fmt(c->a, "type%s %s", c->values->c.n == 1 ? "" : "s", values(c, "\"")) : "";
  if (user) what = kube_arena_fmt(c->a, "%s%suser may not be set", what, *what ? "; " : "");
  if (role) what = kube_arena_fmt(c->a, "%s%srole may not be set", what, *what ? "; " : "");
  forbid(c, "seLinuxOptions",
         kube_arena_fmt(c->a, "%s set forbidden securityContext.seLinuxOptions: %s", setters(c), what));
}

static bool bad_seccomp(check_t *c, const kube_node_t *profile) {
  static const char *const good[] = {"RuntimeDefault", "Localhost", NULL};
  if (!profile || one_of(text(profile, "type"), good)) return false;
  note(c, text(profile, "type"));
  return true;
}

static void seccomp(check_t *c) {
  const kube_node_t *box;
  c->pod = bad_seccomp(c, context(c->spec, "seccompProfile"));
  for (uint32_t i = 0; (box = next_box(c, &i));)
    if (bad_seccomp(c, context(box, "seccompProfile"))) blame(c, box);
  if (any(c))
    forbid(
        c, "seccompProfile",
        kube_arena_fmt(c->a, "%s must not set securityContext.seccompProfile.type to %s", setters(c), values(c, "\"")));
}

static void sysctls(check_t *c) {
  static const struct {
    const char *name;
    int since;
  } good[] = {{"kernel.shm_rmid_forced", 0},
              {"net.ipv4.ip_local_port_range", 0},
              {"net.ipv4.tcp_syncookies", 0},
              {"net.ipv4.ping_group_range", 0},
              {"net.ipv4.ip_unprivileged_port_start", 0},
              {"net.ipv4.ip_local_reserved_ports", 27},
              {"net.ipv4.tcp_keepalive_time", 29},
              {"net.ipv4.tcp_fin_timeout", 29},
              {"net.ipv4.tcp_keepalive_intvl", 29},
              {"net.ipv4.tcp_keepalive_probes", 29},
              {"net.ipv4.tcp_rmem", 32},
              {"net.ipv4.tcp_wmem", 32}};
  const kube_node_t *list = context(c->spec, "sysctls");
  for (uint32_t i = 0; i < length(list); i++) {
    bool fine = false;
    for (size_t k = 0; k < sizeof good / sizeof *good; k++)
      fine |= c->minor >= good[k].since && kg_str_is(text(list->c.items[i], "name"), good[k].name);
    if (!fine) blame(c, list->c.items[i]);
  }
  if (any(c)) forbid(c, "forbidden sysctls", joined(c, c->boxes, ""));
}

static void host_process(check_t *c) {
  const kube_node_t *box;
  c->pod = kube_node_bool(kube_get(context(c->spec, "windowsOptions"), "hostProcess"), false);
  for (uint32_t i = 0; (box = next_box(c, &i));)
    if (kube_node_bool(kube_get(context(box, "windowsOptions"), "hostProcess"), false)) blame(c, box);
  if (any(c))
    forbid(c, "hostProcess",
           kube_arena_fmt(c->a, "%s must not set securityContext.windowsOptions.hostProcess=true", setters(c)));
}

/* --- restricted --------------------------------------------------------------------------------------------------- */

static void escalation(check_t *c) {
  const kube_node_t *box;
  for (uint32_t i = 0; (box = next_box(c, &i));)
    if (kube_node_bool(context(box, "allowPrivilegeEscalation"), true)) blame(c, box);
  if (any(c))
    forbid(c, "allowPrivilegeEscalation != false",
           kube_arena_fmt(c->a, "%s must set securityContext.allowPrivilegeEscalation=false", boxes(c)));
}

static bool drops_all(const kube_node_t *box) {
  const kube_node_t *drop = kube_path(box, "securityContext", "capabilities", "drop", NULL);
  for (uint32_t i = 0; i < length(drop); i++)
    if (kg_str_is(kube_node_str(drop->c.items[i]), "ALL")) return true;
  return false;
}

static void few_capabilities(check_t *c) {
  static const char *const good[] = {"NET_BIND_SERVICE", NULL};
  const kube_node_t *box;
  const char *detail = "";
  for (uint32_t i = 0; (box = next_box(c, &i));)
    if (!drops_all(box)) blame(c, box);
  if (any(c)) detail = kube_arena_fmt(c->a, "%s must set securityContext.capabilities.drop=[\"ALL\"]", boxes(c));
  c->boxes = kube_array(c->a);
  added_capabilities(c, good);
  if (any(c))
    detail = kube_arena_fmt(c->a, "%s%s%s must not include %s in securityContext.capabilities.add", detail,
                            *detail ? "; " : "", boxes(c), values(c, "\""));
  if (*detail) forbid(c, "unrestricted capabilities", detail);
}

static void few_volumes(check_t *c) {
  static const char *const good[] = {
      "configMap", "csi",    "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
      "projected", "secret", "name",        NULL};
  const kube_node_t *list = kube_get(c->spec, "volumes");
  for (uint32_t i = 0; i < length(list); i++) {
    const kube_node_t *v = list->c.items[i];
    bool bad = false;
    for (uint32_t k = 0; k < v->c.n; k++)
      if (!one_of(v->c.keys[k], good)) bad = true, note(c, v->c.keys[k]);
    if (bad) blame(c, v);
  }
  if (any(c))
    forbid(c, "restricted volume types",
           kube_arena_fmt(c->a, "volume%s %s use%s restricted volume type%s %s", c->boxes->c.n == 1 ? "" : "s",
                          joined(c, c->boxes, "\""), c->boxes->c.n == 1 ? "s" : "", c->values->c.n == 1 ? "" : "s",
                          values(c, "\"")));
}

static void non_root(check_t *c) {
  const kube_node_t *box, *mine = context(c->spec, "runAsNonRoot");
  bool covered = kube_node_bool(mine, false);
  kube_node_t *open = kube_array(c->a);
  if (own_users(c)) return;
  c->pod = mine && !covered;
  for (uint32_t i = 0; (box = next_box(c, &i));) {
    const kube_node_t *own = context(box, "runAsNonRoot");
    if (own && !kube_node_bool(own, false)) blame(c, box);
    if (!own && !covered) kube_push(c->a, open, kube_strn(c->a, text(box, "name")));
  }
  if (any(c))
    return forbid(c, "runAsNonRoot != true",
                  kube_arena_fmt(c->a, "%s must not set securityContext.runAsNonRoot=false", setters(c)));
  c->boxes = open;
  if (any(c))
    forbid(c, "runAsNonRoot != true",
           kube_arena_fmt(c->a, "pod or %s must set securityContext.runAsNonRoot=true", boxes(c)));
}

static void user_zero(check_t *c) {
  const kube_node_t *box;
  if (own_users(c)) return;
  c->pod = kube_node_int(context(c->spec, "runAsUser"), 1) == 0;
  for (uint32_t i = 0; (box = next_box(c, &i));)
    if (kube_node_int(context(box, "runAsUser"), 1) == 0) blame(c, box);
  if (any(c)) forbid(c, "runAsUser=0", kube_arena_fmt(c->a, "%s must not set runAsUser=0", setters(c)));
}

static void some_seccomp(check_t *c) {
  const kube_node_t *box;
  seccomp(c);
  if (c->reason || context(c->spec, "seccompProfile")) return;
  for (uint32_t i = 0; (box = next_box(c, &i));)
    if (!context(box, "seccompProfile")) blame(c, box);
  if (any(c))
    forbid(c, "seccompProfile",
           kube_arena_fmt(
               c->a, "pod or %s must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
               boxes(c)));
}

/* --- all of them, in the order in which they are told ---------------------------------------------------------------
 */

static const struct {
  void (*fn)(check_t *c);
  ps_level_t level;
  int since;
  int until; /* restricted: a stricter check takes its place from this version on; 0: none does */
} checks[] = {{app_armor, PS_BASELINE, 0, 0},       {capabilities, PS_BASELINE, 0, 22},
              {host_namespaces, PS_BASELINE, 0, 0}, {host_paths, PS_BASELINE, 0, 1},
              {host_ports, PS_BASELINE, 0, 0},      {host_probes, PS_BASELINE, 34, 0},
              {privileged, PS_BASELINE, 0, 0},      {proc_mount, PS_BASELINE, 0, 0},
              {selinux, PS_BASELINE, 0, 0},         {seccomp, PS_BASELINE, 19, 19},
              {sysctls, PS_BASELINE, 0, 0},         {host_process, PS_BASELINE, 0, 0},
              {escalation, PS_RESTRICTED, 8, 0},    {few_capabilities, PS_RESTRICTED, 22, 0},
              {few_volumes, PS_RESTRICTED, 0, 0},   {non_root, PS_RESTRICTED, 0, 0},
              {user_zero, PS_RESTRICTED, 23, 0},    {some_seccomp, PS_RESTRICTED, 19, 0}};

const char *ps_violations(kube_arena_t *a, ps_level_t level, int minor, const kube_node_t *spec, bool details) {
  const char *all = NULL;
  for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
    if (checks[i].level > level || minor < checks[i].since) continue;
    if (level == PS_RESTRICTED && checks[i].until && minor >= checks[i].until) continue;
    check_t c = {.a = a, .spec = spec, .minor = minor, .boxes = kube_array(a), .values = kube_array(a)};
    checks[i].fn(&c);
    if (!c.reason) continue;
    const char *one = details ? kube_arena_fmt(a, "%s (%s)", c.reason, c.detail) : c.reason;
    all = all ? kube_arena_fmt(a, "%s, %s", all, one) : one;
  }
  return all;
}
