/* The volumes of a pod: made before its containers, kept up to date while they run, gone after them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node.h"

enum { SWEEP_ENTRIES = 500, UID_LENGTH = 36, HASH_LENGTH = 32 /* of a static pod */, PATH_SIZE = 4096 };

typedef struct kind {
  const char *key, *dir;
  bool source, secret; /* files from the API; kept in memory */
} kind_t;

static const kind_t kinds[] = {{"emptyDir", "kubernetes.io~empty-dir", false, false},
                               {"configMap", "kubernetes.io~configmap", true, false},
                               {"downwardAPI", "kubernetes.io~downward-api", true, false},
                               {"secret", "kubernetes.io~secret", true, true},
                               {"projected", "kubernetes.io~projected", true, true}};

static const kind_t *kind_of(kg_view_t volume) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (kg_view_type(kg_view_get(volume, kinds[i].key)) == KG_V_MAP) return &kinds[i];
  return NULL;
}

bool volume_is_source(kg_view_t volume) {
  const kind_t *k = kind_of(volume);
  return k && k->source;
}

/* Beside the directory of the pods, on the same disk: DATA/NAME. */
static void beside(const agent_t *a, const char *name, char *buf, size_t n) {
  const char *slash = strrchr(a->pods_dir, '/');
  snprintf(buf, n, "%.*s/%s", slash ? (int)(slash - a->pods_dir) : 0, a->pods_dir, name);
}

const char *volume_path(const pod_t *p, kg_view_t volume, char *buf, size_t n) {
  kg_str_t name = VIEW_STR(volume, "name"), host = VIEW_STR(volume, "hostPath", "path");
  const kind_t *k = kind_of(volume);
  char top[PATH_SIZE / 2];
  if (host.p) return snprintf(buf, n, KG_STR_FMT, KG_STR_ARG(host)), buf;
  if (volume_is_claim(volume)) {
    const char *claimed = claim_path(p, volume);
    return claimed ? (snprintf(buf, n, "%s", claimed), buf) : NULL;
  }
  if (!k) return NULL;
  if (k->secret) {
    beside(p->agent, "pod-secrets", top, sizeof top);
    snprintf(buf, n, "%s/%s/" KG_STR_FMT, top, p->uid, KG_STR_ARG(name));
  } else {
    pod_dir(p, top, sizeof top);
    snprintf(buf, n, "%s/volumes/%s/" KG_STR_FMT, top, k->dir, KG_STR_ARG(name));
  }
  return buf;
}

int64_t pod_fs_group(const pod_t *p) {
  return kg_view_int(kg_view_path(pod_spec(p), "securityContext", "fsGroup", NULL), -1);
}

/* --- emptyDir
 * ------------------------------------------------------------------------------------------------------------ */

/* The least of what the volume, the pod and the node may use. */
static int64_t memory_limit(const pod_t *p, kg_view_t empty) {
  int64_t own = 0, most = node_allocatable(p->agent, "memory") / 1000;
  limits_t l;
  kg_str_t text = kg_view_str(kg_view_get(empty, "sizeLimit"));
  pod_limits(pod_spec(p), &l);
  if (text.p && kube_quantity_value(text, &own)) own = 0;
  if (l.memory > 0 && l.memory < most) most = l.memory;
  return own > 0 && own < most ? own : most;
}

static int mount_memory(const pod_t *p, kg_view_t empty, const char *path, kg_error_t *err) {
  char options[64] = "mode=01777";
  int64_t size = memory_limit(p, empty);
  if (is_mounted(path)) return 0;
  if (size > 0) snprintf(options, sizeof options, "mode=01777,size=%lld", (long long)size);
  if (mount("tmpfs", path, "tmpfs", 0, options))
    return kg_error_set(err, KG_EINTERNAL, "mount of tmpfs at %s: %s", path, strerror(errno));
  return 0;
}

