/*
 * Images that no container uses go when the disk fills: above imageGCHighThresholdPercent (85) so many as it takes to
 * get below imageGCLowThresholdPercent (80), the longest unused first, none younger than imageMinimumGCAge (2m).
 */
#include <stdio.h>
#include <sys/statvfs.h>

#include "node.h"

enum { PERIOD_MS = 5 * 60 * 1000, PRESSURE_MS = 10 * 1000 };

static int64_t percent(const agent_t *a, const char *key, int64_t fallback) {
  int64_t n = kg_view_int(kg_view_get(kg_config(a->ctx), key), fallback);
  return n < 0 || n > 100 ? fallback : n;
}

/* Bytes that must go; 0: nothing. */
static int64_t too_much(const agent_t *a, bool pressure) {
  struct statvfs st;
  if (statvfs(kg_data_dir(a->ctx), &st) || !st.f_blocks) return 0;
  int64_t size = (int64_t)(st.f_blocks * st.f_frsize), left = (int64_t)(st.f_bavail * st.f_frsize);
  int64_t used = 100 - left * 100 / size;
  if (!pressure && used < percent(a, "imageGCHighThresholdPercent", 85)) return 0;
  int64_t goal = size * (100 - percent(a, "imageGCLowThresholdPercent", 80)) / 100;
  return goal > left ? goal - left : pressure ? 1 : 0;
}

static void pruned(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self, (void)arg;
  if (kg_msg_type(m) != KG_MSG_REPLY) return kg_log(ctx, KG_LOG_WARN, "images could not be pruned: %s", kg_msg_text(m));
  int64_t freed = kg_view_int(kg_view_get(kg_msg_args(m), "freed"), 0);
  if (freed) kg_log(ctx, KG_LOG_INFO, "images no container uses were removed: %lld bytes", (long long)freed);
}

void images_look(agent_t *a) {
  int64_t now = kg_now_ms(a->ctx);
  bool pressure = a->conditions[NODE_DISK].known && a->conditions[NODE_DISK].on;
  if (a->images_ms && now - a->images_ms < (pressure ? PRESSURE_MS : PERIOD_MS)) return;
  a->images_ms = now;
  int64_t bytes = too_much(a, pressure);
  if (!bytes) return;
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_int(&k, "bytes", bytes);
  kg_pack_kv_int(&k, "min_age_ms", config_ms(a, "imageMinimumGCAge", 120000));
  kg_pack_end(&k);
  agent_call(a, a->runtime, "image.prune", kg_pack_doc(&k), pruned);
}
