/* One run of a scenario: a kernel, a driver that sends what the scenario says, and a list of things to do. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define DRIVER "driver"
#define RESTART_US 1000000
#define ANSWER_US 1000000 /* what is asked at the very end may still be answered */
#define POLL_US 100000    /* a check that may take time is asked again after so long */

typedef enum { REQUEST, CRASH, RESTART, SWAP, UNLOAD, LOAD, CONFIGURE, FAULT, CHECK } kind_t;

typedef struct todo {
  struct todo *next;
  kind_t kind;
  int64_t at_us, until_us; /* until: a check may fail before */
  int64_t i;               /* which of its repetitions */
  bool periodic;
  kg_view_t v; /* the element of the scenario */
} todo_t;

typedef struct run {
  sim_scenario_t *sc;
  kg_kernel_t *k;
  kg_ctx_t *driver;
  sim_result_t *out;
  FILE *trace;
  bool hash;
  todo_t *todo; /* life changes, by time; requests and checks are timers of the driver, so that they come also while a
                   swap waits */
  int64_t start_us, end_us;
  struct asked *asked; /* requests and checks that wait for their time or their answer */
  size_t open;         /* those that are not periodic */
} run_t;

static void fail(run_t *r, const char *fmt, ...) KG_PRINTF(2, 3);
static void fail(run_t *r, const char *fmt, ...) {
  if (r->out->failed) return; /* the first failure is the one to look at */
  r->out->failed = true;
  int n = snprintf(r->out->why, sizeof r->out->why, "at %.6f s: ", (double)(kg_sim_now_us(r->k) - r->start_us) / 1e6);
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(r->out->why + n, sizeof r->out->why - (size_t)n, fmt, ap);
  va_end(ap);
  kg_sim_note(r->k, "FAILED %s", r->out->why);
}

static void traced(void *arg, const char *line, size_t n) {
  run_t *r = arg;
  if (r->trace) {
    fwrite(line, 1, n, r->trace);
    fputc('\n', r->trace);
  }
  if (r->hash) r->out->hash = kg_hash(r->out->hash, line, n);
}

static void name_of(kg_view_t v, const char *key, char out[256]) {
  snprintf(out, 256, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(v, key))));
}

/* --- the list -------------------------------------------------------------------------------------------------------
 */

typedef struct asked {
  struct asked *prev, *next;
  run_t *run;
  todo_t todo;
} asked_t;

static void forget(run_t *r, asked_t *a) {
  if (a->prev)
    a->prev->next = a->next;
  else
    r->asked = a->next;
  if (a->next) a->next->prev = a->prev;
  if (!a->todo.periodic) r->open--;
  free(a);
}

static void send(kg_ctx_t *ctx, void *self, void *arg);

static void schedule(run_t *r, asked_t *a) {
  int64_t wait = a->todo.at_us - kg_sim_now_us(r->k);
  kg_timer(r->driver, wait > 0 ? (wait + 999) / 1000 : 0, 0, send, a);
}

static void ask(run_t *r, const todo_t *t) {
  asked_t *a = malloc(sizeof *a);
  if (!a) {
    fail(r, "out of memory");
    return;
  }
  *a = (asked_t){.next = r->asked, .run = r, .todo = *t};
  if (a->next) a->next->prev = a;
  r->asked = a;
  if (!t->periodic) r->open++;
  schedule(r, a);
}

static void add(run_t *r, const todo_t *t) {
  if (t->kind == REQUEST || t->kind == CHECK) {
    ask(r, t);
    return;
  }
  todo_t *n = malloc(sizeof *n), **at = &r->todo;
  if (!n) {
    fail(r, "out of memory");
    return;
  }
  *n = *t;
  while (*at && (*at)->at_us <= n->at_us) at = &(*at)->next;
  n->next = *at;
  *at = n;
}

