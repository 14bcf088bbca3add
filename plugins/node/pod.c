/* A pod on this node: made, found again, let go; what is under way for it. */
#include <stdarg.h>
#include <stdio.h>

#include "node.h"

struct op {
  op_t *next;
  pod_t *pod;
  box_t *box;
  op_fn fn;
  uint64_t call;
};

kg_view_t pod_object(const pod_t *p) {
  return kg_view_of(p->doc);
}

kg_view_t pod_spec(const pod_t *p) {
  return kg_view_get(pod_object(p), "spec");
}

bool pod_ending(const pod_t *p) {
  return p->gone || p->finished || p->fail_reason || kube_deleting(pod_object(p));
}

void pod_dir(const pod_t *p, char *buf, size_t n) {
  snprintf(buf, n, "%s/%s", p->agent->pods_dir, p->uid);
}

kg_doc_t *id_args(const char *id) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "id", id);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

/* --- life
 * ---------------------------------------------------------------------------------------------------------------- */

static pod_t *make(agent_t *a, kg_str_t uid, kg_str_t ns, kg_str_t name) {
  pod_t *p = calloc(1, sizeof *p);
  if (!p) return NULL;
  p->agent = a;
  p->uid = kg_str_dup(uid);
  p->ns = kg_str_dup(ns);
  p->name = kg_str_dup(name);
  p->logs = pod_log_dir(p);
  p->next = a->list;
  return a->list = p;
}

pod_t *pod_new(agent_t *a, kg_view_t object, kg_doc_t *doc) {
  pod_t *p = make(a, kube_uid(object), kube_namespace(object), kube_name(object));
  if (!p) return NULL;
  p->doc = kg_doc_ref(doc);
  kg_str_t phase = VIEW_STR(object, "status", "phase");
  p->finished = p->sent_final = kg_str_is(phase, "Succeeded") || kg_str_is(phase, "Failed");
  boxes_make(p);
  status_adopt(p);
  return p;
}

pod_t *pod_new_orphan(agent_t *a, kg_view_t sandbox) {
  pod_t *p = make(a, VIEW_STR(sandbox, "uid"), VIEW_STR(sandbox, "namespace"), VIEW_STR(sandbox, "name"));
  if (!p) return NULL;
  p->gone = true;
  p->sandbox = SB_STOPPED; /* its removal asks what there is, and ends it */
  return p;
}

void pod_free(pod_t *p) {
  agent_t *a = p->agent;
  for (pod_t **at = &a->list; *at; at = &(*at)->next)
    if (*at == p) {
      *at = p->next;
      break;
    }
  if (p->is_static) static_forget(p);
  for (size_t i = 0; i < p->nboxes; i++) box_free(p->boxes[i]);
  while (p->ops) {
    op_t *op = p->ops;
    p->ops = op->next;
    if (op->call) kg_cancel(a->ctx, op->call);
    free(op);
  }
  kg_timer_cancel(a->ctx, p->sync_timer);
  kg_timer_cancel(a->ctx, p->wake_timer);
  kg_timer_cancel(a->ctx, p->status_retry);
  tokens_free(p);
  claims_free(p);
  for (size_t i = 0; i < CONDITIONS; i++) free(p->cond[i].message);
  kg_doc_unref(p->doc);
  kg_doc_unref(p->allocated);
  kg_doc_unref(p->sent);
  pods_allocate_again(a);
  char *const owned[] = {p->uid,      p->ns,         p->name, p->logs,  p->fail_message,
                         p->deferred, p->sandbox_id, p->ip,   p->netns, p->mirror_uid};
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
  free(p->boxes);
  free(p);
}

void pod_update(pod_t *p, kg_doc_t *doc) {
  kg_doc_t *old = p->doc;
  kg_view_t was = kg_view_get(kg_view_of(old), "metadata"), now = kg_view_get(kg_view_of(doc), "metadata");
  p->doc = kg_doc_ref(doc);
  bool same = kg_view_equal(kg_view_get(was, "labels"), kg_view_get(now, "labels")) &&
              kg_view_equal(kg_view_get(was, "annotations"), kg_view_get(now, "annotations"));
  if (!same && p->volumes == 1) volumes_refresh(p);
  boxes_add_ephemeral(p);
  kg_doc_unref(old);
  pod_kick(p);
}

