#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup_move.h"

enum { CREATE_DEADLINE_MS = 60 * 1000, LOWERS_MAX = 3000 };

container_t *container_find(const oci_t *o, kg_str_t id) {
  for (container_t *c = o->containers; c; c = c->next)
    if (kg_str_is(id, c->id)) return c;
  return NULL;
}

const char *container_program(const container_t *c) {
  return access(c->program, X_OK) == 0 ? c->program : c->oci->runc;
}

void container_dir(const oci_t *o, const char *id, char path[PATH_SIZE]) {
  snprintf(path, PATH_SIZE - 64, "%s/containers/%s", o->dir, id);
}

struct creating {
  container_t *c;
  kg_msg_t *request;
  int pipe;
  kube_buf_t said; /* what conmon wrote */
  uint64_t timer;
};

/* Of w only; what was made of the container stays. */
static void creating_end(creating_t *w) {
  oci_t *o = w->c->oci;
  w->c->work = NULL;
  kg_timer_cancel(o->ctx, w->timer);
  if (w->pipe >= 0) {
    kg_fd_forget(o->ctx, w->pipe);
    close(w->pipe);
  }
  kube_buf_free(&w->said);
  kg_msg_unref(w->request);
  free(w);
}

void container_free(container_t *c) {
  if (c->work) creating_end(c->work);
  start_end(c, NULL);
  while (c->waiters) {
    waiter_t *w = c->waiters;
    c->waiters = w->next;
    kg_msg_unref(w->request);
    free(w);
  }
  char *const owned[] = {c->id,       c->sandbox,     c->name,   c->image,       c->image_id, c->image_ref,
                         c->log_path, c->stop_signal, c->reason, c->more_images, c->program,  c->kind};
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
  kg_doc_unref(c->user);
  free(c);
}

void container_unlink(container_t *c) {
  for (container_t **at = &c->oci->containers; *at; at = &(*at)->next)
    if (*at == c) {
      *at = c->next;
      break;
    }
}

/* --- the images it uses
 * ---------------------------------------------------------------------------------------------------- */

void container_uses(container_t *c, const char *image_id) {
  kube_buf_t b = {0};
  kube_buf_fmt(&b, "%s%s\n", c->more_images ? c->more_images : "", image_id);
  kube_buf_add(&b, "", 1);
  free(c->more_images);
  c->more_images = b.p;
  images_use(c->oci->images, image_id);
}

void container_unuse_images(const container_t *c) {
  char id[256];
  if (c->image_id) images_unuse(c->oci->images, c->image_id);
  for (const char *p = c->more_images; p && *p; p = strchr(p, '\n') + 1) {
    snprintf(id, sizeof id, "%.*s", (int)strcspn(p, "\n"), p);
    images_unuse(c->oci->images, id);
  }
}

/* --- root file system
 * -------------------------------------------------------------------------------------------------- */

/* The kernel takes one page of options. Names that do not fit are replaced by those of open descriptors: 127 layers fit
 * whatever their directories are called. */
typedef struct lowers {
  int fds[128];
  size_t n;
} lowers_t;

static void close_lowers(lowers_t *l) {
  while (l->n) close(l->fds[--l->n]);
}

