/* What the runtime is told: a sandbox of the pod, a container of its spec. */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "node.h"

static bool spec_bool(const pod_t *p, const char *key) {
  return kg_view_bool(kg_view_get(pod_spec(p), key), false);
}

/* --- sandbox
 * ----------------------------------------------------------------------------------------------------------- */

static void pack_ports(kg_pack_t *k, const pod_t *p) {
  kg_pack_key(k, "ports");
  kg_pack_array(k);
  for (size_t i = 0; i < p->nboxes; i++)
    for (kg_iter_t it = kg_iter(kg_view_get(box_spec(p->boxes[i]), "ports")); kg_iter_next(&it);) {
      kg_str_t protocol = VIEW_STR(it.value, "protocol"), ip = VIEW_STR(it.value, "hostIP");
      int64_t host = kg_view_int(kg_view_get(it.value, "hostPort"), 0);
      if (host <= 0) continue;
      kg_pack_map(k);
      kg_pack_kv_int(k, "hostPort", host);
      kg_pack_kv_int(k, "containerPort", kg_view_int(kg_view_get(it.value, "containerPort"), 0));
      kg_pack_kv_strn(k, "protocol", protocol.n ? protocol : KG_STR("TCP"));
      if (ip.n) kg_pack_kv_strn(k, "hostIP", ip);
      kg_pack_end(k);
    }
  kg_pack_end(k);
}

static void pack_sysctls(kg_pack_t *k, const pod_t *p) {
  kg_pack_key(k, "sysctls");
  kg_pack_map(k);
  for (kg_iter_t it = kg_iter(kg_view_path(pod_spec(p), "securityContext", "sysctls", NULL)); kg_iter_next(&it);) {
    kg_pack_strn(k, VIEW_STR(it.value, "name"));
    kg_pack_strn(k, VIEW_STR(it.value, "value"));
  }
  kg_pack_end(k);
}

/* Annotations that are meant for the runtime: those of its own domain. */
static void pack_annotations(kg_pack_t *k, const pod_t *p) {
  static const char domain[] = "sim.kogge.dev/";
  kg_pack_key(k, "annotations");
  kg_pack_map(k);
  for (kg_iter_t it = kg_iter(kg_view_path(pod_object(p), "metadata", "annotations", NULL)); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    if (key.n < sizeof domain || memcmp(key.p, domain, sizeof domain - 1)) continue;
    kg_pack_strn(k, key);
    kg_pack_view(k, it.value);
  }
  kg_pack_end(k);
}

static void pack_limits(kg_pack_t *k, const limits_t *l) {
  kg_pack_kv_int(k, "cpuShares", l->cpu_shares);
  kg_pack_kv_int(k, "cpuQuota", l->cpu_quota);
  kg_pack_kv_int(k, "cpuPeriod", l->cpu_period);
  kg_pack_kv_int(k, "memory", l->memory);
}

static void pack_limits_as(kg_pack_t *k, const char *key, const limits_t *l) {
  kg_pack_key(k, key);
  kg_pack_map(k);
  pack_limits(k, l);
  kg_pack_end(k);
}

kg_doc_t *sandbox_args(pod_t *p, const char *id) {
  limits_t l;
  char host[256];
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "id", id);
  kg_pack_kv_str(&k, "uid", p->uid);
  kg_pack_kv_str(&k, "name", p->name);
  kg_pack_kv_str(&k, "namespace", p->ns);
  kg_pack_kv_int(&k, "attempt", p->sandbox_attempt);
  pod_hostname(p, host);
  kg_pack_kv_str(&k, "hostname", host);
  kg_pack_kv_bool(&k, "hostNetwork", spec_bool(p, "hostNetwork"));
  kg_pack_kv_bool(&k, "hostPID", spec_bool(p, "hostPID"));
  kg_pack_kv_bool(&k, "hostIPC", spec_bool(p, "hostIPC"));
  kg_pack_kv_bool(&k, "sharePID", spec_bool(p, "shareProcessNamespace"));
  kg_pack_kv_str(&k, "qos", pod_qos(pod_spec(p)));
  pod_limits(pod_allocated(p), &l);
  pack_limits_as(&k, "resources", &l);
  pack_sysctls(&k, p);
  pack_annotations(&k, p);
  pack_ports(&k, p);
  kg_pack_end(&k);
  return kg_pack_doc(&k);
}

/* --- container
 * --------------------------------------------------------------------------------------------------------- */

/* A setting of the container, or else of the pod. */
static kg_view_t security(const box_t *b, const char *key) {
  kg_view_t own = kg_view_path(box_spec(b), "securityContext", key, NULL);
  return kg_view_there(own) && kg_view_type(own) != KG_V_NIL
             ? own
             : kg_view_path(pod_spec(b->pod), "securityContext", key, NULL);
}

static void pack_words(kg_pack_t *k, const char *key, kg_view_t words, const env_t *e) {
  kg_pack_key(k, key);
  kg_pack_array(k);
  for (kg_iter_t it = kg_iter(words); kg_iter_next(&it);) {
    char *text = env_expand(e, kg_view_str(it.value));
    kg_pack_str(k, text ? text : "");
    free(text);
  }
  kg_pack_end(k);
}

