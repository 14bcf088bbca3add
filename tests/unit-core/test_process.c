/* Plugins in processes of their own: the sender cannot tell the difference, and nothing they do ends the kernel. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness.h"

enum { MOST = 64 };

/* A plugin that asks on behalf of the test, one request after the other. */
static struct {
  atomic_int wanted, sent, done, code, items, events;
  const char *service, *topic;
  kg_doc_t *args, *doc;
  bool stream;
  int64_t n, count;
  char text[300], source[64];
  size_t doc_size;
  kg_ctx_t *ctx;
} t;

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  if (kg_msg_type(m) == KG_MSG_ITEM) {
    t.items++;
    return;
  }
  t.code = kg_msg_code(m);
  snprintf(t.text, sizeof t.text, "%s", kg_msg_text(m));
  kg_str_t source = kg_view_str(kg_view_get(kg_msg_args(m), "source"));
  snprintf(t.source, sizeof t.source, "%.*s", KG_STR_ARG(source));
  t.n = int_of(m, "n");
  t.count = int_of(m, "count");
  t.doc_size = kg_doc_size(kg_msg_doc(m, 0));
  t.done++;
}

static void ask_now(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self, (void)m;
  kg_send(ctx, &(kg_request_t){.service = t.service,
                               .topic = t.topic,
                               .args = t.args,
                               .docs = &t.doc,
                               .ndocs = t.doc ? 1 : 0,
                               .stream = t.stream,
                               .credit = 16,
                               .fn = answered});
}

static void heard(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx, (void)self, (void)m;
  t.events++;
}

static void tick(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  if (t.sent < t.wanted) {
    ask_now(ctx, self, NULL);
    t.sent++;
  }
}

static void activate(kg_ctx_t *ctx, void *self) {
  (void)self;
  kg_timer(ctx, 1, 1, tick, NULL);
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_subscribe(ctx, "unruly.");
  t.ctx = ctx;
  kg_ready(ctx);
  return 0;
}

static const kg_handler_t asker_handlers[] = {{"unruly.heard", heard}, {0}};
static const kg_plugin_t asker = DESCRIPTOR(.name = "asker", .role = "asker", .handlers = asker_handlers,
                                            .create = create_nothing, .start = start, .activate = activate);

static void send_ask(const char *topic, const char *key, int64_t value) {
  kg_doc_unref(t.args);
  t.args = int_args(key, value);
  t.service = "unruly";
  t.topic = topic;
  t.wanted++;
}

static void ask(const char *topic, const char *key, int64_t value) {
  int before = t.done;
  send_ask(topic, key, value);
  wait_until(&t.done, before + 1);
}

static int load_process(kg_kernel_t *k, const char *key, kg_error_t *err) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  if (key) kg_pack_kv_bool(&p, key, true);
  kg_pack_end(&p);
  kg_doc_t *config = kg_pack_doc(&p);
  int rc = kg_kernel_load(
      k, &(kg_plugin_spec_t){.name = "unruly", .file = "unruly.so", .process = true, .config = config}, err);
  kg_doc_unref(config);
  return rc;
}

static kg_kernel_t *with_process(void) {
  kg_kernel_t *k = new_kernel();
  kg_error_t err = {0};
  cr_assert_eq(load_process(k, NULL, &err), 0, "%s", err.text);
  load(k, "asker", "other", &asker);
  return k;
}

static void finish(kg_kernel_t *k) {
  kg_kernel_free(k);
  kg_doc_unref(t.args);
  kg_doc_unref(t.doc);
}

static int64_t listed(kg_kernel_t *k, const char *key) {
  kg_doc_t *doc = kg_kernel_list(k);
  int64_t n = kg_view_int(kg_view_get(kg_view_at(kg_view_get(kg_view_of(doc), "plugins"), 0), key), -1);
  kg_doc_unref(doc);
  return n;
}

Test(process, answers_like_any_other_with_small_and_large_documents) {
  kg_kernel_t *k = with_process();
  cr_assert_gt(listed(k, "process"), 1);
  ask("unruly.say", "n", 7);
  cr_assert_eq(t.code, 0, "%s", t.text);
  cr_assert_eq(t.n, 7);
  cr_assert_str_eq(t.source, "asker");
  static uint8_t big[100000];
  kg_pack_t p = kg_pack();
  kg_pack_bin(&p, big, sizeof big);
  t.doc = kg_pack_doc(&p);
  size_t size = kg_doc_size(t.doc);
  ask("unruly.say", "n", 8);
  cr_assert_eq(t.doc_size, size);
  ask("unruly.nonsense", "n", 1);
  cr_assert_eq(t.code, KG_ENOTFOUND);
  finish(k);
}

Test(process, answers_ping_stats_and_config_itself) {
  kg_kernel_t *k = with_process();
  for (const char *const *topic = (const char *const[]){"plugin.ping", "plugin.stats", "plugin.config", NULL}; *topic;
       topic++) {
    t.service = "plugin/unruly";
    int before = t.done;
    t.topic = *topic;
    t.wanted++;
    wait_until(&t.done, before + 1);
    cr_assert_eq(t.code, 0, "%s: %s", *topic, t.text);
  }
  finish(k);
}