static int64_t time_of(run_t *r, kg_view_t map, const char *key, int64_t fallback) {
  kg_view_t v = kg_view_get(map, key);
  if (!kg_view_there(v)) return fallback;
  if (kg_str_is(kg_view_str(v), "end")) return r->end_us - r->start_us;
  int64_t us = sim_time_us(r->k, v);
  if (us < 0) fail(r, "%s is no time", key);
  return us < 0 ? 0 : us;
}

static void add_actions(run_t *r) {
  static const struct {
    const char *key;
    kind_t kind;
  } kinds[] = {{"request", REQUEST}, {"crash", CRASH},         {"swap", SWAP},  {"unload", UNLOAD},
               {"load", LOAD},       {"configure", CONFIGURE}, {"fault", FAULT}};
  for (kg_iter_t it = kg_iter(kg_view_get(r->sc->root, "actions")); kg_iter_next(&it);) {
    size_t kind = 0;
    while (kind < 7 && !kg_view_there(kg_view_get(it.value, kinds[kind].key))) kind++;
    if (kind == 7) {
      fail(r, "an action says nothing to do");
      return;
    }
    int64_t times = kg_view_int(kg_view_get(it.value, "times"), 1);
    int64_t at = r->start_us;
    for (int64_t i = 0; i < times; i++, at += time_of(r, it.value, "every", 0))
      add(r, &(todo_t){.kind = kinds[kind].kind, .at_us = at + time_of(r, it.value, "at", 0), .i = i, .v = it.value});
  }
}

static void add_checks(run_t *r) {
  for (kg_iter_t it = kg_iter(kg_view_get(r->sc->root, "checks")); kg_iter_next(&it);) {
    todo_t t = {.kind = CHECK, .v = it.value, .periodic = kg_view_there(kg_view_get(it.value, "every"))};
    bool within = kg_view_there(kg_view_get(it.value, "within"));
    int64_t after = time_of(r, it.value, "after", 0);
    t.at_us = r->start_us + after + (t.periodic ? time_of(r, it.value, "every", 0) : 0);
    if (within)
      t.until_us = t.at_us + time_of(r, it.value, "within", 0);
    else if (!t.periodic)
      t.at_us = t.until_us = r->start_us + time_of(r, it.value, "at", r->end_us - r->start_us);
    add(r, &t);
  }
}

/* --- requests -------------------------------------------------------------------------------------------------------
 */

/* These two say whether it is to be asked again, at todo.at_us. */
static bool request_answered(run_t *r, asked_t *a, const kg_msg_t *m) {
  kg_error_t err = {0};
  if (sim_want(kg_view_get(a->todo.v, "want"), m, &err) == 0) return false;
  int64_t again = time_of(r, a->todo.v, "retry", -1);
  bool transient = kg_msg_type(m) == KG_MSG_ERROR && kg_msg_code(m) >= 500;
  a->todo.at_us = kg_sim_now_us(r->k) + again;
  if (again >= 0 && transient) return true;
  fail(r, "request %lld: %s", (long long)a->todo.i, err.text);
  return false;
}

static bool check_answered(run_t *r, asked_t *a, const kg_msg_t *m) {
  kg_error_t err = {0};
  todo_t *t = &a->todo;
  int64_t now = kg_sim_now_us(r->k);
  bool good = sim_want(kg_view_get(t->v, "want"), m, &err) == 0;
  r->out->checks++;
  /* A check that watches over everything does not mind that nobody answers just now. */
  if (!good && t->until_us <= now && !(t->periodic && kg_msg_type(m) == KG_MSG_ERROR))
    fail(r, "check \"" KG_STR_FMT "\": %s", KG_STR_ARG(kg_view_str(kg_view_get(t->v, "name"))), err.text);
  if (t->periodic)
    t->at_us = now + time_of(r, t->v, "every", POLL_US);
  else
    t->at_us = now + POLL_US < t->until_us ? now + POLL_US : t->until_us;
  return t->periodic || (!good && t->until_us > now);
}

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  asked_t *a = arg;
  run_t *r = a->run;
  bool again = a->todo.kind == CHECK ? check_answered(r, a, m) : request_answered(r, a, m);
  if (again)
    schedule(r, a);
  else
    forget(r, a);
}