static void pack_env(kg_pack_t *k, const env_t *e) {
  kg_pack_key(k, "env");
  kg_pack_array(k);
  for (size_t i = 0; i < e->n; i++) {
    kg_pack_map(k);
    kg_pack_kv_str(k, "name", e->names[i]);
    kg_pack_kv_str(k, "value", e->values[i]);
    kg_pack_end(k);
  }
  kg_pack_end(k);
}

/* How readily the kernel ends it when memory is short: guaranteed pods last, best effort ones first. */
static int64_t oom_score(const box_t *b) {
  const char *qos = pod_qos(pod_spec(b->pod));
  int64_t milli = 0, pages = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  if (!strcmp(qos, "Guaranteed")) return -997;
  if (!strcmp(qos, "BestEffort") || pages <= 0) return 1000;
  kg_str_t asked = VIEW_STR(box_spec(b), "resources", "requests", "memory");
  if (asked.n) kube_quantity_milli(asked, &milli);
  int64_t score = 1000 - (int64_t)((double)milli / (double)pages);
  return score < 3 ? 3 : score > 999 ? 999 : score;
}

static void pack_resources(kg_pack_t *k, const box_t *b) {
  limits_t l;
  box_limits(box_allocated(b), &l);
  kg_pack_key(k, "resources");
  kg_pack_map(k);
  pack_limits(k, &l);
  kg_pack_kv_int(k, "oomScoreAdj", oom_score(b));
  kg_pack_end(k);
}

kg_doc_t *sandbox_update_args(const pod_t *p) {
  limits_t l;
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "id", p->sandbox_id);
  pod_limits(pod_allocated(p), &l);
  pack_limits_as(&k, "resources", &l);
  kg_pack_end(&k);
  return kg_pack_doc(&k);
}

kg_doc_t *update_args(const box_t *b) {
  limits_t l;
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "id", b->id);
  box_limits(box_allocated(b), &l);
  pack_limits_as(&k, "resources", &l);
  pod_limits(pod_allocated(b->pod), &l);
  pack_limits_as(&k, "pod", &l);
  kg_pack_end(&k);
  return kg_pack_doc(&k);
}

static void pack_groups(kg_pack_t *k, const box_t *b) {
  kg_view_t pod = kg_view_get(pod_spec(b->pod), "securityContext"), fs = kg_view_get(pod, "fsGroup");
  kg_pack_key(k, "groups");
  kg_pack_array(k);
  for (kg_iter_t it = kg_iter(kg_view_get(pod, "supplementalGroups")); kg_iter_next(&it);)
    kg_pack_int(k, kg_view_int(it.value, 0));
  if (kg_view_type(fs) == KG_V_INT) kg_pack_int(k, kg_view_int(fs, 0));
  kg_pack_end(k);
}

/* A profile of the node's own lies in DATA/seccomp, as in a kubelet's root directory. */
static void pack_seccomp(kg_pack_t *k, const box_t *b) {
  kg_view_t profile = security(b, "seccompProfile");
  kg_str_t type = VIEW_STR(profile, "type"), file = VIEW_STR(profile, "localhostProfile");
  if (!type.n) return;
  kg_pack_key(k, "seccomp");
  kg_pack_map(k);
  kg_pack_kv_strn(k, "type", type);
  if (file.n && path_is_local(file)) {
    kg_pack_key(k, "path");
    kg_pack_fmt(k, "%s/seccomp/" KG_STR_FMT, kg_data_dir(b->pod->agent->ctx), KG_STR_ARG(file));
  }
  kg_pack_end(k);
}

static void pack_security(kg_pack_t *k, const box_t *b) {
  kg_view_t own = kg_view_get(box_spec(b), "securityContext"), uid = security(b, "runAsUser"),
            gid = security(b, "runAsGroup");
  kg_pack_key(k, "security");
  kg_pack_map(k);
  if (kg_view_type(uid) == KG_V_INT) kg_pack_kv_int(k, "uid", kg_view_int(uid, 0));
  if (kg_view_type(gid) == KG_V_INT) kg_pack_kv_int(k, "gid", kg_view_int(gid, 0));
  pack_groups(k, b);
  kg_pack_kv_bool(k, "privileged", kg_view_bool(kg_view_get(own, "privileged"), false));
  kg_pack_kv_bool(k, "readOnlyRoot", kg_view_bool(kg_view_get(own, "readOnlyRootFilesystem"), false));
  kg_pack_kv_bool(k, "noNewPrivileges", !kg_view_bool(kg_view_get(own, "allowPrivilegeEscalation"), true));
  pack_seccomp(k, b);
  kg_pack_kv_strn(k, "procMount", VIEW_STR(own, "procMount"));
  kg_pack_kv_strn(k, "groupsPolicy", VIEW_STR(pod_spec(b->pod), "securityContext", "supplementalGroupsPolicy"));
  kg_view_t add = kg_view_path(own, "capabilities", "add", NULL),
            drop = kg_view_path(own, "capabilities", "drop", NULL);
  if (kg_view_count(add)) kg_pack_kv_view(k, "addCaps", add);
  if (kg_view_count(drop)) kg_pack_kv_view(k, "dropCaps", drop);
  kg_pack_end(k);
}

