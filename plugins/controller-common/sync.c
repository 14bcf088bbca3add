#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"

typedef struct kept {
  struct kept *next;
  kg_doc_t *doc;
  kg_msg_t *msg;
} kept_t;

struct ctl_sync {
  ctl_sync_t *next, **at; /* in the list of open passes */
  ctl_work_t *work;
  kube_arena_t *arena;
  kept_t *kept;
  unsigned pending;
  bool failed, forgiven;
  ctl_step_fn then;
  void *then_arg;
  char key[CTL_KEY_MAX];
};

typedef struct write {
  ctl_sync_t *sync;
  ctl_verb_t verb;
  ctl_answer_fn fn;
  void *arg;
} write_t;

void ctl_work_begin(kg_ctx_t *ctx, ctl_work_t *w, kube_work_fn fn, unsigned parallel) {
  w->draining = false;
  w->fn = fn;
  if (!w->queue) w->queue = kube_queue_new(ctx, fn, parallel, NULL);
}

static void end_queue(kg_ctx_t *ctx, ctl_work_t *w) {
  kube_queue_free(ctx, w->queue);
  w->queue = NULL;
}

void ctl_work_drain(kg_ctx_t *ctx, ctl_work_t *w) {
  w->draining = true;
  if (w->open) return;
  end_queue(ctx, w);
  kg_drained(ctx);
}

void ctl_work_add(kg_ctx_t *ctx, ctl_work_t *w, const char *key) {
  if (w->queue && !w->draining) kube_queue_add(ctx, w->queue, key);
}

void ctl_work_add_after(kg_ctx_t *ctx, ctl_work_t *w, const char *key, int64_t delay_ms) {
  if (w->queue && !w->draining) kube_queue_add_after(ctx, w->queue, key, delay_ms);
}

void ctl_work_add_all(kg_ctx_t *ctx, ctl_work_t *w, const kube_informer_t *inf) {
  char key[CTL_KEY_MAX];
  kg_doc_t *doc;
  for (size_t i = 0; (doc = kube_informer_at(inf, i)); i++) ctl_work_add(ctx, w, ctl_key(kg_view_of(doc), key));
}

void ctl_work_stats(const ctl_work_t *w, kg_pack_t *p) {
  kg_pack_kv_int(p, "queue", w->queue ? (int64_t)kube_queue_length(w->queue) : 0);
  kg_pack_kv_int(p, "passes", (int64_t)w->passes);
  kg_pack_kv_int(p, "failures", (int64_t)w->failures);
}

ctl_sync_t *ctl_sync_begin(ctl_work_t *w, const char *key) {
  kube_arena_t *arena = kube_arena_new();
  ctl_sync_t *s = kube_arena_alloc(arena, sizeof *s);
  s->arena = arena;
  s->work = w;
  s->pending = 1; /* the pass itself */
  s->next = w->open;
  s->at = &w->open;
  if (s->next) s->next->at = &s->next;
  w->open = s;
  w->passes++;
  snprintf(s->key, sizeof s->key, "%s", key);
  return s;
}

kube_arena_t *ctl_arena(ctl_sync_t *s) {
  return s->arena;
}

const char *ctl_sync_key(const ctl_sync_t *s) {
  return s->key;
}

kg_doc_t *ctl_keep(ctl_sync_t *s, kg_doc_t *doc) {
  kept_t *k = kube_arena_alloc(s->arena, sizeof *k);
  *k = (kept_t){s->kept, kg_doc_ref(doc), NULL};
  s->kept = k;
  return doc;
}

ctl_sync_t *ctl_sync_object(ctl_work_t *w, const char *key, const kube_informer_t *inf, kg_doc_t **doc) {
  kg_str_t ns, name;
  ctl_sync_t *s = ctl_sync_begin(w, key);
  ctl_split(key, &ns, &name);
  *doc = ctl_keep(s, kube_informer_get(inf, ns, name));
  return s;
}

void ctl_keep_msg(ctl_sync_t *s, const kg_msg_t *m) {
  kept_t *k = kube_arena_alloc(s->arena, sizeof *k);
  *k = (kept_t){s->kept, NULL, kg_msg_ref(m)};
  s->kept = k;
}

void ctl_sync_failed(ctl_sync_t *s) {
  s->failed = true;
}

void ctl_sync_forgive(ctl_sync_t *s) {
  s->forgiven = true;
}

static void unlink_free(ctl_sync_t *s) {
  *s->at = s->next;
  if (s->next) s->next->at = s->at;
  for (kept_t *k = s->kept; k; k = k->next) {
    kg_doc_unref(k->doc);
    kg_msg_unref(k->msg);
  }
  kube_arena_free(s->arena);
}

void ctl_work_free(kg_ctx_t *ctx, ctl_work_t *w) {
  while (w->open) unlink_free(w->open);
  if (w->queue) end_queue(ctx, w);
}

void ctl_sync_then(ctl_sync_t *s, ctl_step_fn fn, void *arg) {
  s->then = fn;
  s->then_arg = arg;
}

