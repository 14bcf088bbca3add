/* The node with the best score among those that fit; among equals by chance, so that several schedulers do not all
 * crowd one node. */
#include <stdlib.h>

#include "score.h"

static size_t best_of(kg_ctx_t *ctx, const double *score, size_t n) {
  size_t best = 0, equals = 0;
  for (size_t i = 0; i < n; i++) {
    if (equals && score[i] < score[best]) continue;
    equals = equals && score[i] <= score[best] ? equals + 1 : 1;
    if (equals == 1 || kg_random(ctx) % equals == 0) best = i;
  }
  return best;
}

static size_t pick(kg_ctx_t *ctx, const sched_t *s, const sched_pod_t *pod, const uint32_t *fit, size_t n) {
  double *score = n > 1 ? calloc(n, sizeof *score) : NULL;
  double *scratch = score ? calloc(n, sizeof *scratch) : NULL;
  size_t best = 0;
  if (scratch) {
    score_nodes(s, pod, fit, n, score, scratch);
    best = best_of(ctx, score, n);
  }
  free(scratch);
  free(score);
  return best;
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  return sched_create(ctx, self, pick, err);
}

static const char *const services[] = {"scheduler", NULL};
static const kg_handler_t handlers[] = {{"scheduler.status", sched_status}, {0}};
KG_PLUGIN(.name = "scheduler-default", .config_keys = "schedulerName bindTimeoutSeconds", .role = "scheduler",
          .version = "0.2.0",
          .summary = "Places pods where Kubernetes' own scheduler would: by scores of room, affinity and spreading.",
          .services = services, .handlers = handlers, .create = create, .start = sched_start,
          .activate = sched_activate, .drain = sched_drain, .hand_over = sched_hand_over, .accept = sched_accept,
          .resume = sched_resume, .stats = sched_stats, .destroy = sched_destroy);
