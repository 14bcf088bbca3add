/* A candidate beside a plugin that serves: what it gets, what is compared, and that nothing it does reaches anybody. */
#include <stdlib.h>
#include <unistd.h>

#include "harness.h"

/* The candidate is unruly.so in a process of its own; the live one is written here and of the same role. */
static struct {
  atomic_int done, echoed, heard, code, wanted;
  kg_ctx_t *asker;
  int n, times; /* times: 0 is one */
  const char *topic;
} t;

static void say(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "source", kg_msg_source(m)); /* another order than the candidate's, and every third is wrong */
  kg_pack_kv_int(&p, "n", int_of(m, "n"));
  kg_pack_kv_int(&p, "count", ++*(int *)self + (int_of(m, "n") % 3 == 0));
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

static void relayed(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  kg_reply(ctx, arg, kg_msg_args_doc(m), NULL, 0);
  kg_msg_unref(arg);
}

/* Asks like the candidate, unless n is 7. */
static void relay(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_doc_t *other = int_args("n", 70), *args = int_of(m, "n") == 7 ? other : kg_msg_args_doc(m);
  kg_send(ctx,
          &(kg_request_t){.service = "echo", .topic = "echo.say", .args = args, .fn = relayed, .arg = kg_msg_ref(m)});
  kg_doc_unref(other);
}

static void nothing(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_reply(ctx, m, NULL, NULL, 0);
}

static void count(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  for (int64_t i = 0; i < int_of(m, "n"); i++) kg_stream_item(ctx, m, kg_msg_args_doc(m), NULL, 0);
  kg_stream_end(ctx, m);
}

static void news(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_publish(ctx, "unruly.heard", kg_msg_args_doc(m), NULL, 0);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)err;
  return (*self = calloc(1, sizeof(int))) ? 0 : -1;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_subscribe(ctx, "news.");
  kg_ready(ctx);
  return 0;
}

static int hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)ctx, (void)err;
  kg_pack_t p = kg_pack();
  kg_pack_int(&p, *(int *)self);
  *state = kg_pack_doc(&p);
  return 0;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  free(self);
}

static const char *const services[] = {"unruly", NULL};
static const kg_handler_t handlers[] = {{"unruly.say", say},
                                        {"unruly.relay", relay},
                                        {"unruly.count", count},
                                        {"unruly.crash", nothing},
                                        {"unruly.hang", nothing},
                                        {"news.*", news},
                                        {0}};
static const kg_plugin_t live =
    DESCRIPTOR(.name = "live", .role = "unruly", .services = services, .handlers = handlers, .create = create,
               .start = start, .hand_over = hand_over, .destroy = destroy);

/* --- who counts what comes out ------------------------------------------------------------------------------------ */

static void echo(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  t.echoed++;
  kg_reply(ctx, m, kg_msg_args_doc(m), NULL, 0);
}

static void heard(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx, (void)self, (void)m;
  t.heard++;
}

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  if (kg_msg_type(m) == KG_MSG_ITEM) return;
  t.code = kg_msg_code(m);
  t.done++;
}

static void go(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self, (void)m;
  kg_doc_t *args = int_args(t.topic && strcmp(t.topic, "unruly.hang") == 0 ? "ms" : "n", t.n);
  for (int i = 0; t.topic && i < (t.times ? t.times : 1); i++)
    kg_send(ctx, &(kg_request_t){.service = "unruly",
                                 .topic = t.topic,
                                 .args = args,
                                 .stream = strcmp(t.topic, "unruly.count") == 0,
                                 .fn = answered});
  if (!t.topic) kg_publish(ctx, "news.today", args, NULL, 0);
  kg_doc_unref(args);
}

static void tick(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  static int gone;
  if (gone == t.wanted) return;
  gone++;
  go(ctx, self, NULL);
}

static int start_asker(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_subscribe(ctx, "unruly.");
  kg_timer(ctx, 1, 1, tick, NULL);
  kg_ready(ctx);
  return 0;
}

static const char *const echo_services[] = {"echo", NULL};
static const kg_handler_t asker_handlers[] = {{"echo.say", echo}, {"unruly.heard", heard}, {0}};
static const kg_plugin_t asker = DESCRIPTOR(.name = "asker", .role = "asker", .services = echo_services,
                                            .handlers = asker_handlers, .create = create_nothing, .start = start_asker);

static void ask(const char *topic, int n) {
  int before = t.done;
  t.topic = topic;
  t.n = n;
  t.wanted++;
  if (topic) wait_until(&t.done, before + 1);
  if (topic) cr_assert_eq(t.code, 0);
}