static int add_lowers(kube_buf_t *b, lowers_t *open_as, const image_t *image, kg_error_t *err) {
  size_t length = 0;
  for (size_t i = 0; i < image->nlayers; i++) length += strlen(image->layers[i]) + 1;
  bool by_name = length < LOWERS_MAX;
  if (!by_name && image->nlayers >= sizeof open_as->fds / sizeof open_as->fds[0])
    return kg_error_set(err, KG_EINVAL, "the image has too many layers (%zu)", image->nlayers);
  for (size_t i = image->nlayers; i-- > 0;) {
    int fd = by_name ? -1 : open(image->layers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (!by_name && fd < 0) return kg_error_set(err, KG_EINTERNAL, "%s: %s", image->layers[i], strerror(errno));
    if (by_name)
      kube_buf_addz(b, image->layers[i]);
    else
      kube_buf_fmt(b, "/proc/self/fd/%d", open_as->fds[open_as->n++] = fd);
    if (i) kube_buf_addz(b, ":");
  }
  return 0;
}

int overlay_mount(const image_t *image, const char *more, const char *path, kg_error_t *err) {
  kube_buf_t options = {0};
  lowers_t lowers = {0};
  kube_buf_addz(&options, "lowerdir=");
  int done = add_lowers(&options, &lowers, image, err);
  kube_buf_addz(&options, more);
  kube_buf_add(&options, "", 1);
  if (done == 0 && mount("overlay", path, "overlay", 0, options.p) < 0)
    done = kg_error_set(err, KG_EINTERNAL, "the image could not be mounted at %s: %s", path, strerror(errno));
  close_lowers(&lowers);
  kube_buf_free(&options);
  return done;
}

/* "/" of the container is the upper directory: it looks as the top layer's. */
static void own_root(const char *layer, const char *dir) {
  char upper[PATH_SIZE];
  struct stat st;
  snprintf(upper, sizeof upper, "%s/upper", dir);
  if (stat(layer, &st) == 0 && chown(upper, st.st_uid, st.st_gid) == 0) chmod(upper, st.st_mode & 07777);
}

static int mount_root(const image_t *image, const char *dir, kg_error_t *err) {
  char path[PATH_SIZE], more[2 * PATH_SIZE + 64];
  static const char *const parts[] = {"upper", "work", "rootfs"};
  for (int i = 0; i < 3; i++) {
    snprintf(path, sizeof path, "%s/%s", dir, parts[i]);
    if (make_dirs(path, i == 0 ? 0755 : 0700, err) < 0) return -1;
  }
  if (!image->nlayers) return kg_error_set(err, KG_EINVAL, "the image has no layers");
  own_root(image->layers[image->nlayers - 1], dir);
  umount2(path, MNT_DETACH); /* of an attempt that died half way */
  snprintf(more, sizeof more, ",upperdir=%s/upper,workdir=%s/work", dir, dir);
  return overlay_mount(image, more, path, err);
}

/* --- create
 * ------------------------------------------------------------------------------------------------------------ */

static void reply_created(oci_t *o, const kg_msg_t *m, const container_t *c) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "id", c->id);
  kg_pack_kv_str(&p, "imageID", c->image_ref);
  if (c->user) kg_pack_kv_view(&p, "user", kg_view_of(c->user));
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(o->ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

static void rm_tree(oci_t *o, const char *dir) {
  const char *const argv[] = {"rm", "-rf", "--one-file-system", "--", dir, NULL};
  kg_error_t err;
  if (proc_run(o, argv, NULL, NULL, NULL, &err) < 0) kg_log(o->ctx, KG_LOG_WARN, "%s", err.text);
}

/* Undoes what create did so far and forgets the container. */
static void create_undo(oci_t *o, container_t *c) {
  char dir[PATH_SIZE], path[PATH_SIZE];
  container_dir(o, c->id, dir);
  container_mounts_drop(dir);
  snprintf(path, sizeof path, "%s/record", dir);
  unlink(path);
  rm_tree(o, dir);
  container_unuse_images(c);
  container_unlink(c);
  container_free(c);
}

static void create_failed(creating_t *w, int code, const char *text) {
  container_t *c = w->c;
  kg_fail(c->oci->ctx, w->request, code, "%s", text);
  creating_end(w);
  create_undo(c->oci, c);
}

pid_t container_pid_file(const container_t *c, const char *name) {
  char dir[PATH_SIZE], path[PATH_SIZE + 16];
  container_dir(c->oci, c->id, dir);
  snprintf(path, sizeof path, "%s/%s", dir, name);
  char *text = read_whole(path, 64, NULL);
  pid_t pid = text ? (pid_t)atoi(text) : 0;
  free(text);
  return pid;
}

/* The text in the last msg="...", or else all of it. */
char *runc_message(const char *said) {
  const char *at = NULL;
  for (const char *p = said; (p = strstr(p, "msg=\"")); at = p += 5) continue;
  size_t n = 0, all = strlen(said);
  char *text = strdup(at ? at : said);
  while (!at && all && text[all - 1] == '\n') text[--all] = 0;
  for (const char *p = at; p && *p && *p != '"'; p++) {
    if (*p == '\\' && p[1]) p++;
    text[n++] = *p;
  }
  if (at) text[n] = 0;
  return text;
}

/* runc and crun of a program that cannot be run: nothing of ours went wrong, and trying again is the same. */
static bool is_programs_fault(const char *text) {
  return strstr(text, "unable to start container process") || strstr(text, "executable file") ||
         strstr(text, "open executable");
}

/* {"pid": N} or {"pid": -1, "message": "..."} */
static void conmon_said(creating_t *w) {
  kg_error_t err = {0};
  container_t *c = w->c;
  kg_doc_t *doc = kube_json_parse(w->said.p ? w->said.p : "", w->said.n, NULL, NULL, &err);
  int64_t pid = kg_view_int(kg_view_get(kg_view_of(doc), "pid"), -1);
  char *message = text_of(kg_view_of(doc), "message");
  kg_doc_unref(doc);
  if (pid <= 0) {
    char *text = runc_message(message ? message : "conmon ended without a word");
    create_failed(w, text && is_programs_fault(text) ? KG_EDENIED : KG_EINTERNAL, text ? text : "out of memory");
    free(text);
  } else {
    c->pid = (pid_t)pid;
    c->monitor = container_pid_file(c, "conmon.pid");
    c->creating = false;
    if (record_container(c->oci, c, &err) < 0) kg_log(c->oci->ctx, KG_LOG_WARN, "container %s: %s", c->id, err.text);
    reply_created(c->oci, w->request, c);
    creating_end(w);
  }
  free(message);
}

static void on_sync(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)self, (void)events;
  creating_t *w = arg;
  char buf[4096];
  ssize_t n = read(fd, buf, sizeof buf);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0 && w->said.n < 65536) kube_buf_add(&w->said, buf, (size_t)n);
  if (n <= 0 || memchr(buf, '\n', (size_t)n)) conmon_said(w);
}

