/* Definitions here come before those of libkogge. */
#include "kernel.h"
#include "msg_internal.h"

typedef struct pending {
  uint64_t id;
  bool api_get, list, stream, starved; /* starved: it wants to hear of credit */
  kg_reply_fn fn;
  void *arg;
} pending_t;

enum { MOST = 4096, ROUNDS = 8 };
static pending_t pending[MOST];
static size_t npending;
static uint64_t ids;

KG_PUBLIC int64_t kg_now_ms(kg_ctx_t *c) {
  return (void)c, 1000000;
}
KG_PUBLIC int64_t kg_now_us(kg_ctx_t *c) {
  return (void)c, 1000000000;
}
KG_PUBLIC int64_t kg_wall_us(kg_ctx_t *c) {
  return (void)c, 1800000000000000;
}
KG_PUBLIC uint64_t kg_random(kg_ctx_t *c) {
  return (void)c, 4;
}
KG_PUBLIC kg_view_t kg_config(kg_ctx_t *c) {
  return (void)c, (kg_view_t){0};
}
KG_PUBLIC const char *kg_data_dir(kg_ctx_t *c) {
  return (void)c, "/nonexistent";
}
KG_PUBLIC void kg_log(kg_ctx_t *c, kg_level_t l, const char *f, ...) {
  (void)c, (void)l, (void)f;
}
KG_PUBLIC uint64_t kg_timer(kg_ctx_t *c, int64_t ms, int64_t period, kg_timer_fn fn, void *arg) {
  return (void)c, (void)ms, (void)period, (void)fn, (void)arg, ++ids;
}
KG_PUBLIC void kg_timer_cancel(kg_ctx_t *c, uint64_t id) {
  (void)c, (void)id;
}
KG_PUBLIC int kg_fd_watch(kg_ctx_t *c, int fd, uint32_t ev, kg_fd_fn fn, void *arg, kg_error_t *err) {
  return (void)c, (void)fd, (void)ev, (void)fn, (void)arg, (void)err, 0;
}
KG_PUBLIC int kg_fd_change(kg_ctx_t *c, int fd, uint32_t ev) {
  return (void)c, (void)fd, (void)ev, 0;
}
KG_PUBLIC void kg_fd_forget(kg_ctx_t *c, int fd) {
  (void)c, (void)fd;
}

KG_PUBLIC uint64_t kg_send(kg_ctx_t *c, const kg_request_t *r) {
  (void)c;
  if (r->args) fuzz_check(r->args); /* what goes on the bus is always whole */
  for (size_t i = 0; i < r->ndocs; i++) fuzz_check(r->docs[i]);
  ids++;
  if (r->fn && npending < MOST)
    pending[npending++] = (pending_t){.id = ids,
                                      .api_get = !strcmp(r->topic, "api.get"),
                                      .list = !strcmp(r->topic, "api.list"),
                                      .stream = r->stream,
                                      .fn = r->fn,
                                      .arg = r->arg};
  return ids;
}
KG_PUBLIC void kg_cancel(kg_ctx_t *c, uint64_t id) {
  (void)c;
  for (size_t i = 0; i < npending; i++)
    if (pending[i].id == id) pending[i].fn = NULL;
}
KG_PUBLIC void kg_credit(kg_ctx_t *c, uint64_t id, uint32_t n) {
  (void)c, (void)id, (void)n;
}
KG_PUBLIC int kg_call_item(kg_ctx_t *c, uint64_t id, kg_doc_t *args, kg_doc_t *const *docs, size_t n) {
  (void)c, (void)docs, (void)n;
  if (args) fuzz_check(args);
  if (ids++ % 3) return 5;
  for (size_t i = 0; i < npending; i++)
    if (pending[i].id == id) pending[i].starved = true;
  return -1;
}
KG_PUBLIC void kg_call_end(kg_ctx_t *c, uint64_t id) {
  (void)c, (void)id;
}

/* --- answers ----------------------------------------------------------------------------------------------------- */

static kg_doc_t *pod(void) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "kind", "Pod");
  kg_pack_kv_str(&p, "apiVersion", "v1");
  kg_pack_key(&p, "metadata");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", "p");
  kg_pack_kv_str(&p, "namespace", "a");
  kg_pack_end(&p);
  kg_pack_key(&p, "spec");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "nodeName", "n");
  kg_pack_key(&p, "containers");
  kg_pack_array(&p);
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", "c");
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static kg_doc_t *args_of(bool list) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  if (list) {
    kg_pack_kv_str(&p, "rv", "7");
    kg_pack_kv_str(&p, "kind", "PodList");
    kg_pack_kv_str(&p, "apiVersion", "v1");
  }
  kg_pack_kv_str(&p, "type", "ADDED");
  kg_pack_key(&p, "out");
  kg_pack_bin(&p, "hello\n", 6);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void tell(const pending_t *k, kg_msg_type_t type, kg_doc_t *args, kg_doc_t *doc) {
  kg_msg_t *m =
      kg_msg_new(&(kg_msg_init_t){.type = type, .topic = "answer", .args = args, .docs = &doc, .ndocs = doc ? 1 : 0});
  k->fn(NULL, NULL, m, k->arg);
  kg_msg_unref(m);
}

static void answer_one(size_t i) {
  pending_t *k = &pending[i], now = *k;
  kg_doc_t *args = args_of(now.list), *doc = now.stream || now.list || now.api_get ? pod() : NULL;
  if (now.stream) {
    tell(&now, KG_MSG_ITEM, args, doc);
    if (k->fn && k->starved) tell(&now, KG_MSG_CREDIT, NULL, NULL);
    k->starved = false;
  } else {
    k->fn = NULL;
    tell(&now, KG_MSG_REPLY, args, doc);
  }
  kg_doc_unref(args);
  kg_doc_unref(doc);
}

void kernel_answer(void) {
  for (int round = 0; round < ROUNDS; round++)
    for (size_t i = 0, n = npending; i < n; i++)
      if (pending[i].fn) answer_one(i);
}

bool kernel_reset(void) {
  bool quiet = true;
  for (size_t i = 0; i < npending; i++) quiet &= !pending[i].fn;
  npending = 0;
  ids = 0;
  return quiet;
}
