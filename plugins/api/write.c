/*
 * Writes: computed against the cache, stored if nobody was faster (`expect`), answered when the cache shows them. A
 * write whose caller named no revision is computed again when somebody was faster.
 */
#include <stdlib.h>
#include <string.h>

#include "kube/apply.h"
#include "rbac.h"

enum { TRIES = 24, NAMES = 8 };

write_t *write_of(const req_t *q, verb_t verb, kg_doc_t *body) {
  write_t *w = calloc(1, sizeof *w);
  if (!w) {
    if (q->m) kg_fail(q->ctx, q->m, KG_EINTERNAL, "api: out of memory");
    return NULL;
  }
  w->q = *q;
  q->api->under_way++;
  if (q->m) w->q.m = kg_msg_ref(q->m);
  w->verb = w->asked = verb;
  w->body = kg_doc_ref(body);
  w->del.grace = -1;
  return w;
}

write_t *write_new(api_t *api, const kube_resource_t *r, verb_t verb, kg_str_t ns, kg_str_t name, kg_doc_t *body) {
  req_t q = {.api = api, .ctx = api->ctx, .r = r, .c = cache_of(api, r)};
  write_t *w = write_of(&q, verb, body);
  char *own = w ? malloc(ns.n + name.n + 1) : NULL; /* whose strings these are may go before the write ends */
  if (!own) {
    if (w) write_free(w);
    return NULL;
  }
  w->own = own;
  if (ns.n) memcpy(own, ns.p, ns.n);
  if (name.n) memcpy(own + ns.n, name.p, name.n);
  if (r->namespaced) w->q.ns = (kg_str_t){own, ns.n};
  w->q.name = (kg_str_t){own + ns.n, name.n};
  return w;
}

/* Forgets what one try has made. */
static void clean(write_t *w) {
  quota_discharge(w);
  object_unref(w->old);
  w->old = NULL;
  kube_arena_free(w->arena);
  w->arena = NULL;
  w->next_state = w->warnings = NULL;
  kg_doc_clear(&w->base);
  kg_doc_clear(&w->admitted);
  kg_doc_clear(&w->doc);
  kg_doc_clear(&w->answer);
  w->removes = false;
  w->show = NULL;
  w->code = 0;
  w->fault = (fault_t){0};
}

void write_free(write_t *w) {
  api_t *api = w->q.api;
  clean(w);
  kg_doc_unref(w->body);
  free(w->own);
  if (w->q.m) kg_msg_unref((kg_msg_t *)w->q.m);
  free(w);
  if (!--api->under_way && api->draining) kg_drained(api->ctx);
}

/* --- the answer -------------------------------------------------------------------------------------------------- */

static void reply(write_t *w, kg_doc_t *doc) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "code", w->code ? w->code : w->verb == W_CREATE ? 201 : 200);
  if (w->warnings && w->warnings->c.n) {
    kg_pack_key(&p, "warnings");
    kube_tree_pack(w->warnings, &p);
  }
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(w->q.ctx, w->q.m, args, &doc, 1);
  kg_doc_unref(args);
}

/* What the object looks like now, caller owns: the cache's own document where it still is this state. */
static kg_doc_t *written(write_t *w) {
  if (w->answer) return kg_doc_ref(w->answer);
  if (!w->rev && !w->doc && w->old) return object_as(w->old, w->q.r, w->q.c);
  object_t *o = w->removes || !w->rev ? NULL : sorted_get(&w->q.c->objects, kg_str(w->key));
  if (o && o->rev == w->rev) return object_as(o, w->q.r, w->q.c);
  kg_doc_t *doc = w->doc ? w->doc : w->old ? w->old->doc : NULL;
  kg_doc_t *stamped = !doc ? NULL : w->rev ? stamp(doc, w->rev) : w->old ? stamp(doc, w->old->rev) : kg_doc_ref(doc);
  object_t *shown = stamped ? object_new(kg_str(w->key), w->rev, 0, stamped) : NULL;
  kg_doc_unref(stamped);
  kg_doc_t *out = shown ? object_as(shown, w->q.r, w->q.c) : NULL;
  object_unref(shown);
  return out;
}