static void send(kg_ctx_t *ctx, void *self, void *arg) {
  asked_t *a = arg;
  run_t *r = self;
  char service[256], topic[256];
  kg_doc_t *filled = sim_fill_in(kg_view_get(a->todo.v, "request"), a->todo.i), *docs[16];
  kg_view_t q = kg_view_of(filled), args = kg_view_get(q, "args");
  size_t n = 0;
  name_of(q, "service", service);
  name_of(q, "topic", topic);
  kg_doc_t *args_doc = kg_view_there(args) ? kg_doc_copy(args.p, kg_view_span(args)) : NULL;
  for (kg_iter_t it = kg_iter(kg_view_get(q, "docs")); n < 16 && kg_iter_next(&it);)
    docs[n++] = kg_doc_copy(it.value.p, kg_view_span(it.value));
  kg_send(ctx, &(kg_request_t){.service = service,
                               .topic = topic,
                               .args = args_doc,
                               .docs = docs,
                               .ndocs = n,
                               .timeout_ms = time_of(r, q, "timeout", 0) / 1000,
                               .fn = answered,
                               .arg = a});
  while (n) kg_doc_unref(docs[--n]);
  kg_doc_unref(args_doc);
  kg_doc_unref(filled);
}

/* --- plugins --------------------------------------------------------------------------------------------------------
 */

static kg_view_t plugin_named(const run_t *r, const char *name) {
  for (kg_iter_t it = kg_iter(kg_view_get(r->sc->root, "plugins")); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(kg_view_get(it.value, "name")), name)) return it.value;
  return (kg_view_t){0};
}

static int load(run_t *r, kg_view_t p, kg_error_t *err) {
  char name[256], names[16][256];
  const char *services[17] = {0};
  size_t n = 0;
  kg_view_t config = kg_view_get(p, "config"), list = kg_view_get(p, "services");
  if (!kg_view_there(p)) return kg_error_set(err, KG_ENOTFOUND, "the scenario has no such plugin");
  const kg_plugin_t *desc = sim_plugin(r->sc, kg_view_str(kg_view_get(p, "file")), err);
  if (!desc) return -1;
  name_of(p, "name", name);
  for (kg_iter_t it = kg_iter(list); n < 16 && kg_iter_next(&it); n++) {
    snprintf(names[n], 256, KG_STR_FMT, KG_STR_ARG(kg_view_str(it.value)));
    services[n] = names[n];
  }
  kg_doc_t *doc = kg_view_there(config) ? kg_doc_copy(config.p, kg_view_span(config)) : NULL;
  int rc = kg_kernel_load(
      r->k,
      &(kg_plugin_spec_t){
          .name = name, .descriptor = desc, .config = doc, .services = kg_view_there(list) ? services : NULL},
      err);
  kg_doc_unref(doc);
  return rc;
}

static int swap(run_t *r, const todo_t *t, const char *name, kg_error_t *err) {
  kg_view_t file = kg_view_get(t->v, "file");
  if (!kg_view_there(file)) file = kg_view_get(plugin_named(r, name), "file");
  const kg_plugin_t *desc = sim_plugin(r->sc, kg_view_str(file), err);
  int64_t pause = 0;
  if (!desc) return -1;
  int rc = kg_kernel_swap(r->k, name, NULL, desc, &pause, err);
  kg_sim_note(r->k, "swap %s: %s", name, rc < 0 ? err->text : "done");
  return rc;
}

static void configure(run_t *r, const todo_t *t, const char *name, kg_error_t *err) {
  kg_view_t config = kg_view_get(t->v, "config");
  kg_doc_t *doc = kg_view_there(config) ? kg_doc_copy(config.p, kg_view_span(config)) : NULL;
  if (!doc)
    kg_error_set(err, KG_EINVAL, "configure needs a config");
  else if (kg_kernel_configure(r->k, name, doc, err) < 0)
    kg_sim_note(r->k, "configure %s: %s", name, err->text);
  kg_doc_unref(doc);
}