/* The file that the container may write its last words to must be there before it is mounted. */
static int message_mount(box_t *b, int64_t attempt, kg_pack_t *k, kg_error_t *err) {
  char path[4096];
  kg_str_t to = VIEW_STR(box_spec(b), "terminationMessagePath");
  if (!to.n) return 0;
  box_message_path(b, attempt, path, sizeof path);
  char *slash = strrchr(path, '/');
  *slash = 0;
  if (make_dirs(path, 0755, err)) return -1;
  *slash = '/';
  if (access(path, F_OK) && write_file(path, "", 0, 0666, err)) return -1;
  kg_pack_map(k);
  kg_pack_kv_str(k, "hostPath", path);
  kg_pack_kv_strn(k, "path", to);
  kg_pack_kv_bool(k, "readOnly", false);
  kg_pack_end(k);
  return 0;
}

/* runAsNonRoot is a promise that must be kept before anything runs. */
static int check_user(const box_t *b, kg_error_t *err) {
  const pod_t *p = b->pod;
  kg_view_t uid = security(b, "runAsUser");
  const char *user = b->image_user ? b->image_user : "";
  if (!kg_view_bool(security(b, "runAsNonRoot"), false)) return 0;
  if (kg_view_type(uid) == KG_V_INT && kg_view_int(uid, 0) != 0) return 0;
  if (kg_view_type(uid) == KG_V_INT)
    return kg_error_set(err, KG_EINVAL,
                        "container's runAsUser breaks non-root policy (pod: \"%s_%s(%s)\", container: %s)", p->name,
                        p->ns, p->uid, b->name);
  if (!*user || !strcmp(user, "root") || (isdigit((unsigned char)*user) && atoi(user) == 0))
    return kg_error_set(err, KG_EINVAL,
                        "container has runAsNonRoot and image will run as root (pod: \"%s_%s(%s)\", container: %s)",
                        p->name, p->ns, p->uid, b->name);
  if (!isdigit((unsigned char)*user))
    return kg_error_set(err, KG_EINVAL,
                        "container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is "
                        "non-root (pod: \"%s_%s(%s)\", container: %s)",
                        user, p->name, p->ns, p->uid, b->name);
  return 0;
}

/* An ephemeral container sees the processes of the one it is to look into. */
static void pack_target(kg_pack_t *k, const box_t *b) {
  kg_str_t name = VIEW_STR(box_spec(b), "targetContainerName");
  const box_t *target = name.n ? pod_box(b->pod, name) : NULL;
  if (target && target->state == BOX_RUNNING) kg_pack_kv_str(k, "pidOf", target->id);
}

static void pack_names(kg_pack_t *k, box_t *b, int64_t attempt) {
  char id[512], log[4096];
  box_id(b->pod, b->name, attempt, id, sizeof id);
  box_log_path(b, attempt, log, sizeof log);
  kg_pack_kv_str(k, "id", id);
  kg_pack_kv_str(k, "sandbox", b->pod->sandbox_id);
  kg_pack_kv_str(k, "name", b->name);
  kg_pack_kv_int(k, "attempt", attempt);
  kg_pack_kv_str(k, "logPath", log);
}

kg_doc_t *box_args(box_t *b, int64_t attempt, kg_error_t *err) {
  kg_view_t spec = box_spec(b);
  env_t e = {0};
  kg_pack_t k = kg_pack();
  kg_str_t workdir = VIEW_STR(spec, "workingDir"), stop = VIEW_STR(spec, "lifecycle", "stopSignal");
  if (check_user(b, err) || env_build(b, &e, err)) {
    env_free(&e);
    return NULL;
  }
  kg_pack_map(&k);
  pack_names(&k, b, attempt);
  pack_target(&k, b);
  kg_pack_kv_strn(&k, "image", VIEW_STR(spec, "image"));
  pack_words(&k, "command", kg_view_get(spec, "command"), &e);
  pack_words(&k, "args", kg_view_get(spec, "args"), &e);
  pack_env(&k, &e);
  if (workdir.n) kg_pack_kv_strn(&k, "workdir", workdir);
  if (stop.n) kg_pack_kv_strn(&k, "stopSignal", stop);
  static const char *const flags[] = {"tty", "stdin", "stdinOnce"};
  for (size_t i = 0; i < 3; i++) kg_pack_kv_bool(&k, flags[i], kg_view_bool(kg_view_get(spec, flags[i]), false));
  pack_resources(&k, b);
  pack_security(&k, b);
  kg_pack_key(&k, "mounts");
  kg_pack_array(&k);
  bool bad = volume_mounts(b, &e, &k, err) || message_mount(b, attempt, &k, err);
  kg_pack_end(&k);
  kg_pack_end(&k);
  env_free(&e);
  if (!bad) return kg_pack_doc(&k);
  kg_pack_free(&k);
  return NULL;
}
