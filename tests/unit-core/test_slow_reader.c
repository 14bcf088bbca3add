/* A reader that stops reading costs no more than its credit and holds up nobody else. */
#include <unistd.h>

#include "harness.h"

enum { ITEMS = 20000, CREDIT = 32, SLOW_STOPS_AFTER = 100 };

static struct {
  kg_doc_t *doc;
  atomic_int fast, slow, sent_to_slow, most_refs;
  atomic_bool go_on;
} t;

static void send_all(kg_ctx_t *ctx, const kg_msg_t *m) {
  bool slow = strcmp(kg_msg_topic(m), "feed.slow") == 0;
  while (kg_stream_item(ctx, m, NULL, &t.doc, 1) >= 0)
    if (slow) t.sent_to_slow++;
  int refs = (int)kg_doc_refs(t.doc);
  if (refs > t.most_refs) t.most_refs = refs;
}

static void on_credit(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self, (void)arg;
  send_all(ctx, m);
}

static const kg_stream_events_t events = {.on_credit = on_credit};

static void feed(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_stream_open(ctx, m, &events, NULL);
  send_all(ctx, m);
}

static const char *const services[] = {"feed", NULL};
static const kg_handler_t handlers[] = {{"feed.*", feed}, {0}};
static const kg_plugin_t feeder =
    DESCRIPTOR(.name = "feeder", .role = "feeder", .services = services, .handlers = handlers);

static void fast_item(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  if (kg_msg_type(m) == KG_MSG_ITEM) t.fast++;
}

static void slow_item(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  if (kg_msg_type(m) != KG_MSG_ITEM || ++t.slow < SLOW_STOPS_AFTER) return;
  while (!t.go_on) usleep(1000);
}

static void read_as(kg_ctx_t *ctx, const char *topic, kg_reply_fn fn) {
  kg_send(ctx, &(kg_request_t){.service = "feed", .topic = topic, .stream = true, .credit = CREDIT, .fn = fn});
}

static void read_fast(kg_ctx_t *ctx, void *self) {
  (void)self;
  read_as(ctx, "feed.fast", fast_item);
}

static void read_slowly(kg_ctx_t *ctx, void *self) {
  (void)self;
  read_as(ctx, "feed.slow", slow_item);
}

static const kg_plugin_t fast = DESCRIPTOR(.name = "fast", .role = "reader", .activate = read_fast);
static const kg_plugin_t slow = DESCRIPTOR(.name = "slow", .role = "reader", .activate = read_slowly);

Test(slow_reader, costs_no_more_than_its_credit_and_the_others_read_on) {
  kg_kernel_t *k = new_kernel();
  t.doc = int_args("n", 1);
  load(k, "feeder", "main", &feeder);
  load(k, "slow", "slow", &slow);
  wait_until(&t.slow, SLOW_STOPS_AFTER);
  load(k, "fast", "fast", &fast);
  wait_until(&t.fast, ITEMS);
  int sent = t.sent_to_slow, waiting = sent - t.slow;
  t.go_on = true;
  wait_until(&t.slow, sent + 1); /* it goes on where it stopped */
  kg_kernel_free(k);
  cr_assert_leq(waiting, CREDIT, "%d items wait for the slow reader, its credit is %d", waiting, CREDIT);
  /* Ours, two windows, and the items just handled whose credit was granted before the last reference went. */
  cr_assert_leq(t.most_refs, 1 + 3 * CREDIT, "%d messages held the document", t.most_refs);
  cr_assert_eq(kg_doc_refs(t.doc), 1);
  kg_doc_unref(t.doc);
}