static void finish(write_t *w) {
  if (w->fault.code) service_undo(w);
  if (w->then) {
    w->then(w, w->then_arg);
  } else if (w->fault.code) {
    fault_answer(&w->q, &w->fault);
  } else if (w->q.m) {
    kg_doc_t *doc = written(w);
    if (doc && w->show) {
      kg_doc_t *shown = w->show(w, doc);
      kg_doc_unref(doc);
      doc = shown;
    }
    if (doc)
      reply(w, doc);
    else
      kg_fail(w->q.ctx, w->q.m, KG_EINTERNAL, "api: out of memory");
    kg_doc_unref(doc);
  }
  write_free(w);
}

void write_flush(api_t *api) {
  while (api->waiting && api->waiting->rev <= api->rev) {
    write_t *w = api->waiting;
    api->waiting = w->next;
    if (!api->waiting) api->waiting_end = &api->waiting;
    finish(w);
  }
}

/* --- the store --------------------------------------------------------------------------------------------------- */

/* True: the generated name is taken, and the write starts again with another one. */
static bool renamed(write_t *w) {
  if (!w->generated || ++w->tries >= NAMES) return false;
  service_undo(w);
  w->q.name = (kg_str_t){0};
  write_run(w);
  return true;
}

static void refused(write_t *w, const kg_msg_t *m) {
  int code = kg_msg_code(m);
  if (code == KG_ECONFLICT && renamed(w)) return;
  if (code == KG_ECONFLICT && w->unguarded && ++w->tries < TRIES) return write_run(w);
  if (code == KG_ECONFLICT && w->verb == W_CREATE && !w->q.sub.n)
    fault_exists(&w->fault, w->q.r, w->q.name);
  else if (code == KG_ECONFLICT)
    fault_modified(&w->fault, w->q.r, w->q.name);
  else if (code == KG_ENOTFOUND)
    fault_not_found(&w->fault, w->q.r, w->q.name);
  else if (code == KG_EDEADLINE)
    fault_other(&w->fault, 504, "Timeout", "the store did not answer in time: %s", kg_msg_text(m));
  else
    fault_other(&w->fault, code == KG_EFULL ? 507 : 500, "InternalError", "Internal error occurred: %s",
                kg_msg_text(m));
  w->q.api->conflicts += code == KG_ECONFLICT;
  finish(w);
}

static void on_stored(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx;
  api_t *api = self;
  write_t *w = arg;
  if (kg_msg_type(m) != KG_MSG_REPLY) return refused(w, m);
  w->rev = kg_view_int(kg_view_get(kg_msg_args(m), "rev"), 0);
  if (w->rev <= api->rev) return finish(w);
  w->next = NULL;
  *api->waiting_end = w;
  api->waiting_end = &w->next;
}

static void store(write_t *w) {
  collection_t *c = w->q.c;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "key");
  kg_pack_fmt(&p, "%s%s", c->prefix, w->key);
  kg_pack_kv_int(&p, "expect", w->old ? w->old->rev : 0);
  if (c->lazy) kg_pack_kv_bool(&p, "lazy", true);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_request_t r = {
      .service = "store", .topic = w->removes ? "store.delete" : "store.put", .args = args, .fn = on_stored, .arg = w};
  r.docs = &w->doc;
  r.ndocs = w->removes ? 0 : 1;
  w->q.api->writes++;
  kg_send(w->q.ctx, &r);
  kg_doc_unref(args);
}

/* --- one try ----------------------------------------------------------------------------------------------------- */

static bool compute(write_t *w) {
  if (w->q.sub.n) return compute_sub(w);
  switch (w->verb) {
  case W_CREATE:
    return compute_create(w);
  case W_UPDATE:
    return compute_update(w);
  case W_PATCH:
    return compute_patch(w);
  default:
    return compute_delete(w);
  }
}

static bool look_up(write_t *w) {
  kg_str_t key = req_key(&w->q, w->q.name, w->key);
  if (!key.n) return fault_bad(&w->fault, "the name of the object is too long");
  object_unref(w->old);
  w->old = w->q.c ? object_ref(sorted_get(&w->q.c->objects, key)) : NULL;
  return true;
}

