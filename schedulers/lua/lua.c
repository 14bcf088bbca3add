#include "lua.h"

#include <stdlib.h>

static const char *refine(kg_ctx_t *ctx, const sched_t *s, const sched_pod_t *pod, uint32_t node) {
  lua_t *l = s->own;
  const verdict_t *v = classes_verdict(ctx, l, s, pod, node);
  return v->reason < 0 ? NULL : l->reasons[v->reason];
}

/* The highest score; among equals by chance, so that several schedulers do not all crowd one node. */
static size_t pick(kg_ctx_t *ctx, const sched_t *s, const sched_pod_t *pod, const uint32_t *fit, size_t n) {
  size_t best = 0, equals = 0;
  float highest = 0;
  for (size_t i = 0; i < n; i++) {
    float score = classes_verdict(ctx, s->own, s, pod, fit[i])->score;
    if (equals && !(score >= highest)) continue;
    equals = equals && score == highest ? equals + 1 : 1;
    highest = score;
    if (equals == 1 || kg_random(ctx) % equals == 0) best = i;
  }
  return best;
}

static void free_own(lua_t *l) {
  if (!l) return;
  script_free(l);
  classes_free(l);
  free(l);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  lua_t *l = calloc(1, sizeof *l);
  if (l) l->verdicts = calloc(VERDICTS, sizeof *l->verdicts);
  if (!l || !l->verdicts) {
    free(l);
    return kg_error_set(err, KG_EFULL, "out of memory");
  }
  if (script_configure(ctx, l, kg_config(ctx), err) < 0 || sched_create(ctx, self, pick, err) < 0) {
    free_own(l);
    return -1;
  }
  sched_t *s = *self;
  s->own = l;
  s->refine = refine;
  return 0;
}

/* Another script for the pods that come: those that found no place may find one now. */
static int configure(kg_ctx_t *ctx, void *self, kg_view_t config, kg_error_t *err) {
  sched_t *s = self;
  if (script_configure(ctx, s->own, config, err) < 0)
    return kg_error_prefix(err, "the last good script stays in force");
  sched_unpark(ctx, s, SCHED_WHY_ANY);
  return 0;
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  const lua_t *l = ((sched_t *)self)->own;
  sched_stats(ctx, self, p);
  kg_pack_kv_int(p, "asked", (int64_t)l->asked);
  kg_pack_kv_int(p, "remembered", (int64_t)l->remembered);
  kg_pack_kv_int(p, "errors", (int64_t)l->errors);
}

static void destroy(kg_ctx_t *ctx, void *self) {
  lua_t *l = ((sched_t *)self)->own;
  sched_destroy(ctx, self);
  free_own(l);
}

static const char *const services[] = {"scheduler", NULL};
static const kg_handler_t handlers[] = {{"scheduler.status", sched_status}, {0}};
KG_PLUGIN(.name = "scheduler-lua", .role = "scheduler", .version = "0.1.0",
          .summary = "Places pods where a script wants them.", .services = services, .handlers = handlers,
          .create = create, .start = sched_start, .activate = sched_activate, .drain = sched_drain,
          .hand_over = sched_hand_over, .accept = sched_accept, .resume = sched_resume, .configure = configure,
          .stats = stats, .destroy = destroy);
