/* The edges of the kernel's contract: every step of a life that hangs, limits, floods, double answers. The kernel
 * lives, the old plugin goes on, and a sentence says why. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

enum { STEP_MS = 250, HANG_MS = 600 };

static kg_kernel_t *kernel_with(const char *log_file) {
  kg_error_t err = {0};
  kg_kernel_t *k = kg_kernel_new(&(kg_kernel_options_t){.log_level = KG_LOG_WARN,
                                                        .log_file = log_file,
                                                        .plugin_path = KOGGE_BUILD_DIR "/tests/plugins",
                                                        .trial_command = KOGGE_BUILD_DIR "/kogge",
                                                        .start_timeout_ms = 5000,
                                                        .step_timeout_ms = STEP_MS,
                                                        .drain_timeout_ms = STEP_MS,
                                                        .budget_ms = 60000,
                                                        .stuck_ms = 200},
                                 &err);
  cr_assert(k, "%s", err.text);
  return k;
}

/* --- somebody who asks -------------------------------------------------------------------------------------------- */

static struct {
  atomic_int wanted, answers, code, alive, made, sent, full, late, wrong, events;
  const char *topic, *service;
  int64_t ms;
} t;

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  t.code = kg_msg_code(m);
  t.answers++;
}

static void look(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self, (void)arg;
  static int asked;
  if (asked == t.wanted) return;
  asked++;
  kg_doc_t *args = int_args("ms", t.ms);
  kg_send(ctx, &(kg_request_t){.service = t.service, .topic = t.topic, .args = args, .fn = answered});
  kg_doc_unref(args);
}

static void look_often(kg_ctx_t *ctx, void *self) {
  (void)self;
  kg_timer(ctx, 1, 1, look, NULL);
}
static const kg_plugin_t asker =
    DESCRIPTOR(.name = "asker", .role = "asker", .create = create_nothing, .activate = look_often);

static void send_ask(const char *service, const char *topic, int64_t ms) {
  t.service = service;
  t.topic = topic;
  t.ms = ms;
  t.wanted++;
}

static void ask(const char *service, const char *topic, int64_t ms) {
  int before = t.answers;
  send_ask(service, topic, ms);
  wait_until(&t.answers, before + 1);
}

/* --- one that hangs where it is told to ----------------------------------------------------------------------------
 */

static void hang(void) {
  nanosleep(&(struct timespec){HANG_MS / 1000, HANG_MS % 1000 * 1000000}, NULL);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)self, (void)err;
  t.made++;
  t.alive++;
  return 0;
}
static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx, (void)self;
  t.alive--;
}
static int hang_in_create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  hang();
  return create(ctx, self, err);
}
static int hang_in_start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  hang();
  kg_ready(ctx);
  return 0;
}
static void hang_in_activate(kg_ctx_t *ctx, void *self) {
  (void)ctx, (void)self;
  hang();
}
static void hang_in_drain(kg_ctx_t *ctx, void *self) {
  (void)self;
  hang();
  kg_drained(ctx);
}
static int hang_in_hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)ctx, (void)self, (void)state, (void)err;
  hang();
  return 0;
}
static int hang_in_accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx, (void)self, (void)state, (void)err;
  hang();
  return 0;
}
static int refuse(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx, (void)self, (void)state;
  return kg_error_set(err, KG_EINVAL, "no");
}
static void hang_in_resume(kg_ctx_t *ctx, void *self) {
  (void)ctx, (void)self;
  hang();
}
static void hang_in_destroy(kg_ctx_t *ctx, void *self) {
  hang();
  destroy(ctx, self);
}

static void say(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_reply(ctx, m, NULL, NULL, 0);
}
static void say_twice(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  static kg_msg_t *last; /* one instance a test */
  (void)self;
  kg_reply(ctx, m, NULL, NULL, 0);
  kg_fail(ctx, m, KG_EINTERNAL, "and again");
  kg_stream_item(ctx, m, NULL, NULL, 0);
  kg_stream_end(ctx, m);
  if (last) kg_reply(ctx, last, NULL, NULL, 0);
  kg_msg_unref(last);
  last = int_of(m, "ms") ? kg_msg_ref(m) : NULL;
}