/* Owner and mode are set once: what containers make of it later stays, also when the agent starts again. */
static int empty_dir(const pod_t *p, kg_view_t volume, kg_error_t *err) {
  char path[PATH_SIZE], done[PATH_SIZE + 8];
  kg_view_t empty = kg_view_get(volume, "emptyDir");
  kg_str_t medium = kg_view_str(kg_view_get(empty, "medium"));
  int64_t gid = pod_fs_group(p);
  volume_path(p, volume, path, sizeof path);
  snprintf(done, sizeof done, "%s.ready", path);
  if (medium.n && !kg_str_is(medium, "Memory"))
    return kg_error_set(err, KG_EINVAL, "unknown storage medium \"" KG_STR_FMT "\"", KG_STR_ARG(medium));
  if (make_dirs(path, 0777, err)) return -1;
  if (medium.n && mount_memory(p, empty, path, err)) return -1;
  if (!access(done, F_OK)) return 0;
  if (gid >= 0 && chown(path, (uid_t)-1, (gid_t)gid))
    return kg_error_set(err, KG_EINTERNAL, "chown %s: %s", path, strerror(errno));
  mode_t mode = (gid >= 0 ? 02777 : 0777) | (medium.n ? 01000 : 0); /* as tmpfs itself has it */
  if (chmod(path, mode)) return kg_error_set(err, KG_EINTERNAL, "chmod %s: %s", path, strerror(errno));
  return write_file(done, "", 0, 0600, err);
}

/* --- hostPath
 * ------------------------------------------------------------------------------------------------------------ */

static int make_file(const char *path, kg_error_t *err) {
  char *dir = strdup(path), *slash = dir ? strrchr(dir, '/') : NULL;
  int r = 0;
  if (slash && slash > dir) {
    *slash = 0;
    r = make_dirs(dir, 0755, err);
  }
  free(dir);
  int fd = r ? -1 : open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return r ? r : kg_error_set(err, KG_EINTERNAL, "open %s: %s", path, strerror(errno));
  close(fd);
  return 0;
}

typedef struct host_type {
  const char *name;
  mode_t mode;      /* S_IF..., 0: anything */
  const char *what; /* "a file" */
  int (*make)(const char *path, kg_error_t *err);
} host_type_t;

static int make_host_dir(const char *path, kg_error_t *err) {
  return make_dirs(path, 0755, err);
}

static const host_type_t host_types[] = {{"", 0, "", make_host_dir},
                                         {"DirectoryOrCreate", S_IFDIR, "a directory", make_host_dir},
                                         {"Directory", S_IFDIR, "a directory", NULL},
                                         {"FileOrCreate", S_IFREG, "a file", make_file},
                                         {"File", S_IFREG, "a file", NULL},
                                         {"Socket", S_IFSOCK, "a socket file", NULL},
                                         {"CharDevice", S_IFCHR, "a character device", NULL},
                                         {"BlockDevice", S_IFBLK, "a block device", NULL}};

int host_path_check(kg_view_t volume, kg_error_t *err) {
  kg_str_t type = VIEW_STR(volume, "hostPath", "type");
  const host_type_t *t = NULL;
  char path[PATH_SIZE];
  struct stat st;
  volume_path(NULL, volume, path, sizeof path);
  for (size_t i = 0; i < sizeof host_types / sizeof *host_types; i++)
    if (kg_str_eq(type, kg_str(host_types[i].name))) t = &host_types[i];
  if (!t) return kg_error_set(err, KG_EINVAL, KG_STR_FMT " is an invalid volume type", KG_STR_ARG(type));
  bool there = !stat(path, &st);
  if (!there && t->make) {
    if (t->make(path, err)) return -1;
    there = !stat(path, &st);
  }
  if (!there || (t->mode && (st.st_mode & S_IFMT) != t->mode))
    return kg_error_set(err, KG_EINVAL, "hostPath type check failed: %s is not %s", path, t->what);
  return 0;
}

/* --- files from the API
 * ------------------------------------------------------------------------------------------------ */

