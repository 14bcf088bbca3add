/* What runs, for people. */
#include <stdlib.h>

#include "pending.h"
#include "registry.h"
#include "remote.h"

static void pack_services(kg_pack_t *p, kg_ctx_t *ctx) {
  kg_name_t **names = kg_names_of(&ctx->k->registry, ctx);
  kg_pack_key(p, "services");
  kg_pack_array(p);
  for (kg_name_t **n = names; n && *n; n++) kg_pack_str(p, (*n)->name);
  kg_pack_end(p);
  free(names);
}

/* What it answers and hears; a plugin in another process does not tell. */
static void pack_topics(kg_pack_t *p, const kg_plugin_t *desc) {
  kg_pack_key(p, "topics");
  kg_pack_array(p);
  for (const kg_handler_t *h = desc->handlers; h && h->topic; h++) kg_pack_str(p, h->topic);
  kg_pack_end(p);
}

/* Where it hangs, if it does. */
static bool pack_stuck(kg_pack_t *p, kg_ctx_t *ctx, int64_t now) {
  bool in_lane = atomic_load(&ctx->lane->current) == ctx;
  kg_pulse_t *pulse = ctx->remote ? kg_remote_pulse(ctx->remote) : in_lane ? ctx->lane->pulse : NULL;
  int64_t since = pulse ? atomic_load(&pulse->busy_since_us) : 0;
  char what[65];
  if (!since || now - since < ctx->k->stuck_us) return false;
  kg_pulse_what(pulse, what);
  kg_pack_kv_str(p, "stuck_in", what);
  kg_pack_kv_int(p, "stuck_ms", (now - since) / 1000);
  return true;
}

static const char *state_of(const kg_ctx_t *ctx) {
  if (ctx->shade) return "shadow";
  bool away = ctx->remote && atomic_load(&ctx->state) == KG_RUNNING && !kg_remote_up(ctx->remote);
  return away ? "restarting" : kg_state_name(atomic_load(&ctx->state));
}

static void pack_instance(kg_pack_t *p, kg_ctx_t *ctx, int64_t now) {
  kg_pack_map(p);
  kg_pack_kv_str(p, "name", ctx->name);
  kg_pack_kv_str(p, "plugin", ctx->desc->name);
  kg_pack_kv_str(p, "role", ctx->desc->role);
  kg_pack_kv_str(p, "version", ctx->desc->version);
  kg_pack_kv_str(p, "lane", ctx->lane->name);
  kg_pack_kv_str(p, "state", pack_stuck(p, ctx, now) ? "stuck" : state_of(ctx));
  if (ctx->remote) {
    kg_pack_kv_int(p, "process", kg_remote_pid(ctx->remote));
    kg_pack_kv_int(p, "restarts", kg_remote_restarts(ctx->remote));
  }
  kg_pack_kv_str(p, "file", ctx->path);
  kg_pack_kv_int(p, "uptime_ms", (now - ctx->started_us) / 1000);
  kg_pack_kv_int(p, "requests", (int64_t)ctx->n.requests);
  kg_pack_kv_int(p, "busy_us", (int64_t)ctx->n.busy_us);
  pack_services(p, ctx);
  pack_topics(p, ctx->desc);
  kg_pack_end(p);
}

static void pack_lane(kg_pack_t *p, kg_lane_t *lane, int64_t now) {
  int64_t since = atomic_load(&lane->pulse->busy_since_us);
  kg_pack_map(p);
  kg_pack_kv_str(p, "name", lane->name);
  kg_pack_kv_int(p, "messages", (int64_t)lane->messages);
  kg_pack_kv_int(p, "sleeps", (int64_t)lane->sleeps);
  kg_pack_kv_int(p, "busy_us", (int64_t)lane->busy_us);
  if (since && now - since > 1000000 && atomic_load(&lane->current))
    kg_pack_kv_int(p, "stuck_ms", (now - since) / 1000);
  kg_pack_end(p);
}

kg_doc_t *kg_kernel_list(kg_kernel_t *k) {
  int64_t now = kg_time_us(k);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "plugins");
  kg_pack_array(&p);
  pthread_mutex_lock(&k->list);
  for (size_t i = 0; i < k->ninstances; i++) pack_instance(&p, k->instances[i], now);
  kg_pending_pack(&p, k->pending, now);
  pthread_mutex_unlock(&k->list);
  kg_pack_end(&p);
  kg_pack_key(&p, "lanes");
  kg_pack_array(&p);
  for (unsigned i = 0; i < atomic_load(&k->nlanes); i++) pack_lane(&p, k->lanes[i], now);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}
