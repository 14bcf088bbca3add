/* Tokens of a pod's service account: asked for before they are needed, renewed when most of their life is over. */
#include "node.h"

enum { LIFETIME_S = 3600, RETRY_MS = 30000, SOONEST_MS = 1000, DAY_MS = 24 * 3600 * 1000 };

static const kube_gvr_t SERVICEACCOUNTS = {"", "v1", "serviceaccounts"};

static void ask(token_t *t);

static void on_renew(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  token_t *t = arg;
  t->timer = 0;
  if (!pod_ending(t->pod)) ask(t);
}

static void renew_in(token_t *t, int64_t ms) {
  kg_ctx_t *ctx = t->pod->agent->ctx;
  kg_timer_cancel(ctx, t->timer);
  t->timer = kg_timer(ctx, ms, 0, on_renew, t);
}

/* After four fifths of its life, but not older than a day. */
static int64_t renewal_ms(token_t *t, kg_view_t status) {
  int64_t end_us = 0, left = t->seconds * 1000;
  kg_str_t end = VIEW_STR(status, "expirationTimestamp");
  if (end.p && !kube_time_parse(end, &end_us)) left = (end_us - kg_wall_us(t->pod->agent->ctx)) / 1000;
  left = left * 4 / 5;
  return left < SOONEST_MS ? SOONEST_MS : left > DAY_MS ? DAY_MS : left;
}

static void answered(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  token_t *t = arg;
  pod_t *p = t->pod;
  kg_view_t status = kg_view_get(kg_view_of(kg_msg_doc(m, 0)), "status");
  kg_str_t text = VIEW_STR(status, "token");
  t->call = 0;
  if (kg_msg_type(m) == KG_MSG_REPLY && text.n) {
    set_str(&t->text, kg_str_dup(text));
    set_str(&t->error, NULL);
    renew_in(t, renewal_ms(t, status));
  } else if (t->text) { /* the one at hand is good for a while */
    renew_in(t, RETRY_MS);
    return;
  } else {
    const char *why = kg_msg_type(m) == KG_MSG_ERROR ? kg_msg_text(m) : "the answer has no token";
    set_str(&t->error, format("failed to fetch token: %s", why));
  }
  if (p->volumes == 1)
    volumes_refresh(p);
  else
    pod_kick(p);
}

static kg_doc_t *request(token_t *t) {
  pod_t *p = t->pod;
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "kind", "TokenRequest");
  kg_pack_kv_str(&k, "apiVersion", "authentication.k8s.io/v1");
  kg_pack_key(&k, "spec");
  kg_pack_map(&k);
  if (*t->audience) {
    kg_pack_key(&k, "audiences");
    kg_pack_array(&k);
    kg_pack_str(&k, t->audience);
    kg_pack_end(&k);
  }
  kg_pack_kv_int(&k, "expirationSeconds", t->seconds);
  kg_pack_key(&k, "boundObjectRef");
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "kind", "Pod");
  kg_pack_kv_str(&k, "apiVersion", "v1");
  kg_pack_kv_str(&k, "name", p->name);
  kg_pack_kv_str(&k, "uid", p->uid);
  kg_pack_end(&k);
  kg_pack_end(&k);
  kg_pack_end(&k);
  return kg_pack_doc(&k);
}

static void ask(token_t *t) {
  pod_t *p = t->pod;
  kg_str_t account = VIEW_STR(pod_spec(p), "serviceAccountName");
  char *name = account.n ? kg_str_dup(account) : strdup("default");
  kg_doc_t *object = request(t);
  if (!t->call)
    t->call = kube_api_create(
        p->agent->ctx,
        &(kube_call_t){.gvr = SERVICEACCOUNTS, .ns = p->ns, .name = name, .sub = "token", .object = object}, answered,
        t);
  kg_doc_unref(object);
  free(name);
}

static token_t *token_for(pod_t *p, kg_str_t audience, int64_t seconds) {
  for (token_t *t = p->tokens; t; t = t->next)
    if (t->seconds == seconds && kg_str_eq(audience, kg_str(t->audience))) return t;
  token_t *t = calloc(1, sizeof *t);
  if (!t) return NULL;
  t->pod = p;
  t->audience = audience.p ? kg_str_dup(audience) : strdup("");
  t->seconds = seconds;
  t->next = p->tokens;
  return p->tokens = t;
}

int token_text(pod_t *p, kg_view_t source, const char **text, kg_error_t *err) {
  token_t *t =
      token_for(p, VIEW_STR(source, "audience"), kg_view_int(kg_view_get(source, "expirationSeconds"), LIFETIME_S));
  if (!t) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  *text = t->text;
  if (t->text) return 0;
  if (t->error) { /* told once; the next try asks again */
    kg_error_set(err, KG_EUNAVAILABLE, "%s", t->error);
    set_str(&t->error, NULL);
    return -1;
  }
  ask(t);
  kg_error_set(err, KG_EUNAVAILABLE, "the token is on its way");
  return 1;
}

void tokens_free(pod_t *p) {
  while (p->tokens) {
    token_t *t = p->tokens;
    p->tokens = t->next;
    if (t->call) kg_cancel(p->agent->ctx, t->call);
    kg_timer_cancel(p->agent->ctx, t->timer);
    free(t->audience);
    free(t->text);
    free(t->error);
    free(t);
  }
}
