/* The small functions of kogge/plugin.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest.h"
#include "make.h"
#include "registry.h"

static void tell(kg_ctx_t *ctx, bool *flag) {
  pthread_mutex_lock(&ctx->k->life);
  *flag = true;
  pthread_cond_broadcast(&ctx->k->changed);
  pthread_mutex_unlock(&ctx->k->life);
}

void kg_ready(kg_ctx_t *ctx) {
  tell(ctx, &ctx->ready);
  kg_guest_tell(ctx, "host.ready", NULL, NULL);
}
void kg_drained(kg_ctx_t *ctx) {
  tell(ctx, &ctx->drained);
  kg_guest_tell(ctx, "host.drained", NULL, NULL);
}

void kg_not_ready(kg_ctx_t *ctx, const char *fmt, ...) {
  kg_error_t e = {.code = KG_EUNAVAILABLE};
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(e.text, sizeof e.text, fmt, ap);
  va_end(ap);
  pthread_mutex_lock(&ctx->k->life);
  if (!ctx->ready) ctx->not_ready = e;
  pthread_cond_broadcast(&ctx->k->changed);
  pthread_mutex_unlock(&ctx->k->life);
  kg_guest_tell(ctx, "host.not_ready", "text", e.text);
}

bool kg_forced(kg_ctx_t *ctx) {
  return atomic_load_explicit(&ctx->forced, memory_order_relaxed);
}

bool kg_active(kg_ctx_t *ctx) {
  return atomic_load_explicit(&ctx->active, memory_order_relaxed);
}
const char *kg_name(kg_ctx_t *ctx) {
  return ctx->name;
}
kg_view_t kg_config(kg_ctx_t *ctx) {
  return kg_view_of(ctx->config);
}
const char *kg_data_dir(kg_ctx_t *ctx) {
  return ctx->k->data_dir;
}
const char *kg_run_dir(kg_ctx_t *ctx) {
  return ctx->k->run_dir;
}

int64_t kg_now_us(kg_ctx_t *ctx) {
  return kg_time_us(ctx->k);
}
int64_t kg_now_ms(kg_ctx_t *ctx) {
  return kg_now_us(ctx) / 1000;
}

int64_t kg_wall_us(kg_ctx_t *ctx) {
  if (ctx->k->sim) return kg_sim_wall_us(ctx->k);
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* xorshift128+ */
uint64_t kg_random(kg_ctx_t *ctx) {
  uint64_t *s = ctx->lane->random, a = s[0], b = s[1];
  if (!a && !b) b = 88172645463325252u;
  s[0] = b;
  a ^= a << 23;
  s[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
  return s[1] + b;
}

void kg_log(kg_ctx_t *ctx, kg_level_t level, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  kg_logv(ctx->k, level, ctx->name, fmt, ap);
  va_end(ap);
}

void kg_subscribe(kg_ctx_t *ctx, const char *prefix) {
  if (ctx->k->link)
    kg_guest_tell(ctx, "host.subscribe", "prefix", prefix);
  else
    kg_subscription_add(&ctx->k->registry, ctx, prefix);
}

void kg_publish(kg_ctx_t *ctx, const char *topic, kg_doc_t *args, kg_doc_t *const *docs, size_t ndocs) {
  kg_msg_t *m = kg_make_event(ctx, topic, args, docs, ndocs);
  if (!m) {
    kg_logf(ctx->k, KG_LOG_ERROR, ctx->name, "event %s cannot be published: no valid topic, or out of memory", topic);
    return;
  }
  kg_route_event(ctx, m);
  kg_msg_unref(m);
}

int kg_serve(kg_ctx_t *ctx, const char *service, kg_error_t *err) {
  kg_registry_t *r = &ctx->k->registry;
  if (ctx->k->link) { /* only the kernel knows whose it is: a conflict comes to light there, and ends the start */
    kg_guest_tell(ctx, "host.serve", "service", service);
    return 0;
  }
  kg_name_t *name = kg_name_find(r, service, true);
  if (!name) return kg_error_set(err, KG_EFULL, "%s cannot serve %s: out of memory", ctx->name, service);
  /* Once it owns its names it may take more at any time; before, they come with the others. */
  if (atomic_load(&ctx->state) != KG_STARTING) return kg_name_claim(r, name, ctx, err);
  if (kg_name_check(r, name, ctx, err) < 0) return -1;
  kg_name_t **claims = realloc(ctx->claims, (ctx->nclaims + 1) * sizeof *claims);
  if (!claims) return kg_error_set(err, KG_EFULL, "%s cannot serve %s: out of memory", ctx->name, service);
  ctx->claims = claims;
  claims[ctx->nclaims++] = name;
  return 0;
}
