#include <stdio.h>

#include "sim.h"

enum { KILLED = 137, TERMINATED = 143, WORDS = 200 };
#define PREFIX "sim.kogge.dev/"

static const char *const STATES[] = {"created", "running", "exited"};

static char *dup_of(kg_view_t args, const char *key) {
  kg_str_t s = kg_view_str(kg_view_get(args, key));
  return s.n ? kg_str_dup(s) : NULL;
}

static kg_str_t id_of(const kg_msg_t *m) {
  return kg_view_str(kg_view_get(kg_msg_args(m), "id"));
}

container_t *container_find(const sim_t *s, kg_str_t id) {
  for (container_t *c = s->containers; c; c = c->next)
    if (kg_str_is(id, c->id)) return c;
  return NULL;
}

sandbox_t *sandbox_find(const sim_t *s, kg_str_t id) {
  for (sandbox_t *b = s->sandboxes; b; b = b->next)
    if (kg_str_is(id, b->id)) return b;
  return NULL;
}

static void sandbox_free(sim_t *s, sandbox_t *b) {
  for (sandbox_t **at = &s->sandboxes; *at; at = &(*at)->next)
    if (*at == b) {
      *at = b->next;
      break;
    }
  free(b->id);
  free(b->ip);
  kg_doc_unref(b->args);
  free(b);
}

static void container_free(container_t *c) {
  sim_t *s = c->sim;
  for (container_t **at = &s->containers; *at; at = &(*at)->next)
    if (*at == c) {
      *at = c->next;
      break;
    }
  kg_timer_cancel(s->ctx, c->timer);
  kg_msg_unref(c->starting);
  kg_msg_unref(c->stopping);
  char *const owned[] = {c->id, c->sandbox, c->name, c->image, c->log_path};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
  free(c);
}

void containers_free(sim_t *s) {
  while (s->containers) container_free(s->containers);
  while (s->sandboxes) sandbox_free(s, s->sandboxes);
}

/* --- sandboxes
 * --------------------------------------------------------------------------------------------------------- */

static bool ip_used(const sim_t *s, const char *ip) {
  for (const sandbox_t *b = s->sandboxes; b; b = b->next)
    if (b->ready && b->ip && !strcmp(b->ip, ip)) return true;
  return false;
}

/* The next address of the range that no sandbox has; NULL: all are taken. Nothing listens there. */
static char *next_ip(sim_t *s) {
  char text[20];
  for (uint32_t i = 0; i < s->ips; i++) {
    uint32_t ip = s->first_ip + s->next_ip++ % s->ips;
    snprintf(text, sizeof text, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
    if (!ip_used(s, text)) return strdup(text);
  }
  return NULL;
}

static void reply_sandbox(sim_t *s, const kg_msg_t *m, const sandbox_t *b) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "id", b->id);
  kg_pack_kv_int(&p, "created", b->created_us);
  if (b->ip) {
    kg_pack_kv_str(&p, "ip", b->ip);
    kg_pack_key(&p, "ips");
    kg_pack_array(&p);
    kg_pack_str(&p, b->ip);
    kg_pack_end(&p);
  }
  reply_map(s->ctx, m, &p);
}

void sandbox_run(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  sim_t *s = self;
  kg_view_t args = kg_msg_args(m);
  sandbox_t *b = sandbox_find(s, id_of(m));
  if (!id_of(m).n) return kg_fail(ctx, m, KG_EINVAL, "sandbox.run: id is missing");
  if (b && b->ready) return reply_sandbox(s, m, b);
  if (b) return kg_fail(ctx, m, KG_ECONFLICT, "sandbox %s was stopped", b->id);
  bool host = kg_view_bool(kg_view_get(args, "hostNetwork"), false);
  char *ip = host ? NULL : next_ip(s);
  if (!host && !ip) return kg_fail(ctx, m, KG_EFULL, "no pretended address is left");
  b = calloc(1, sizeof *b);
  if (!b) {
    free(ip);
    return kg_fail(ctx, m, KG_EINTERNAL, "out of memory");
  }
  *b = (sandbox_t){.id = kg_str_dup(id_of(m)), .ip = ip, .ready = true, .created_us = kg_wall_us(ctx)};
  b->args = kg_doc_ref(kg_msg_args_doc(m));
  b->next = s->sandboxes;
  s->sandboxes = b;
  reply_sandbox(s, m, b);
}

