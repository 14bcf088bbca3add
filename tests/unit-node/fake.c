#include "fake.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 64, CALLS = 4096, START_MS = 200 };

typedef struct thing {
  bool used, running, ended, sandbox, stubborn, gentle, slow, exits;
  int attempt, code;
  char id[200], in[200], name[100], uid[64], pod[100], ns[64], image[100];
  int64_t started, finished;
  struct stopping *stopping; /* of one that is stubborn */
} thing_t;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static thing_t things[MOST];
static struct {
  char topic[64], id[200];
  int64_t grace;
  kg_doc_t *args;
} calls[CALLS];
static int ncalls;
static atomic_bool refusing; /* updates */
static kg_msg_t *watcher;
static kg_ctx_t *context;

static thing_t *find(kg_str_t id) {
  for (int i = 0; i < MOST; i++)
    if (things[i].used && kg_str_is(id, things[i].id)) return &things[i];
  return NULL;
}

static thing_t *make(kg_str_t id) {
  thing_t *t = find(id);
  for (int i = 0; i < MOST && !t; i++)
    if (!things[i].used) t = &things[i];
  *t = (thing_t){.used = true};
  snprintf(t->id, sizeof t->id, KG_STR_FMT, KG_STR_ARG(id));
  return t;
}

static void copy(char *to, size_t n, kg_view_t args, const char *key) {
  snprintf(to, n, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(args, key))));
}

static kg_str_t note(const kg_msg_t *m) {
  kg_str_t id = kg_view_str(kg_view_get(kg_msg_args(m), "id"));
  pthread_mutex_lock(&mutex);
  if (ncalls < CALLS) {
    snprintf(calls[ncalls].topic, sizeof calls[0].topic, "%s", kg_msg_topic(m));
    snprintf(calls[ncalls].id, sizeof calls[0].id, KG_STR_FMT, KG_STR_ARG(id));
    kg_doc_unref(calls[ncalls].args);
    calls[ncalls].args = kg_doc_ref(kg_msg_args_doc(m));
    calls[ncalls++].grace = kg_view_int(kg_view_get(kg_msg_args(m), "grace_ms"), -1);
  }
  pthread_mutex_unlock(&mutex);
  return id;
}

/* --- answers
 * ----------------------------------------------------------------------------------------------------------- */

