/* How containers end: conmon writes the exit code into a file; a stop sends a signal, waits, and kills. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci.h"

enum { INIT_POLL_MS = 5 };

static void exit_path(const container_t *c, char path[PATH_SIZE]) {
  snprintf(path, PATH_SIZE, "%s/exits/%s", c->oci->dir, c->id);
}

static bool was_oom(const container_t *c) {
  char dir[PATH_SIZE], path[PATH_SIZE];
  container_dir(c->oci, c->id, dir);
  snprintf(path, sizeof path, "%s/oom", dir);
  return access(path, F_OK) == 0;
}

void container_ended(container_t *c, int64_t code, const char *reason) {
  oci_t *o = c->oci;
  kg_error_t err;
  c->state = C_EXITED;
  c->exit_code = code;
  if (!c->finished_us) c->finished_us = kg_wall_us(o->ctx);
  c->oom = was_oom(c);
  free(c->reason);
  c->reason = reason ? strdup(reason) : NULL;
  kg_timer_cancel(o->ctx, c->kill_timer);
  c->kill_timer = 0;
  start_end(c, "the container has ended before it was started");
  if (record_container(o, c, &err) < 0) kg_log(o->ctx, KG_LOG_WARN, "container %s: %s", c->id, err.text);
  watchers_tell(o, c, "exited");
  if (c->log_path) logs_ended(o, c->log_path);
  while (c->waiters) {
    waiter_t *w = c->waiters;
    c->waiters = w->next;
    kg_reply(o->ctx, w->request, NULL, NULL, 0);
    kg_msg_unref(w->request);
    free(w);
  }
}

bool container_reap(container_t *c) {
  char path[PATH_SIZE];
  struct stat st;
  if (c->state == C_EXITED) return true;
  exit_path(c, path);
  char *text = read_whole(path, 64, NULL);
  bool ended = text && *text;
  if (ended) {
    if (stat(path, &st) == 0) c->finished_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
    container_ended(c, strtoll(text, NULL, 10), NULL);
  }
  free(text);
  return ended;
}

static void on_exit_file(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)events, (void)arg;
  oci_t *o = self;
  char buf[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
  ssize_t n;
  while ((n = read(fd, buf, sizeof buf)) > 0) {
    for (char *p = buf; p < buf + n;) {
      const struct inotify_event *e = (const struct inotify_event *)p;
      container_t *c = e->len ? container_find(o, kg_str(e->name)) : NULL;
      /* One that ended between runc's start and its answer is reaped after the answer. */
      if (c && !c->creating && c->state == C_RUNNING) container_reap(c);
      p += sizeof *e + e->len;
    }
  }
}

int exits_follow(oci_t *o, kg_error_t *err) {
  return kg_fd_watch(o->ctx, o->exits_fd, EPOLLIN, on_exit_file, NULL, err);
}

int exits_watch(oci_t *o, kg_error_t *err) {
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "%s/exits", o->dir);
  if (make_dirs(path, 0700, err) < 0) return -1;
  o->exits_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (o->exits_fd < 0 || inotify_add_watch(o->exits_fd, path, IN_CLOSE_WRITE | IN_MOVED_TO) < 0)
    return kg_error_set(err, KG_EINTERNAL, "%s cannot be watched: %s", path, strerror(errno));
  return exits_follow(o, err);
}

void exits_forget(oci_t *o) {
  if (o->exits_fd < 0) return;
  kg_fd_forget(o->ctx, o->exits_fd);
  close(o->exits_fd);
  o->exits_fd = -1;
}

/* --- stop
 * -------------------------------------------------------------------------------------------------------------- */

void container_kill(container_t *c, int signal) {
  if (c->pid > 0 && c->state != C_EXITED) kill(c->pid, signal);
  if (signal != SIGKILL) return;
  const sandbox_t *s = sandbox_find(c->oci, kg_str(c->sandbox));
  char *uid = s ? text_of(kg_view_of(s->args), "uid") : NULL;
  if (uid) cgroup_kill(c->oci, uid, c->id);
  free(uid);
}

static int signal_number(const char *name) {
  if (!name) return SIGTERM;
  if (*name >= '0' && *name <= '9') return atoi(name);
  if (!strncmp(name, "SIG", 3)) name += 3;
  for (int i = 1; i < NSIG; i++) {
    const char *abbreviation = sigabbrev_np(i);
    if (abbreviation && !strcmp(abbreviation, name)) return i;
  }
  return SIGTERM;
}

/* Between runc's start and the program's own exec stands runc's init ("runc:[2:INIT]", "crun"), which would take the
 * signal for itself. */
bool container_is_runc(const container_t *c) {
  char path[64];
  const char *kind = c->kind;
  size_t n = kind ? strlen(kind) : 0;
  snprintf(path, sizeof path, "/proc/%d/comm", (int)c->pid);
  char *comm = read_whole(path, 64, NULL);
  bool yes = n && comm && !strncmp(comm, kind, n) && strchr(":\n", comm[n]);
  free(comm);
  return yes;
}

