/* What every plugin answers without a line of its own: plugin.ping, plugin.stats, plugin.config, plugin.trace. */
#include <string.h>

#include "deliver.h"

static void reply_with(kg_ctx_t *ctx, const kg_msg_t *m, kg_pack_t *p) {
  kg_doc_t *doc = kg_pack_doc(p);
  if (doc)
    kg_reply(ctx, m, doc, NULL, 0);
  else
    kg_fail(ctx, m, KG_EINTERNAL, "%s packed its answer to %s wrongly", ctx->name, kg_msg_topic(m));
  kg_doc_unref(doc);
}

static void ping(kg_ctx_t *ctx, const kg_msg_t *m) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", ctx->name);
  kg_pack_kv_str(&p, "plugin", ctx->desc->name);
  kg_pack_kv_str(&p, "version", ctx->desc->version);
  kg_pack_kv_str(&p, "state", kg_state_name(atomic_load(&ctx->state)));
  kg_pack_end(&p);
  reply_with(ctx, m, &p);
}

static void stats(kg_ctx_t *ctx, const kg_msg_t *m) {
  const kg_counters_t *n = &ctx->n;
  const struct {
    const char *key;
    const atomic_ullong *value;
  } numbers[] = {
      {"requests", &n->requests},
      {"answered", &n->answered},
      {"failed", &n->failed},
      {"sent", &n->sent},
      {"replies", &n->replies},
      {"items", &n->items},
      {"events", &n->events},
      {"timers", &n->timers},
      {"late", &n->late},
      {"dropped", &n->dropped},
      {"busy_us", &n->busy_us},
      {"slowest_us", &n->slowest_us},
      {"over_budget", &n->over_budget},
  };
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    kg_pack_kv_int(&p, numbers[i].key, (int64_t)*numbers[i].value);
  kg_pack_kv_int(&p, "events_lost", (int64_t)ctx->events_lost);
  kg_pack_kv_int(&p, "calls_lost", (int64_t)ctx->calls_lost);
  kg_pack_kv_int(&p, "open_calls", (int64_t)ctx->calls.count);
  kg_pack_kv_int(&p, "open_requests", (int64_t)ctx->served.count - 1); /* without this one */
  kg_pack_key(&p, "own");
  kg_pack_map(&p);
  if (ctx->desc->stats) ctx->desc->stats(ctx, ctx->self, &p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  reply_with(ctx, m, &p);
}

static void trace(kg_ctx_t *ctx, const kg_msg_t *m) {
  bool on = kg_view_bool(kg_view_get(kg_msg_args(m), "on"), true);
  if (atomic_exchange(&ctx->tracing, on) != on) atomic_fetch_add(&ctx->k->tracing, on ? 1 : -1);
  kg_reply(ctx, m, NULL, NULL, 0);
}

void kg_inherited(kg_ctx_t *ctx, const kg_msg_t *m) {
  const char *topic = kg_msg_topic(m) + strlen("plugin.");
  if (strcmp(topic, "ping") == 0)
    ping(ctx, m);
  else if (strcmp(topic, "stats") == 0)
    stats(ctx, m);
  else if (strcmp(topic, "config") == 0)
    kg_reply(ctx, m, ctx->config, NULL, 0);
  else if (strcmp(topic, "trace") == 0)
    trace(ctx, m);
  else
    kg_fail(ctx, m, KG_ENOTFOUND, "there is no topic plugin.%s", topic);
}