static void reply(kg_ctx_t *ctx, const kg_msg_t *m, kg_pack_t *p) {
  kg_pack_end(p);
  kg_doc_t *doc = kg_pack_doc(p);
  kg_reply(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

static void pack_container(kg_pack_t *p, const thing_t *t) {
  kg_pack_kv_str(p, "id", t->id);
  kg_pack_kv_str(p, "sandbox", t->in);
  kg_pack_kv_str(p, "name", t->name);
  kg_pack_kv_int(p, "attempt", t->attempt);
  kg_pack_kv_str(p, "state", t->running ? "running" : t->ended ? "exited" : "created");
  kg_pack_kv_int(p, "started", t->started);
  kg_pack_kv_int(p, "finished", t->finished);
  kg_pack_kv_int(p, "exitCode", t->code);
  kg_pack_kv_str(p, "image", t->image);
  kg_pack_kv_str(p, "imageID", "sha256:fake");
}

static void tell(const thing_t *t, const char *type) {
  kg_pack_t p = kg_pack();
  if (!watcher) return;
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "type", type);
  pack_container(&p, t);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  kg_stream_item(context, watcher, doc, NULL, 0);
  kg_doc_unref(doc);
}

static void end(thing_t *t, int code) {
  pthread_mutex_lock(&mutex);
  t->running = false;
  t->ended = true;
  t->code = code;
  t->finished = kg_wall_us(context);
  pthread_mutex_unlock(&mutex);
  tell(t, "exited");
}

static void version(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", "fake");
  kg_pack_kv_str(&p, "version", "1");
  reply(ctx, m, &p);
}

static void run_sandbox(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_view_t args = kg_msg_args(m);
  kg_pack_t p = kg_pack();
  kg_str_t id = note(m);
  pthread_mutex_lock(&mutex);
  thing_t *t = make(id);
  t->sandbox = t->running = true;
  t->attempt = (int)kg_view_int(kg_view_get(args, "attempt"), 0);
  copy(t->uid, sizeof t->uid, args, "uid");
  copy(t->pod, sizeof t->pod, args, "name");
  copy(t->ns, sizeof t->ns, args, "namespace");
  pthread_mutex_unlock(&mutex);
  kg_pack_map(&p);
  kg_pack_kv_strn(&p, "id", id);
  kg_pack_kv_str(&p, "ip", "10.1.2.3");
  reply(ctx, m, &p);
}

static void stop_sandbox(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  thing_t *t = find(note(m));
  if (t) t->running = false;
  kg_reply(ctx, m, NULL, NULL, 0);
}

static void remove_thing(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  thing_t *t = find(note(m));
  if (t && t->running) return kg_fail(ctx, m, KG_ECONFLICT, "it runs");
  if (t) t->used = false;
  kg_reply(ctx, m, NULL, NULL, 0);
}

static void create_container(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_view_t args = kg_msg_args(m), command = kg_view_get(args, "command");
  kg_pack_t p = kg_pack();
  kg_str_t id = note(m), word = kg_view_str(kg_view_at(command, 0)), code = kg_view_str(kg_view_at(command, 1));
  if (kg_str_is(word, "nope")) return kg_fail(ctx, m, KG_EDENIED, "exec: nope: no such file");
  pthread_mutex_lock(&mutex);
  thing_t *t = find(id);
  if (!t) {
    t = make(id);
    t->attempt = (int)kg_view_int(kg_view_get(args, "attempt"), 0);
    copy(t->in, sizeof t->in, args, "sandbox");
    copy(t->name, sizeof t->name, args, "name");
    copy(t->image, sizeof t->image, args, "image");
    t->exits = kg_str_is(word, "exit");
    t->stubborn = kg_str_is(word, "stubborn");
    t->gentle = kg_str_is(word, "gentle");
    t->slow = kg_str_is(word, "slow");
    if (code.n) t->code = atoi(code.p);
  }
  pthread_mutex_unlock(&mutex);
  kg_pack_map(&p);
  kg_pack_kv_strn(&p, "id", id);
  kg_pack_kv_str(&p, "imageID", "sha256:fake");
  reply(ctx, m, &p);
}

static void start_now(kg_ctx_t *ctx, const kg_msg_t *m, thing_t *t) {
  kg_pack_t p = kg_pack();
  bool first = !t->started;
  pthread_mutex_lock(&mutex);
  if (first) t->running = true, t->started = kg_wall_us(ctx);
  pthread_mutex_unlock(&mutex);
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "started", t->started);
  reply(ctx, m, &p);
  if (!first) return;
  tell(t, "started");
  if (t->exits) end(t, t->code);
}

static void start_late(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self;
  kg_msg_t *m = arg;
  thing_t *t = find(kg_view_str(kg_view_get(kg_msg_args(m), "id")));
  if (t) start_now(ctx, m, t);
  kg_msg_unref(m);
}

static void start_container(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  thing_t *t = find(note(m));
  if (!t) return kg_fail(ctx, m, KG_ENOTFOUND, "no such container");
  if (!t->slow) return start_now(ctx, m, t);
  kg_timer(ctx, START_MS, 0, start_late, kg_msg_ref(m));
}

typedef struct stopping {
  thing_t *t;
  kg_msg_t *m;
  uint64_t timer;
} stopping_t;

static void stop_over(kg_ctx_t *ctx, stopping_t *s) {
  s->t->stopping = NULL;
  kg_reply(ctx, s->m, NULL, NULL, 0);
  kg_msg_unref(s->m);
  free(s);
}

static void on_grace_over(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self;
  stopping_t *s = arg;
  if (s->t->running) end(s->t, 137);
  stop_over(ctx, s);
}

