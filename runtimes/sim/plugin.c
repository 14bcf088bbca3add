/* Role runtime without containers: for tests, research, and nodes by the thousand. */
#include <dirent.h>
#include <stdio.h>

#include "kube/runtime.h"
#include "sim.h"

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  sim_t *s = self;
  containers_free(s);
  streams_free(s);
  kg_doc_unref(s->pulled);
  free(s);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  kg_view_t config = kg_config(ctx);
  kg_str_t range = kg_view_str(kg_view_get(config, "podCIDR"));
  sim_t *s = calloc(1, sizeof *s);
  if (!s) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  s->ctx = ctx;
  script_defaults(&s->usual);
  script_read(&s->usual, kg_view_get(config, "defaults"), "", NULL);
  int bad = kube_pod_addresses(range.n ? range : KG_STR("10.244.0.0/16"), &s->first_ip, &s->ips, err);
  if (!bad && kg_view_bool(kg_view_get(config, "network"), false)) bad = kg_serve(ctx, "network", err);
  if (bad) {
    destroy(ctx, s);
    return -1;
  }
  *self = s;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_ready(ctx);
  return 0;
}

/* The configuration names this one since the last start: what the one before it had runs on where nobody looks. */
static void tell_of_others(kg_ctx_t *ctx) {
  char path[512];
  unsigned n = 0;
  snprintf(path, sizeof path, "%s/runtime/sandboxes", kg_data_dir(ctx));
  DIR *d = opendir(path);
  for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
  if (d) closedir(d);
  if (!n) return;
  kg_log(
      ctx, KG_LOG_WARN,
      "pods of the runtime that was configured before run on unseen (%u): end them with scripts/node-reset, or start "
      "with it again and swap with --force",
      n);
}

static void activate(kg_ctx_t *ctx, void *self) {
  tell_of_others(ctx);
  containers_resume(self);
}

static void resume(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  containers_resume(self);
}

/* Starts under way are answered before another takes over; ends that are due come there. By force there is no other
 * one of its kind: what was only pretended is forgotten. */
static void drain(kg_ctx_t *ctx, void *self) {
  sim_t *s = self;
  for (container_t *c = s->containers; c; c = c->next) {
    kg_timer_cancel(ctx, c->timer);
    c->timer = 0;
    kg_msg_t **const waits[] = {&c->starting, &c->stopping};
    for (size_t i = 0; i < 2; i++) {
      if (*waits[i]) kg_fail(ctx, *waits[i], KG_EUNAVAILABLE, "the runtime is being replaced: ask again");
      kg_msg_unref(*waits[i]);
      *waits[i] = NULL;
    }
  }
  if (kg_forced(ctx)) {
    watches_end(s);
    containers_free(s);
  }
  kg_drained(ctx);
}

static int hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)ctx;
  *state = containers_pack(self);
  return *state ? 0 : kg_error_set(err, KG_EINTERNAL, "out of memory");
}

static int accept_state(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx;
  int takes = kube_runtime_takes(state, "sim", err);
  if (takes > 0) containers_unpack(self, state);
  return takes < 0 ? -1 : 0;
}

static void version(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", "sim");
  kg_pack_kv_str(&p, "version", "0.1.0");
  kg_pack_kv_str(&p, "apiVersion", "v1");
  reply_map(ctx, m, &p);
}

/* What is only pretended uses nothing, and so keeps within any limit. */
static void container_update(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_reply(ctx, m, NULL, NULL, 0);
}

static void refuse(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_fail(ctx, m, KG_EINVAL, "%s: this container is simulated, nothing can run in it", kg_msg_topic(m));
}

/* Nothing is joined: its addresses are pretended, too. */
static void network(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_reply(ctx, m, NULL, NULL, 0);
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  const sim_t *s = self;
  int64_t sandboxes = 0, running = 0, others = 0;
  for (const sandbox_t *b = s->sandboxes; b; b = b->next) sandboxes += b->ready;
  for (const container_t *c = s->containers; c; c = c->next) *(c->state == C_RUNNING ? &running : &others) += 1;
  kg_pack_kv_int(p, "sandboxes", sandboxes);
  kg_pack_kv_int(p, "running", running);
  kg_pack_kv_int(p, "not_running", others);
}

static const char *const services[] = {"runtime", NULL};
static const kg_handler_t handlers[] = {{"runtime.version", version},
                                        {"runtime.sandbox.run", sandbox_run},
                                        {"runtime.sandbox.stop", sandbox_stop},
                                        {"runtime.sandbox.remove", sandbox_remove},
                                        {"runtime.container.create", container_create},
                                        {"runtime.container.start", container_start},
                                        {"runtime.container.stop", container_stop},
                                        {"runtime.container.update", container_update},
                                        {"runtime.sandbox.update", container_update},
                                        {"runtime.container.remove", container_remove},
                                        {"runtime.list", runtime_list},
                                        {"runtime.watch", runtime_watch},
                                        {"runtime.exec", runtime_exec},
                                        {"runtime.attach", refuse},
                                        {"runtime.logs", runtime_logs},
                                        {"runtime.stats", runtime_stats},
                                        {"image.*", images_handle},
                                        {"network.*", network},
                                        {0}};
KG_PLUGIN(.name = "runtime-sim", .role = "runtime", .version = "0.1.0",
          .summary = "Containers that only pretend, by scripted outcomes", .services = services, .handlers = handlers,
          .create = create, .start = start, .activate = activate, .drain = drain, .resume = resume,
          .hand_over = hand_over, .accept = accept_state, .stats = stats, .destroy = destroy);
