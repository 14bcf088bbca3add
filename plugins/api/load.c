/*
 * The cache is filled by ranging the store once, page by page, as it was a few thousand changes ago, and kept by its
 * watch from there on: so that who watched before a restart finds the changes since then in the rings and goes on.
 */
#include <stdlib.h>
#include <string.h>

#include "api.h"

enum { PAGE = 5000, WATCH_CREDIT = 65536, RECENT = 4096, AGAIN_MS = 200 };

static void read_page(api_t *api);

static void on_retry(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  api_t *api = self;
  if (api->definitions || api->page) /* the page that failed */
    read_page(api);
  else
    cache_load(api);
}

static void load_again(api_t *api, const kg_msg_t *m) {
  kg_log(api->ctx, KG_LOG_WARN, "the store cannot be followed, reading everything again: %s", kg_msg_text(m));
  api->loaded = api->following = false;
  for (size_t i = 0; i < api->ncollections; i++) {
    watch_free(api->collections[i]);
    cache_empty(api->collections[i]);
  }
  free(api->page);
  api->page = NULL;
  api->definitions = 0;
  kg_timer(api->ctx, AGAIN_MS, 0, on_retry, NULL);
}

static void follow(api_t *api);

static void on_follow_again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  follow(self);
}

static void on_item(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)arg;
  api_t *api = self;
  kg_view_t a = kg_msg_args(m);
  if (kg_msg_type(m) != KG_MSG_ITEM) {
    if (kg_msg_code(m) == KG_EGONE) return load_again(api, m);
    kg_timer(ctx, 5, 0, on_follow_again, NULL);
    return;
  }
  kg_str_t type = kg_view_str(kg_view_get(a, "type")), key = kg_view_str(kg_view_get(a, "key"));
  int64_t rev = kg_view_int(kg_view_get(a, "rev"), 0);
  if (kg_str_is(type, "put"))
    cache_put(api, key, rev, kg_view_int(kg_view_get(a, "create"), 0), kg_msg_doc(m, 0));
  else if (kg_str_is(type, "delete"))
    cache_delete(api, key, rev);
  if (rev > api->rev) api->rev = rev;
  if (!api->loaded && kg_view_bool(kg_view_get(a, "mark"), false)) {
    api->loaded = true;
    api_loaded(api);
  }
  write_flush(api);
}

/* Follows the store from the revision the cache shows; the cache is complete when the store says that this is what is
 * there now. */
static void follow(api_t *api) {
  api->following = true;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "from", ROOT);
  kg_pack_kv_int(&p, "rev", api->rev);
  kg_pack_kv_bool(&p, "prev", false);
  kg_pack_kv_bool(&p, "mark", !api->loaded);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_request_t r = {
      .service = "store", .topic = "store.watch", .args = args, .stream = true, .credit = WATCH_CREDIT, .fn = on_item};
  api->watch_call = kg_send(api->ctx, &r);
  kg_doc_unref(args);
}

static void take_page(api_t *api, const kg_msg_t *m) {
  size_t i = 0;
  kg_str_t last = {0};
  for (kg_iter_t it = kg_iter(kg_view_get(kg_msg_args(m), "entries")); kg_iter_next(&it); i++) {
    last = kg_view_str(kg_view_get(it.value, "key"));
    if (kg_msg_doc(m, i))
      cache_put(api, last, kg_view_int(kg_view_get(it.value, "mod"), 0),
                kg_view_int(kg_view_get(it.value, "create"), 0), kg_msg_doc(m, i));
  }
  free(api->page);
  api->page = NULL;
  /* The next page begins right behind the last key: with a NUL byte, which no key has. */
  if (kg_view_bool(kg_view_get(kg_msg_args(m), "more"), false)) api->page = kg_str_dup(last);
}

/* With history compacted meanwhile, or to an unknown point, the state of now must do. */
static void read_again(api_t *api, const kg_msg_t *m) {
  api->load_now = kg_msg_code(m) == KG_EGONE;
  if (api->load_now) return load_again(api, m);
  kg_log(api->ctx, KG_LOG_WARN, "cannot read the store, trying again: %s", kg_msg_text(m));
  kg_timer(api->ctx, AGAIN_MS, 0, on_retry, NULL);
}

static void pages_end(api_t *api) {
  api->load_now = false;
  api->rev = api->load_rev;
  for (size_t i = 0; i < api->ncollections; i++) api->collections[i]->ring_after = api->rev;
  follow(api);
}

static void on_page(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  api_t *api = self;
  if (kg_msg_type(m) != KG_MSG_REPLY) return read_again(api, m);
  take_page(api, m);
  if (!api->definitions)
    api->definitions = !api->page;
  else if (!api->page)
    return pages_end(api);
  read_page(api);
}

/* Definitions come first: where the objects of custom kinds belong is known from them. */
static void read_page(api_t *api) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_str_t from = api->definitions ? KG_STR(ROOT) : KG_STR(DEFINITIONS "/");
  if (api->page) from = (kg_str_t){api->page, strlen(api->page) + 1};
  kg_pack_kv_strn(&p, "from", from);
  kg_pack_kv_str(&p, "to", api->definitions ? "/registry0" : DEFINITIONS "0");
  kg_pack_kv_int(&p, "limit", PAGE);
  kg_pack_kv_int(&p, "rev", api->load_rev);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_request_t r = {.service = "store", .topic = "store.range", .args = args, .fn = on_page};
  kg_send(api->ctx, &r);
  kg_doc_unref(args);
}

static void on_status(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  api_t *api = self;
  if (kg_msg_type(m) != KG_MSG_REPLY) return read_again(api, m);
  int64_t rev = kg_view_int(kg_view_get(kg_msg_args(m), "rev"), 0);
  int64_t recent = kg_view_int(kg_view_get(kg_msg_args(m), "recent"), rev);
  api->load_rev = api->load_now ? rev : !recent && rev ? 1 : recent;
  read_page(api);
}

void cache_load(api_t *api) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "recent", RECENT);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_request_t r = {.service = "store", .topic = "store.status", .args = args, .fn = on_status};
  kg_send(api->ctx, &r);
  kg_doc_unref(args);
}