static const char *const services[] = {"edge", NULL};
static const kg_handler_t handlers[] = {{"edge.say", say}, {"edge.twice", say_twice}, {0}};
#define EDGE(...) DESCRIPTOR(.name = "edge", .role = "edge", .services = services, .handlers = handlers, __VA_ARGS__)
static const kg_plugin_t good = EDGE(.create = create, .destroy = destroy);

/* Swaps, which must fail with the sentence; the old one answers afterwards, and nothing is left in the end. */
static void given_up(const kg_plugin_t *old, const kg_plugin_t *new, const char *sentence) {
  char text[300];
  kg_kernel_t *k = kernel_with("/dev/null");
  kg_error_t err = {0};
  load(k, "edge", "main", old);
  load(k, "asker", "other", &asker);
  cr_assert_eq(kg_kernel_swap(k, "edge", NULL, new, NULL, &err), -1);
  snprintf(text, sizeof text, "%s: swap refused, edge (edge 1) goes on", sentence);
  cr_assert_str_eq(err.text, text);
  ask("edge", "edge.say", 0);
  cr_assert_eq(t.code, 0);
  usleep(1000 * HANG_MS);
  for (int i = 0; i < 500 && t.alive != 1; i++) usleep(10000); /* what came late is taken down when it has come */
  cr_assert_eq(t.alive, 1, "%d instances are alive", t.alive);
  cr_assert_eq(kg_kernel_swap(k, "edge", NULL, &good, NULL, &err), old->drain || old->hand_over ? -1 : 0, "%s",
               err.text);
  kg_kernel_free(k);
  cr_assert_eq(t.alive, 0, "%d instances are alive at the end", t.alive);
}

Test(given_up, in_create) {
  static const kg_plugin_t p = EDGE(.create = hang_in_create, .destroy = destroy);
  given_up(&good, &p, "lane main did not create plugin edge within 250 ms");
}
Test(given_up, in_start) {
  static const kg_plugin_t p = EDGE(.create = create, .start = hang_in_start, .destroy = destroy);
  given_up(&good, &p, "lane main did not create plugin edge within 250 ms");
}
Test(given_up, in_drain) {
  static const kg_plugin_t p = EDGE(.create = create, .drain = hang_in_drain, .destroy = destroy);
  given_up(&p, &good, "lane main did not drain plugin edge within 250 ms");
}
Test(given_up, in_hand_over) {
  static const kg_plugin_t p = EDGE(.create = create, .hand_over = hang_in_hand_over, .destroy = destroy);
  given_up(&p, &good, "lane main did not get the state of plugin edge within 250 ms");
}
Test(given_up, in_accept) {
  static const kg_plugin_t p = EDGE(.create = create, .accept = hang_in_accept, .destroy = destroy);
  given_up(&good, &p, "lane main did not give the state to plugin edge within 250 ms");
}
Test(given_up, in_activate) {
  static const kg_plugin_t p = EDGE(.create = create, .activate = hang_in_activate, .destroy = destroy);
  given_up(&good, &p, "lane main did not activate plugin edge within 250 ms");
}
Test(given_up, in_resume_and_destroy) {
  static const kg_plugin_t old = EDGE(.create = create, .resume = hang_in_resume, .destroy = destroy);
  static const kg_plugin_t new = EDGE(.create = create, .accept = refuse, .destroy = hang_in_destroy);
  given_up(&old, &new, "no");
}

Test(given_up, in_destroy_at_an_unload) {
  static const kg_plugin_t p = EDGE(.create = create, .destroy = hang_in_destroy);
  kg_kernel_t *k = kernel_with("/dev/null");
  kg_error_t err = {0};
  load(k, "edge", "main", &p);
  cr_assert_eq(kg_kernel_unload(k, "edge", &err), -1);
  cr_assert_str_eq(err.text, "lane main did not destroy plugin edge within 250 ms");
  usleep(1000 * HANG_MS);
  load(k, "edge", "main", &good);
  kg_kernel_free(k);
  cr_assert_eq(t.alive, 0);
}

/* --- hangs are named -----------------------------------------------------------------------------------------------
 */