static void on_grace_over(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  container_t *c = arg;
  c->kill_timer = 0;
  container_kill(c, SIGKILL);
}

static void send_stop(kg_ctx_t *ctx, void *self, void *arg) {
  container_t *c = arg;
  kg_timer_cancel(ctx, c->kill_timer);
  c->kill_timer = 0;
  if (c->grace_ms <= 0) return container_kill(c, SIGKILL);
  if (container_is_runc(c)) {
    c->grace_ms -= INIT_POLL_MS;
    c->kill_timer = kg_timer(ctx, INIT_POLL_MS, 0, send_stop, c);
    return;
  }
  (void)self;
  container_kill(c, signal_number(c->stop_signal));
  c->kill_timer = kg_timer(ctx, c->grace_ms, 0, on_grace_over, c);
}

void container_end(container_t *c, int64_t grace_ms) {
  if (c->state == C_CREATED) {
    /* It never ran: nothing of its own can handle a signal. */
    container_kill(c, SIGKILL);
    return container_ended(c, 137, NULL);
  }
  c->grace_ms = grace_ms;
  send_stop(c->oci->ctx, c->oci, c);
}

void container_stop(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  oci_t *o = self;
  container_t *c = container_find(o, kg_view_str(kg_view_get(kg_msg_args(m), "id")));
  int64_t grace = kg_view_int(kg_view_get(kg_msg_args(m), "grace_ms"), 30000);
  if (!c || c->state == C_EXITED) return kg_reply(ctx, m, NULL, NULL, 0);
  waiter_t *w = calloc(1, sizeof *w);
  if (!w) return kg_fail(ctx, m, KG_EINTERNAL, "out of memory");
  *w = (waiter_t){c->waiters, kg_msg_ref(m)};
  c->waiters = w;
  container_end(c, grace);
}

/* --- remove
 * ------------------------------------------------------------------------------------------------------------ */

/* Also those that were put aside. */
static void remove_logs(const container_t *c) {
  char pattern[PATH_SIZE + 4];
  glob_t g = {0};
  if (!c->log_path) return;
  unlink(c->log_path);
  snprintf(pattern, sizeof pattern, "%s.*", c->log_path);
  if (!glob(pattern, 0, NULL, &g))
    for (size_t i = 0; i < g.gl_pathc; i++) unlink(g.gl_pathv[i]);
  globfree(&g);
}

static void remove_files(oci_t *o, const container_t *c) {
  char dir[PATH_SIZE], path[PATH_SIZE];
  container_dir(o, c->id, dir);
  container_mounts_drop(dir);
  exit_path(c, path);
  unlink(path);
  snprintf(path, sizeof path, "%s/record", dir);
  unlink(path);
}

void container_drop(container_t *c) {
  oci_t *o = c->oci;
  char dir[PATH_SIZE], state[PATH_SIZE];
  container_dir(o, c->id, dir);
  snprintf(state, sizeof state, "%s/runc/%s", o->run, c->id);
  const char *const argv[] = {"rm", "-rf", "--one-file-system", "--", dir, state, NULL};
  remove_files(o, c);
  proc_run(o, argv, NULL, NULL, NULL, NULL);
  container_unuse_images(c);
  container_unlink(c);
  watchers_tell(o, c, "removed");
  container_free(c);
}

static void deleted(oci_t *o, const proc_end_t *end, void *arg) {
  kg_msg_t *m = arg;
  (void)end; /* a container runc does not know is what is wanted */
  container_t *c = container_find(o, kg_view_str(kg_view_get(kg_msg_args(m), "id")));
  if (c) {
    remove_logs(c);
    container_drop(c);
  }
  kg_reply(o->ctx, m, NULL, NULL, 0);
  kg_msg_unref(m);
}

void container_remove(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  oci_t *o = self;
  kg_error_t err;
  char root[PATH_SIZE];
  container_t *c = container_find(o, kg_view_str(kg_view_get(kg_msg_args(m), "id")));
  if (!c) return kg_reply(ctx, m, NULL, NULL, 0);
  if (c->state == C_RUNNING || c->creating)
    return kg_fail(ctx, m, KG_ECONFLICT, "container %s runs: stop it first", c->id);
  snprintf(root, sizeof root, "%s/runc", o->run);
  container_kill(c, SIGKILL);
  const char *const argv[] = {container_program(c), "--root", root, "delete", "--force", c->id, NULL};
  kg_msg_t *kept = kg_msg_ref(m);
  c->removing = proc_run(o, argv, NULL, deleted, kept, &err) == 0;
  if (c->removing) return;
  kg_fail(ctx, m, err.code, "%s", err.text);
  kg_msg_unref(kept);
}
