#include "instance.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deliver.h"
#include "guest.h"
#include "loader.h"
#include "make.h"
#include "registry.h"
#include "remote.h"
#include "shade.h"

const char *kg_state_name(kg_state_t s) {
  static const char *const names[] = {"loaded", "starting", "running", "draining", "stopped"};
  return names[s];
}

kg_ctx_t *kg_instance_new(kg_kernel_t *k, const char *name, kg_lane_t *lane, const kg_plugin_t *desc,
                          kg_doc_t *config) {
  kg_ctx_t *ctx = calloc(1, sizeof *ctx);
  if (!ctx) return NULL;
  atomic_init(&ctx->refs, 1);
  ctx->number = ++k->last_number;
  ctx->k = k;
  ctx->lane = lane;
  ctx->name = strdup(name);
  ctx->path = strdup("");
  ctx->desc = desc;
  ctx->started_us = kg_time_us(k);
  if (config) {
    ctx->config = kg_doc_ref(config);
  } else {
    kg_pack_t p = kg_pack();
    kg_pack_map(&p);
    kg_pack_end(&p);
    ctx->config = kg_pack_doc(&p);
  }
  return ctx;
}

void kg_ctx_free(kg_ctx_t *ctx) {
  kg_remote_free(ctx->remote);
  kg_shade_free(ctx->shade);
  kg_table_free(&ctx->calls);
  kg_table_free(&ctx->served);
  kg_doc_unref(ctx->config);
  for (char **w = ctx->wanted; w && *w; w++) free(*w);
  free(ctx->wanted);
  free(ctx->claims);
  free(ctx->path);
  free(ctx->name);
  free(ctx);
}

void kg_job_unref(kg_job_t *job) {
  if (!job || atomic_fetch_sub(&job->refs, 1) != 1) return;
  kg_doc_unref(job->doc);
  kg_job_unref(job->then);
  free(job);
}

/* --- steps
 * --------------------------------------------------------------------------------------------------------------- */

static void clean(kg_ctx_t *ctx, const char *why) {
  atomic_store(&ctx->active, false);
  kg_calls_drop(ctx);
  kg_served_drop(ctx, why);
  kg_lane_forget(ctx);
  kg_ctx_unref(ctx->shadow);
  ctx->shadow = NULL;
  kg_subscriptions_remove(&ctx->k->registry, ctx);
}

void kg_job_create(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane;
  void (*phase)(const char *) = ctx->k->on_phase;
  atomic_store(&ctx->state, KG_STARTING);
  if (ctx->remote) {
    kg_remote_create(ctx, job);
    return;
  }
  if (phase) phase("created");
  job->rc = ctx->desc->create ? ctx->desc->create(ctx, &ctx->self, &job->err) : 0;
  if (job->rc < 0) {
    atomic_store(&ctx->state, KG_STOPPED);
    clean(ctx, "the plugin was not created");
    return;
  }
  ctx->created = true;
  if (phase) phase("started");
  if (ctx->desc->start)
    job->rc = ctx->desc->start(ctx, ctx->self, &job->err);
  else
    kg_ready(ctx);
}

/* The names it is to own: plugin/NAME, those of the configuration or the descriptor, and those of kg_serve(). */
static int take_names(kg_ctx_t *ctx, kg_ctx_t *from, kg_error_t *err) {
  kg_registry_t *r = &ctx->k->registry;
  const char *const *services = ctx->wanted ? (const char *const *)ctx->wanted : ctx->desc->services;
  size_t count = 0;
  for (const char *const *s = services; s && *s; s++) count++;
  kg_name_t **names = calloc(count + 1 + ctx->nclaims, sizeof *names);
  char own[300];
  snprintf(own, sizeof own, "plugin/%s", ctx->name);
  bool failed = !names || !(names[0] = kg_name_find(r, own, true));
  for (size_t i = 0; i < count && !failed; i++) failed = !(names[i + 1] = kg_name_find(r, services[i], true));
  for (size_t i = 0; i < ctx->nclaims && !failed; i++) names[count + 1 + i] = ctx->claims[i];
  int rc = failed ? kg_error_set(err, KG_EFULL, "%s cannot be started: out of memory", ctx->name)
                  : kg_names_take(r, from, ctx, names, count + 1 + ctx->nclaims, err);
  free(names);
  return rc;
}

void kg_instance_activate(kg_ctx_t *ctx) {
  ctx->predecessor = NULL;
  atomic_store(&ctx->state, KG_RUNNING);
  atomic_store(&ctx->active, true);
  if (ctx->desc->activate) ctx->desc->activate(ctx, ctx->self);
}