static bool says(const char *file, const char *what) {
  static char text[20000];
  FILE *f = fopen(file, "r");
  size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
  if (f) fclose(f);
  text[n] = 0;
  return strstr(text, what) != NULL;
}

Test(hang, in_a_handler_is_named_in_the_list_and_in_the_log) {
  char log[] = "/tmp/kogge-test-XXXXXX";
  close(mkstemp(log));
  kg_kernel_t *k = kernel_with(log);
  kg_error_t err = {0};
  cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "unruly", .file = "unruly.so"}, &err), 0, "%s", err.text);
  load(k, "asker", "other", &asker);
  send_ask("unruly", "unruly.hang", 1200);
  usleep(600000);
  kg_doc_t *list = kg_kernel_list(k);
  kg_view_t unruly = kg_view_at(kg_view_get(kg_view_of(list), "plugins"), 0);
  cr_assert(kg_str_is(kg_view_str(kg_view_get(unruly, "state")), "stuck"));
  cr_assert(kg_str_is(kg_view_str(kg_view_get(unruly, "stuck_in")), "unruly.hang"));
  kg_doc_unref(list);
  cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "edge", .descriptor = &good}, &err), -1);
  cr_assert(strstr(err.text, "lane main did not create plugin edge within 250 ms: it is held up by unruly"), "%s",
            err.text);
  wait_until(&t.answers, 1);
  cr_assert(says(log, "lane main has been stuck for "));
  cr_assert(says(log, "ms in the handler of unruly.hang of plugin unruly"));
  kg_kernel_free(k);
  unlink(log);
}

/* --- answers nobody waits for ---------------------------------------------------------------------------------------
 */

Test(answers, of_which_there_are_too_many_reach_nobody) {
  char log[] = "/tmp/kogge-test-XXXXXX";
  close(mkstemp(log));
  kg_kernel_t *k = kernel_with(log);
  load(k, "edge", "main", &good);
  load(k, "asker", "other", &asker);
  for (int i = 1; i <= 20; i++) ask("edge", "edge.twice", i < 20);
  usleep(50000);
  cr_assert_eq(t.answers, 20);
  cr_assert_eq(t.code, 0);
  cr_assert(says(log, "a second answer to edge.twice of asker was ignored"));
  kg_kernel_free(k);
  unlink(log);
}

/* --- limits --------------------------------------------------------------------------------------------------------
 */

enum { FLOOD = 40000, HELD = 65536 };

static void flooded(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx;
  int *last = self, n = (int)(intptr_t)arg;
  if (kg_msg_code(m) == KG_EFULL)
    t.full++;
  else if (kg_msg_type(m) != KG_MSG_REPLY || n <= *last)
    t.wrong++;
  else
    *last = n;
  t.answers++;
}

static void flood(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self, (void)m;
  for (int i = 1; i <= FLOOD; i++)
    kg_send(ctx, &(kg_request_t){.service = "edge", .topic = "edge.say", .fn = flooded, .arg = (void *)(intptr_t)i});
  t.sent++;
}

static int create_flooder(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)err;
  kg_subscribe(ctx, "flood.");
  return (*self = calloc(1, sizeof(int))) ? 0 : -1;
}
static void destroy_flooder(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  free(self);
}
static const kg_handler_t flood_handlers[] = {{"flood.*", flood}, {0}};
static const kg_plugin_t flooder = DESCRIPTOR(.name = "flooder", .role = "flooder", .handlers = flood_handlers,
                                              .create = create_flooder, .destroy = destroy_flooder);

/* While it is drained everybody floods it, and it never ends. */
static void call_the_flood(kg_ctx_t *ctx, void *self) {
  (void)self;
  kg_publish(ctx, "flood.now", NULL, NULL, 0);
}