static void release(kg_ctx_t *ctx, void *self, ctl_sync_t *s) {
  while (--s->pending == 0 && s->then && !s->failed) {
    ctl_step_fn then = s->then;
    s->then = NULL;
    s->pending = 1; /* the step itself */
    then(ctx, self, s, s->then_arg);
  }
  if (s->pending) return;
  ctl_work_t *w = s->work;
  char key[CTL_KEY_MAX];
  bool failed = s->failed;
  memcpy(key, s->key, sizeof key);
  w->failures += failed;
  unlink_free(s);
  kube_queue_done(ctx, w->queue, key, failed);
  if (w->draining) ctl_work_drain(ctx, w);
}

void ctl_sync_end(kg_ctx_t *ctx, void *self, ctl_sync_t *s) {
  release(ctx, self, s);
}

static bool harmless(const write_t *w, const kg_msg_t *m) {
  return kg_msg_code(m) == KG_ENOTFOUND && w->verb != CTL_CREATE && w->verb != CTL_UPDATE;
}

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  write_t *w = arg;
  ctl_sync_t *s = w->sync;
  s->forgiven = false;
  if (w->fn) w->fn(ctx, self, s, m, w->arg);
  if (kg_msg_type(m) == KG_MSG_ERROR && !harmless(w, m) && !s->forgiven) {
    s->failed = true;
    /* A conflict only says that the cache was behind. */
    kg_level_t level = kg_msg_code(m) == KG_ECONFLICT ? KG_LOG_DEBUG : KG_LOG_WARN;
    kg_log(ctx, level, "%s: %s", s->key, kg_msg_text(m));
  }
  release(ctx, self, s);
}

static write_t *write_new(ctl_sync_t *s, ctl_verb_t verb, ctl_answer_fn fn, void *arg) {
  write_t *w = kube_arena_alloc(s->arena, sizeof *w);
  *w = (write_t){s, verb, fn, arg};
  s->pending++;
  return w;
}

void ctl_send(kg_ctx_t *ctx, ctl_sync_t *s, ctl_verb_t verb, const kube_call_t *c, ctl_answer_fn fn, void *arg) {
  typedef uint64_t (*send_fn)(kg_ctx_t *, const kube_call_t *, kg_reply_fn, void *);
  static const send_fn sends[] = {
      [CTL_CREATE] = kube_api_create, [CTL_UPDATE] = kube_api_update, [CTL_PATCH] = kube_api_patch,
      [CTL_DELETE] = kube_api_delete, [CTL_GET] = kube_api_get,       [CTL_DELETE_ALL] = kube_api_delete_all,
      [CTL_LIST] = kube_api_list};
  sends[verb](ctx, c, answered, write_new(s, verb, fn, arg));
}

void ctl_request(kg_ctx_t *ctx, ctl_sync_t *s, const kg_request_t *r, ctl_answer_fn fn, void *arg) {
  kg_request_t own = *r;
  own.fn = answered;
  own.arg = write_new(s, CTL_GET, fn, arg);
  kg_send(ctx, &own);
}

/* What a merge patch needs to turn `old` into `now`. */
static kube_node_t *merge_diff(kube_arena_t *a, const kube_node_t *old, const kube_node_t *now) {
  kube_node_t *diff = kube_map(a);
  for (uint32_t i = 0; i < old->c.n; i++)
    if (!kube_getn(now, old->c.keys[i])) kube_setn(a, diff, old->c.keys[i], kube_nil(a));
  for (uint32_t i = 0; i < now->c.n; i++) {
    kube_node_t *was = kube_getn(old, now->c.keys[i]), *is = now->c.items[i];
    if (was && kube_tree_equal(was, is)) continue;
    bool maps = was && was->type == KG_V_MAP && is->type == KG_V_MAP;
    kube_setn(a, diff, now->c.keys[i], maps ? merge_diff(a, was, is) : is);
  }
  return diff;
}

static bool send_status(kg_ctx_t *ctx, ctl_sync_t *s, kube_gvr_t gvr, kg_view_t object, kube_node_t *status,
                        bool guarded) {
  kube_arena_t *a = s->arena;
  kg_view_t old = kg_view_get(object, "status"), rv = kg_view_path(object, "metadata", "resourceVersion", NULL);
  kube_node_t *was = kg_view_there(old) ? kube_tree_parse(a, old) : NULL;
  if (was && kube_tree_equal(was, status)) return false;
  kube_node_t *patch = kube_map(a);
  kube_set(a, patch, "status", merge_diff(a, was && was->type == KG_V_MAP ? was : kube_map(a), status));
  if (guarded) kube_set(a, kube_sub(a, patch, "metadata"), "resourceVersion", kube_strn(a, kg_view_str(rv)));
  kg_doc_t *doc = kube_tree_doc(patch);
  ctl_send(ctx, s, CTL_PATCH,
           &(kube_call_t){.gvr = gvr,
                          .ns = ctl_text(a, kube_namespace(object)),
                          .name = ctl_text(a, kube_name(object)),
                          .sub = "status",
                          .object = doc,
                          .patch_type = "merge",
                          .grace_seconds = -1},
           NULL, NULL);
  kg_doc_unref(doc);
  return true;
}

bool ctl_send_status(kg_ctx_t *ctx, ctl_sync_t *s, kube_gvr_t gvr, kg_view_t object, kube_node_t *status) {
  return send_status(ctx, s, gvr, object, status, false);
}

bool ctl_send_status_guarded(kg_ctx_t *ctx, ctl_sync_t *s, kube_gvr_t gvr, kg_view_t object, kube_node_t *status) {
  return send_status(ctx, s, gvr, object, status, true);
}
