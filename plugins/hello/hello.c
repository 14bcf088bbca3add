/* The smallest plugin that does something: answers hello.say and counts. Read it together with kogge/plugin.h. */
#include <stdlib.h>

#include "kogge/plugin.h"

typedef struct hello {
  int64_t greeted;
} hello_t;

/* A request came: read its arguments where they lie, build the answer, send it. */
static void say(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  hello_t *h = self;
  kg_str_t name = kg_view_str(kg_view_get(kg_msg_args(m), "name"));
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "text");
  kg_pack_fmt(&p, "Hello, " KG_STR_FMT "!", KG_STR_ARG(name.n ? name : KG_STR("world")));
  kg_pack_kv_int(&p, "greeted", ++h->greeted);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx;
  *self = calloc(1, sizeof(hello_t));
  return *self ? 0 : kg_error_set(err, KG_EFULL, "out of memory");
}

/* What a successor needs to go on: `kogge plugin swap hello hello` keeps the count. */
static int hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)ctx;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "greeted", ((hello_t *)self)->greeted);
  kg_pack_end(&p);
  *state = kg_pack_doc(&p);
  return *state ? 0 : kg_error_set(err, KG_EFULL, "out of memory");
}

static int accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx, (void)err;
  ((hello_t *)self)->greeted = kg_view_int(kg_view_get(state, "greeted"), 0);
  return 0;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  free(self);
}

static const char *const services[] = {"hello", NULL};
static const kg_handler_t handlers[] = {{"hello.say", say}, {0}};

KG_PLUGIN(.name = "hello", .role = "hello", .version = "0.1.0", .summary = "Greets and counts.", .services = services,
          .handlers = handlers, .create = create, .hand_over = hand_over, .accept = accept, .destroy = destroy);
