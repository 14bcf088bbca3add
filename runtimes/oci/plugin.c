#include <linux/capability.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup_move.h"

/* An absolute path of the program: from the configuration or the usual places. */
static char *find_program(kg_ctx_t *ctx, const char *name, kg_error_t *err) {
  static const char *const places[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"};
  char path[PATH_SIZE];
  char *own = text_of(kg_config(ctx), name);
  if (own && access(own, X_OK) == 0) return own;
  if (own) {
    kg_error_set(err, KG_EINVAL, "config.%s: %s cannot be run", name, own);
    free(own);
    return NULL;
  }
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    snprintf(path, sizeof path, "%s/%s", places[i], name);
    if (access(path, X_OK) == 0) return strdup(path);
  }
  kg_error_set(err, KG_ENOTFOUND, "%s is not installed (Debian package %s)", name, name);
  return NULL;
}

/* What the configuration says, or else runc, or else crun. */
static char *find_runtime(kg_ctx_t *ctx, kg_error_t *err) {
  kg_error_t second = {0};
  char *path = find_program(ctx, "runc", err);
  bool said = kg_view_there(kg_view_get(kg_config(ctx), "runc"));
  return path || said ? path : find_program(ctx, "crun", &second);
}

/* The data directory's path is the instance's name among control groups. */
static char *cgroup_root(kg_ctx_t *ctx) {
  char name[PATH_SIZE];
  snprintf(name, sizeof name, "/kogge%s", kg_data_dir(ctx));
  for (char *p = name + 1; *p; p++)
    if (*p == '/') *p = '-';
  return strdup(name);
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  oci_t *o = self;
  logs_free(o);
  execs_free(o);
  attaches_free(o);
  cgroup_move_end(o);
  procs_free(o);
  watchers_free(o);
  exits_forget(o);
  while (o->containers) {
    container_t *c = o->containers;
    o->containers = c->next;
    container_free(c);
  }
  while (o->sandboxes) {
    sandbox_t *s = o->sandboxes;
    o->sandboxes = s->next;
    sandbox_free(s);
  }
  images_close(o->images);
  char *const owned[] = {o->dir, o->run, o->runc, o->conmon, o->kind, o->version, o->cgroup_root};
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
  free(o);
}

static int open_parts(kg_ctx_t *ctx, oci_t *o, kg_error_t *err) {
  static const char *const parts[] = {"sandboxes", "containers", "exits"};
  char path[PATH_SIZE];
  if (!(o->runc = find_runtime(ctx, err)) || !(o->conmon = find_program(ctx, "conmon", err))) return -1;
  for (int i = 0; i < 3; i++) {
    snprintf(path, sizeof path, "%s/%s", o->dir, parts[i]);
    if (make_dirs(path, 0700, err) < 0) return -1;
  }
  snprintf(path, sizeof path, "%s/images", o->dir);
  return (o->images = images_open(ctx, path, err)) ? 0 : -1;
}

/* Where CAP_SYS_RESOURCE is withheld (in a container, under a strict service manager) nothing gets a lower score than
 * kogge itself has, and a container that asks for one would not start at all. */
static int64_t least_oom_score(kg_ctx_t *ctx) {
  int own = 0;
  if (prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE) == 1) return -1000;
  FILE *f = fopen("/proc/self/oom_score_adj", "re");
  if (f && fscanf(f, "%d", &own) != 1) own = 0;
  if (f) fclose(f);
  kg_log(ctx, KG_LOG_WARN,
         "CAP_SYS_RESOURCE is missing: Guaranteed and critical pods get an oom_score_adj of %d at least", own);
  return own;
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  char path[PATH_SIZE];
  oci_t *o = calloc(1, sizeof *o);
  if (!o) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  o->ctx = ctx;
  o->exits_fd = o->logs_fd = -1;
  snprintf(path, sizeof path, "%s/runtime", kg_data_dir(ctx));
  o->dir = strdup(path);
  o->run = strdup(kg_run_dir(ctx));
  o->cgroup_root = cgroup_root(ctx);
  cgroup_detect(o);
  o->least_oom_score = least_oom_score(ctx);
  if (open_parts(ctx, o, err) < 0) {
    destroy(ctx, o);
    return -1;
  }
  *self = o;
  return 0;
}

