/* The OCI runtime configuration of a container (opencontainers/runtime-spec), as containerd's defaults are. */
#include <stdio.h>
#include <sys/prctl.h>

#include "oci.h"

static const char *const DEFAULT_CAPS[] = {
    "CHOWN",   "DAC_OVERRIDE", "FSETID",           "FOWNER",     "MKNOD", "NET_RAW",     "SETGID", "SETUID",
    "SETFCAP", "SETPCAP",      "NET_BIND_SERVICE", "SYS_CHROOT", "KILL",  "AUDIT_WRITE", NULL};
/* By their numbers. */
static const char *const ALL_CAPS[] = {"CHOWN",
                                       "DAC_OVERRIDE",
                                       "DAC_READ_SEARCH",
                                       "FOWNER",
                                       "FSETID",
                                       "KILL",
                                       "SETGID",
                                       "SETUID",
                                       "SETPCAP",
                                       "LINUX_IMMUTABLE",
                                       "NET_BIND_SERVICE",
                                       "NET_BROADCAST",
                                       "NET_ADMIN",
                                       "NET_RAW",
                                       "IPC_LOCK",
                                       "IPC_OWNER",
                                       "SYS_MODULE",
                                       "SYS_RAWIO",
                                       "SYS_CHROOT",
                                       "SYS_PTRACE",
                                       "SYS_PACCT",
                                       "SYS_ADMIN",
                                       "SYS_BOOT",
                                       "SYS_NICE",
                                       "SYS_RESOURCE",
                                       "SYS_TIME",
                                       "SYS_TTY_CONFIG",
                                       "MKNOD",
                                       "LEASE",
                                       "AUDIT_WRITE",
                                       "AUDIT_CONTROL",
                                       "SETFCAP",
                                       "MAC_OVERRIDE",
                                       "MAC_ADMIN",
                                       "SYSLOG",
                                       "WAKE_ALARM",
                                       "BLOCK_SUSPEND",
                                       "AUDIT_READ",
                                       "PERFMON",
                                       "BPF",
                                       "CHECKPOINT_RESTORE",
                                       NULL};

typedef struct bundle {
  oci_t *o;
  kube_arena_t *a;
  const sandbox_t *s;
  const container_t *c;
  kg_view_t args, security, image;
  bool privileged;
  const char *dir; /* of the container */
  user_t user;
  kg_error_t *err;
  bool failed;
} bundle_t;

static void root_path(const bundle_t *b, char path[PATH_SIZE]) {
  snprintf(path, PATH_SIZE, "%s/rootfs", b->dir);
}

static kube_node_t *strings(kube_arena_t *a, const char *const *list) {
  kube_node_t *n = kube_array(a);
  for (; *list; list++) kube_push(a, n, kube_str(a, *list));
  return n;
}

static void add_strings(kube_arena_t *a, kube_node_t *to, kg_view_t from) {
  for (kg_iter_t it = kg_iter(from); kg_iter_next(&it);) kube_push(a, to, kube_strn(a, kg_view_str(it.value)));
}

/* --- process
 * ----------------------------------------------------------------------------------------------------------- */

/* Kubernetes: command replaces the image's entrypoint and drops its arguments; args replaces its arguments. */
static kube_node_t *process_args(bundle_t *b) {
  kube_node_t *out = kube_array(b->a);
  kg_view_t command = kg_view_get(b->args, "command"), args = kg_view_get(b->args, "args");
  bool own = kg_view_count(command) > 0;
  add_strings(b->a, out, own ? command : kg_view_get(b->image, "Entrypoint"));
  add_strings(b->a, out, own || kg_view_count(args) ? args : kg_view_get(b->image, "Cmd"));
  return out;
}

static void env_put(bundle_t *b, kube_node_t *env, kg_str_t name, kg_str_t value, bool replace) {
  for (uint32_t i = 0; i < env->c.n; i++) {
    kg_str_t e = kube_node_str(env->c.items[i]);
    if (e.n <= name.n || memcmp(e.p, name.p, name.n) || e.p[name.n] != '=') continue;
    if (replace) env->c.items[i] = kube_strf(b->a, KG_STR_FMT "=" KG_STR_FMT, KG_STR_ARG(name), KG_STR_ARG(value));
    return;
  }
  kube_push(b->a, env, kube_strf(b->a, KG_STR_FMT "=" KG_STR_FMT, KG_STR_ARG(name), KG_STR_ARG(value)));
}

