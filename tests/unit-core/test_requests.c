#include "harness.h"

static struct {
  atomic_int done, errors, code, calls_inside;
  int64_t value;
  char text[200];
  bool same_document;
  kg_doc_t *doc;
  atomic_int server_got, server_answered;
} t;

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  if (kg_msg_type(m) == KG_MSG_ERROR) {
    t.errors++;
    t.code = kg_msg_code(m);
    snprintf(t.text, sizeof t.text, "%s", kg_msg_text(m));
  }
  t.value = int_of(m, "n");
  t.same_document = kg_msg_doc(m, 0) == t.doc;
  t.done++;
}

static uint64_t ask(kg_ctx_t *ctx, const char *service, const char *topic, int64_t timeout_ms) {
  kg_doc_t *args = int_args("n", 42);
  uint64_t id = kg_send(ctx, &(kg_request_t){.service = service,
                                             .topic = topic,
                                             .args = args,
                                             .docs = &t.doc,
                                             .ndocs = t.doc ? 1 : 0,
                                             .timeout_ms = timeout_ms,
                                             .fn = answered});
  kg_doc_unref(args);
  return id;
}

static void ask_echo(kg_ctx_t *ctx, void *self) {
  (void)self;
  t.doc = int_args("big", 1);
  ask(ctx, "echo", "echo.say", 0);
}

static const kg_plugin_t asker = DESCRIPTOR(.name = "asker", .role = "asker", .activate = ask_echo);

static void echo_in(const char *lane) {
  kg_kernel_t *k = new_kernel();
  load(k, "echo", "main", &echo_plugin);
  load(k, "asker", lane, &asker);
  wait_until(&t.done, 1);
  cr_assert_eq(t.errors, 0);
  cr_assert_eq(t.value, 42);
  cr_assert(t.same_document, "the document was copied on its way");
  kg_kernel_free(k);
  cr_assert_eq(kg_doc_refs(t.doc), 1u, "somebody still holds the document");
  kg_doc_unref(t.doc);
}

Test(requests, a_reply_comes_back_in_the_same_lane_with_the_very_same_document) {
  echo_in("main");
}
Test(requests, a_reply_comes_back_across_lanes_with_the_very_same_document) {
  echo_in("other");
}

static void ask_nobody(kg_ctx_t *ctx, void *self) {
  (void)self;
  ask(ctx, "nobody", "nobody.there", 0);
  t.calls_inside = t.done;
}

Test(requests, an_unowned_service_is_503_at_once_but_never_from_inside_the_call) {
  static const kg_plugin_t p = DESCRIPTOR(.name = "asker", .role = "asker", .activate = ask_nobody);
  kg_kernel_t *k = new_kernel();
  load(k, "asker", "main", &p);
  wait_until(&t.done, 1);
  cr_assert_eq(t.code, KG_EUNAVAILABLE);
  cr_assert_eq(t.calls_inside, 0);
  cr_assert_str_eq(t.text, "nobody serves nobody");
  kg_kernel_free(k);
}

static void ask_wrong_topic(kg_ctx_t *ctx, void *self) {
  (void)self;
  ask(ctx, "echo", "echo.sing", 0);
}

Test(requests, a_topic_the_plugin_does_not_know_is_404) {
  static const kg_plugin_t p = DESCRIPTOR(.name = "asker", .role = "asker", .activate = ask_wrong_topic);
  kg_kernel_t *k = new_kernel();
  load(k, "echo", "main", &echo_plugin);
  load(k, "asker", "main", &p);
  wait_until(&t.done, 1);
  cr_assert_eq(t.code, KG_ENOTFOUND);
  kg_kernel_free(k);
}

static void ask_refused(kg_ctx_t *ctx, void *self) {
  (void)self;
  ask(ctx, "echo", "echo.refuse", 0);
}

Test(requests, an_error_carries_code_and_sentence) {
  static const kg_plugin_t p = DESCRIPTOR(.name = "asker", .role = "asker", .activate = ask_refused);
  kg_kernel_t *k = new_kernel();
  load(k, "echo", "other", &echo_plugin);
  load(k, "asker", "main", &p);
  wait_until(&t.done, 1);
  cr_assert_eq(t.code, KG_ECONFLICT);
  cr_assert_str_eq(t.text, "no, asker");
  kg_kernel_free(k);
}

/* --- a server that takes its time
 * --------------------------------------------------------------------------------------- */

static void answer_now(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self;
  kg_reply(ctx, arg, NULL, NULL, 0);
  kg_reply(ctx, arg, NULL, NULL, 0); /* the second is ignored */
  kg_msg_unref(arg);
  t.server_answered++;
}

static void slow(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  t.server_got++;
  kg_timer(ctx, 150, 0, answer_now, kg_msg_ref(m));
}