Test(process, asks_others_claims_names_hears_and_publishes_events) {
  kg_kernel_t *k = with_process();
  load(k, "echo", "main", &echo_plugin);
  ask("unruly.relay", "n", 3);
  cr_assert_eq(t.code, 0, "%s", t.text);
  cr_assert_eq(t.n, 3);
  t.service = "unruly/more";
  int before = t.done;
  t.topic = "unruly.say";
  t.wanted++;
  wait_until(&t.done, before + 1);
  cr_assert_eq(t.code, 0, "%s", t.text);
  finish(k);
}

Test(process, streams_within_credit_and_ends) {
  kg_kernel_t *k = with_process();
  t.stream = true;
  ask("unruly.count", "n", 10);
  cr_assert_eq(t.items, 10);
  cr_assert_eq(t.code, 0);
  finish(k);
}

Test(process, that_crashes_is_started_again_and_its_requests_fail_at_once) {
  kg_kernel_t *k = with_process();
  int64_t first = listed(k, "process");
  send_ask("unruly.keep", "n", 1);
  wait_until(&t.sent, 1);
  usleep(30000);
  ask("unruly.crash", "n", 1);
  wait_until(&t.done, 2);
  cr_assert_eq(t.code, KG_EUNAVAILABLE);
  cr_assert(strstr(t.text, "plugin unruly's process "), "%s", t.text);
  for (int i = 0; i < 400; i++) {
    usleep(10000);
    ask("unruly.say", "n", 5);
    if (t.code == 0) break;
    cr_assert_eq(t.code, KG_EUNAVAILABLE);
  }
  cr_assert_eq(t.code, 0, "it never came back: %s", t.text);
  cr_assert_eq(t.count, 1);
  cr_assert_neq(listed(k, "process"), first);
  cr_assert_eq(listed(k, "restarts"), 1);
  finish(k);
}

Test(process, is_swapped_with_its_state) {
  kg_kernel_t *k = with_process();
  kg_error_t err = {0};
  for (int i = 1; i <= 5; i++) {
    ask("unruly.say", "n", i);
    cr_assert_eq(t.count, i);
    cr_assert_eq(kg_kernel_swap(k, "unruly", "unruly.so", NULL, NULL, &err), 0, "%s", err.text);
  }
  cr_assert_eq(kg_kernel_reload(k, "unruly", NULL, &err), 0, "%s", err.text);
  ask("unruly.say", "n", 6);
  cr_assert_eq(t.count, 6);
  finish(k);
}

Test(process, gives_up_its_state_by_force) {
  kg_kernel_t *k = with_process();
  kg_error_t err = {0};
  for (int i = 1; i <= 13; i++) ask("unruly.say", "n", i);
  cr_assert_eq(kg_kernel_swap(k, "unruly", "unruly.so", NULL, NULL, &err), -1);
  cr_assert_str_eq(err.text, "13 is unlucky: swap refused, unruly (unruly 1) goes on");
  cr_assert_eq(kg_kernel_swap_by_force(k, "unruly", "unruly.so", NULL, NULL, &err), 0, "%s", err.text);
  ask("unruly.say", "n", 1);
  cr_assert_eq(t.count, 1);
  finish(k);
}

Test(process, refuses_and_takes_configuration) {
  kg_kernel_t *k = with_process();
  kg_error_t err = {0};
  kg_doc_t *bad = int_args("bad", 1), *good = int_args("good", 1);
  cr_assert_eq(kg_kernel_configure(k, "unruly", bad, &err), -1);
  cr_assert_str_eq(err.text, "this is bad");
  cr_assert_eq(kg_kernel_configure(k, "unruly", good, &err), 0);
  kg_doc_unref(bad);
  kg_doc_unref(good);
  finish(k);
}

Test(process, that_refuses_or_dies_at_its_start_is_refused_with_a_sentence) {
  kg_kernel_t *k = new_kernel();
  kg_error_t err = {0};
  cr_assert_eq(load_process(k, "refuse", &err), -1);
  cr_assert_str_eq(err.text, "plugin unruly was not loaded: I was told to refuse");
  cr_assert_eq(load_process(k, "die", &err), -1);
  cr_assert(strstr(err.text, "plugin unruly's process"), "%s", err.text);
  cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "x", .file = "wrong-abi.so", .process = true}, &err), -1);
  cr_assert(strstr(err.text, "built for plugin interface 77"), "%s", err.text);
  cr_assert_eq(load_process(k, NULL, &err), 0, "%s", err.text);
  cr_assert_eq(kg_kernel_unload(k, "unruly", &err), 0, "%s", err.text);
  kg_kernel_free(k);
}

Test(process, that_floods_hurts_only_itself) {
  kg_kernel_t *k = with_process();
  ask("unruly.flood", "n", 100000);
  ask("unruly.say", "n", 5);
  cr_assert_eq(t.code, 0, "%s", t.text);
  finish(k);
}
