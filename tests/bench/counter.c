/* For the swap benchmark, built twice: checks that each sender's numbers come without a gap, hands over where it is. */
#include "kogge/plugin.h"

#include <stdlib.h>

#define SENDERS 8

typedef struct counter {
  int64_t last[SENDERS], lost, doubled, reordered;
} counter_t;

static void take(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  counter_t *c = self;
  int64_t who = kg_view_int(kg_view_get(kg_msg_args(m), "who"), 0);
  int64_t n = kg_view_int(kg_view_get(kg_msg_args(m), "n"), 0), next = c->last[who] + 1;
  if (n == next)
    c->last[who] = n;
  else if (n > next)
    c->lost += n - next, c->last[who] = n;
  else if (n == next - 1)
    c->doubled++;
  else
    c->reordered++;
  kg_reply(ctx, m, kg_msg_args_doc(m), NULL, 0);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx;
  return (*self = calloc(1, sizeof(counter_t))) ? 0 : kg_error_set(err, KG_EFULL, "out of memory");
}

static int hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)ctx;
  kg_pack_t p = kg_pack();
  kg_pack_bin(&p, self, sizeof(counter_t));
  return (*state = kg_pack_doc(&p)) ? 0 : kg_error_set(err, KG_EFULL, "out of memory");
}

static int accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx;
  kg_str_t s = kg_view_bin(state);
  if (s.n != sizeof(counter_t)) return kg_error_set(err, KG_EINVAL, "this is no state of a counter");
  *(counter_t *)self = *(const counter_t *)(const void *)s.p;
  return 0;
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  counter_t *c = self;
  kg_pack_kv_int(p, "lost", c->lost);
  kg_pack_kv_int(p, "doubled", c->doubled);
  kg_pack_kv_int(p, "reordered", c->reordered);
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  free(self);
}

static const char *const services[] = {"counter", NULL};
static const kg_handler_t handlers[] = {{"counter.take", take}, {0}};
KG_PLUGIN(.name = "counter", .role = "counter", .version = BUILD_NAME, .services = services, .handlers = handlers,
          .create = create, .hand_over = hand_over, .accept = accept, .stats = stats, .destroy = destroy);