/* --- when it is looked at
 * ---------------------------------------------------------------------------------------------- */

static void on_sync(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  pod_t *p = arg;
  p->sync_timer = 0;
  pod_sync(p);
}

void pod_kick(pod_t *p) {
  if (!p->sync_timer && p->agent->active) p->sync_timer = kg_timer(p->agent->ctx, 0, 0, on_sync, p);
}

static void on_wake(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  pod_t *p = arg;
  p->wake_timer = 0;
  pod_sync(p);
}

void pod_wake(pod_t *p, int64_t at_ms) {
  kg_ctx_t *ctx = p->agent->ctx;
  if (p->wake_timer && p->wake_ms <= at_ms) return;
  kg_timer_cancel(ctx, p->wake_timer);
  int64_t delay = at_ms - kg_now_ms(ctx);
  p->wake_ms = at_ms;
  p->wake_timer = kg_timer(ctx, delay > 1 ? delay : 1, 0, on_wake, p);
}

/* --- calls
 * --------------------------------------------------------------------------------------------------------------- */

op_t *pod_op(pod_t *p, box_t *b, op_fn fn) {
  op_t *op = calloc(1, sizeof *op);
  if (!op) return NULL;
  *op = (op_t){.next = p->ops, .pod = p, .box = b, .fn = fn};
  return p->ops = op;
}

void pod_op_set(op_t *op, uint64_t call) {
  if (op) op->call = call;
}

static void drop_op(op_t *op) {
  for (op_t **at = &op->pod->ops; *at; at = &(*at)->next)
    if (*at == op) {
      *at = op->next;
      break;
    }
  free(op);
}

/* fn comes last: it may free the pod. */
void pod_replied(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  op_t *op = arg;
  if (!op) return;
  pod_t *p = op->pod;
  box_t *b = op->box;
  op_fn fn = op->fn;
  if (kg_msg_type(m) != KG_MSG_ITEM) {
    drop_op(op);
    pod_kick(p);
  }
  fn(p, b, m);
}

uint64_t pod_call(pod_t *p, box_t *b, const char *topic, kg_doc_t *args, int64_t timeout_ms, op_fn fn) {
  op_t *op = pod_op(p, b, fn);
  uint64_t call = kg_send(p->agent->ctx, &(kg_request_t){.service = p->agent->runtime,
                                                         .topic = topic,
                                                         .args = args,
                                                         .timeout_ms = timeout_ms,
                                                         .fn = pod_replied,
                                                         .arg = op});
  pod_op_set(op, call);
  kg_doc_unref(args);
  return call;
}

void pod_cancel(pod_t *p, uint64_t call) {
  for (op_t *op = p->ops; op; op = op->next)
    if (op->call == call) {
      kg_cancel(p->agent->ctx, call);
      return drop_op(op);
    }
}

/* --- events
 * -------------------------------------------------------------------------------------------------------------- */

void pod_event(pod_t *p, const char *type, const char *reason, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if (p->doc) kube_event(p->agent->ctx, p->agent->recorder, pod_object(p), type, reason, "%s", text);
}

/* The object with the place of the container in it, as the recorder takes it. */
static kg_doc_t *reference(const box_t *b) {
  kg_view_t object = pod_object(b->pod);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "apiVersion", "v1");
  kg_pack_kv_str(&p, "kind", "Pod");
  kg_pack_key(&p, "fieldPath");
  kg_pack_fmt(&p, "spec.%s{%s}", box_list(b), b->name);
  kg_pack_kv_view(&p, "metadata", kg_view_get(object, "metadata"));
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

void box_event(box_t *b, const char *type, const char *reason, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  agent_t *a = b->pod->agent;
  kg_doc_t *ref = b->pod->doc ? reference(b) : NULL;
  if (ref) kube_event(a->ctx, a->recorder, kg_view_of(ref), type, reason, "%s", text);
  kg_doc_unref(ref);
}