static void ended(container_t *c, int64_t code);

void sandbox_stop(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  sim_t *s = self;
  sandbox_t *b = sandbox_find(s, id_of(m));
  if (b) {
    b->ready = false;
    for (container_t *c = s->containers; c; c = c->next)
      if (!strcmp(c->sandbox, b->id) && c->state != C_EXITED) ended(c, KILLED);
  }
  kg_reply(ctx, m, NULL, NULL, 0);
}

void sandbox_remove(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  sim_t *s = self;
  sandbox_t *b = sandbox_find(s, id_of(m));
  if (b && b->ready) return kg_fail(ctx, m, KG_ECONFLICT, "sandbox %s is still running: stop it first", b->id);
  for (const container_t *c = s->containers; b && c; c = c->next)
    if (!strcmp(c->sandbox, b->id))
      return kg_fail(ctx, m, KG_ECONFLICT, "sandbox %s still has container %s", b->id, c->id);
  if (b) sandbox_free(s, b);
  kg_reply(ctx, m, NULL, NULL, 0);
}

/* --- how a container goes
 * ---------------------------------------------------------------------------------------------- */

static void ended(container_t *c, int64_t code) {
  sim_t *s = c->sim;
  char text[WORDS];
  kg_timer_cancel(s->ctx, c->timer);
  c->timer = 0;
  c->state = C_EXITED;
  c->exit_code = code;
  c->finished_us = kg_wall_us(s->ctx);
  if (c->starting) kg_fail(s->ctx, c->starting, KG_ECONFLICT, "container %s was ended before it had started", c->id);
  kg_msg_unref(c->starting);
  c->starting = NULL;
  snprintf(text, sizeof text, "(simulated) container %s ended with exit code %lld", c->name, (long long)code);
  logs_more(s, c, text);
  logs_end(s, c);
  watches_tell(s, c, "exited");
  if (!c->stopping) return;
  kg_reply(s->ctx, c->stopping, NULL, NULL, 0);
  kg_msg_unref(c->stopping);
  c->stopping = NULL;
}

static void on_end(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  container_t *c = arg;
  c->timer = 0;
  ended(c, c->stopping ? TERMINATED : c->script.oom ? KILLED : script_exit(&c->script, c->attempt));
}

static void on_kill(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  container_t *c = arg;
  c->timer = 0;
  ended(c, KILLED);
}

static void end_in(container_t *c, int64_t ms, kg_timer_fn fn) {
  kg_timer_cancel(c->sim->ctx, c->timer);
  c->timer = kg_timer(c->sim->ctx, ms > 0 ? ms : 0, 0, fn, c);
}

static void reply_started(container_t *c, const kg_msg_t *m) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "started", c->started_us);
  kg_pack_kv_int(&p, "pid", 0);
  reply_map(c->sim->ctx, m, &p);
}

static void started(container_t *c) {
  sim_t *s = c->sim;
  char text[WORDS + 256];
  c->state = C_RUNNING;
  c->started_us = kg_wall_us(s->ctx);
  reply_started(c, c->starting);
  kg_msg_unref(c->starting);
  c->starting = NULL;
  snprintf(text, sizeof text, "(simulated) container %s of image %s started: nothing runs", c->name, c->image);
  logs_more(s, c, text);
  watches_tell(s, c, "started");
  if (c->script.run_time >= 0) end_in(c, c->script.run_time, on_end);
}

static void on_start(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  container_t *c = arg;
  c->timer = 0;
  started(c);
}

/* --- requests
 * ---------------------------------------------------------------------------------------------------------- */

static void reply_created(container_t *c, const kg_msg_t *m) {
  char id[80];
  kg_pack_t p = kg_pack();
  image_id(kg_str(c->image), id);
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "id", c->id);
  kg_pack_kv_str(&p, "imageID", id);
  reply_map(c->sim->ctx, m, &p);
}

