/* A sandbox is a set of namespaces held by bind mounts, and a network address: no process, no pause container. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "cgroup_move.h"

#define NSFS_MAGIC_NUMBER 0x6e736673

static const char *const NS_NAMES[] = {"net", "ipc", "uts"};
static const int NS_FLAGS[] = {CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS};

sandbox_t *sandbox_find(const oci_t *o, kg_str_t id) {
  for (sandbox_t *s = o->sandboxes; s; s = s->next)
    if (kg_str_is(id, s->id)) return s;
  return NULL;
}

bool id_is_safe(kg_str_t id) {
  if (!id.n || id.n > 200 || id.p[0] == '.') return false;
  for (size_t i = 0; i < id.n; i++) {
    char c = id.p[i];
    bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.", c);
    if (!fine || !c) return false;
  }
  return true;
}

void sandbox_ns_path(const oci_t *o, const char *id, const char *ns, char path[PATH_SIZE]) {
  snprintf(path, PATH_SIZE, "%s/ns/%s%s%s", o->run, id, ns ? "/" : "", ns ? ns : "");
}

bool sandbox_alive(const oci_t *o, const sandbox_t *s) {
  char path[PATH_SIZE];
  struct statfs fs;
  if (s->host_net) return true;
  sandbox_ns_path(o, s->id, "net", path);
  return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC_NUMBER;
}

void sandbox_free(sandbox_t *s) {
  free(s->id);
  free(s->ip);
  kg_doc_unref(s->args);
  kg_doc_unref(s->ips);
  free(s);
}

static void unlink_sandbox(oci_t *o, sandbox_t *s) {
  for (sandbox_t **at = &o->sandboxes; *at; at = &(*at)->next)
    if (*at == s) {
      *at = s->next;
      break;
    }
}

/* --- making the namespaces, in a thread or a child
 * --------------------------------------------------------------------------------- */

typedef struct making {
  int flags;
  char hostname[65];
  char path[3][PATH_SIZE]; /* "" : the host's */
  char shm[PATH_SIZE];     /* "": the host's */
  char pid[PATH_SIZE];     /* "": each container has its own, or the host's */
  char pause[PATH_SIZE], group[PATH_SIZE];
  kg_msg_t *request;
  char *id;
} making_t;

static int say(char *said, const char *text) {
  int why = errno;
  memccpy(said, text, 0, SAID_SIZE - 1);
  return why ? why : EINVAL;
}

static int write_text(const char *path, const char *text, size_t n) {
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  bool bad = fd < 0 || write(fd, text, n) != (ssize_t)n;
  if (fd >= 0) close(fd);
  return bad ? -1 : 0;
}

/* The process that holds the name space of processes: a name space ends with its first process. */
static void become_pause(const making_t *w) {
  char *const argv[] = {(char *)w->pause, NULL}, *const env[] = {NULL};
  write_text(w->group, "0", 1); /* it ends with the pod's other processes, whatever becomes of us */
  setsid();
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; fd++) dup2(null, fd);
  close_range(3, ~0u, 0);
  if (chdir("/")) _exit(1);
  execve(w->pause, argv, env);
  _exit(127);
}

static int make_pid_namespace(const making_t *w, char *said) {
  char number[16], file[PATH_SIZE + 8];
  if (!w->pid[0]) return 0;
  if (unshare(CLONE_NEWPID) < 0) return say(said, "unshare");
  pid_t pid = fork();
  if (pid == 0) become_pause(w);
  if (pid < 0) return say(said, "fork");
  if (mount("/proc/self/ns/pid_for_children", w->pid, NULL, MS_BIND, NULL) < 0) return say(said, w->pid);
  int n = 0;
  for (pid_t rest = pid; rest; rest /= 10) n++;
  for (int i = n; i-- > 0; pid /= 10) number[i] = (char)('0' + pid % 10);
  size_t len = strlen(w->pid);
  memcpy(file, w->pid, len);
  memcpy(file + len, ".1st", 5);
  return write_text(file, number, (size_t)n) ? say(said, file) : 0;
}

/* Name spaces are a thread's own, and go with it unless a mount holds them. */
static int make_namespaces(void *arg, char said[SAID_SIZE]) {
  static const char *const own[] = {"/proc/thread-self/ns/net", "/proc/thread-self/ns/ipc", "/proc/thread-self/ns/uts"};
  making_t *w = arg;
  if (unshare(w->flags) < 0) return say(said, "unshare");
  if ((w->flags & CLONE_NEWUTS) && sethostname(w->hostname, strlen(w->hostname)) < 0) return say(said, "sethostname");
  for (int i = 0; i < 3; i++)
    if (w->path[i][0] && mount(own[i], w->path[i], NULL, MS_BIND, NULL) < 0) return say(said, w->path[i]);
  unsigned long flags = MS_NOSUID | MS_NOEXEC | MS_NODEV;
  if (w->shm[0] && mount("shm", w->shm, "tmpfs", flags, "mode=1777,size=65536k") < 0) return say(said, w->shm);
  return make_pid_namespace(w, said);
}