Test(limits, of_what_a_swap_holds_are_kept_and_the_rollback_loses_nothing) {
  static const kg_plugin_t slow = EDGE(.create = create, .drain = call_the_flood, .destroy = destroy);
  kg_error_t err = {0};
  kg_kernel_t *k = kg_kernel_new(&(kg_kernel_options_t){.log_level = KG_LOG_ERROR, .drain_timeout_ms = 1000}, &err);
  load(k, "edge", "main", &slow);
  load(k, "one", "one", &flooder);
  load(k, "two", "two", &flooder);
  cr_assert_eq(kg_kernel_swap(k, "edge", NULL, &good, NULL, &err), -1);
  cr_assert_str_eq(err.text, "edge had not finished its work after 1000 ms: swap refused, edge (edge 1) goes on");
  wait_until(&t.answers, 2 * FLOOD);
  cr_assert_eq(t.sent, 2);
  cr_assert_eq(t.full, 2 * FLOOD - HELD, "%d were told that too many wait", t.full);
  cr_assert_eq(t.wrong, 0);
  kg_kernel_free(k);
}

static size_t resident_mib(void) {
  size_t size = 0, resident = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (f && fscanf(f, "%zu %zu", &size, &resident) != 2) resident = 0;
  if (f) fclose(f);
  return resident * (size_t)sysconf(_SC_PAGESIZE) >> 20;
}

static void event_heard(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx, (void)self, (void)m;
  if (t.events++ == 0) hang(); /* the others wait meanwhile */
}
static int subscribe(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)self, (void)err;
  kg_subscribe(ctx, "storm.");
  return 0;
}
static const kg_handler_t storm_handlers[] = {{"storm.*", event_heard}, {0}};
static const kg_plugin_t listener =
    DESCRIPTOR(.name = "listener", .role = "listener", .handlers = storm_handlers, .create = subscribe);

static void count_late(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  if (kg_msg_code(m) != KG_EUNAVAILABLE && kg_msg_code(m) != KG_EFULL) t.wrong++;
  t.late++;
}

#ifdef SANITIZED /* what it keeps around every allocation */
enum { STORM = 600000, MOST_MIB = 1000 };
#else
enum { STORM = 1000000, MOST_MIB = 250 };
#endif
static void storm(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  for (int i = 0; i < STORM; i++) {
    kg_publish(ctx, "storm.event", NULL, NULL, 0);
    kg_send(ctx, &(kg_request_t){.service = "nobody", .topic = "nobody.there", .fn = i % 2 ? count_late : NULL});
  }
  kg_reply(ctx, m, NULL, NULL, 0);
}
static const char *const storm_services[] = {"storm", NULL};
static const kg_handler_t stormy_handlers[] = {{"go.*", storm}, {0}};
static const kg_plugin_t stormy = DESCRIPTOR(.name = "stormy", .role = "stormy", .services = storm_services,
                                             .handlers = stormy_handlers, .create = create_nothing);

Test(limits, end_a_flood_of_requests_and_events_at_its_source) {
  kg_kernel_t *k = kernel_with("/dev/null");
  load(k, "stormy", "main", &stormy);
  load(k, "listener", "slow", &listener);
  load(k, "edge", "other", &good);
  load(k, "asker", "other", &asker);
  size_t before = resident_mib();
  ask("storm", "go.now", 0);
  size_t after = resident_mib();
  cr_assert_eq(t.code, 0);
  cr_assert_leq(after, before + MOST_MIB, "the flood took %zu MiB", after - before);
  wait_until(&t.late, 65536);
  usleep(100000);
  cr_assert_leq(t.late, 262144 + 2);
  cr_assert_leq(t.events, STORM);
  cr_assert_eq(t.wrong, 0);
  ask("edge", "edge.say", 0);
  cr_assert_eq(t.code, 0);
  kg_kernel_free(k);
}

Test(process, that_waits_for_its_next_start_is_unloaded) {
  kg_kernel_t *k = kernel_with("/dev/null");
  kg_error_t err = {0};
  load(k, "asker", "other", &asker);
  for (int i = 0; i < 3; i++) {
    cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "unruly", .file = "unruly.so", .process = true}, &err),
                 0, "%s", err.text);
    for (int n = 0; n < 4; n++) ask("unruly", "unruly.crash", 0); /* each time it waits longer */
    cr_assert_eq(kg_kernel_unload(k, "unruly", &err), 0, "%s", err.text);
    usleep(50000);
  }
  kg_kernel_free(k);
}