static container_t *container_new(sim_t *s, kg_view_t args) {
  container_t *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  c->sim = s;
  c->id = dup_of(args, "id");
  c->sandbox = dup_of(args, "sandbox");
  c->name = dup_of(args, "name");
  c->image = dup_of(args, "image");
  c->log_path = dup_of(args, "logPath");
  c->attempt = kg_view_int(kg_view_get(args, "attempt"), 0);
  c->created_us = kg_wall_us(s->ctx);
  c->script = s->usual;
  sandbox_t *b = sandbox_find(s, kg_view_str(kg_view_get(args, "sandbox")));
  if (b) script_read(&c->script, kg_view_get(kg_view_of(b->args), "annotations"), PREFIX, c->name);
  c->next = s->containers;
  s->containers = c;
  if (c->id && c->sandbox && c->name && c->image) return c;
  container_free(c);
  return NULL;
}

void container_create(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  sim_t *s = self;
  kg_view_t args = kg_msg_args(m);
  container_t *c = container_find(s, id_of(m));
  const sandbox_t *b = sandbox_find(s, kg_view_str(kg_view_get(args, "sandbox")));
  if (c) return reply_created(c, m);
  if (!b || !b->ready)
    return kg_fail(ctx, m, KG_ENOTFOUND, "container.create: sandbox: there is no such sandbox, or it was stopped");
  if (!image_there(s, kg_view_str(kg_view_get(args, "image"))))
    return kg_fail(ctx, m, KG_ENOTFOUND, "container.create: image: there is no such image");
  c = container_new(s, args);
  if (!c) return kg_fail(ctx, m, KG_EINVAL, "container.create: id, sandbox, name and image are needed");
  reply_created(c, m);
}

void container_start(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  container_t *c = container_find(self, id_of(m));
  if (!c) return kg_fail(ctx, m, KG_ENOTFOUND, "there is no container " KG_STR_FMT, KG_STR_ARG(id_of(m)));
  if (c->state != C_CREATED) return reply_started(c, m);
  if (c->starting) return kg_fail(ctx, m, KG_ECONFLICT, "container %s is being started", c->id);
  if (*c->script.error) return kg_fail(ctx, m, KG_EINTERNAL, "%s", c->script.error);
  c->starting = kg_msg_ref(m);
  if (c->script.start_delay <= 0) return started(c);
  c->timer = kg_timer(ctx, c->script.start_delay, 0, on_start, c);
}

void container_stop(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  container_t *c = container_find(self, id_of(m));
  int64_t grace = kg_view_int(kg_view_get(kg_msg_args(m), "grace_ms"), 0);
  if (!c || c->state == C_EXITED) return kg_reply(ctx, m, NULL, NULL, 0);
  if (c->stopping) { /* asked again: the former request is answered by this one */
    kg_fail(ctx, c->stopping, KG_ECANCELLED, "asked again");
    kg_msg_unref(c->stopping);
  }
  c->stopping = kg_msg_ref(m);
  int64_t takes = c->script.stop_delay;
  if (c->state == C_CREATED) return ended(c, KILLED);
  end_in(c, takes < grace ? takes : grace, takes <= grace ? on_end : on_kill);
}

void container_remove(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  sim_t *s = self;
  container_t *c = container_find(s, id_of(m));
  if (c && c->state == C_RUNNING) return kg_fail(ctx, m, KG_ECONFLICT, "container %s is running: stop it first", c->id);
  if (c) {
    if (c->starting) ended(c, KILLED);
    logs_end(s, c);
    watches_tell(s, c, "removed");
    container_free(c);
  }
  kg_reply(ctx, m, NULL, NULL, 0);
}

/* --- what there is
 * ----------------------------------------------------------------------------------------------------- */

void pack_container(kg_pack_t *p, const container_t *c) {
  char id[80];
  image_id(kg_str(c->image), id);
  kg_pack_kv_str(p, "id", c->id);
  kg_pack_kv_str(p, "sandbox", c->sandbox);
  kg_pack_kv_str(p, "name", c->name);
  kg_pack_kv_int(p, "attempt", c->attempt);
  kg_pack_kv_str(p, "state", STATES[c->state]);
  kg_pack_kv_int(p, "pid", 0);
  kg_pack_kv_int(p, "created", c->created_us);
  kg_pack_kv_int(p, "started", c->started_us);
  kg_pack_kv_int(p, "finished", c->finished_us);
  kg_pack_kv_int(p, "exitCode", c->exit_code);
  kg_pack_kv_bool(p, "oom", c->script.oom && c->state == C_EXITED && c->exit_code == KILLED);
  kg_pack_kv_str(p, "image", c->image);
  kg_pack_kv_str(p, "imageID", id);
  kg_pack_kv_str(p, "logPath", c->log_path);
}