static void crash(run_t *r, const todo_t *t, const char *name, kg_error_t *err) {
  if (kg_sim_crash(r->k, name, err) < 0) return;
  todo_t again = *t;
  int64_t after = time_of(r, t->v, "restart_after", -1);
  again.kind = RESTART;
  again.at_us = kg_sim_now_us(r->k) + after;
  if (after >= 0) add(r, &again);
}

/* Like a supervisor: until it succeeds. */
static void restart(run_t *r, const todo_t *t, const char *name) {
  kg_error_t err = {0};
  if (load(r, plugin_named(r, name), &err) == 0 || err.code == KG_ECONFLICT) return;
  kg_sim_note(r->k, "restart of %s failed: %s", name, err.text);
  todo_t again = *t;
  again.at_us = kg_sim_now_us(r->k) + RESTART_US;
  add(r, &again);
}

static void add_fault(run_t *r, kg_view_t f, kg_error_t *err) {
  char from[256], to[256], topic[256];
  kg_view_t by = kg_view_get(f, "delay_by");
  bool range = kg_view_type(by) == KG_V_ARRAY;
  name_of(f, "from", from);
  name_of(f, "to", to);
  name_of(f, "topic", topic);
  int64_t until = time_of(r, f, "until", -1);
  kg_sim_fault_t fault = {.from = *from ? from : NULL,
                          .to = *to ? to : NULL,
                          .topic = *topic ? topic : NULL,
                          .both_ways = kg_view_bool(kg_view_get(f, "both"), true),
                          .since_us = r->start_us + time_of(r, f, "since", 0),
                          .until_us = until < 0 ? 0 : r->start_us + until,
                          .loss = kg_view_float(kg_view_get(f, "loss"), 0),
                          .duplicate = kg_view_float(kg_view_get(f, "duplicate"), 0),
                          .delay = kg_view_float(kg_view_get(f, "delay"), 0)};
  if (kg_view_there(by)) {
    fault.delay_min_us = range ? sim_time_us(r->k, kg_view_at(by, 0)) : 0;
    fault.delay_max_us = range ? sim_time_us(r->k, kg_view_at(by, 1)) : sim_time_us(r->k, by);
  }
  kg_sim_fault(r->k, &fault, err);
}

/* --- doing ----------------------------------------------------------------------------------------------------------
 */

static void act(run_t *r, const todo_t *t) {
  static const char *const verbs[] = {[CRASH] = "crash",   [RESTART] = "crash", [SWAP] = "swap",
                                      [UNLOAD] = "unload", [LOAD] = "load",     [CONFIGURE] = "configure"};
  kg_error_t err = {0};
  char name[256] = "";
  if (t->kind == FAULT) {
    add_fault(r, kg_view_get(t->v, "fault"), &err);
  } else {
    name_of(t->v, verbs[t->kind], name);
    if (t->kind == CRASH) crash(r, t, name, &err);
    if (t->kind == SWAP) swap(r, t, name, &err);
    if (t->kind == UNLOAD) kg_kernel_unload(r->k, name, &err);
    if (t->kind == LOAD) load(r, plugin_named(r, name), &err);
    if (t->kind == CONFIGURE) configure(r, t, name, &err);
    if (t->kind == RESTART) restart(r, t, name);
  }
  if (err.code && !kg_view_bool(kg_view_get(t->v, "may_fail"), false)) fail(r, "%s: %s", name, err.text);
}