/* Secrets and tokens are never written to a disk: one file system in memory holds them for all pods. */
static int secrets_mount(agent_t *a, kg_error_t *err) {
  char top[PATH_SIZE];
  beside(a, "pod-secrets", top, sizeof top);
  if (make_dirs(top, 0700, err)) return -1;
  if (is_mounted(top) || !mount("tmpfs", top, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700")) return 0;
  return kg_error_set(err, KG_EINTERNAL, "mount of tmpfs at %s: %s", top, strerror(errno));
}

/* With the last pod's secrets the file system goes, too. */
static void secrets_unmount(const char *top) {
  DIR *d = opendir(top);
  bool empty = d != NULL;
  for (struct dirent *e; empty && (e = readdir(d));) empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
  if (d) closedir(d);
  if (empty && is_mounted(top) && !umount2(top, MNT_DETACH | UMOUNT_NOFOLLOW)) rmdir(top);
}

static void secrets_remove(const pod_t *p) {
  char top[PATH_SIZE / 2], own[PATH_SIZE];
  beside(p->agent, "pod-secrets", top, sizeof top);
  snprintf(own, sizeof own, "%s/%s", top, p->uid);
  kube_remove_tree(own);
  secrets_unmount(top);
}

static int source_volume(pod_t *p, kg_view_t volume, kg_error_t *err) {
  char path[PATH_SIZE];
  file_t *files = NULL;
  bool secret = kind_of(volume)->secret;
  int r = source_files(p, volume, &files, err);
  if (!r && secret) r = secrets_mount(p->agent, err);
  volume_path(p, volume, path, sizeof path);
  if (!r) r = make_dirs(path, secret ? 01777 : 0777, err);
  if (!r) r = write_atomically(path, files, pod_fs_group(p), kg_wall_us(p->agent->ctx), err);
  files_free(files);
  return r;
}

/* --- all of a pod's
 * -------------------------------------------------------------------------------------------------- */

/* Volumes that no container mounts are not made. `how`: volumeMounts or volumeDevices. */
static bool is_used(kg_view_t spec, const char *how, kg_str_t name) {
  static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
  for (size_t i = 0; i < 3; i++)
    for (kg_iter_t c = kg_iter(kg_view_get(spec, lists[i])); kg_iter_next(&c);)
      if (kg_view_there(kube_list_find(kg_view_get(c.value, how), "name", name))) return true;
  return false;
}

static kg_str_t first_source(kg_view_t volume) {
  for (kg_iter_t it = kg_iter(volume); kg_iter_next(&it);)
    if (!kg_str_is(kg_view_str(it.key), "name")) return kg_view_str(it.key);
  return KG_STR("(none)");
}

static int prepare(pod_t *p, kg_view_t volume, kg_error_t *err) {
  int r;
  if (volume_is_claim(volume)) return claim_prepare(p, volume, false, err);
  if (kg_view_type(kg_view_get(volume, "hostPath")) == KG_V_MAP)
    r = host_path_check(volume, err);
  else if (kg_view_type(kg_view_get(volume, "emptyDir")) == KG_V_MAP)
    r = empty_dir(p, volume, err);
  else if (volume_is_source(volume))
    r = source_volume(p, volume, err);
  else if (kg_view_type(kg_view_get(volume, "image")) == KG_V_MAP)
    r = 0; /* its containers bring it (image.c), the runtime mounts it */
  else
    r = kg_error_set(err, KG_EINVAL, "this node has no volume plugin for " KG_STR_FMT,
                     KG_STR_ARG(first_source(volume)));
  if (r < 0)
    kg_error_prefix(err, "MountVolume.SetUp failed for volume \"" KG_STR_FMT "\" ",
                    KG_STR_ARG(VIEW_STR(volume, "name")));
  return r;
}

int volumes_prepare(pod_t *p, kg_error_t *err) {
  int waits = 0;
  char dir[PATH_SIZE];
  kg_view_t spec = pod_spec(p);
  pod_dir(p, dir, sizeof dir);
  if (make_dirs(dir, 0750, err)) return -1;
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "volumes")); kg_iter_next(&it);) {
    kg_str_t name = VIEW_STR(it.value, "name");
    bool device = volume_is_claim(it.value) && is_used(spec, "volumeDevices", name);
    if (!device && !is_used(spec, "volumeMounts", name)) continue;
    int r = device ? claim_prepare(p, it.value, true, err) : prepare(p, it.value, err);
    if (r < 0) return r;
    waits |= r; /* what is missing is asked for at once */
  }
  return waits;
}

