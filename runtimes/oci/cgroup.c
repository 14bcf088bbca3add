#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "oci.h"

#define CGROUP2_MAGIC 0x63677270
#ifndef CGROUPS /* a test has others */
#define CGROUPS "/sys/fs/cgroup"
#endif

void cgroup_detect(oci_t *o) {
  struct statfs fs;
  o->unified = statfs(CGROUPS, &fs) == 0 && fs.f_type == CGROUP2_MAGIC;
}

void cgroup_path(const oci_t *o, const char *uid, const char *container, char path[PATH_SIZE]) {
  snprintf(path, PATH_SIZE, "%s/pod%s%s%s", o->cgroup_root, uid, container ? "/" : "", container ? container : "");
}

/* Calls fn with the group's directory in every hierarchy. */
static void each_hierarchy(const oci_t *o, const char *group, void (*fn)(const char *dir)) {
  char path[PATH_SIZE * 2];
  if (o->unified) {
    snprintf(path, sizeof path, CGROUPS "%s", group);
    fn(path);
    return;
  }
  DIR *d = opendir(CGROUPS);
  for (struct dirent *e; d && (e = readdir(d));) {
    struct stat st;
    if (e->d_name[0] == '.') continue;
    snprintf(path, sizeof path, CGROUPS "/%s", e->d_name);
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode)) continue; /* cpu -> cpu,cpuacct */
    snprintf(path, sizeof path, CGROUPS "/%s%s", e->d_name, group);
    fn(path);
  }
  if (d) closedir(d);
}

static void kill_procs(const char *dir) {
  char path[PATH_SIZE * 2];
  snprintf(path, sizeof path, "%s/cgroup.procs", dir);
  FILE *f = fopen(path, "re");
  for (int pid; f && fscanf(f, "%d", &pid) == 1;)
    if (pid > 1) kill(pid, SIGKILL);
  if (f) fclose(f);
}

void cgroup_kill(const oci_t *o, const char *uid, const char *container) {
  char group[PATH_SIZE];
  cgroup_path(o, uid, container, group);
  each_hierarchy(o, group, kill_procs);
}

static void remove_tree(const char *dir) {
  char path[PATH_SIZE * 2];
  DIR *d = opendir(dir);
  for (struct dirent *e; d && (e = readdir(d));) {
    if (e->d_type != DT_DIR || e->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    remove_tree(path);
  }
  if (d) closedir(d);
  rmdir(dir);
}

void cgroup_remove(const oci_t *o, const char *uid) {
  char group[PATH_SIZE];
  cgroup_path(o, uid, NULL, group);
  each_hierarchy(o, group, remove_tree);
}

/* --- of a whole pod
 * ---------------------------------------------------------------------------------------------------- */

static int set_file(const char *dir, const char *file, const char *text, kg_error_t *err) {
  char path[PATH_SIZE * 3];
  snprintf(path, sizeof path, "%s/%s", dir, file);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  bool done = fd >= 0 && write(fd, text, strlen(text)) >= 0;
  int why = errno;
  if (fd >= 0) close(fd);
  return done ? 0 : kg_error_set(err, KG_EINTERNAL, "%s cannot become %s: %s", path, text, strerror(why));
}

/* As far as it goes: not every kernel has every file. */
static void put(const char *dir, const char *file, const char *text) {
  set_file(dir, file, text, NULL);
}

static void put_number(const char *dir, const char *file, int64_t n) {
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)n);
  if (n > 0) put(dir, file, text);
}

/* The group's directory for a controller; made, with the controllers passed down where there is one tree. */
static void group_dir(const oci_t *o, const char *controller, const char *group, char dir[PATH_SIZE * 2]) {
  const char *top = o->unified ? "" : "/";
  size_t n = (size_t)snprintf(dir, PATH_SIZE * 2, CGROUPS "%s%s%s", top, o->unified ? "" : controller, group);
  for (char *s = dir + strlen(CGROUPS "/"); s < dir + n; s++) {
    if (*s != '/') continue;
    *s = 0;
    mkdir(dir, 0755);
    if (o->unified) put(dir, "cgroup.subtree_control", "+cpu +memory +pids");
    *s = '/';
  }
  mkdir(dir, 0755);
}

static char *pod_group(const oci_t *o, const sandbox_t *s, char group[PATH_SIZE]) {
  char *uid = text_of(kg_view_of(s->args), "uid");
  cgroup_path(o, uid ? uid : s->id, NULL, group);
  free(uid);
  return group;
}

static int64_t amount(kg_view_t r, const char *key) {
  return kg_view_int(kg_view_get(r, key), 0);
}