static void never(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx, (void)self, (void)m;
  t.server_got++;
}

static const char *const slow_services[] = {"slow", NULL};
static const kg_handler_t slow_handlers[] = {{"slow.never", never}, {"slow.*", slow}, {0}};
static const kg_plugin_t slow_plugin =
    DESCRIPTOR(.name = "slow", .role = "slow", .services = slow_services, .handlers = slow_handlers);

static void ask_slow(kg_ctx_t *ctx, void *self) {
  (void)self;
  ask(ctx, "slow", "slow.say", 50);
}

Test(requests, a_missed_deadline_is_504_and_the_late_answer_is_dropped) {
  static const kg_plugin_t p = DESCRIPTOR(.name = "asker", .role = "asker", .activate = ask_slow);
  kg_kernel_t *k = new_kernel();
  load(k, "slow", "other", &slow_plugin);
  load(k, "asker", "main", &p);
  wait_until(&t.server_answered, 1);
  wait_until(&t.done, 1);
  cr_assert_eq(t.done, 1);
  cr_assert_eq(t.code, KG_EDEADLINE);
  kg_kernel_free(k);
  cr_assert_eq(t.done, 1);
}

static uint64_t cancelled_call;
static void cancel_it(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self, (void)arg;
  kg_cancel(ctx, cancelled_call);
  kg_cancel(ctx, cancelled_call);
}

static void ask_and_cancel(kg_ctx_t *ctx, void *self) {
  (void)self;
  cancelled_call = ask(ctx, "slow", "slow.say", 0);
  kg_timer(ctx, 20, 0, cancel_it, NULL);
}

Test(requests, a_cancelled_call_hears_nothing_more) {
  static const kg_plugin_t p = DESCRIPTOR(.name = "asker", .role = "asker", .activate = ask_and_cancel);
  kg_kernel_t *k = new_kernel();
  load(k, "slow", "other", &slow_plugin);
  load(k, "asker", "main", &p);
  wait_until(&t.server_answered, 1);
  kg_kernel_free(k);
  cr_assert_eq(t.done, 0);
}

static void ask_never(kg_ctx_t *ctx, void *self) {
  (void)self;
  ask(ctx, "slow", "slow.never", -1);
}

Test(requests, what_a_plugin_never_answered_is_503_when_it_goes) {
  static const kg_plugin_t p = DESCRIPTOR(.name = "asker", .role = "asker", .activate = ask_never);
  kg_kernel_t *k = new_kernel();
  load(k, "slow", "other", &slow_plugin);
  load(k, "asker", "main", &p);
  wait_until(&t.server_got, 1);
  cr_assert_eq(kg_kernel_unload(k, "slow", NULL), 0);
  wait_until(&t.done, 1);
  cr_assert_eq(t.code, KG_EUNAVAILABLE);
  kg_kernel_free(k);
}

/* --- timers
 * -------------------------------------------------------------------------------------------------------------- */

static struct {
  atomic_int ticks, order_wrong;
  int64_t earliest[200], latest[200],
      last; /* ms; between them each is due: a busy machine may stop us while we set it */
  uint64_t periodic;
} timers;

static void tick(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self, (void)arg;
  if (++timers.ticks == 3) kg_timer_cancel(ctx, timers.periodic);
}

static void in_order(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  int n = (int)(intptr_t)arg;
  if (timers.latest[n] < timers.last) timers.order_wrong++;
  if (timers.earliest[n] > timers.last) timers.last = timers.earliest[n];
  t.done++;
}

static void start_timers(kg_ctx_t *ctx, void *self) {
  (void)self;
  timers.periodic = kg_timer(ctx, 1, 1, tick, NULL);
  for (int i = 0; i < 200; i++) {
    int64_t ms = 5 + (i * 37) % 40;
    timers.earliest[i] = kg_now_ms(ctx) + ms;
    kg_timer(ctx, ms, 0, in_order, (void *)(intptr_t)i);
    timers.latest[i] = kg_now_ms(ctx) + ms;
  }
  for (int i = 0; i < 50; i++) kg_timer_cancel(ctx, kg_timer(ctx, 10, 0, in_order, NULL));
}

Test(timers, fire_in_order_repeat_and_can_be_cancelled) {
  static const kg_plugin_t p = DESCRIPTOR(.name = "timers", .role = "timers", .activate = start_timers);
  kg_kernel_t *k = new_kernel();
  load(k, "timers", "main", &p);
  wait_until(&t.done, 200);
  wait_until(&timers.ticks, 3); /* a busy machine may fire all the others in one go */
  kg_kernel_free(k);
  cr_assert_eq(t.done, 200);
  cr_assert_eq(timers.order_wrong, 0);
  cr_assert_eq(timers.ticks, 3);
}