static void stop_container(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  int64_t grace = kg_view_int(kg_view_get(kg_msg_args(m), "grace_ms"), 0);
  thing_t *t = find(note(m));
  if (t && t->running && t->stubborn) {
    stopping_t *s = calloc(1, sizeof *s);
    if (t->stopping) { /* the later word counts */
      kg_timer_cancel(ctx, t->stopping->timer);
      stop_over(ctx, t->stopping);
    }
    *s = (stopping_t){t, kg_msg_ref(m), kg_timer(ctx, grace, 0, on_grace_over, s)};
    t->stopping = s;
    return;
  }
  if (t && t->running) end(t, t->gentle ? 0 : 143);
  kg_reply(ctx, m, NULL, NULL, 0);
}

static void list(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  for (int sandboxes = 1; sandboxes >= 0; sandboxes--) {
    kg_pack_key(&p, sandboxes ? "sandboxes" : "containers");
    kg_pack_array(&p);
    for (int i = 0; i < MOST; i++) {
      const thing_t *t = &things[i];
      if (!t->used || t->sandbox != (sandboxes == 1)) continue;
      kg_pack_map(&p);
      if (sandboxes) {
        kg_pack_kv_str(&p, "id", t->id);
        kg_pack_kv_str(&p, "uid", t->uid);
        kg_pack_kv_str(&p, "name", t->pod);
        kg_pack_kv_str(&p, "namespace", t->ns);
        kg_pack_kv_int(&p, "attempt", t->attempt);
        kg_pack_kv_str(&p, "state", t->running ? "ready" : "notready");
        kg_pack_kv_str(&p, "ip", "10.1.2.3");
      } else {
        pack_container(&p, t);
      }
      kg_pack_end(&p);
    }
    kg_pack_end(&p);
  }
  reply(ctx, m, &p);
}

static void forget_watcher(kg_ctx_t *ctx, void *self, const kg_msg_t *request, void *arg) {
  (void)ctx, (void)self, (void)request, (void)arg;
  kg_msg_unref(watcher);
  watcher = NULL;
}

static void watch(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  static const kg_stream_events_t events = {.on_cancel = forget_watcher};
  (void)self;
  kg_msg_unref(watcher);
  watcher = kg_msg_ref(m);
  kg_stream_open(ctx, m, &events, NULL);
}

static void exec_item(kg_ctx_t *ctx, const kg_msg_t *m, const char *key, kg_view_t value) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  if (!strcmp(key, "exit")) {
    kg_pack_kv_int(&p, key, kg_view_str(value).p[0] - '0');
  } else {
    kg_pack_kv_int(&p, "fd", 1);
    kg_pack_key(&p, key);
    kg_pack_bin(&p, kg_view_str(value).p, kg_view_str(value).n);
  }
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  kg_stream_item(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

/* Command: exit code (one digit), or "hang"; then what it says. "there FILE SAYS": 0 if the file exists. */
static void exec(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  static const kg_stream_events_t events = {0};
  (void)self;
  kg_view_t command = kg_view_get(kg_msg_args(m), "command"), first = kg_view_at(command, 0);
  char file[256];
  note(m);
  if (kg_str_is(kg_view_str(first), "hang")) return kg_stream_open(ctx, m, &events, NULL);
  if (kg_str_is(kg_view_str(first), "there")) {
    snprintf(file, sizeof file, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_at(command, 1))));
    static const uint8_t zero[] = {0xa1, '0'}, one[] = {0xa1, '1'};
    first = kg_view_bytes(access(file, F_OK) ? one : zero, 2);
    exec_item(ctx, m, "data", kg_view_at(command, 2));
  } else
    exec_item(ctx, m, "data", kg_view_at(command, 1));
  exec_item(ctx, m, "exit", first);
  kg_stream_end(ctx, m);
}

static void images(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "images");
  kg_pack_array(&p);
  for (int i = 1; i <= 60; i++) {
    kg_pack_map(&p);
    kg_pack_kv_str(&p, "id", "sha256:fake");
    kg_pack_key(&p, "tags");
    kg_pack_array(&p);
    kg_pack_fmt(&p, "image-%d:latest", i);
    kg_pack_end(&p);
    kg_pack_kv_int(&p, "size", i * 1000);
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  reply(ctx, m, &p);
}