/* n <= 0: without limit. */
static int set_limit(const char *dir, const char *file, int64_t n, const char *none, kg_error_t *err) {
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)n);
  return set_file(dir, file, n > 0 ? text : none, err);
}

static int limits_v1(const oci_t *o, const char *group, kg_view_t r, kg_error_t *err) {
  char dir[PATH_SIZE * 2];
  int bad;
  group_dir(o, "cpu", group, dir);
  bad = set_limit(dir, "cpu.shares", amount(r, "cpuShares"), "2", err);
  put_number(dir, "cpu.cfs_period_us", amount(r, "cpuPeriod"));
  bad |= set_limit(dir, "cpu.cfs_quota_us", amount(r, "cpuQuota"), "-1", err);
  group_dir(o, "memory", group, dir);
  return bad | set_limit(dir, "memory.limit_in_bytes", amount(r, "memory"), "-1", err);
}

static int limits_v2(const oci_t *o, const char *group, kg_view_t r, kg_error_t *err) {
  char dir[PATH_SIZE * 2], text[64];
  int64_t shares = amount(r, "cpuShares"), quota = amount(r, "cpuQuota");
  int bad;
  group_dir(o, "", group, dir);
  bad = set_limit(dir, "cpu.weight", shares > 0 ? 1 + (shares - 2) * 9999 / 262142 : 0, "1", err);
  snprintf(text, sizeof text, quota > 0 ? "%lld %lld" : "max", (long long)quota, (long long)amount(r, "cpuPeriod"));
  bad |= set_file(dir, "cpu.max", text, err);
  return bad | set_limit(dir, "memory.max", amount(r, "memory"), "max", err);
}

/* Everything is tried: not every kernel has every file. -1: err has the last that failed. */
static int set_limits(const oci_t *o, const char *group, kg_view_t r, kg_error_t *err) {
  return (o->unified ? limits_v2 : limits_v1)(o, group, r, err);
}

/* To the containers' groups below. */
static void pass_controllers_down(const oci_t *o, const char *group) {
  char dir[PATH_SIZE * 2];
  group_dir(o, "", group, dir);
  put(dir, "cgroup.subtree_control", "+cpu +memory +pids");
}

void cgroup_pod(const oci_t *o, const sandbox_t *s) {
  char group[PATH_SIZE];
  kg_view_t resources = kg_view_get(kg_view_of(s->args), "resources");
  pod_group(o, s, group);
  if (kg_view_type(resources) != KG_V_MAP) return;
  if (o->unified) pass_controllers_down(o, group);
  set_limits(o, group, resources, NULL);
}

/* --- changed while they run
 * -------------------------------------------------------------------------------------------- */

/* In v1 a part may not have more than the whole, which follows. */
static void lift_quota(const oci_t *o, const char *pod) {
  char dir[PATH_SIZE * 2];
  group_dir(o, "cpu", pod, dir);
  put(dir, "cpu.cfs_quota_us", "-1");
}

/* Nor may the group of a container that has ended, which stays until that is removed. */
static void lift_ended(const oci_t *o, const char *pod) {
  char dir[PATH_SIZE * 2], part[PATH_SIZE * 2 + NAME_MAX];
  snprintf(dir, sizeof dir, CGROUPS "/cpu%s", pod);
  DIR *d = opendir(dir);
  for (struct dirent *e; d && (e = readdir(d));) {
    const container_t *c = container_find(o, kg_str(e->d_name));
    if (e->d_type != DT_DIR || e->d_name[0] == '.' || !c || c->state != C_EXITED) continue;
    snprintf(part, sizeof part, "%s/%s", dir, e->d_name);
    put(part, "cpu.cfs_quota_us", "-1");
  }
  if (d) closedir(d);
}

static int set_pod_limits(const oci_t *o, const char *pod, kg_view_t r, kg_error_t *err) {
  if (!o->unified) lift_ended(o, pod);
  return set_limits(o, pod, r, err);
}

static int64_t read_number(const char *controller, bool unified, const char *group, const char *file,
                           const char *field) {
  char path[PATH_SIZE * 2];
  snprintf(path, sizeof path, CGROUPS "%s%s%s/%s", unified ? "" : "/", unified ? "" : controller, group, file);
  char *text = read_whole(path, 4096, NULL), *at = text;
  if (text && field) at = strstr(text, field);
  int64_t n = at ? strtoll(at + (field ? strlen(field) : 0), NULL, 10) : 0;
  free(text);
  return n;
}