static void on_create_late(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  creating_t *w = arg;
  container_kill(w->c, 9);
  create_failed(w, KG_EDEADLINE, "the container was not created in time");
}

static int spawn_monitor(oci_t *o, creating_t *w, kg_view_t args, const char *dir, kg_error_t *err) {
  container_t *c = w->c;
  char log[PATH_SIZE + 16], pid[PATH_SIZE], monitor[PATH_SIZE], exits[PATH_SIZE], root[PATH_SIZE];
  snprintf(log, sizeof log, "k8s-file:%s", c->log_path);
  snprintf(pid, sizeof pid, "%s/pid", dir);
  snprintf(monitor, sizeof monitor, "%s/conmon.pid", dir);
  snprintf(exits, sizeof exits, "%s/exits", o->dir);
  snprintf(root, sizeof root, "%s/runc", o->run);
  const char *argv[40] = {o->conmon,
                          "-c",
                          c->id,
                          "-u",
                          c->id,
                          "-n",
                          c->name,
                          "-r",
                          c->program,
                          "-b",
                          dir,
                          "-p",
                          pid,
                          "-P",
                          monitor,
                          "-l",
                          log,
                          "--exit-dir",
                          exits,
                          "--persist-dir",
                          dir,
                          "--runtime-arg",
                          "--root",
                          "--runtime-arg",
                          root,
                          "--full-attach",
                          "--no-sync-log"};
  size_t n = 0;
  while (argv[n]) n++;
  if (c->tty) argv[n++] = "-t";
  if (kg_view_bool(kg_view_get(args, "stdin"), false)) argv[n++] = "-i";
  if (kg_view_bool(kg_view_get(args, "stdin"), false) && !kg_view_bool(kg_view_get(args, "stdinOnce"), false))
    argv[n++] = "--leave-stdin-open";
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return kg_error_set(err, KG_EINTERNAL, "no pipe could be made: %s", strerror(errno));
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  int done = proc_run_with(o, argv, dir, ends[1], NULL, NULL, err);
  close(ends[1]);
  w->pipe = ends[0];
  return done < 0 ? -1 : kg_fd_watch(o->ctx, w->pipe, EPOLLIN, on_sync, w, err);
}

static int create_files(oci_t *o, const sandbox_t *s, container_t *c, kg_view_t args, const image_t *image,
                        kg_error_t *err) {
  char dir[PATH_SIZE], logs[PATH_SIZE];
  container_dir(o, c->id, dir);
  if (make_dirs(dir, 0700, err) < 0 || record_container(o, c, err) < 0 || mount_root(image, dir, err) < 0) return -1;
  if (image_mounts_make(o, c, args, dir, err) < 0) return -1;
  snprintf(logs, sizeof logs, "%s", c->log_path);
  char *slash = strrchr(logs, '/');
  if (!slash || slash == logs) return kg_error_set(err, KG_EINVAL, "logPath: an absolute path is needed");
  *slash = '\0';
  if (make_dirs(logs, 0755, err) < 0) return -1;
  return bundle_write(o, s, c, args, image, dir, err);
}