static void go(run_t *r) {
  kg_error_t err = {0};
  while (!r->out->failed && (r->open || r->todo)) {
    int64_t now = kg_sim_now_us(r->k), last = r->end_us + ANSWER_US, next = r->todo ? r->todo->at_us : last;
    if (now >= last) {
      fail(r, "%zu requests and checks were not done before the end", r->open);
      return;
    }
    if (next > now + POLL_US) next = now + POLL_US; /* in small steps: the end may come in between */
    if (kg_sim_run(r->k, next, &err) < 0) {
      fail(r, "%s", err.text);
      return;
    }
    while (r->todo && r->todo->at_us <= kg_sim_now_us(r->k) && !r->out->failed) {
      todo_t *t = r->todo;
      r->todo = t->next;
      act(r, t);
      free(t);
    }
  }
}

static int driver_create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)err;
  run_t *r = (run_t *)(intptr_t)kg_view_int(kg_view_get(kg_config(ctx), "run"), 0);
  r->driver = ctx;
  *self = r;
  return 0;
}

static int load_driver(run_t *r, kg_error_t *err) {
  static const kg_plugin_t driver = {.magic = KG_PLUGIN_MAGIC,
                                     .abi = KG_PLUGIN_ABI,
                                     .size = sizeof(kg_plugin_t),
                                     .name = DRIVER,
                                     .role = "driver",
                                     .version = "1",
                                     .create = driver_create};
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "run", (int64_t)(intptr_t)r);
  kg_pack_end(&p);
  kg_doc_t *config = kg_pack_doc(&p);
  int rc = kg_kernel_load(r->k, &(kg_plugin_spec_t){.name = DRIVER, .descriptor = &driver, .config = config}, err);
  kg_doc_unref(config);
  return rc;
}

static int prepare(run_t *r, uint64_t seed, kg_error_t *err) {
  kg_view_t latency = kg_view_get(r->sc->root, "latency_us");
  kg_str_t level = kg_view_str(kg_view_get(r->sc->root, "log_level"));
  r->k =
      kg_kernel_new(&(kg_kernel_options_t){.log_level = kg_str_is(level, "debug") ? KG_LOG_DEBUG : KG_LOG_INFO}, err);
  if (!r->k) return -1;
  kg_sim_options_t o = {.seed = seed,
                        .latency_min_us = kg_view_int(kg_view_at(latency, 0), 0),
                        .latency_max_us = kg_view_int(kg_view_at(latency, 1), 0),
                        .exempt = DRIVER,
                        .trace = r->trace || r->hash ? traced : NULL,
                        .trace_arg = r};
  if (kg_sim_begin(r->k, &o, err) < 0 || load_driver(r, err) < 0) return -1;
  r->start_us = kg_sim_now_us(r->k);
  for (kg_iter_t it = kg_iter(kg_view_get(r->sc->root, "plugins")); kg_iter_next(&it);)
    if (load(r, it.value, err) < 0) return -1;
  r->start_us = kg_sim_now_us(r->k);
  r->end_us = r->start_us + time_of(r, r->sc->root, "duration", 60 * 1000000);
  for (kg_iter_t it = kg_iter(kg_view_get(r->sc->root, "faults")); kg_iter_next(&it);) add_fault(r, it.value, err);
  add_actions(r);
  add_checks(r);
  return err->code ? -1 : 0;
}

void sim_run(sim_scenario_t *sc, uint64_t seed, FILE *trace, bool hash, sim_result_t *out) {
  kg_error_t err = {0};
  *out = (sim_result_t){.hash = KG_HASH_START};
  run_t r = {.sc = sc, .out = out, .trace = trace, .hash = hash};
  if (prepare(&r, seed, &err) == 0) {
    go(&r);
    out->virtual_us = kg_sim_now_us(r.k) - r.start_us;
    out->messages = kg_sim_messages(r.k);
  } else {
    out->failed = true;
    snprintf(out->why, sizeof out->why, "%s", err.text);
  }
  if (r.k) kg_kernel_free(r.k);
  while (r.asked) forget(&r, r.asked);
  for (todo_t *t = r.todo, *next; t; t = next) {
    next = t->next;
    free(t);
  }
}
