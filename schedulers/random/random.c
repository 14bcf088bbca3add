/* Any node that fits, by chance: the yardstick for research, and the second party of every swap test. */
#include "scheduler.h"

static size_t pick(kg_ctx_t *ctx, const sched_t *s, const sched_pod_t *pod, const uint32_t *fit, size_t n) {
  (void)s;
  (void)pod;
  (void)fit;
  return kg_random(ctx) % n;
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  return sched_create(ctx, self, pick, err);
}

static const char *const services[] = {"scheduler", NULL};
static const kg_handler_t handlers[] = {{"scheduler.status", sched_status}, {0}};
KG_PLUGIN(.name = "scheduler-random", .config_keys = "schedulerName bindTimeoutSeconds", .role = "scheduler",
          .version = "0.1.0", .summary = "Places pods on a random node that fits.", .services = services,
          .handlers = handlers, .create = create, .start = sched_start, .activate = sched_activate,
          .drain = sched_drain, .hand_over = sched_hand_over, .accept = sched_accept, .resume = sched_resume,
          .stats = sched_stats, .destroy = sched_destroy);
