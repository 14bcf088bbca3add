/* Inside a process a document is never copied, whatever its size: the receiver has the very same one. */
#include "harness.h"

static const size_t sizes[] = {1, 64, 4096, 65536, 1 << 20, 32 << 20};
enum { SIZES = sizeof sizes / sizeof *sizes };

static struct {
  kg_doc_t *args[SIZES], *doc[SIZES];
  atomic_int there, back, wrong, events;
} t;

static int size_of(const kg_msg_t *m) {
  for (int i = 0; i < SIZES; i++)
    if (kg_msg_args_doc(m) == t.args[i] && kg_msg_ndocs(m) == 1 && kg_msg_doc(m, 0) == t.doc[i]) return i;
  t.wrong++;
  return 0;
}

static void keep(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  int i = size_of(m);
  t.there++;
  kg_publish(ctx, "kept.it", t.args[i], &t.doc[i], 1);
  kg_stream_item(ctx, m, t.args[i], &t.doc[i], 1);
  kg_stream_end(ctx, m);
}

static const char *const services[] = {"keeper", NULL};
static const kg_handler_t handlers[] = {{"keep.it", keep}, {0}};
static const kg_plugin_t keeper =
    DESCRIPTOR(.name = "keeper", .role = "keeper", .services = services, .handlers = handlers);

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  if (kg_msg_type(m) == KG_MSG_ITEM) size_of(m);
  if (kg_msg_type(m) == KG_MSG_END) t.back++;
}

static void heard(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx, (void)self;
  size_of(m);
  t.events++;
}

static void ask_all(kg_ctx_t *ctx, void *self) {
  (void)self;
  kg_subscribe(ctx, "kept.");
  for (int i = 0; i < SIZES; i++)
    kg_send(ctx, &(kg_request_t){.service = "keeper",
                                 .topic = "keep.it",
                                 .args = t.args[i],
                                 .docs = &t.doc[i],
                                 .ndocs = 1,
                                 .stream = true,
                                 .fn = answered});
}

static const kg_handler_t hears[] = {{"kept.it", heard}, {0}};
static const kg_plugin_t asker = DESCRIPTOR(.name = "asker", .role = "asker", .handlers = hears, .activate = ask_all);

static void send_to_lane(const char *lane) {
  kg_kernel_t *k = new_kernel();
  for (int i = 0; i < SIZES; i++) {
    t.doc[i] = kg_doc_take(calloc(1, sizes[i]), sizes[i]);
    t.args[i] = int_args("size", (int64_t)sizes[i]);
  }
  load(k, "keeper", lane, &keeper);
  load(k, "asker", "main", &asker);
  wait_until(&t.back, SIZES);
  wait_until(&t.events, SIZES);
  kg_kernel_free(k);
  cr_assert_eq(t.there, SIZES);
  cr_assert_eq(t.wrong, 0, "%d times it was not the same document", t.wrong);
  for (int i = 0; i < SIZES; i++) {
    cr_assert_eq(kg_doc_refs(t.doc[i]), 1, "somebody still holds it");
    kg_doc_unref(t.doc[i]);
    kg_doc_unref(t.args[i]);
  }
}

Test(copies, there_are_none_in_one_lane) {
  send_to_lane("main");
}

Test(copies, there_are_none_from_lane_to_lane) {
  send_to_lane("other");
}