static kg_kernel_t *alone(void) {
  kg_kernel_t *k = new_kernel();
  load(k, "unruly", "main", &live);
  load(k, "asker", "other", &asker);
  return k;
}

static void give_shadow(kg_kernel_t *k, bool with_state) {
  static const char *const ignore[] = {"args.source", NULL};
  kg_error_t err = {0};
  cr_assert_eq(
      kg_kernel_shadow(
          k,
          &(kg_shadow_spec_t){
              .name = "unruly", .file = "unruly", .ignore = ignore, .patience_ms = 100, .with_state = with_state},
          &err),
      0, "%s", err.text);
}

static kg_kernel_t *with_shadow(void) {
  kg_kernel_t *k = alone();
  give_shadow(k, false);
  return k;
}

static kg_doc_t *report;

/* A number of the report, e.g. "answers", "equal". */
static int64_t found(kg_kernel_t *k, const char *side, const char *key) {
  kg_error_t err = {0};
  kg_doc_unref(report);
  report = kg_kernel_shadow_report(k, "unruly", false, &err);
  cr_assert(report, "%s", err.text);
  return kg_view_int(kg_view_path(kg_view_of(report), side, key, NULL), -1);
}

static void until(kg_kernel_t *k, const char *side, const char *key, int64_t wanted) {
  for (int i = 0; i < 1000 && found(k, side, key) != wanted; i++) usleep(10000);
  char *json = kg_view_to_json(kg_view_of(report));
  cr_assert_eq(found(k, side, key), wanted, "%s of %s are not %lld: %s", key, side, (long long)wanted, json);
  free(json);
}

static const char *shown(const char *key) {
  static char text[400];
  kg_view_t first = kg_view_at(kg_view_get(kg_view_of(report), "differences"), 0);
  snprintf(text, sizeof text, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(first, key))));
  return text;
}

static void finish(kg_kernel_t *k) {
  kg_kernel_free(k);
  kg_doc_unref(report);
}

Test(shadow, counts_equal_and_different_answers_and_says_where_they_differ) {
  kg_kernel_t *k = with_shadow();
  for (int i = 1; i <= 9; i++) ask("unruly.say", i);
  until(k, "answers", "different", 3);
  until(k, "answers", "equal", 6);
  cr_assert_str_eq(shown("path"), "args.count");
  cr_assert_str_eq(shown("live"), "4");
  cr_assert_str_eq(shown("candidate"), "3");
  cr_assert_str_eq(shown("args"), "{\"n\":3}");
  cr_assert_eq(found(k, "latency", "none"), -1);
  kg_view_t times = kg_view_path(kg_view_of(report), "latency", "candidate", NULL);
  cr_assert_eq(kg_view_int(kg_view_get(times, "count"), 0), 9);
  cr_assert_gt(kg_view_int(kg_view_get(times, "p50_us"), 0), 0);
  finish(k);
}

Test(shadow, compares_streams_item_by_item) {
  kg_kernel_t *k = with_shadow();
  ask("unruly.count", 20);
  until(k, "answers", "equal", 21);
  cr_assert_eq(found(k, "answers", "different"), 0);
  finish(k);
}

Test(shadow, gets_the_live_ones_answers_and_reaches_nobody) {
  kg_kernel_t *k = with_shadow();
  for (int i = 1; i <= 5; i++) ask("unruly.relay", i);
  until(k, "answers", "equal", 5);
  until(k, "requests", "equal", 5);
  ask("unruly.relay", 7);
  until(k, "answers", "different", 1);
  cr_assert_str_eq(shown("path"), "type");
  until(k, "requests", "only_candidate", 1);
  until(k, "requests", "only_live", 1);
  cr_assert_eq(t.echoed, 6, "%d requests reached the echo", t.echoed);
  finish(k);
}

Test(shadow, hears_events_and_publishes_none) {
  kg_kernel_t *k = with_shadow();
  ask(NULL, 1);
  until(k, "events", "equal", 1);
  cr_assert_eq(t.heard, 1);
  finish(k);
}

