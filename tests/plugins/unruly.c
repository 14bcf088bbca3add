/* Misbehaves when asked: dies, hangs, floods; otherwise it answers like a good one. For processes of their own. */
#include "kogge/plugin.h"

#include <stdlib.h>
#include <time.h>

typedef struct unruly {
  int64_t asked;
} unruly_t;

static void say(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  unruly_t *u = self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "n", kg_view_int(kg_view_get(kg_msg_args(m), "n"), -1));
  kg_pack_kv_int(&p, "count", ++u->asked);
  kg_pack_kv_str(&p, "source", kg_msg_source(m));
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p), *doc = kg_msg_doc(m, 0);
  kg_reply(ctx, m, args, &doc, doc ? 1 : 0);
  kg_doc_unref(args);
}

static void crash(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx, (void)self, (void)m;
  abort();
}

static void hang(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  nanosleep(&(struct timespec){kg_view_int(kg_view_get(kg_msg_args(m), "ms"), 0) / 1000,
                               kg_view_int(kg_view_get(kg_msg_args(m), "ms"), 0) % 1000 * 1000000},
            NULL);
  kg_reply(ctx, m, NULL, NULL, 0);
}

static void keep(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx, (void)self, (void)m; /* never answered */
}

static void flood(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  int64_t n = kg_view_int(kg_view_get(kg_msg_args(m), "n"), 0);
  for (int64_t i = 0; i < n; i++) kg_send(ctx, &(kg_request_t){.service = "nobody", .topic = "nobody.there"});
  kg_reply(ctx, m, NULL, NULL, 0);
}

static void relayed(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  kg_msg_t *request = arg;
  if (kg_msg_type(m) == KG_MSG_ERROR)
    kg_fail(ctx, request, kg_msg_code(m), "%s", kg_msg_text(m));
  else
    kg_reply(ctx, request, kg_msg_args_doc(m), NULL, 0);
  kg_msg_unref(request);
}

/* Asks service `echo` and answers what it says. */
static void relay(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_send(ctx,
          &(kg_request_t){
              .service = "echo", .topic = "echo.say", .args = kg_msg_args_doc(m), .fn = relayed, .arg = kg_msg_ref(m)});
}

static void count(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  for (int64_t i = 0, n = kg_view_int(kg_view_get(kg_msg_args(m), "n"), 0); i < n; i++)
    if (kg_stream_item(ctx, m, kg_msg_args_doc(m), NULL, 0) < 0) break;
  kg_stream_end(ctx, m);
}

static void heard(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_publish(ctx, "unruly.heard", kg_msg_args_doc(m), NULL, 0);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  if (kg_view_bool(kg_view_get(kg_config(ctx), "refuse"), false))
    return kg_error_set(err, KG_EINVAL, "I was told to refuse");
  return (*self = calloc(1, sizeof(unruly_t))) ? 0 : kg_error_set(err, KG_EFULL, "out of memory");
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self;
  if (kg_view_bool(kg_view_get(kg_config(ctx), "die"), false)) abort();
  if (kg_serve(ctx, "unruly/more", err) < 0) return -1;
  kg_subscribe(ctx, "news.");
  kg_ready(ctx);
  return 0;
}

/* By force it gives up what it counted. */
static int hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)err;
  kg_pack_t p = kg_pack();
  kg_pack_int(&p, kg_forced(ctx) ? 0 : ((unruly_t *)self)->asked);
  *state = kg_pack_doc(&p);
  return 0;
}

static int accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx;
  ((unruly_t *)self)->asked = kg_view_int(state, -1000);
  if (((unruly_t *)self)->asked == 13) return kg_error_set(err, KG_EINVAL, "13 is unlucky");
  return 0;
}

static int configure(kg_ctx_t *ctx, void *self, kg_view_t config, kg_error_t *err) {
  (void)ctx, (void)self;
  return kg_view_there(kg_view_get(config, "bad")) ? kg_error_set(err, KG_EINVAL, "this is bad") : 0;
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  kg_pack_kv_int(p, "asked", ((unruly_t *)self)->asked);
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  free(self);
}

static const char *const services[] = {"unruly", NULL};
static const kg_handler_t handlers[] = {
    {"unruly.say", say},     {"unruly.crash", crash}, {"unruly.hang", hang},
    {"unruly.keep", keep},   {"unruly.flood", flood}, {"unruly.relay", relay},
    {"unruly.count", count}, {"news.*", heard},       {0},
};

KG_PLUGIN(.name = "unruly", .role = "unruly", .version = "1", .services = services, .handlers = handlers,
          .create = create, .start = start, .hand_over = hand_over, .accept = accept, .configure = configure,
          .stats = stats, .destroy = destroy);