/* The kernel would end it, or refuse, for a limit below what it uses. */
static bool uses_more(const oci_t *o, const char *group, int64_t memory, kg_error_t *err) {
  int64_t used = o->unified ? read_number("", true, group, "memory.current", NULL)
                            : read_number("memory", false, group, "memory.usage_in_bytes", NULL);
  if (memory <= 0 || used <= memory) return false;
  kg_error_set(err, KG_ECONFLICT, "it uses %lld bytes of memory, more than the new limit of %lld", (long long)used,
               (long long)memory);
  return true;
}

int cgroup_update(const oci_t *o, const container_t *c, const sandbox_t *s, kg_view_t args, kg_error_t *err) {
  char pod[PATH_SIZE], group[PATH_SIZE * 2];
  kg_view_t r = kg_view_get(args, "resources"), whole = kg_view_get(args, "pod");
  pod_group(o, s, pod);
  snprintf(group, sizeof group, "%s/%s", pod, c->id);
  if (uses_more(o, group, kg_view_int(kg_view_get(r, "memory"), 0), err)) return -1;
  if (!o->unified) lift_quota(o, pod);
  if (set_limits(o, group, r, err) < 0) return -1;
  if (kg_view_type(whole) == KG_V_MAP) set_pod_limits(o, pod, whole, NULL);
  return 0;
}

void container_update(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  const oci_t *o = self;
  kg_error_t err = {0};
  const container_t *c = container_find(o, kg_view_str(kg_view_get(kg_msg_args(m), "id")));
  const sandbox_t *s = c && c->state == C_RUNNING ? sandbox_find(o, kg_str(c->sandbox)) : NULL;
  if (!s) return kg_fail(ctx, m, KG_ENOTFOUND, "container.update: no such container runs");
  if (cgroup_update(o, c, s, kg_msg_args(m), &err) < 0) return kg_fail(ctx, m, err.code, "%s", err.text);
  kg_reply(ctx, m, NULL, NULL, 0);
}

void sandbox_update(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  const oci_t *o = self;
  char pod[PATH_SIZE];
  kg_error_t err = {0};
  kg_view_t args = kg_msg_args(m);
  const sandbox_t *s = sandbox_find(o, kg_view_str(kg_view_get(args, "id")));
  if (!s || !s->ready) return kg_fail(ctx, m, KG_ENOTFOUND, "sandbox.update: no such sandbox runs");
  if (set_pod_limits(o, pod_group(o, s, pod), kg_view_get(args, "resources"), &err) < 0)
    return kg_fail(ctx, m, err.code, "%s", err.text);
  kg_reply(ctx, m, NULL, NULL, 0);
}

void cgroup_pause_procs(const oci_t *o, const sandbox_t *s, char path[PATH_SIZE]) {
  char group[PATH_SIZE], own[PATH_SIZE + 8], dir[PATH_SIZE * 2];
  snprintf(own, sizeof own, "%s/pause", pod_group(o, s, group));
  group_dir(o, "pids", own, dir);
  snprintf(path, PATH_SIZE, "%.*s/cgroup.procs", PATH_SIZE - 20, dir);
}

/* --- what they use
 * ------------------------------------------------------------------------------------------------------ */

static void pack_stats(const oci_t *o, kg_pack_t *p, const container_t *c) {
  char group[PATH_SIZE];
  const sandbox_t *s = sandbox_find(o, kg_str(c->sandbox));
  char *uid = s ? text_of(kg_view_of(s->args), "uid") : NULL;
  cgroup_path(o, uid ? uid : "", c->id, group);
  int64_t cpu, memory, inactive;
  if (o->unified) {
    cpu = read_number("", true, group, "cpu.stat", "usage_usec ") * 1000;
    memory = read_number("", true, group, "memory.current", NULL);
    inactive = read_number("", true, group, "memory.stat", "inactive_file ");
  } else {
    cpu = read_number("cpuacct", false, group, "cpuacct.usage", NULL);
    memory = read_number("memory", false, group, "memory.usage_in_bytes", NULL);
    inactive = read_number("memory", false, group, "memory.stat", "total_inactive_file ");
  }
  kg_pack_map(p);
  kg_pack_kv_str(p, "id", c->id);
  kg_pack_kv_int(p, "cpu_ns", cpu);
  kg_pack_kv_int(p, "memory_bytes", memory);
  kg_pack_kv_int(p, "memory_ws", memory > inactive ? memory - inactive : 0);
  kg_pack_end(p);
  free(uid);
}

void runtime_stats(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  const oci_t *o = self;
  kg_str_t id = kg_view_str(kg_view_get(kg_msg_args(m), "id"));
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "containers");
  kg_pack_array(&p);
  for (const container_t *c = o->containers; c; c = c->next)
    if (c->state == C_RUNNING && (!id.n || kg_str_is(id, c->id))) pack_stats(o, &p, c);
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}