Test(shadow, stays_with_the_name_when_the_live_one_is_swapped) {
  kg_kernel_t *k = with_shadow();
  kg_error_t err = {0};
  ask("unruly.say", 1);
  cr_assert_eq(kg_kernel_swap(k, "unruly", NULL, &live, NULL, &err), 0, "%s", err.text);
  ask("unruly.say", 1);
  until(k, "answers", "equal", 1);
  until(k, "answers", "different", 1);
  cr_assert_eq(kg_kernel_unload(k, "unruly", &err), 0);
  kg_doc_t *last = kg_kernel_shadow_report(k, "unruly", true, &err);
  cr_assert(last, "%s", err.text);
  kg_doc_unref(last);
  cr_assert_not(kg_kernel_shadow_report(k, "unruly", true, &err));
  cr_assert_str_eq(err.text, "plugin unruly has no shadow");
  finish(k);
}

Test(shadow, that_crashes_is_told_and_harms_nobody) {
  kg_kernel_t *k = with_shadow();
  ask("unruly.say", 1);
  until(k, "answers", "equal", 1);
  ask("unruly.crash", 1);
  for (int i = 0; i < 500 && !kg_view_there(kg_view_get(kg_view_of(report), "died")); i++) {
    usleep(10000);
    found(k, "answers", "equal");
  }
  char *json = kg_view_to_json(kg_view_of(report));
  cr_assert(strstr(json, "plugin unruly's process "), "%s", json);
  free(json);
  ask("unruly.say", 2);
  kg_error_t err = {0};
  cr_assert_eq(kg_kernel_unload(k, "unruly.shadow", &err), 0, "%s", err.text);
  ask("unruly.say", 4);
  finish(k);
}

#ifdef SANITIZED
enum { ROUNDS = 8 };
#else
enum { ROUNDS = 20 };
#endif

Test(shadow, that_hangs_holds_nobody_up) {
  kg_kernel_t *k = with_shadow();
  ask("unruly.hang", 60000);
  for (int i = 0; i < 200; i++) ask("unruly.say", 1);
  cr_assert_eq(found(k, "answers", "pending"), 201);
  /* A flood it does not take: what is kept for it has an end, and the live one answers as ever. */
  t.times = 10000;
  for (int i = 1; i <= ROUNDS; i++) {
    int before = t.done;
    t.topic = "unruly.say";
    t.wanted++;
    wait_until(&t.done, before + t.times);
  }
  int64_t skipped = 0, least = ROUNDS * t.times - 65536;
  for (int i = 0; i < 2000 && skipped < least; i++) {
    usleep(10000);
    found(k, "answers", "pending");
    skipped = kg_view_int(kg_view_get(kg_view_of(report), "skipped"), 0);
  }
  cr_assert_geq(skipped, least);
  cr_assert_leq(found(k, "answers", "pending"), 65536);
  finish(k);
}

Test(shadow, is_refused_with_a_sentence) {
  kg_kernel_t *k = with_shadow();
  kg_error_t err = {0};
  const struct {
    const char *name, *file, *says;
  } cases[] = {{"unruly", "unruly", "plugin unruly got no shadow: plugin unruly has a shadow already"},
               {"nobody", "unruly", "plugin nobody got no shadow: there is no plugin nobody"},
               {"unruly.shadow", "unruly", "plugin unruly.shadow got no shadow: unruly.shadow is a shadow itself"},
               {"asker", "hello", "plugin asker got no shadow: hello keeps the contract of role hello, not of asker"},
               {"asker", "wrong-abi", "built for plugin interface 77"},
               {"asker", "unicorn", "plugin unicorn was not found"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cr_assert_eq(kg_kernel_shadow(k, &(kg_shadow_spec_t){.name = cases[i].name, .file = cases[i].file}, &err), -1);
    cr_assert(strstr(err.text, cases[i].says), "%s", err.text);
  }
  cr_assert_eq(kg_kernel_swap(k, "unruly.shadow", "unruly", NULL, NULL, &err), -1);
  ask("unruly.say", 1);
  finish(k);
}

Test(shadow, begins_with_the_live_ones_state_if_that_is_wanted) {
  kg_kernel_t *k = alone();
  for (int i = 0; i < 3; i++) ask("unruly.say", 1);
  give_shadow(k, true);
  for (int i = 0; i < 4; i++) ask("unruly.say", 1);
  until(k, "answers", "equal", 4);
  cr_assert_eq(found(k, "answers", "different"), 0);
  finish(k);
}

/* Every answer bears a number: all are equal only if none was lost and the order was kept. */
Test(shadow, keeps_up_with_bursts_in_order) {
  kg_kernel_t *k = with_shadow();
  t.times = 2000;
  for (int i = 1; i <= 5; i++) {
    t.n = 1;
    t.topic = "unruly.say";
    t.wanted++;
    wait_until(&t.done, i * t.times);
  }
  until(k, "answers", "equal", 5 * t.times);
  finish(k);
}
