#include "oci.h"

static const char *const STATES[] = {"created", "running", "exited"};

void pack_container(kg_pack_t *p, const container_t *c) {
  kg_pack_kv_str(p, "id", c->id);
  kg_pack_kv_str(p, "sandbox", c->sandbox);
  kg_pack_kv_str(p, "name", c->name);
  kg_pack_kv_int(p, "attempt", c->attempt);
  kg_pack_kv_str(p, "state", STATES[c->state]);
  kg_pack_kv_int(p, "pid", c->pid);
  kg_pack_kv_int(p, "created", c->created_us);
  kg_pack_kv_int(p, "started", c->started_us);
  kg_pack_kv_int(p, "finished", c->finished_us);
  kg_pack_kv_int(p, "exitCode", c->exit_code);
  if (c->reason) kg_pack_kv_str(p, "reason", c->reason);
  kg_pack_kv_bool(p, "oom", c->oom);
  kg_pack_kv_str(p, "image", c->image);
  kg_pack_kv_str(p, "imageID", c->image_ref);
  if (c->user) kg_pack_kv_view(p, "user", kg_view_of(c->user));
}

static void pack_sandbox(kg_pack_t *p, const oci_t *o, const sandbox_t *s) {
  kg_view_t args = kg_view_of(s->args);
  kg_pack_map(p);
  kg_pack_kv_str(p, "id", s->id);
  kg_pack_kv_strn(p, "uid", kg_view_str(kg_view_get(args, "uid")));
  kg_pack_kv_strn(p, "name", kg_view_str(kg_view_get(args, "name")));
  kg_pack_kv_strn(p, "namespace", kg_view_str(kg_view_get(args, "namespace")));
  kg_pack_kv_int(p, "attempt", kg_view_int(kg_view_get(args, "attempt"), 0));
  kg_pack_kv_str(p, "state", s->ready ? "ready" : "notready");
  kg_pack_kv_str(p, "ip", s->ip);
  if (s->ready && !s->host_net) {
    char path[PATH_SIZE];
    sandbox_ns_path(o, s->id, "net", path);
    kg_pack_kv_str(p, "netns", path);
  }
  kg_pack_kv_int(p, "created", s->created_us);
  kg_pack_end(p);
}

void pack_sandboxes(kg_pack_t *p, const oci_t *o) {
  kg_pack_array(p);
  for (const sandbox_t *s = o->sandboxes; s; s = s->next) pack_sandbox(p, o, s);
  kg_pack_end(p);
}

void runtime_list(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  const oci_t *o = self;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "sandboxes");
  pack_sandboxes(&p, o);
  kg_pack_key(&p, "containers");
  kg_pack_array(&p);
  for (const container_t *c = o->containers; c; c = c->next) {
    if (c->creating) continue;
    kg_pack_map(&p);
    pack_container(&p, c);
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

static void watch_cancelled(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)m;
  oci_t *o = self;
  for (watcher_t **at = &o->watchers; *at; at = &(*at)->next) {
    if (*at != arg) continue;
    watcher_t *w = *at;
    *at = w->next;
    kg_msg_unref(w->request);
    free(w);
    return;
  }
}

void runtime_watch(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  static const kg_stream_events_t events = {.on_cancel = watch_cancelled};
  oci_t *o = self;
  watcher_t *w = calloc(1, sizeof *w);
  if (!w) return kg_fail(ctx, m, KG_EINTERNAL, "out of memory");
  *w = (watcher_t){o->watchers, kg_msg_ref(m)};
  o->watchers = w;
  kg_stream_open(ctx, m, &events, w);
}

/* A watcher that takes nothing any more is ended: it lists again. */
static void end_watcher(oci_t *o, watcher_t **at, int code, const char *why) {
  watcher_t *w = *at;
  *at = w->next;
  kg_fail(o->ctx, w->request, code, "%s", why);
  kg_msg_unref(w->request);
  free(w);
}

void watchers_tell(oci_t *o, const container_t *c, const char *type) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "type", type);
  pack_container(&p, c);
  kg_pack_end(&p);
  kg_doc_t *item = kg_pack_doc(&p);
  for (watcher_t **at = &o->watchers; *at;)
    if (kg_stream_item(o->ctx, (*at)->request, item, NULL, 0) < 0)
      end_watcher(o, at, KG_EGONE, "the watch of the runtime fell behind: list again");
    else
      at = &(*at)->next;
  kg_doc_unref(item);
}

void watchers_end(oci_t *o) {
  while (o->watchers) end_watcher(o, &o->watchers, KG_EUNAVAILABLE, "the runtime is being replaced: ask again");
}

void watchers_free(oci_t *o) {
  while (o->watchers) {
    watcher_t *w = o->watchers;
    o->watchers = w->next;
    kg_msg_unref(w->request);
    free(w);
  }
}
