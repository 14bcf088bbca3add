#include "harness.h"

enum { ITEMS = 1000 };

static struct {
  atomic_int got, ended, wrong, most_ahead, server_cancelled, server_items, server_end, code, credit_seen;
  int sent, next_up;
  uint64_t call;
  kg_msg_t *open;
  kg_ctx_t *server;
} t;

/* --- server: counts to ITEMS as fast as the reader lets it -----------------------------------------------------------
 */

static void send_more(kg_ctx_t *ctx) {
  while (t.sent < ITEMS) {
    kg_doc_t *args = int_args("n", t.sent);
    int left = kg_stream_item(ctx, t.open, args, NULL, 0);
    kg_doc_unref(args);
    if (left < 0) return;
    t.sent++;
    if (t.sent - t.got > t.most_ahead) t.most_ahead = t.sent - t.got;
  }
  kg_stream_end(ctx, t.open);
  kg_msg_unref(t.open);
  t.open = NULL;
}

static void on_credit(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self, (void)m, (void)arg;
  if (t.open) send_more(ctx);
}

static void on_cancel(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)m, (void)arg;
  kg_msg_unref(t.open);
  t.open = NULL;
  t.server_cancelled++;
}

static void on_item(kg_ctx_t *ctx, void *self, const kg_msg_t *request, const kg_msg_t *item, void *arg) {
  (void)self, (void)arg;
  if (kg_msg_type(item) == KG_MSG_END) {
    t.server_end++;
    kg_stream_end(ctx, request);
    kg_msg_unref(t.open);
    t.open = NULL;
  } else if (int_of(item, "n") != t.server_items++) {
    t.wrong++;
  }
}

static const kg_stream_events_t events = {.on_credit = on_credit, .on_cancel = on_cancel, .on_item = on_item};

static void count(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  t.open = kg_msg_ref(m);
  kg_stream_open(ctx, m, &events, NULL);
  send_more(ctx);
}

static void sink(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  t.open = kg_msg_ref(m);
  kg_stream_open(ctx, m, &events, NULL);
}

static const char *const services[] = {"count", NULL};
static const kg_handler_t handlers[] = {{"count.up", count}, {"count.sink", sink}, {0}};
static const kg_plugin_t server =
    DESCRIPTOR(.name = "count", .role = "count", .services = services, .handlers = handlers);

/* --- readers
 * -------------------------------------------------------------------------------------------------------------- */

static void item(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self, (void)ctx, (void)arg;
  if (kg_msg_type(m) == KG_MSG_ITEM) {
    if (int_of(m, "n") != t.got) t.wrong++;
    t.got++;
  } else {
    t.code = kg_msg_code(m);
    t.ended++;
  }
}

static void read_all(kg_ctx_t *ctx, void *self) {
  (void)self;
  kg_send(ctx, &(kg_request_t){.service = "count", .topic = "count.up", .stream = true, .credit = 16, .fn = item});
}

static const kg_plugin_t reader = DESCRIPTOR(.name = "reader", .role = "reader", .activate = read_all);

static void read_in(const char *lane) {
  kg_kernel_t *k = new_kernel();
  load(k, "count", "main", &server);
  load(k, "reader", lane, &reader);
  wait_until(&t.ended, 1);
  kg_kernel_free(k);
  cr_assert_eq(t.got, ITEMS);
  cr_assert_eq(t.wrong, 0);
  cr_assert_eq(t.code, 0);
  cr_assert_leq(t.most_ahead, 16, "the server was %d items ahead, 16 were allowed", t.most_ahead);
}

Test(streams, all_items_come_in_order_within_credit_in_one_lane) {
  read_in("main");
}
Test(streams, all_items_come_in_order_within_credit_across_lanes) {
  read_in("other");
}

/* --- manual credit holds the server back
 * ------------------------------------------------------------------------------ */

static void grant_later(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self, (void)arg;
  t.credit_seen = t.got;
  kg_credit(ctx, t.call, 5);
}

static void read_by_hand(kg_ctx_t *ctx, void *self) {
  (void)self;
  t.call = kg_send(
      ctx,
      &(kg_request_t){
          .service = "count", .topic = "count.up", .stream = true, .credit = 10, .manual_credit = true, .fn = item});
  kg_timer(ctx, 50, 0, grant_later, NULL);
}