/* The proxy's own state changes here, the plugin's over there. */
static void activate(kg_ctx_t *ctx, kg_job_t *job) {
  kg_instance_activate(ctx);
  if (ctx->remote) kg_remote_step(ctx, job, "host.activate");
}

void kg_job_claim(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane;
  job->rc = take_names(ctx, NULL, &job->err);
  if (job->rc == 0) activate(ctx, job);
}

void kg_job_drain(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane, (void)job;
  atomic_store(&ctx->state, KG_DRAINING);
  atomic_store(&ctx->active, false);
  if (ctx->remote)
    kg_remote_step(ctx, job, "host.drain");
  else if (ctx->desc->drain)
    ctx->desc->drain(ctx, ctx->self);
  else
    kg_drained(ctx);
}

void kg_job_hand_over(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane;
  if (ctx->remote)
    kg_remote_step(ctx, job, "host.hand_over");
  else if (ctx->desc->hand_over)
    job->rc = ctx->desc->hand_over(ctx, ctx->self, &job->doc, &job->err);
}

void kg_job_accept(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane;
  if (ctx->remote)
    kg_remote_step(ctx, job, "host.accept");
  else if (ctx->desc->accept)
    job->rc = ctx->desc->accept(ctx, ctx->self, kg_view_of(job->doc), &job->err);
}

/* Both live in this lane. */
static void pass_shadow(kg_ctx_t *from, kg_ctx_t *to) {
  if (!from->shadow) return;
  to->shadow = from->shadow;
  from->shadow = NULL;
}

void kg_job_take(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane;
  job->rc = take_names(ctx, job->arg, &job->err);
  if (job->rc < 0) return;
  pass_shadow(job->arg, ctx);
  activate(ctx, job);
}

void kg_job_resume(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane;
  atomic_store(&ctx->state, KG_RUNNING);
  atomic_store(&ctx->active, true);
  if (ctx->remote)
    kg_remote_step(ctx, job, "host.resume");
  else if (ctx->desc->resume)
    ctx->desc->resume(ctx, ctx->self);
  if (job->arg) pass_shadow(job->arg, ctx);
  kg_names_take(&ctx->k->registry, job->arg ? job->arg : ctx, ctx, NULL, 0, NULL);
}

void kg_job_configure(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane;
  if (ctx->remote) {
    kg_remote_step(ctx, job, "host.configure");
    return;
  }
  if (!ctx->desc->configure) {
    job->rc = kg_error_set(&job->err, KG_EINVAL, "%s takes new configuration only by a reload", ctx->desc->name);
    return;
  }
  job->rc = kg_loader_keys(ctx->desc, kg_view_of(job->doc), &job->err);
  if (job->rc == 0) job->rc = ctx->desc->configure(ctx, ctx->self, kg_view_of(job->doc), &job->err);
  if (job->rc < 0) return;
  kg_doc_t *old = ctx->config;
  ctx->config = job->doc;
  job->doc = old;
}

static void refuse_left(kg_ctx_t *ctx) {
  kg_queue_t left = {0};
  kg_names_release(&ctx->k->registry, ctx, &left);
  for (kg_parcel_t p; kg_queue_pop(&left, &p);) {
    if (kg_msg_type(p.m) == KG_MSG_REQUEST && p.from) {
      kg_msg_t *m =
          kg_make_error(NULL, kg_msg_topic(p.m), kg_msg_id(p.m), KG_EUNAVAILABLE, "the plugin was stopped", NULL);
      if (m) kg_lane_post(ctx->lane, (kg_parcel_t){.to = kg_ctx_ref(p.from), .m = m});
    }
    kg_parcel_free(&p);
  }
}

void kg_job_destroy(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane;
  atomic_store(&ctx->state, KG_STOPPED);
  refuse_left(ctx);
  if (ctx->remote) { /* its socket is still needed */
    atomic_store(&ctx->active, false);
    kg_calls_drop(ctx);
    kg_served_drop(ctx, job->text);
    kg_subscriptions_remove(&ctx->k->registry, ctx);
    kg_ctx_unref(ctx->shadow);
    ctx->shadow = NULL;
    kg_remote_step(ctx, job, "host.destroy");
    return;
  }
  clean(ctx, job->text);
  if (!ctx->created) return;
  ctx->created = false;
  if (ctx->k->on_phase) ctx->k->on_phase("destroyed");
  if (ctx->desc->destroy) ctx->desc->destroy(ctx, ctx->self);
  clean(ctx, job->text); /* what destroy() itself may have opened */
  ctx->self = NULL;
}

void kg_job_stop_lane(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)ctx, (void)job;
  lane->stop = true;
}