/* "runc version 1.1.5+ds1\n...", "crun version 1.8.1\n..." */
static void version_known(oci_t *o, const proc_end_t *end, void *arg) {
  (void)arg;
  const char *at = strstr(end->out, " version ");
  if (end->code || !at) return kg_not_ready(o->ctx, "%s --version failed: %s", o->runc, end->err);
  o->kind = strndup(end->out, (size_t)(at - end->out));
  at += strlen(" version ");
  o->version = strndup(at, strcspn(at, " \n"));
  kg_ready(o->ctx);
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)ctx;
  oci_t *o = self;
  const char *const argv[] = {o->runc, "--version", NULL};
  return proc_run(o, argv, NULL, version_known, NULL, err);
}

/* Only the owner of the name looks after what runs: an instance on trial must not. */
static void activate(kg_ctx_t *ctx, void *self) {
  oci_t *o = self;
  kg_error_t err;
  if (o->exits_fd >= 0) return;
  if (exits_watch(o, &err) < 0) kg_log(ctx, KG_LOG_ERROR, "%s", err.text);
  images_read(o->images); /* a predecessor may have brought some since this one was made */
  images_sweep(o->images, NULL, 0);
  records_read(o);
  leftovers_remove(o);
}

static void version(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  const oci_t *o = self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", o->kind);
  kg_pack_kv_str(&p, "version", o->version);
  kg_pack_kv_str(&p, "apiVersion", "v1");
  kg_pack_key(&p, "features");
  kg_pack_map(&p);
  kg_pack_kv_bool(&p, "recursiveReadOnlyMounts", true);
  kg_pack_kv_bool(&p, "supplementalGroupsPolicy", true);
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

static void images_topic(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  images_handle(((oci_t *)self)->images, m);
}

static void cli(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  images_cli(((oci_t *)self)->images, m);
}

static void complete(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  images_complete(((oci_t *)self)->images, m);
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  const oci_t *o = self;
  int64_t sandboxes = 0, running = 0, ended = 0;
  for (const sandbox_t *s = o->sandboxes; s; s = s->next) sandboxes += s->ready;
  for (const container_t *c = o->containers; c; c = c->next) *(c->state == C_RUNNING ? &running : &ended) += 1;
  kg_pack_kv_int(p, "sandboxes", sandboxes);
  kg_pack_kv_int(p, "running", running);
  kg_pack_kv_int(p, "not_running", ended);
}

static const char *const services[] = {"runtime", "cli/image", NULL};
static const kg_handler_t handlers[] = {{"runtime.version", version},
                                        {"runtime.sandbox.run", sandbox_run},
                                        {"runtime.sandbox.stop", sandbox_stop},
                                        {"runtime.sandbox.remove", sandbox_remove},
                                        {"runtime.sandbox.update", sandbox_update},
                                        {"runtime.container.create", container_create},
                                        {"runtime.container.start", container_start},
                                        {"runtime.container.stop", container_stop},
                                        {"runtime.container.update", container_update},
                                        {"runtime.container.remove", container_remove},
                                        {"runtime.container.reopenlog", container_reopen_log},
                                        {"runtime.list", runtime_list},
                                        {"runtime.watch", runtime_watch},
                                        {"runtime.exec", runtime_exec},
                                        {"runtime.attach", runtime_attach},
                                        {"runtime.logs", runtime_logs},
                                        {"runtime.stats", runtime_stats},
                                        {"runtime.disk", runtime_disk},
                                        {"image.*", images_topic},
                                        {"cli.run", cli},
                                        {"cli.complete", complete},
                                        {0}};
KG_PLUGIN(.name = "runtime-oci",
          .config_keys = "runc conmon maxLayerMiB insecureRegistries registries pullStallSeconds pullMinBytesPerSecond "
                         "pullTimeoutSeconds",
          .role = "runtime", .version = "0.1.0",
          .summary = "Containers through runc or crun, each under a conmon that outlives kogge", .services = services,
          .handlers = handlers, .create = create, .start = start, .activate = activate, .drain = runtime_drain,
          .hand_over = runtime_hand_over, .accept = runtime_accept, .resume = runtime_resume, .stats = stats,
          .destroy = destroy);