/* Shared memory of the sandbox's containers: a place of their own, or the host's. */
void sandbox_shm_path(const oci_t *o, const sandbox_t *s, char path[PATH_SIZE]) {
  if (s->host_ipc)
    snprintf(path, PATH_SIZE, "/dev/shm");
  else
    sandbox_ns_path(o, s->id, "shm", path);
}

static void making_free(making_t *w) {
  kg_msg_unref(w->request);
  free(w->id);
  free(w);
}

/* Ends the first process of the sandbox's name space, if it is still that one. */
static void end_pause(const oci_t *o, const char *id) {
  char path[PATH_SIZE], file[PATH_SIZE + 8], own[64];
  struct stat held, its;
  sandbox_ns_path(o, id, "pid", path);
  snprintf(file, sizeof file, "%s.1st", path);
  char *text = read_whole(file, 16, NULL);
  pid_t pid = text ? (pid_t)atoi(text) : 0;
  free(text);
  snprintf(own, sizeof own, "/proc/%d/ns/pid", (int)pid);
  if (pid > 1 && !stat(path, &held) && !stat(own, &its) && held.st_ino == its.st_ino) kill(pid, SIGKILL);
  umount2(path, MNT_DETACH);
  unlink(path);
  unlink(file);
}

void sandbox_drop_namespaces(const oci_t *o, const char *id) {
  char path[PATH_SIZE];
  end_pause(o, id);
  for (int i = 0; i < 3; i++) {
    sandbox_ns_path(o, id, NS_NAMES[i], path);
    umount2(path, MNT_DETACH);
    unlink(path);
  }
  sandbox_ns_path(o, id, "shm", path);
  umount2(path, MNT_DETACH);
  rmdir(path);
  sandbox_ns_path(o, id, NULL, path);
  rmdir(path);
}

/* kogge-pause lies beside the program that runs us, one above, or where it was installed. */
int pause_find(char path[PATH_SIZE], kg_error_t *err) {
  static const char *const places[] = {"", "../", "../libexec/kogge/"};
  char self[PATH_SIZE / 2];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  self[n > 0 ? n : 0] = 0;
  char *slash = strrchr(self, '/');
  if (slash) slash[1] = 0;
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    snprintf(path, PATH_SIZE, "%s%skogge-pause", self, places[i]);
    if (!access(path, X_OK)) return 0;
  }
  return kg_error_set(err, KG_EINTERNAL, "kogge-pause is not beside %s", self);
}