static kube_node_t *process_env(bundle_t *b) {
  kube_node_t *env = kube_array(b->a);
  add_strings(b->a, env, kg_view_get(b->image, "Env"));
  for (kg_iter_t it = kg_iter(kg_view_get(b->args, "env")); kg_iter_next(&it);)
    env_put(b, env, kg_view_str(kg_view_get(it.value, "name")), kg_view_str(kg_view_get(it.value, "value")), true);
  env_put(b, env, KG_STR("PATH"), KG_STR("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), false);
  env_put(b, env, KG_STR("HOSTNAME"), kg_view_str(kg_view_get(kg_view_of(b->s->args), "hostname")), false);
  env_put(b, env, KG_STR("HOME"), kg_str(b->user.home), false);
  if (b->c->tty) env_put(b, env, KG_STR("TERM"), KG_STR("xterm"), false);
  return env;
}

static bool says(kg_view_t list, const char *cap) {
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) {
    kg_str_t s = kg_view_str(it.value);
    if (s.n > 4 && !strncasecmp(s.p, "CAP_", 4)) s = (kg_str_t){s.p + 4, s.n - 4};
    if (s.n == strlen(cap) && !strncasecmp(s.p, cap, s.n)) return true;
  }
  return false;
}

/* "All" means all that kogge itself may give; what is asked for by name is given or refused by the kernel. */
static kube_node_t *capability_set(bundle_t *b) {
  kube_node_t *set = kube_array(b->a);
  kg_view_t add = kg_view_get(b->security, "addCaps"), drop = kg_view_get(b->security, "dropCaps");
  bool all = b->privileged || says(add, "ALL"), none = says(drop, "ALL");
  for (unsigned long i = 0; ALL_CAPS[i]; i++) {
    const char *cap = ALL_CAPS[i];
    bool usual = all && prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1;
    for (const char *const *d = DEFAULT_CAPS; *d && !usual; d++) usual = !strcmp(*d, cap);
    if ((usual && !(none && !all) && !says(drop, cap)) || says(add, cap))
      kube_push(b->a, set, kube_strf(b->a, "CAP_%s", cap));
  }
  return set;
}

static kube_node_t *capabilities(bundle_t *b) {
  kube_node_t *caps = kube_map(b->a), *set = capability_set(b);
  kube_set(b->a, caps, "bounding", set);
  kube_set(b->a, caps, "effective", set);
  kube_set(b->a, caps, "permitted", set);
  return caps;
}

static void add_group(bundle_t *b, kube_node_t *groups, int64_t gid) {
  for (uint32_t i = 0; i < groups->c.n; i++)
    if (kube_node_int(groups->c.items[i], -1) == gid) return;
  kube_push(b->a, groups, kube_int(b->a, gid));
}

static kube_node_t *process_user(bundle_t *b) {
  kube_node_t *user = kube_map(b->a), *groups = kube_array(b->a);
  kube_set(b->a, user, "uid", kube_int(b->a, b->user.uid));
  kube_set(b->a, user, "gid", kube_int(b->a, b->user.gid));
  add_group(b, groups, b->user.gid); /* the first is among them, as containerd has it */
  for (kg_iter_t it = kg_iter(kg_view_get(b->security, "groups")); kg_iter_next(&it);)
    add_group(b, groups, kg_view_int(it.value, 0));
  for (size_t i = 0; i < b->user.ngroups; i++) add_group(b, groups, b->user.groups[i]);
  kube_set(b->a, user, "additionalGids", groups);
  return user;
}

static kube_node_t *process(bundle_t *b) {
  kube_arena_t *a = b->a;
  kube_node_t *p = kube_map(a);
  kg_str_t cwd = kg_view_str(kg_view_get(b->args, "workdir"));
  if (!cwd.n) cwd = kg_view_str(kg_view_get(b->image, "WorkingDir"));
  kube_set(a, p, "terminal", kube_bool(a, b->c->tty));
  kube_set(a, p, "user", process_user(b));
  kube_set(a, p, "args", process_args(b));
  kube_set(a, p, "env", process_env(b));
  kube_set(a, p, "cwd", cwd.n ? kube_strn(a, cwd) : kube_str(a, "/"));
  kube_set(a, p, "capabilities", capabilities(b));
  kube_set(a, p, "noNewPrivileges", kube_bool(a, kg_view_bool(kg_view_get(b->security, "noNewPrivileges"), false)));
  kg_view_t oom = kg_view_path(b->args, "resources", "oomScoreAdj", NULL);
  int64_t score = kg_view_int(oom, 0), least = b->o->least_oom_score;
  if (kg_view_there(oom)) kube_set(a, p, "oomScoreAdj", kube_int(a, score < least ? least : score));
  return p;
}

/* --- mounts
 * ------------------------------------------------------------------------------------------------------------ */

static void add_mount(bundle_t *b, kube_node_t *list, kg_str_t to, const char *type, kg_str_t from,
                      const char *const *options) {
  kube_node_t *m = kube_map(b->a);
  kube_set(b->a, m, "destination", kube_strn(b->a, to));
  kube_set(b->a, m, "type", kube_str(b->a, type));
  kube_set(b->a, m, "source", kube_strn(b->a, from));
  kube_set(b->a, m, "options", strings(b->a, options));
  kube_push(b->a, list, m);
}

#define OPTIONS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define MOUNT(to, type, ...) add_mount(b, list, KG_STR(to), type, KG_STR(type), OPTIONS(__VA_ARGS__))

static void add_image(bundle_t *b, kube_node_t *list, kg_view_t mount, unsigned i) {
  char path[PATH_SIZE] = "";
  if (image_mount_source(mount, b->dir, i, path, b->err) < 0) b->failed = true;
  add_mount(b, list, kg_view_str(kg_view_get(mount, "path")), "bind", kg_str(path), OPTIONS("rbind", "rprivate", "ro"));
}

typedef struct volumes {
  bundle_t *b;
  kube_node_t *list;
} volumes_t;

static void add_volume(void *arg, kg_str_t path, const char *place) {
  volumes_t *v = arg;
  add_mount(v->b, v->list, path, "bind", kg_str(place), OPTIONS("rbind", "rprivate", "rw"));
}

static kube_node_t *mounts(bundle_t *b) {
  char shm[PATH_SIZE], root[PATH_SIZE];
  kube_node_t *list = kube_array(b->a);
  root_path(b, root);
  MOUNT("/proc", "proc", "nosuid", "noexec", "nodev");
  MOUNT("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k");
  MOUNT("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5");
  sandbox_shm_path(b->o, b->s, shm);
  add_mount(b, list, KG_STR("/dev/shm"), "bind", kg_str(shm), OPTIONS("rbind", "nosuid", "noexec", "nodev"));
  MOUNT("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev");
  MOUNT("/sys", "sysfs", "nosuid", "noexec", "nodev", b->privileged ? "rw" : "ro");
  MOUNT("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", b->privileged ? "rw" : "ro");
  unsigned images = 0;
  kg_view_t own = kg_view_get(b->args, "mounts");
  if (bundle_volumes(root, b->image, own, add_volume, &(volumes_t){b, list}, b->err) < 0) b->failed = true;
  for (kg_iter_t it = kg_iter(own); kg_iter_next(&it);) {
    kg_str_t way = kg_view_str(kg_view_get(it.value, "propagation"));
    if (kg_view_str(kg_view_get(it.value, "image")).n) {
      add_image(b, list, it.value, images++);
      continue;
    }
    kg_str_t from = kg_view_str(kg_view_get(it.value, "hostPath"));
    if (propagation_check(b->c, from, way, b->err) < 0) b->failed = true;
    const char *propagation = kg_str_is(way, "Bidirectional")     ? "rshared"
                              : kg_str_is(way, "HostToContainer") ? "rslave"
                                                                  : "rprivate";
    const char *writing = kg_view_bool(kg_view_get(it.value, "recursiveReadOnly"), false) ? "rro"
                          : kg_view_bool(kg_view_get(it.value, "readOnly"), false)        ? "ro"
                                                                                          : "rw";
    add_mount(b, list, kg_view_str(kg_view_get(it.value, "path")), "bind", from,
              OPTIONS("rbind", propagation, writing));
  }
  return list;
}

/* --- linux
 * ------------------------------------------------------------------------------------------------------------- */

static void add_namespace(bundle_t *b, kube_node_t *list, const char *type, const char *ns, bool host) {
  char path[PATH_SIZE];
  kube_node_t *n = kube_map(b->a);
  if (host) return;
  kube_set(b->a, n, "type", kube_str(b->a, type));
  if (ns) {
    sandbox_ns_path(b->o, b->s->id, ns, path);
    kube_set(b->a, n, "path", kube_str(b->a, path));
  }
  kube_push(b->a, list, n);
}

/* That of another container, if it is asked for and runs. */
static bool shared_pid(bundle_t *b, kube_node_t *list) {
  char path[64];
  const container_t *other = container_find(b->o, kg_view_str(kg_view_get(b->args, "pidOf")));
  if (!other || other->state != C_RUNNING || other->pid <= 0) return false;
  kube_node_t *n = kube_map(b->a);
  snprintf(path, sizeof path, "/proc/%d/ns/pid", (int)other->pid);
  kube_set(b->a, n, "type", kube_str(b->a, "pid"));
  kube_set(b->a, n, "path", kube_str(b->a, path));
  kube_push(b->a, list, n);
  return true;
}

static kube_node_t *namespaces(bundle_t *b) {
  kube_node_t *list = kube_array(b->a);
  add_namespace(b, list, "mount", NULL, false);
  if (!shared_pid(b, list)) add_namespace(b, list, "pid", sandbox_shares_pid(b->s) ? "pid" : NULL, b->s->host_pid);
  add_namespace(b, list, "network", "net", b->s->host_net);
  add_namespace(b, list, "ipc", "ipc", b->s->host_ipc);
  add_namespace(b, list, "uts", "uts", b->s->host_net);
  if (b->o->unified) add_namespace(b, list, "cgroup", NULL, false);
  return list;
}

static void set_limit(bundle_t *b, kube_node_t *m, const char *key, const char *from) {
  int64_t v = kg_view_int(kg_view_path(b->args, "resources", from, NULL), 0);
  if (v > 0) kube_set(b->a, m, key, kube_int(b->a, v));
}

static kube_node_t *resources(bundle_t *b) {
  kube_arena_t *a = b->a;
  kube_node_t *r = kube_map(a), *cpu = kube_map(a), *memory = kube_map(a), *devices = kube_array(a),
              *rule = kube_map(a);
  kube_set(a, rule, "allow", kube_bool(a, b->privileged));
  kube_set(a, rule, "access", kube_str(a, "rwm"));
  kube_push(a, devices, rule);
  kube_set(a, r, "devices", devices);
  set_limit(b, cpu, "shares", "cpuShares");
  set_limit(b, cpu, "quota", "cpuQuota");
  set_limit(b, cpu, "period", "cpuPeriod");
  set_limit(b, memory, "limit", "memory");
  if (cpu->c.n) kube_set(a, r, "cpu", cpu);
  if (memory->c.n) kube_set(a, r, "memory", memory);
  return r;
}

/* Of the sandbox's, those that a container sets in name spaces of its own; ports below 1024 need no capability there.
 */
static kube_node_t *sysctls(bundle_t *b) {
  kube_node_t *n = kube_map(b->a);
  if (!b->s->host_net) kube_set(b->a, n, "net.ipv4.ip_unprivileged_port_start", kube_str(b->a, "0"));
  for (kg_iter_t it = kg_iter(kg_view_get(kg_view_of(b->s->args), "sysctls")); kg_iter_next(&it);) {
    char *name = kg_str_dup(kg_view_str(it.key));
    for (char *c = name; c && strchr(name, '/') && *c; c++) *c = *c == '/' ? '.' : *c == '.' ? '/' : *c;
    if (name) kube_set(b->a, n, name, kube_strn(b->a, kg_view_str(it.value)));
    free(name);
  }
  return n;
}

/* Mounts that are to pass between host and container need a root that lets them. */
static const char *root_propagation(bundle_t *b) {
  const char *way = NULL;
  for (kg_iter_t it = kg_iter(kg_view_get(b->args, "mounts")); kg_iter_next(&it);) {
    kg_str_t p = kg_view_str(kg_view_get(it.value, "propagation"));
    if (kg_str_is(p, "Bidirectional")) return "rshared";
    if (kg_str_is(p, "HostToContainer")) way = "rslave";
  }
  return way;
}

static void secure(bundle_t *b, kube_node_t *l) {
  kube_node_t *profile = NULL, *set = sysctls(b);
  const char *propagation = root_propagation(b);
  if (seccomp_profile(b->a, b->security, capability_set(b), &profile, b->err)) b->failed = true;
  if (profile) kube_set(b->a, l, "seccomp", profile);
  if (set->c.n) kube_set(b->a, l, "sysctl", set);
  if (propagation) kube_set(b->a, l, "rootfsPropagation", kube_str(b->a, propagation));
  if (b->privileged) kube_set(b->a, l, "devices", devices_of_host(b->a));
}

static kube_node_t *linux_part(bundle_t *b) {
  static const char *const masked[] = {"/proc/acpi",
                                       "/proc/asound",
                                       "/proc/kcore",
                                       "/proc/keys",
                                       "/proc/latency_stats",
                                       "/proc/timer_list",
                                       "/proc/timer_stats",
                                       "/proc/sched_debug",
                                       "/proc/scsi",
                                       "/sys/firmware",
                                       "/sys/devices/virtual/powercap",
                                       NULL};
  static const char *const readonly[] = {"/proc/bus",           "/proc/fs", "/proc/irq", "/proc/sys",
                                         "/proc/sysrq-trigger", NULL};
  char group[PATH_SIZE];
  kube_node_t *l = kube_map(b->a);
  char *uid = text_of(kg_view_of(b->s->args), "uid");
  cgroup_path(b->o, uid ? uid : b->s->id, b->c->id, group);
  free(uid);
  kube_set(b->a, l, "cgroupsPath", kube_str(b->a, group));
  kube_set(b->a, l, "namespaces", namespaces(b));
  kube_set(b->a, l, "resources", resources(b));
  secure(b, l);
  bool unmasked = kg_str_is(kg_view_str(kg_view_get(b->security, "procMount")), "Unmasked");
  if (!b->privileged && !unmasked) {
    kube_set(b->a, l, "maskedPaths", strings(b->a, masked));
    kube_set(b->a, l, "readonlyPaths", strings(b->a, readonly));
  }
  return l;
}

static kube_node_t *configuration(bundle_t *b) {
  kube_node_t *spec = kube_map(b->a), *root = kube_map(b->a);
  kube_set(b->a, spec, "ociVersion", kube_str(b->a, "1.0.2"));
  kube_set(b->a, spec, "process", process(b));
  kube_set(b->a, root, "path", kube_str(b->a, "rootfs"));
  kube_set(b->a, root, "readonly", kube_bool(b->a, kg_view_bool(kg_view_get(b->security, "readOnlyRoot"), false)));
  kube_set(b->a, spec, "root", root);
  kube_set(b->a, spec, "mounts", mounts(b));
  kube_set(b->a, spec, "linux", linux_part(b));
  return spec;
}

static int find_user(bundle_t *b, kg_error_t *err) {
  char root[PATH_SIZE], text[32];
  kg_view_t uid = kg_view_get(b->security, "uid"), gid = kg_view_get(b->security, "gid");
  kg_str_t user = kg_view_str(kg_view_get(b->image, "User"));
  if (kg_view_type(uid) == KG_V_INT) {
    snprintf(text, sizeof text, "%lld", (long long)kg_view_int(uid, 0));
    user = kg_str(text);
  }
  root_path(b, root);
  if (user_find(root, user, &b->user, err) < 0) return -1;
  if (kg_str_is(kg_view_str(kg_view_get(b->security, "groupsPolicy")), "Strict")) b->user.ngroups = 0;
  if (kg_view_type(gid) == KG_V_INT) b->user.gid = (uint32_t)kg_view_int(gid, 0);
  return 0;
}

int bundle_write(oci_t *o, const sandbox_t *s, container_t *c, kg_view_t args, const image_t *image, const char *dir,
                 kg_error_t *err) {
  char path[PATH_SIZE + 16];
  bundle_t b = {.o = o,
                .s = s,
                .c = c,
                .args = args,
                .security = kg_view_get(args, "security"),
                .image = kg_view_of(image->config),
                .dir = dir,
                .err = err};
  b.privileged = kg_view_bool(kg_view_get(b.security, "privileged"), false);
  if (find_user(&b, err) < 0) return -1;
  b.a = kube_arena_new();
  kube_node_t *spec = configuration(&b);
  int done = -1;
  c->user = kube_tree_doc(kube_path(spec, "process", "user", NULL));
  if (b.failed) {
    /* err says why */
  } else if (kube_path(spec, "process", "args", NULL)->c.n == 0) {
    kg_error_set(err, KG_EINVAL, "no command specified");
  } else {
    kg_doc_t *doc = kube_tree_doc(spec);
    kube_buf_t json = {0};
    kube_json_write(&json, kg_view_of(doc));
    snprintf(path, sizeof path, "%s/config.json", dir);
    done = write_whole(path, json.p, json.n, 0600, err);
    kube_buf_free(&json);
    kg_doc_unref(doc);
  }
  kube_arena_free(b.a);
  return done;
}