static void image(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_str_t name = kg_view_str(kg_view_get(kg_msg_args(m), "image"));
  kg_pack_t p = kg_pack();
  note(m);
  if (name.n < 4 || memcmp(name.p, "here", 4) != 0) return kg_fail(ctx, m, KG_ENOTFOUND, "there is no such image");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "id", "sha256:fake");
  reply(ctx, m, &p);
}

static void empty(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  reply(ctx, m, &p);
}

static void update(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  note(m);
  if (refusing) return kg_fail(ctx, m, KG_ECONFLICT, "it uses too much");
  empty(ctx, self, m);
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  context = ctx;
  kg_ready(ctx);
  return 0;
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  return 0;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx, (void)self;
  kg_msg_unref(watcher);
  watcher = NULL;
}

static const kg_handler_t handlers[] = {{"runtime.version", version},
                                        {"runtime.list", list},
                                        {"runtime.watch", watch},
                                        {"runtime.sandbox.run", run_sandbox},
                                        {"runtime.sandbox.stop", stop_sandbox},
                                        {"runtime.sandbox.remove", remove_thing},
                                        {"runtime.sandbox.update", update},
                                        {"runtime.container.create", create_container},
                                        {"runtime.container.start", start_container},
                                        {"runtime.container.stop", stop_container},
                                        {"runtime.container.remove", remove_thing},
                                        {"runtime.container.update", update},
                                        {"runtime.exec", exec},
                                        {"image.list", images},
                                        {"image.status", image},
                                        {"image.pull", image},
                                        {"*", empty},
                                        {0}};
static const char *const services[] = {"runtime", "network", NULL};
const kg_plugin_t fake_runtime = {.magic = KG_PLUGIN_MAGIC,
                                  .abi = KG_PLUGIN_ABI,
                                  .size = sizeof(kg_plugin_t),
                                  .name = "fake",
                                  .role = "runtime",
                                  .version = "1",
                                  .summary = "Pretends.",
                                  .services = services,
                                  .handlers = handlers,
                                  .create = create,
                                  .start = start,
                                  .destroy = destroy};

/* --- from the test's thread
 * -------------------------------------------------------------------------------------------- */

static bool matches(int i, const char *topic, const char *part) {
  return !strcmp(calls[i].topic, topic) && (!part || strstr(calls[i].id, part));
}

int fake_calls(const char *topic, const char *part) {
  int n = 0;
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < ncalls; i++) n += matches(i, topic, part);
  pthread_mutex_unlock(&mutex);
  return n;
}

int fake_order(const char *topic, const char *part) {
  int at = -1;
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < ncalls && at < 0; i++)
    if (matches(i, topic, part)) at = i;
  pthread_mutex_unlock(&mutex);
  return at;
}

void fake_refuse_updates(bool refuse) {
  refusing = refuse;
}

kg_doc_t *fake_args(const char *topic, const char *part) {
  kg_doc_t *args = NULL;
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < ncalls; i++)
    if (matches(i, topic, part)) args = calls[i].args;
  kg_doc_ref(args);
  pthread_mutex_unlock(&mutex);
  return args;
}

int64_t fake_grace(const char *part) {
  int64_t grace = -1;
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < ncalls; i++)
    if (matches(i, "runtime.container.stop", part)) grace = calls[i].grace;
  pthread_mutex_unlock(&mutex);
  return grace;
}

int fake_running(void) {
  int n = 0;
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < MOST; i++) n += things[i].used && things[i].running;
  pthread_mutex_unlock(&mutex);
  return n;
}

void fake_reset(void) {
  memset(things, 0, sizeof things);
  for (int i = 0; i < ncalls; i++) kg_doc_clear(&calls[i].args);
  ncalls = 0;
}

void fake_reboot(void) {
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < MOST; i++) {
    if (things[i].running && !things[i].sandbox) things[i].ended = true, things[i].code = 255;
    things[i].running = false;
  }
  pthread_mutex_unlock(&mutex);
}

void fake_forget(void) {
  pthread_mutex_lock(&mutex);
  memset(things, 0, sizeof things);
  pthread_mutex_unlock(&mutex);
}