void write_run(write_t *w) {
  if (!w) return;
  clean(w);
  w->verb = w->asked;
  w->arena = kube_arena_new();
  w->warnings = kube_array(w->arena);
  const char *warning = w->q.m ? resource_warning(w->q.api, w->q.r) : NULL;
  if (warning) kube_push(w->arena, w->warnings, kube_str(w->arena, warning));
  if ((w->q.name.n && !look_up(w)) || !compute(w)) return finish(w);
  if (w->verb == W_CREATE && !w->q.sub.n && !w->reads && !look_up(w))
    return finish(w); /* the name may have been generated */
  if (w->verb == W_CREATE && !w->q.sub.n && w->old) {
    if (renamed(w)) return;
    fault_exists(&w->fault, w->q.r, w->q.name);
    return finish(w);
  }
  if (w->next_state && w->q.c) w->next_state = fields_as_stored(w, w->next_state);
  bool nothing = w->reads || (!w->removes && !w->next_state) || (!w->removes && w->old && is_noop(w));
  if (nothing) return finish(w);
  if (w->next_state) w->doc = kube_tree_doc(w->next_state);
  if (!w->removes && !w->doc) {
    fault_other(&w->fault, 500, "InternalError", "Internal error occurred: the object cannot be encoded");
    return finish(w);
  }
  if (policy_wanted(w))
    policy_ask(w);
  else
    write_admitted(w);
}

/* Nobody objects, or somebody did: w->fault. */
void write_admitted(write_t *w) {
  if (w->fault.code) return finish(w);
  if (w->q.dry_run) {
    service_undo(w);
    return finish(w);
  }
  store(w);
}

/* True if the new state is the old one: then nothing is stored and the revision stays. */
bool is_noop(write_t *w) {
  kube_node_t *old = kube_tree_parse(w->arena, object_view(w->old));
  kube_node_t *meta = kube_get(old, "metadata"), *next_meta = kube_get(w->next_state, "metadata");
  kube_del(meta, "resourceVersion");
  kube_del(next_meta, "resourceVersion");
  return kube_same_but_times(old, w->next_state);
}

/* --- requests ---------------------------------------------------------------------------------------------------- */

/* A Binding that is created is the subresource of the pod it names. */
static void binding_target(req_t *q, kg_doc_t *body) {
  q->r = kube_resource_find(KG_STR(""), KG_STR("v1"), KG_STR("pods"));
  q->c = cache_of(q->api, q->r);
  q->sub = KG_STR("binding");
  q->name = body ? kube_name(kg_view_of(body)) : (kg_str_t){0};
}

static void on_verb(api_t *api, const kg_msg_t *m, verb_t verb, unsigned bit) {
  req_t q;
  fault_t f;
  static const char *const options[] = {"CreateOptions", "UpdateOptions", "PatchOptions", "DeleteOptions"};
  if (!req_read(&q, api, m, bit) || !write_options(&q, options[verb])) return;
  if (!q.name.n && verb != W_CREATE) {
    fault_bad(&f, "the name of the object must be given");
    return fault_answer(&q, &f);
  }
  if (q.r->namespaced && !q.ns.n) {
    fault_bad(&f, "an empty namespace may not be set %s",
              verb == W_CREATE ? "during creation" : "when a resource name is provided");
    return fault_answer(&q, &f);
  }
  if (verb == W_CREATE && q.name.n && !q.sub.n) {
    fault_method(&f);
    f.bare = true;
    return fault_answer(&q, &f);
  }
  if (verb == W_CREATE && is_resource(q.r, "", "bindings")) binding_target(&q, kg_msg_doc(m, 0));
  if (!q.c && !q.r->virtual_) return kg_fail(api->ctx, m, KG_EINTERNAL, "api: %s are kept nowhere", q.r->resource);
  if (verb == W_CREATE && kg_str_is(q.sub, "token")) return token_request(&q, kg_msg_doc(m, 0));
  if (verb == W_CREATE && kg_str_is(q.sub, "eviction")) return evict(write_of(&q, verb, kg_msg_doc(m, 0)));
  write_run(write_of(&q, verb, kg_msg_doc(m, 0)));
}

void on_create(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  on_verb(self, m, W_CREATE, KUBE_V_CREATE);
}

void on_update(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  on_verb(self, m, W_UPDATE, KUBE_V_UPDATE);
}

void on_patch(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  on_verb(self, m, W_PATCH, KUBE_V_PATCH);
}

void on_delete(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  on_verb(self, m, W_DELETE, KUBE_V_DELETE);
}