static void pack_sandbox(kg_pack_t *p, const sandbox_t *b) {
  static const char *const copied[] = {"uid", "name", "namespace", "attempt", "annotations"};
  kg_pack_map(p);
  kg_pack_kv_str(p, "id", b->id);
  for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
    kg_pack_kv_view(p, copied[i], kg_view_get(kg_view_of(b->args), copied[i]));
  kg_pack_kv_str(p, "state", b->ready ? "ready" : "notready");
  kg_pack_kv_str(p, "ip", b->ip);
  kg_pack_kv_int(p, "created", b->created_us);
  kg_pack_end(p);
}

kg_doc_t *containers_pack(const sim_t *s) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "runtime", "sim");
  kg_pack_key(&p, "sandboxes");
  kg_pack_array(&p);
  for (const sandbox_t *b = s->sandboxes; b; b = b->next) pack_sandbox(&p, b);
  kg_pack_end(&p);
  kg_pack_key(&p, "containers");
  kg_pack_array(&p);
  for (const container_t *c = s->containers; c; c = c->next) {
    kg_pack_map(&p);
    pack_container(&p, c);
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

void runtime_list(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_doc_t *list = containers_pack(self);
  kg_reply(ctx, m, list, NULL, 0);
  kg_doc_unref(list);
}

static void unpack_sandbox(sim_t *s, kg_view_t v) {
  sandbox_t *b = calloc(1, sizeof *b);
  if (!b) return;
  b->id = dup_of(v, "id");
  b->ip = dup_of(v, "ip");
  b->args = kg_doc_copy(v.p, kg_view_span(v));
  b->created_us = kg_view_int(kg_view_get(v, "created"), 0);
  b->ready = kg_str_is(kg_view_str(kg_view_get(v, "state")), "ready");
  b->next = s->sandboxes;
  s->sandboxes = b;
}

void containers_unpack(sim_t *s, kg_view_t list) {
  for (kg_iter_t it = kg_iter(kg_view_get(list, "sandboxes")); kg_iter_next(&it);) unpack_sandbox(s, it.value);
  for (kg_iter_t it = kg_iter(kg_view_get(list, "containers")); kg_iter_next(&it);) {
    container_t *c = container_new(s, it.value);
    kg_str_t state = kg_view_str(kg_view_get(it.value, "state"));
    if (!c) continue;
    c->created_us = kg_view_int(kg_view_get(it.value, "created"), 0);
    c->started_us = kg_view_int(kg_view_get(it.value, "started"), 0);
    c->finished_us = kg_view_int(kg_view_get(it.value, "finished"), 0);
    c->exit_code = kg_view_int(kg_view_get(it.value, "exitCode"), 0);
    c->state = kg_str_is(state, "running") ? C_RUNNING : kg_str_is(state, "exited") ? C_EXITED : C_CREATED;
  }
}

void containers_resume(sim_t *s) {
  int64_t now = kg_wall_us(s->ctx);
  for (container_t *c = s->containers; c; c = c->next)
    if (c->state == C_RUNNING && !c->timer && c->script.run_time >= 0)
      end_in(c, c->script.run_time - (now - c->started_us) / 1000, on_end);
}

void runtime_stats(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  const sim_t *s = self;
  int64_t now = kg_wall_us(ctx);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "containers");
  kg_pack_array(&p);
  for (const container_t *c = s->containers; c; c = c->next) {
    if (c->state != C_RUNNING || (id_of(m).n && !kg_str_is(id_of(m), c->id))) continue;
    kg_pack_map(&p);
    kg_pack_kv_str(&p, "id", c->id);
    kg_pack_kv_int(&p, "cpu_ns", (now - c->started_us) * c->script.cpu_milli); /* us * milli = ns */
    kg_pack_kv_int(&p, "memory_bytes", c->script.memory);
    kg_pack_kv_int(&p, "memory_ws", c->script.memory);
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  reply_map(ctx, m, &p);
}
