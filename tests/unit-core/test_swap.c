#include "harness.h"

#include <stdlib.h>
#include <unistd.h>

/*
 * Two senders, one in the server's lane and one in another, keep 32 numbered requests each in flight. The server checks
 * that each sender's numbers come without a gap or a repeat, and hands the last ones over when it is swapped.
 */
enum { SENDERS = 2, FLIGHT = 32 };

static struct { atomic_int wrong, answered, failed, served, resumed, created, destroyed, stop; } t;

typedef struct server {
  int64_t last[SENDERS];
  bool drained;
} server_t;

static void take(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  server_t *s = self;
  int64_t who = int_of(m, "who"), n = int_of(m, "n");
  if (n != s->last[who] + 1 || s->drained) t.wrong++;
  s->last[who] = n;
  t.served++;
  kg_reply(ctx, m, kg_msg_args_doc(m), NULL, 0);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)err;
  *self = calloc(1, sizeof(server_t));
  t.created++;
  return 0;
}

static void drain(kg_ctx_t *ctx, void *self) {
  ((server_t *)self)->drained = true;
  kg_drained(ctx);
}

static int hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)err;
  server_t *s = self;
  kg_pack_t p = kg_pack();
  kg_pack_array(&p);
  for (int i = 0; i < SENDERS; i++) kg_pack_int(&p, s->last[i]);
  if (kg_forced(ctx)) kg_pack_str(&p, "the rest was given up");
  kg_pack_end(&p);
  *state = kg_pack_doc(&p);
  return 0;
}

static int take_over(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx, (void)err;
  server_t *s = self;
  for (int i = 0; i < SENDERS; i++) s->last[i] = kg_view_int(kg_view_at(state, (size_t)i), -1);
  return 0;
}

static int refuse(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx, (void)self, (void)state;
  return kg_error_set(err, KG_EINVAL, "I do not want this");
}

static int take_over_less(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  if (kg_view_count(state) == SENDERS) return kg_error_set(err, KG_ECONFLICT, "this is too much");
  return take_over(ctx, self, state, err);
}

static void resume(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  ((server_t *)self)->drained = false;
  t.resumed++;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  free(self);
  t.destroyed++;
}

static int refuse_to_hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)ctx, (void)self, (void)state;
  return kg_error_set(err, KG_EINTERNAL, "I keep my state");
}

static void never_drained(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  ((server_t *)self)->drained = true;
}

static int give_up(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_not_ready(ctx, "the well is dry");
  return 0;
}

static const char *const services[] = {"numbers", NULL};
static const kg_handler_t handlers[] = {{"numbers.take", take}, {0}};
#define SERVER(n, ...)                                                                                                 \
  DESCRIPTOR(.name = n, .role = "numbers", .services = services, .handlers = handlers, .create = create,               \
             .destroy = destroy, .resume = resume, __VA_ARGS__)
static const kg_plugin_t good = SERVER("good", .drain = drain, .hand_over = hand_over, .accept = take_over);
static const kg_plugin_t refuser = SERVER("refuser", .drain = drain, .hand_over = hand_over, .accept = refuse);
static const kg_plugin_t picky = SERVER("picky", .drain = drain, .hand_over = hand_over, .accept = take_over_less);
static const kg_plugin_t miser = SERVER("miser", .drain = drain, .hand_over = refuse_to_hand_over, .accept = take_over);
static const kg_plugin_t sticky = SERVER("sticky", .drain = never_drained, .hand_over = hand_over, .accept = take_over);
static const kg_plugin_t unready = SERVER("unready", .start = give_up, .accept = take_over);
static const kg_plugin_t stranger = DESCRIPTOR(.name = "stranger", .role = "letters");

/* --- senders
 * ---------------------------------------------------------------------------------------------------------------- */

static void next(kg_ctx_t *ctx, void *self);

typedef struct sender {
  int64_t who, sent, back, open;
} sender_t;

static void back(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  sender_t *s = self;
  s->open--;
  if (kg_msg_type(m) != KG_MSG_REPLY)
    t.failed++;
  else if (int_of(m, "n") != ++s->back)
    t.wrong++;
  t.answered++;
  next(ctx, self);
}

static void next(kg_ctx_t *ctx, void *self) {
  sender_t *s = self;
  while (s->open < FLIGHT && !t.stop) {
    s->open++;
    kg_pack_t p = kg_pack();
    kg_pack_map(&p);
    kg_pack_kv_int(&p, "who", s->who);
    kg_pack_kv_int(&p, "n", ++s->sent);
    kg_pack_end(&p);
    kg_doc_t *args = kg_pack_doc(&p);
    kg_send(ctx, &(kg_request_t){.service = "numbers", .topic = "numbers.take", .args = args, .fn = back});
    kg_doc_unref(args);
  }
}

static int create_sender(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)err;
  sender_t *s = calloc(1, sizeof *s);
  s->who = strcmp(kg_name(ctx), "far") == 0;
  *self = s;
  return 0;
}

static void destroy_sender(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  free(self);
}

static const kg_plugin_t sender = DESCRIPTOR(.name = "sender", .role = "sender", .create = create_sender,
                                             .activate = next, .destroy = destroy_sender);

static kg_kernel_t *under_load(const kg_plugin_t *server) {
  kg_kernel_t *k = new_kernel();
  load(k, "numbers", "main", server);
  load(k, "near", "main", &sender);
  load(k, "far", "other", &sender);
  wait_until(&t.answered, 1000);
  return k;
}