void volumes_refresh(pod_t *p) {
  kg_view_t spec = pod_spec(p);
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "volumes")); kg_iter_next(&it);) {
    kg_error_t err = {0};
    if (!volume_is_source(it.value) || !is_used(spec, "volumeMounts", VIEW_STR(it.value, "name"))) continue;
    if (prepare(p, it.value, &err) < 0) pod_event(p, "Warning", "FailedMount", "%s", err.text);
  }
}

/* --- removal: out of the way at once, emptied bit by bit
 * ---------------------------------------------------------------- */

static void on_sweep(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  a->sweep_timer = 0;
  volumes_sweep(a);
}

void volumes_sweep(agent_t *a) {
  char trash[PATH_SIZE / 2], path[PATH_SIZE];
  unsigned budget = SWEEP_ENTRIES;
  beside(a, "pod-trash", trash, sizeof trash);
  DIR *d = opendir(trash);
  bool whole = true;
  for (struct dirent *e; d && whole && (e = readdir(d));) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    snprintf(path, sizeof path, "%s/%s", trash, e->d_name);
    whole = kube_remove_some(path, &budget);
  }
  if (d) closedir(d);
  if (whole)
    rmdir(trash);
  else if (!a->sweep_timer)
    a->sweep_timer = kg_timer(a->ctx, 5, 0, on_sweep, NULL);
}

/* --- what a kogge that was killed left of pods nobody knows any more
 * ------------------------------------------------- */

static bool is_known(const agent_t *a, kg_str_t uid) {
  for (const pod_t *p = a->list; p; p = p->next)
    if (kg_str_is(uid, p->uid)) return true;
  return false;
}

/* Entries of dir end with the uid; `to`: where they are moved to be emptied bit by bit, NULL: removed at once. */
static void remove_strange(const agent_t *a, const char *dir, const char *to) {
  char path[PATH_SIZE], away[PATH_SIZE];
  DIR *d = opendir(dir);
  for (struct dirent *e; d && (e = readdir(d));) {
    const char *under = strrchr(e->d_name, '_'), *uid = under ? under + 1 : e->d_name;
    if (e->d_name[0] == '.' || (strlen(uid) != UID_LENGTH && strlen(uid) != HASH_LENGTH) || is_known(a, kg_str(uid)))
      continue;
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    snprintf(away, sizeof away, "%s/%s-%lld", to ? to : "", e->d_name, (long long)kg_wall_us(a->ctx));
    log_dir_remove(path);
    if (!to || rename(path, away)) kube_remove_tree(path);
  }
  if (d) closedir(d);
}

void volumes_remove_strange(agent_t *a) {
  char trash[PATH_SIZE / 2], secrets[PATH_SIZE / 2];
  beside(a, "pod-trash", trash, sizeof trash);
  beside(a, "pod-secrets", secrets, sizeof secrets);
  make_dirs(trash, 0700, NULL);
  remove_strange(a, a->pods_dir, trash);
  remove_strange(a, secrets, NULL);
  secrets_unmount(secrets);
  remove_strange(a, a->claims_dir, trash);
  log_links_sweep(a, NULL);
  volumes_sweep(a);
}

void volumes_remove(pod_t *p) {
  char dir[PATH_SIZE], trash[PATH_SIZE / 2], to[PATH_SIZE];
  secrets_remove(p);
  pod_dir(p, dir, sizeof dir);
  if (access(dir, F_OK)) return;
  beside(p->agent, "pod-trash", trash, sizeof trash);
  snprintf(to, sizeof to, "%s/%s-%lld", trash, p->uid, (long long)kg_wall_us(p->agent->ctx));
  if (make_dirs(trash, 0700, NULL) || rename(dir, to)) return kube_remove_tree(dir);
  volumes_sweep(p->agent);
}
