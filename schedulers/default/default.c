/* The least loaded node that fits; among equals by chance, so that several schedulers do not all crowd one node. */
#include "scheduler.h"

/* 0 (full) .. 1000 (empty): the mean of what is left of cpu and memory (NodeResourcesFit, LeastAllocated). */
static int64_t left_of(int64_t allocatable, int64_t used) {
  return allocatable > 0 && used < allocatable ? (allocatable - used) * 1000 / allocatable : 0;
}

static int64_t score(const sched_node_t *n, const sched_pod_t *pod) {
  return left_of(n->allocatable.of[SCHED_CPU], n->scored_cpu + pod->scored_cpu) +
         left_of(n->allocatable.of[SCHED_MEMORY], n->scored_memory + pod->scored_memory);
}

static size_t pick(kg_ctx_t *ctx, const sched_t *s, const sched_pod_t *pod, const uint32_t *fit, size_t n) {
  size_t best = 0, equals = 0;
  int64_t highest = -1;
  for (size_t i = 0; i < n; i++) {
    int64_t now = score(&s->nodes[fit[i]], pod);
    if (now < highest) continue;
    equals = now > highest ? 1 : equals + 1;
    highest = now;
    if (equals == 1 || kg_random(ctx) % equals == 0) best = i;
  }
  return best;
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  return sched_create(ctx, self, pick, err);
}

static const char *const services[] = {"scheduler", NULL};
static const kg_handler_t handlers[] = {{"scheduler.status", sched_status}, {0}};
KG_PLUGIN(.name = "scheduler-default", .role = "scheduler", .version = "0.1.0",
          .summary = "Places pods on the least loaded node that fits.", .services = services, .handlers = handlers,
          .create = create, .start = sched_start, .activate = sched_activate, .drain = sched_drain,
          .hand_over = sched_hand_over, .accept = sched_accept, .resume = sched_resume, .stats = sched_stats,
          .destroy = sched_destroy);