static void go_on(void) {
  wait_until(&t.answered, t.answered + 5000);
}

static void finish(kg_kernel_t *k) {
  go_on();
  t.stop = 1;
  for (int before = -1; before != t.answered; usleep(20000)) before = t.answered;
  cr_assert_eq(t.wrong, 0, "%d messages were lost, doubled or out of order", t.wrong);
  cr_assert_eq(t.failed, 0, "%d requests failed", t.failed);
  cr_assert_eq(t.served, t.answered);
  kg_kernel_free(k);
  cr_assert_eq(t.created, t.destroyed);
}

Test(swap, under_load_loses_doubles_and_reorders_nothing) {
  kg_kernel_t *k = under_load(&good);
  int64_t worst = 0;
  for (int i = 0; i < 100; i++) {
    kg_error_t err = {0};
    int64_t pause_us = 0;
    cr_assert_eq(kg_kernel_swap(k, "numbers", NULL, &good, &pause_us, &err), 0, "%s", err.text);
    if (pause_us > worst) worst = pause_us;
  }
  cr_log_info("longest pause %lld us", (long long)worst);
  cr_assert_eq(t.created, 101);
  finish(k);
}

static void rolled_back(const kg_plugin_t *old, const kg_plugin_t *new, int resumed, const char *sentence) {
  kg_kernel_t *k = under_load(old);
  kg_error_t err = {0};
  for (int i = 0; i < 3; i++) {
    cr_assert_eq(kg_kernel_swap(k, "numbers", NULL, new, NULL, &err), -1);
    cr_assert_str_eq(err.text, sentence);
    go_on();
  }
  cr_assert_eq(t.resumed, resumed * 3);
  finish(k);
}

Test(swap, a_successor_that_refuses_the_state_leaves_the_old_one_working) {
  rolled_back(&good, &refuser, 1, "I do not want this: swap refused, numbers (good 1) goes on");
}
Test(swap, by_force_the_old_one_gives_up_what_the_new_one_refuses) {
  kg_kernel_t *k = under_load(&good);
  kg_error_t err = {0};
  cr_assert_eq(kg_kernel_swap(k, "numbers", NULL, &picky, NULL, &err), -1);
  cr_assert_str_eq(err.text, "this is too much: swap refused, numbers (good 1) goes on");
  go_on();
  cr_assert_eq(kg_kernel_swap_by_force(k, "numbers", NULL, &refuser, NULL, &err), -1);
  cr_assert_str_eq(err.text, "I do not want this: swap refused, numbers (good 1) goes on");
  go_on();
  cr_assert_eq(kg_kernel_swap(k, "numbers", NULL, &picky, NULL, &err), -1, "force is over");
  cr_assert_eq(kg_kernel_swap_by_force(k, "numbers", NULL, &picky, NULL, &err), 0, "%s", err.text);
  cr_assert_eq(err.code, 0);
  cr_assert_eq(t.resumed, 3);
  finish(k);
}
Test(swap, an_old_one_that_hands_nothing_over_stays) {
  rolled_back(&miser, &good, 1, "I keep my state: swap refused, numbers (miser 1) goes on");
}
Test(swap, an_old_one_that_does_not_finish_in_time_stays) {
  rolled_back(&sticky, &good, 1,
              "numbers had not finished its work after 2000 ms: swap refused, numbers (sticky 1) goes on");
}
Test(swap, a_successor_that_is_not_ready_never_gets_a_message) {
  rolled_back(&good, &unready, 0, "the well is dry: swap refused, numbers (good 1) goes on");
}
Test(swap, a_plugin_of_another_role_is_refused) {
  rolled_back(&good, &stranger, 0,
              "stranger keeps the contract of role letters, not of numbers: swap refused, numbers (good 1) goes on");
}

/* --- names
 * ------------------------------------------------------------------------------------------------------------------ */

static int serve_more(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self;
  if (kg_serve(ctx, "numbers/special", err) < 0) return -1;
  kg_ready(ctx);
  return 0;
}

static bool serves(kg_kernel_t *k, const char *name) {
  kg_doc_t *doc = kg_kernel_list(k);
  char *json = kg_view_to_json(kg_view_of(doc)), quoted[100];
  snprintf(quoted, sizeof quoted, "\"%s\"", name);
  bool found = strstr(json, quoted) != NULL;
  free(json);
  kg_doc_unref(doc);
  return found;
}

Test(names, claimed_in_start_come_with_activation_and_pass_in_a_swap) {
  static const kg_plugin_t more = SERVER("more", .start = serve_more);
  kg_kernel_t *k = new_kernel();
  kg_error_t err = {0};
  load(k, "numbers", "main", &more);
  cr_assert(serves(k, "numbers/special"));
  cr_assert_eq(kg_kernel_swap(k, "numbers", NULL, &more, NULL, &err), 0, "%s", err.text);
  cr_assert(serves(k, "numbers/special"));
  cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "second", .descriptor = &more}, &err), -1);
  cr_assert_str_eq(err.text, "plugin second was not loaded: second cannot serve numbers/special: numbers does");
  cr_assert_eq(kg_kernel_unload(k, "numbers", &err), 0);
  cr_assert(!serves(k, "numbers/special"));
  load(k, "second", "other", &more);
  kg_kernel_free(k);
}