Test(streams, without_new_credit_no_new_items) {
  static const kg_plugin_t p = DESCRIPTOR(.name = "reader", .role = "reader", .activate = read_by_hand);
  kg_kernel_t *k = new_kernel();
  load(k, "count", "other", &server);
  load(k, "reader", "main", &p);
  wait_until(&t.got, 15);
  kg_kernel_free(k);
  cr_assert_eq(t.credit_seen, 10);
  cr_assert_eq(t.got, 15);
  kg_msg_unref(t.open);
}

/* --- cancel
 * ----------------------------------------------------------------------------------------------------------------- */

static void item_then_cancel(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  item(ctx, self, m, arg);
  if (t.got == 3) kg_cancel(ctx, t.call);
}

static void read_three(kg_ctx_t *ctx, void *self) {
  (void)self;
  t.call = kg_send(
      ctx,
      &(kg_request_t){.service = "count", .topic = "count.up", .stream = true, .credit = 8, .fn = item_then_cancel});
}

Test(streams, a_reader_that_cancels_gets_nothing_more_and_the_server_hears_of_it) {
  static const kg_plugin_t p = DESCRIPTOR(.name = "reader", .role = "reader", .activate = read_three);
  kg_kernel_t *k = new_kernel();
  load(k, "count", "other", &server);
  load(k, "reader", "main", &p);
  wait_until(&t.server_cancelled, 1);
  kg_kernel_free(k);
  cr_assert_eq(t.got, 3);
  cr_assert_eq(t.ended, 0);
}

Test(streams, a_reader_that_is_unloaded_cancels) {
  static const kg_plugin_t p = DESCRIPTOR(.name = "reader", .role = "reader", .activate = read_by_hand);
  kg_kernel_t *k = new_kernel();
  load(k, "count", "other", &server);
  load(k, "reader", "main", &p);
  wait_until(&t.got, 10);
  cr_assert_eq(kg_kernel_unload(k, "reader", NULL), 0);
  wait_until(&t.server_cancelled, 1);
  kg_kernel_free(k);
}

Test(streams, a_server_that_is_unloaded_ends_its_streams_with_503) {
  static const kg_plugin_t p = DESCRIPTOR(.name = "reader", .role = "reader", .activate = read_by_hand);
  kg_kernel_t *k = new_kernel();
  load(k, "count", "other", &server);
  load(k, "reader", "main", &p);
  wait_until(&t.got, 10);
  cr_assert_eq(kg_kernel_unload(k, "count", NULL), 0);
  wait_until(&t.ended, 1);
  cr_assert_eq(t.code, KG_EUNAVAILABLE);
  kg_kernel_free(k);
  kg_msg_unref(t.open);
}

/* --- upwards
 * ---------------------------------------------------------------------------------------------------------------- */

static void push_up(kg_ctx_t *ctx) {
  while (t.next_up < ITEMS) {
    kg_doc_t *args = int_args("n", t.next_up);
    int left = kg_call_item(ctx, t.call, args, NULL, 0);
    kg_doc_unref(args);
    if (left < 0) return; /* the callback hears of new credit */
    t.next_up++;
    if (t.next_up - t.server_items > t.most_ahead) t.most_ahead = t.next_up - t.server_items;
  }
  kg_call_end(ctx, t.call);
}

static void up_answer(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self, (void)arg;
  if (kg_msg_type(m) == KG_MSG_CREDIT)
    push_up(ctx);
  else
    t.ended++;
}

static void write_all(kg_ctx_t *ctx, void *self) {
  (void)self;
  t.call = kg_send(ctx, &(kg_request_t){.service = "count", .topic = "count.sink", .stream = true, .fn = up_answer});
  push_up(ctx);
}

static void write_in(const char *lane) {
  static const kg_plugin_t p = DESCRIPTOR(.name = "writer", .role = "writer", .activate = write_all);
  kg_kernel_t *k = new_kernel();
  load(k, "count", "main", &server);
  load(k, "writer", lane, &p);
  wait_until(&t.ended, 1);
  kg_kernel_free(k);
  cr_assert_eq(t.server_items, ITEMS);
  cr_assert_eq(t.server_end, 1);
  cr_assert_eq(t.wrong, 0);
  cr_assert_leq(t.most_ahead, 64, "the writer was %d items ahead, 64 are allowed", t.most_ahead);
}

Test(streams, the_requester_sends_items_within_credit_in_one_lane) {
  write_in("main");
}
Test(streams, the_requester_sends_items_within_credit_across_lanes) {
  write_in("other");
}
