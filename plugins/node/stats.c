/*
 * What the node and its containers use. Nothing ticks: the control groups are read when somebody asks. A rate needs two
 * readings; the first of them is the last one taken if it is not too old, or else the second follows after a second.
 */
#include <stdio.h>
#include <unistd.h>

#include "node.h"

enum { APART_US = 1000000, OLD_US = 60000000 };

typedef struct asker {
  struct asker *next;
  stats_fn fn;
  void *arg;
} asker_t;

struct stats {
  sample_t then, now; /* at_us 0: none */
  asker_t *askers;
  uint64_t call, timer;
};

static void sample_clear(sample_t *s) {
  kg_doc_unref(s->containers);
  *s = (sample_t){0};
}

static int64_t node_cpu_ns(void) {
  unsigned long long user = 0, nice = 0, system = 0, idle, wait, irq = 0, soft = 0, steal = 0;
  FILE *f = fopen("/proc/stat", "re");
  if (f && fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait, &irq, &soft,
                  &steal) != 8)
    user = nice = system = irq = soft = steal = 0;
  if (f) fclose(f);
  return (int64_t)(user + nice + system + irq + soft + steal) * (1000000000 / sysconf(_SC_CLK_TCK));
}

static usage_t node_usage(void) {
  int64_t used = meminfo("MemTotal") - meminfo("MemFree"), inactive = meminfo("Inactive(file)");
  return (usage_t){node_cpu_ns(), used, used > inactive ? used - inactive : 0};
}

bool stats_of(const sample_t *s, kg_str_t id, usage_t *u) {
  for (kg_iter_t it = kg_iter(kg_view_get(kg_view_of(s->containers), "containers")); kg_iter_next(&it);) {
    if (!kg_str_eq(VIEW_STR(it.value, "id"), id)) continue;
    u->cpu_ns = kg_view_int(kg_view_get(it.value, "cpu_ns"), 0);
    u->memory = kg_view_int(kg_view_get(it.value, "memory_bytes"), 0);
    u->working_set = kg_view_int(kg_view_get(it.value, "memory_ws"), 0);
    return true;
  }
  return false;
}

int64_t stats_rate(const sample_t *then, const sample_t *now, int64_t cpu_then, int64_t cpu_now) {
  int64_t span = now->at_us - then->at_us;
  return span > 0 && cpu_now > cpu_then ? (int64_t)((double)(cpu_now - cpu_then) / (double)span * 1e6) : 0;
}

/* --- asking ------------------------------------------------------------------------------------------------------ */

static void take(agent_t *a);

static void tell(agent_t *a, const char *error) {
  struct stats *s = a->stats;
  asker_t *all = s->askers;
  s->askers = NULL;
  while (all) {
    asker_t *one = all;
    all = one->next;
    one->fn(a, error ? NULL : &s->then, error ? NULL : &s->now, error, one->arg);
    free(one);
  }
}

static void on_second(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  a->stats->timer = 0;
  take(a);
}

static void taken(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  agent_t *a = self;
  struct stats *s = a->stats;
  s->call = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY) return tell(a, kg_msg_text(m));
  sample_t fresh = {kg_wall_us(ctx), node_usage(), kg_doc_ref(kg_msg_args_doc(m))};
  int64_t age = fresh.at_us - s->now.at_us;
  bool apart = s->now.at_us && age >= APART_US && age <= OLD_US;
  sample_clear(&s->then);
  s->then = s->now;
  s->now = fresh;
  if (apart)
    tell(a, NULL);
  else
    s->timer = kg_timer(ctx, APART_US / 1000 + 1, 0, on_second, NULL);
}

static void take(agent_t *a) {
  a->stats->call = kg_send(a->ctx, &(kg_request_t){.service = a->runtime, .topic = "runtime.stats", .fn = taken});
}

void stats_ask(agent_t *a, stats_fn fn, void *arg) {
  if (!a->stats) a->stats = calloc(1, sizeof *a->stats);
  struct stats *s = a->stats;
  asker_t *one = s ? calloc(1, sizeof *one) : NULL;
  if (!one) return fn(a, NULL, NULL, "out of memory", arg);
  *one = (asker_t){s->askers, fn, arg};
  s->askers = one;
  int64_t age_us = kg_wall_us(a->ctx) - s->now.at_us; /* less than none: the clock was put back */
  bool fresh = s->then.at_us && age_us >= 0 && age_us < APART_US;
  if (s->call || s->timer) return; /* it is told with the others */
  if (fresh && s->now.at_us - s->then.at_us >= APART_US)
    tell(a, NULL);
  else
    take(a);
}

void stats_stop(agent_t *a) {
  struct stats *s = a->stats;
  if (!s) return;
  if (s->call) kg_cancel(a->ctx, s->call);
  kg_timer_cancel(a->ctx, s->timer);
  tell(a, "the node agent stops");
  sample_clear(&s->then);
  sample_clear(&s->now);
  free(s);
  a->stats = NULL;
}

/* --- node.stats -------------------------------------------------------------------------------------------------- */

static void pack_usage(kg_pack_t *k, const usage_t *u, int64_t rate) {
  kg_pack_kv_int(k, "cpu_ns", u->cpu_ns);
  kg_pack_kv_int(k, "cpu_rate", rate);
  kg_pack_kv_int(k, "memory_bytes", u->memory);
  kg_pack_kv_int(k, "memory_ws", u->working_set);
}

static void pack_box(kg_pack_t *k, const box_t *b, const sample_t *then, const sample_t *now) {
  usage_t u, before = {0};
  if (!b->id || !stats_of(now, kg_str(b->id), &u)) return;
  bool known = stats_of(then, kg_str(b->id), &before);
  kg_pack_map(k);
  kg_pack_kv_str(k, "ns", b->pod->ns);
  kg_pack_kv_str(k, "pod", b->pod->name);
  kg_pack_kv_str(k, "container", b->name);
  pack_usage(k, &u, known ? stats_rate(then, now, before.cpu_ns, u.cpu_ns) : 0);
  kg_pack_end(k);
}

static void stats_known(agent_t *a, const sample_t *then, const sample_t *now, const char *error, void *arg) {
  kg_msg_t *request = arg;
  kg_pack_t k = kg_pack();
  if (error) {
    kg_fail(a->ctx, request, KG_EUNAVAILABLE, "%s", error);
    return kg_msg_unref(request);
  }
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "node", a->name);
  kg_pack_kv_int(&k, "time", now->at_us);
  kg_pack_kv_int(&k, "window_us", now->at_us - then->at_us);
  pack_usage(&k, &now->node, stats_rate(then, now, then->node.cpu_ns, now->node.cpu_ns));
  kg_pack_key(&k, "containers");
  kg_pack_array(&k);
  for (pod_t *p = a->list; p; p = p->next)
    for (size_t i = 0; i < p->nboxes; i++) pack_box(&k, p->boxes[i], then, now);
  kg_pack_end(&k);
  kg_pack_end(&k);
  kg_doc_t *args = kg_pack_doc(&k);
  kg_reply(a->ctx, request, args, NULL, 0);
  kg_doc_unref(args);
  kg_msg_unref(request);
}

void node_stats(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  stats_ask(self, stats_known, kg_msg_ref(m));
}