static int prepare_pid(oci_t *o, const sandbox_t *s, making_t *w, kg_error_t *err) {
  if (!sandbox_shares_pid(s)) return 0;
  sandbox_ns_path(o, s->id, "pid", w->pid);
  umount2(w->pid, MNT_DETACH);
  int fd = open(w->pid, O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
  if (fd < 0) return kg_error_set(err, KG_EINTERNAL, "%s could not be made: %s", w->pid, strerror(errno));
  close(fd);
  cgroup_pause_procs(o, s, w->group);
  return pause_find(w->pause, err);
}

bool sandbox_shares_pid(const sandbox_t *s) {
  return !s->host_pid && kg_view_bool(kg_view_get(kg_view_of(s->args), "sharePID"), false);
}

static int prepare_paths(oci_t *o, const sandbox_t *s, making_t *w, kg_error_t *err) {
  const bool wanted[] = {!s->host_net, !s->host_ipc, !s->host_net};
  char dir[PATH_SIZE];
  sandbox_ns_path(o, s->id, NULL, dir);
  if (make_dirs(dir, 0700, err) < 0) return -1;
  for (int i = 0; i < 3; i++) {
    if (!wanted[i]) continue;
    sandbox_ns_path(o, s->id, NS_NAMES[i], w->path[i]);
    umount2(w->path[i], MNT_DETACH); /* of an attempt that died half way */
    int fd = open(w->path[i], O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
    if (fd < 0) return kg_error_set(err, KG_EINTERNAL, "%s could not be made: %s", w->path[i], strerror(errno));
    close(fd);
    w->flags |= NS_FLAGS[i];
  }
  if (s->host_ipc) return 0;
  sandbox_shm_path(o, s, w->shm);
  umount2(w->shm, MNT_DETACH);
  return make_dirs(w->shm, 0755, err);
}

/* --- run
 * --------------------------------------------------------------------------------------------------------------- */

static void reply_sandbox(oci_t *o, const kg_msg_t *m, const sandbox_t *s) {
  char path[PATH_SIZE];
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "id", s->id);
  kg_pack_kv_str(&p, "ip", s->ip);
  kg_pack_kv_view(&p, "ips", kg_view_of(s->ips));
  if (!s->host_net) {
    sandbox_ns_path(o, s->id, "net", path);
    kg_pack_kv_str(&p, "netns", path);
  }
  kg_pack_kv_int(&p, "created", s->created_us);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(o->ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

/* What was begun is undone; the caller tries again. */
static void run_failed(oci_t *o, making_t *w, int code, const char *text) {
  sandbox_t *s = sandbox_find(o, kg_str(w->id));
  char path[PATH_SIZE];
  kg_fail(o->ctx, w->request, code, "sandbox %s: %s", w->id, text);
  sandbox_drop_namespaces(o, w->id);
  snprintf(path, sizeof path, "%s/sandboxes/%s", o->dir, w->id);
  unlink(path);
  if (s) {
    unlink_sandbox(o, s);
    sandbox_free(s);
  }
  making_free(w);
}

static void now_ready(oci_t *o, making_t *w, sandbox_t *s) {
  kg_error_t err;
  s->ready = true;
  s->making = false;
  if (record_sandbox(o, s, &err) < 0) return run_failed(o, w, err.code, err.text);
  reply_sandbox(o, w->request, s);
  making_free(w);
}

static void attached(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx;
  oci_t *o = self;
  making_t *w = arg;
  sandbox_t *s = sandbox_find(o, kg_str(w->id));
  if (kg_msg_type(m) == KG_MSG_ERROR) return run_failed(o, w, kg_msg_code(m), kg_msg_text(m));
  if (!s) return run_failed(o, w, KG_ECONFLICT, "it was removed while it was made");
  kg_view_t ips = kg_view_get(kg_msg_args(m), "ips");
  s->ip = text_of(kg_msg_args(m), "ip");
  if (kg_view_count(ips)) s->ips = kg_doc_copy(ips.p, kg_view_span(ips));
  now_ready(o, w, s);
}

static void attach_network(oci_t *o, making_t *w, const sandbox_t *s) {
  kg_view_t args = kg_view_of(s->args);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "id", s->id);
  kg_pack_kv_str(&p, "netns", w->path[0]);
  kg_pack_kv_view(&p, "name", kg_view_get(args, "name"));
  kg_pack_kv_view(&p, "namespace", kg_view_get(args, "namespace"));
  kg_pack_kv_view(&p, "ports", kg_view_get(args, "ports"));
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  kg_send(o->ctx,
          &(kg_request_t){.service = "network", .topic = "network.attach", .args = doc, .fn = attached, .arg = w});
  kg_doc_unref(doc);
}

static void namespaces_made(oci_t *o, const proc_end_t *end, void *arg) {
  making_t *w = arg;
  char text[PATH_SIZE + 128];
  sandbox_t *s = sandbox_find(o, kg_str(w->id));
  snprintf(text, sizeof text, "its namespaces could not be made (%s: %s)", end->err, strerror(end->code));
  if (end->code) return run_failed(o, w, KG_EINTERNAL, text);
  if (!s) return run_failed(o, w, KG_ECONFLICT, "it was removed while it was made");
  if (s->host_net)
    now_ready(o, w, s);
  else
    attach_network(o, w, s);
}

static sandbox_t *sandbox_new(oci_t *o, const kg_msg_t *m) {
  kg_view_t args = kg_msg_args(m);
  sandbox_t *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->id = text_of(args, "id");
  s->args = kg_doc_ref(kg_msg_args_doc(m));
  s->created_us = kg_wall_us(o->ctx);
  s->host_net = kg_view_bool(kg_view_get(args, "hostNetwork"), false);
  s->host_ipc = kg_view_bool(kg_view_get(args, "hostIPC"), false);
  s->host_pid = kg_view_bool(kg_view_get(args, "hostPID"), false);
  s->next = o->sandboxes;
  return o->sandboxes = s;
}

static int run_begin(oci_t *o, const sandbox_t *s, making_t *w, kg_error_t *err) {
  kg_str_t hostname = kg_view_str(kg_view_get(kg_view_of(s->args), "hostname"));
  if (hostname.n >= sizeof w->hostname)
    return kg_error_set(err, KG_EINVAL, "the host name has more than %zu letters", sizeof w->hostname - 1);
  memcpy(w->hostname, hostname.p ? hostname.p : "", hostname.n);
  cgroup_pod(o, s);
  cgroup_move_soon(o);
  if (prepare_paths(o, s, w, err) < 0 || prepare_pid(o, s, w, err) < 0 || record_sandbox(o, s, err) < 0) return -1;
  /* A forked child costs the page tables of the whole process. Only the process that holds a name space of processes
   * needs it: it must be nobody's child when it ends. */
  return (w->pid[0] ? proc_fork : proc_thread)(o, make_namespaces, namespaces_made, w, err);
}

void sandbox_run(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  oci_t *o = self;
  kg_error_t err;
  kg_str_t id = kg_view_str(kg_view_get(kg_msg_args(m), "id"));
  if (!id_is_safe(id))
    return kg_fail(ctx, m, KG_EINVAL, "sandbox.run: id: a name of letters, digits, '-', '_', '.' is needed");
  sandbox_t *s = sandbox_find(o, id);
  if (s && s->ready) return reply_sandbox(o, m, s);
  if (s) return kg_fail(ctx, m, KG_ECONFLICT, "sandbox %s was stopped or is being made", s->id);
  making_t *w = calloc(1, sizeof *w);
  if (!w || !(s = sandbox_new(o, m))) {
    free(w);
    return kg_fail(ctx, m, KG_EINTERNAL, "out of memory");
  }
  w->request = kg_msg_ref(m);
  w->id = kg_str_dup(id);
  s->making = true;
  if (run_begin(o, s, w, &err) < 0) run_failed(o, w, err.code, err.text);
}

/* --- stop, remove
 * -------------------------------------------------------------------------------------------------------- */

static void kill_containers(oci_t *o, const sandbox_t *s) {
  for (container_t *c = o->containers; c; c = c->next)
    if (!strcmp(c->sandbox, s->id) && c->state != C_EXITED) container_kill(c, SIGKILL);
}

static void detached(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  oci_t *o = self;
  kg_msg_t *request = arg;
  kg_error_t err;
  kg_str_t id = kg_view_str(kg_view_get(kg_msg_args(request), "id"));
  sandbox_t *s = sandbox_find(o, id);
  o->detaching--;
  if (kg_msg_type(m) == KG_MSG_ERROR) {
    kg_fail(ctx, request, kg_msg_code(m), "sandbox " KG_STR_FMT ": %s", KG_STR_ARG(id), kg_msg_text(m));
  } else {
    if (s) {
      s->ready = false;
      sandbox_drop_namespaces(o, s->id);
      if (record_sandbox(o, s, &err) < 0) kg_log(ctx, KG_LOG_WARN, "sandbox %s: %s", s->id, err.text);
    }
    kg_reply(ctx, request, NULL, NULL, 0);
  }
  kg_msg_unref(request);
}

void sandbox_detach(oci_t *o, const sandbox_t *s, kg_reply_fn fn, void *arg) {
  char path[PATH_SIZE];
  sandbox_ns_path(o, s->id, "net", path);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "id", s->id);
  kg_pack_kv_str(&p, "netns", path);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  kg_send(o->ctx, &(kg_request_t){.service = "network", .topic = "network.detach", .args = doc, .fn = fn, .arg = arg});
  kg_doc_unref(doc);
}

void sandbox_stop(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  oci_t *o = self;
  sandbox_t *s = sandbox_find(o, kg_view_str(kg_view_get(kg_msg_args(m), "id")));
  if (!s) return kg_reply(ctx, m, NULL, NULL, 0);
  kill_containers(o, s);
  if (s->host_net) {
    s->ready = false;
    sandbox_drop_namespaces(o, s->id);
    record_sandbox(o, s, NULL);
    return kg_reply(ctx, m, NULL, NULL, 0);
  }
  o->detaching++;
  sandbox_detach(o, s, detached, kg_msg_ref(m));
}

void sandbox_remove(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  oci_t *o = self;
  sandbox_t *s = sandbox_find(o, kg_view_str(kg_view_get(kg_msg_args(m), "id")));
  char path[PATH_SIZE];
  if (!s) return kg_reply(ctx, m, NULL, NULL, 0);
  if (s->ready) return kg_fail(ctx, m, KG_ECONFLICT, "sandbox %s is still running: stop it first", s->id);
  for (const container_t *c = o->containers; c; c = c->next)
    if (!strcmp(c->sandbox, s->id))
      return kg_fail(ctx, m, KG_ECONFLICT, "sandbox %s still has container %s", s->id, c->id);
  char *uid = text_of(kg_view_of(s->args), "uid");
  if (uid) cgroup_remove(o, uid);
  free(uid);
  sandbox_drop_namespaces(o, s->id);
  snprintf(path, sizeof path, "%s/sandboxes/%s", o->dir, s->id);
  unlink(path);
  unlink_sandbox(o, s);
  sandbox_free(s);
  kg_reply(ctx, m, NULL, NULL, 0);
}