static container_t *container_new(oci_t *o, kg_view_t args, const image_t *image) {
  container_t *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  *c = (container_t){.next = o->containers, .oci = o, .creating = true, .created_us = kg_wall_us(o->ctx)};
  c->id = text_of(args, "id");
  c->sandbox = text_of(args, "sandbox");
  c->name = text_of(args, "name");
  c->image = text_of(args, "image");
  c->log_path = text_of(args, "logPath");
  c->program = strdup(o->runc);
  c->kind = strdup(o->kind);
  c->image_id = strdup(image->id);
  c->image_ref = images_reference(o->images, image->id, kg_str(c->image));
  c->stop_signal = text_of(args, "stopSignal");
  if (!c->stop_signal) c->stop_signal = text_of(kg_view_of(image->config), "StopSignal");
  c->attempt = kg_view_int(kg_view_get(args, "attempt"), 0);
  c->tty = kg_view_bool(kg_view_get(args, "tty"), false);
  o->containers = c;
  images_use(o->images, c->image_id);
  return c;
}

static void create_begin(oci_t *o, const sandbox_t *s, const kg_msg_t *m, const image_t *image) {
  kg_view_t args = kg_msg_args(m);
  char dir[PATH_SIZE];
  kg_error_t err;
  creating_t *w = calloc(1, sizeof *w);
  container_t *c = w ? container_new(o, args, image) : NULL;
  if (!c) {
    free(w);
    return kg_fail(o->ctx, m, KG_EINTERNAL, "out of memory");
  }
  *w = (creating_t){.c = c, .request = kg_msg_ref(m), .pipe = -1};
  c->work = w;
  container_dir(o, c->id, dir);
  cgroup_move_soon(o);
  if (create_files(o, s, c, args, image, &err) < 0 || spawn_monitor(o, w, args, dir, &err) < 0)
    return create_failed(w, err.code, err.text);
  w->timer = kg_timer(o->ctx, CREATE_DEADLINE_MS, 0, on_create_late, w);
}

static const char *missing_argument(kg_view_t args) {
  static const char *const needed[] = {"id", "sandbox", "name", "image", "logPath"};
  for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
    if (!kg_view_str(kg_view_get(args, needed[i])).n) return needed[i];
  return id_is_safe(kg_view_str(kg_view_get(args, "id"))) ? NULL : "id";
}

static void wait_for(container_t *c, const kg_msg_t *m) {
  waiter_t *w = calloc(1, sizeof *w);
  if (!w) return kg_fail(c->oci->ctx, m, KG_EINTERNAL, "out of memory");
  *w = (waiter_t){c->waiters, kg_msg_ref(m)};
  c->waiters = w;
}

void container_create(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  oci_t *o = self;
  kg_view_t args = kg_msg_args(m);
  const char *missing = missing_argument(args);
  if (missing) return kg_fail(ctx, m, KG_EINVAL, "container.create: %s: required", missing);
  container_t *c = container_find(o, kg_view_str(kg_view_get(args, "id")));
  if (c && !c->creating && c->state == C_CREATED && !c->begun && kill(c->pid, 0) < 0) container_unfinished(c);
  if (c && c->creating && !c->work) return wait_for(c, m); /* what was left of it goes first */
  if (c && c->creating) return kg_fail(ctx, m, KG_ECONFLICT, "container %s is being created", c->id);
  if (c) return reply_created(o, m, c);
  kg_str_t sandbox = kg_view_str(kg_view_get(args, "sandbox")), name = kg_view_str(kg_view_get(args, "image"));
  sandbox_t *s = sandbox_find(o, sandbox);
  if (!s || !s->ready)
    return kg_fail(ctx, m, KG_ENOTFOUND, "sandbox " KG_STR_FMT " is not running", KG_STR_ARG(sandbox));
  image_t image = {0};
  if (images_find(o->images, name, &image) < 0)
    return kg_fail(ctx, m, KG_ENOTFOUND, "image \"" KG_STR_FMT "\" is not here", KG_STR_ARG(name));
  create_begin(o, s, m, &image);
  image_clear(&image);
}
