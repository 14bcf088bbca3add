/*
 * May the user do it? Resources are asked of RBAC by the api role itself; here is the rest: URLs that are no resource,
 * what the gateway does without the api role (logs, exec), and impersonation (KEP-less,
 * docs/reference/access-authn-authz).
 */
#include <strings.h>

#include "gateway.h"

/* --- one question ------------------------------------------------------------------------------------------------ */

static void kv(kg_pack_t *p, const char *key, const char *value) {
  if (value && *value) kg_pack_kv_str(p, key, value);
}

static kg_doc_t *question(const gw_ex_t *ex) {
  const gw_route_t *r = &ex->route;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_view(&p, "user", kg_view_of(ex->user->doc));
  if (r->resource) {
    kv(&p, "verb", ex->verb);
    kv(&p, "g", r->group), kv(&p, "r", r->resource_name), kv(&p, "sub", r->sub);
    kv(&p, "ns", r->ns), kv(&p, "name", r->name);
  } else {
    char verb[16];
    snprintf(verb, sizeof verb, "%s", ex->method);
    for (char *c = verb; *c; c++) *c |= 32;
    kv(&p, "verb", verb);
    kv(&p, "path", ex->path);
  }
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void ask(gw_ex_t *ex, kg_doc_t *question, kg_reply_fn fn) {
  kg_request_t r = {.service = "api", .topic = "api.authorize", .args = question, .fn = fn, .arg = ex};
  ex->call = kg_send(ex->conn->gw->ctx, &r);
}

static void on_answer(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  ex->call = 0;
  if (kg_msg_type(m) == KG_MSG_REPLY)
    ex->allowed(ex);
  else
    gw_status_of(ex, m);
}

void gw_authorize(gw_ex_t *ex, void (*allowed)(gw_ex_t *ex)) {
  if (ex->user->super) {
    allowed(ex);
    return;
  }
  ex->allowed = allowed;
  kg_doc_t *q = question(ex);
  ask(ex, q, on_answer);
  kg_doc_unref(q);
}

/* --- impersonation ----------------------------------------------------------------------------------------------- */

enum { MAX_CHECKS = 128 };

typedef struct mask {
  kg_doc_t *checks[MAX_CHECKS]; /* each must be allowed to the real user */
  size_t n, asked;
  gw_user_t *target;
} mask_t;

static void mask_free(mask_t *k) {
  for (size_t i = 0; i < k->n; i++) kg_doc_unref(k->checks[i]);
  gw_user_unref(k->target);
  free(k);
}

static void mask_gone(gw_ex_t *ex) {
  mask_free(ex->op);
  ex->op = NULL;
}

static void add_check(const gw_ex_t *ex, mask_t *k, const char *group, const char *resource, const char *sub,
                      const char *ns, const char *name) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_view(&p, "user", kg_view_of(ex->user->doc));
  kg_pack_kv_str(&p, "verb", "impersonate");
  kv(&p, "g", group), kv(&p, "r", resource), kv(&p, "sub", sub), kv(&p, "ns", ns), kv(&p, "name", name);
  kg_pack_end(&p);
  if (k->n < MAX_CHECKS) k->checks[k->n++] = kg_pack_doc(&p);
}

static void on_check(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  mask_t *k = ex->op;
  ex->call = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    gw_status_of(ex, m);
    return;
  }
  if (++k->asked < k->n) {
    ask(ex, k->checks[k->asked], on_check);
    return;
  }
  gw_user_unref(ex->user);
  ex->user = gw_user_ref(k->target);
  ex->op = NULL;
  ex->on_gone = NULL;
  mask_free(k);
  ex->allowed(ex);
}

/* Impersonate-Extra-KEY: value, more than one value a key; %-escapes in the key. */
static void add_extra(const gw_ex_t *ex, mask_t *k, kg_pack_t *p) {
  static const char prefix[] = "impersonate-extra-";
  char done[2048] = "|";
  const char *name, *value;
  for (size_t at = 0; (name = gw_header_at(ex, &at, &value));) {
    if (strncmp(name, prefix, sizeof prefix - 1)) continue;
    char mark[256], key[256];
    if ((size_t)snprintf(mark, sizeof mark, "|%s|", name) >= sizeof mark || strstr(done, mark)) continue;
    if (strlen(done) + strlen(mark) < sizeof done) strcat(done, mark + 1);
    snprintf(key, sizeof key, "%s", name + sizeof prefix - 1);
    ssize_t n = gw_unescape(key, strlen(key), false);
    if (n < 0 || !kg_str_utf8((kg_str_t){key, (size_t)n})) continue;
    key[n] = 0;
    kg_pack_key(p, key);
    kg_pack_array(p);
    const char *other, *v;
    for (size_t i = 0; (other = gw_header_at(ex, &i, &v));)
      if (!strcmp(other, name)) {
        kg_pack_str(p, v);
        add_check(ex, k, "authentication.k8s.io", "userextras", key, NULL, v);
      }
    kg_pack_end(p);
  }
}

/* Splits system:serviceaccount:NS:NAME in place of a copy; NULL: it is no account. */
static char *account_parts(const char *user, char **name) {
  static const char prefix[] = "system:serviceaccount:";
  if (strncmp(user, prefix, sizeof prefix - 1)) return NULL;
  char *ns = strdup(user + sizeof prefix - 1), *colon = ns ? strchr(ns, ':') : NULL;
  if (!colon) {
    free(ns);
    return NULL;
  }
  *colon = 0;
  *name = colon + 1;
  return ns;
}

static size_t read_groups(const gw_ex_t *ex, mask_t *k, const char *user, const char *account_ns, char *spaced,
                          size_t room, const char **groups, size_t max) {
  size_t n = 0;
  const char *name, *value;
  for (size_t at = 0; (name = gw_header_at(ex, &at, &value)) && n + 4 < max;)
    if (!strcmp(name, "impersonate-group")) {
      groups[n++] = value;
      add_check(ex, k, "", "groups", NULL, NULL, value);
    }
  if (!n && account_ns) {
    snprintf(spaced, room, "system:serviceaccounts:%s", account_ns);
    groups[n++] = "system:serviceaccounts";
    groups[n++] = spaced;
  }
  bool anonymous = !strcmp(user, "system:anonymous");
  groups[n++] = anonymous ? "system:unauthenticated" : "system:authenticated";
  return n;
}

static mask_t *read_mask(const gw_ex_t *ex, const char *user) {
  mask_t *k = calloc(1, sizeof *k);
  if (!k) return NULL;
  char *name = NULL, *ns = account_parts(user, &name), spaced[320];
  const char *groups[MAX_CHECKS], *uid = gw_header(ex, "impersonate-uid");
  if (ns)
    add_check(ex, k, "", "serviceaccounts", NULL, ns, name);
  else
    add_check(ex, k, "", "users", NULL, NULL, user);
  size_t n = read_groups(ex, k, user, ns, spaced, sizeof spaced, groups, MAX_CHECKS);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  if (uid && *uid) {
    add_check(ex, k, "authentication.k8s.io", "uids", NULL, NULL, uid);
    kg_pack_kv_str(&p, "uid", uid);
  }
  kg_pack_key(&p, "extra");
  kg_pack_map(&p);
  add_extra(ex, k, &p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_doc_t *extra = kg_pack_doc(&p);
  k->target = gw_user_new(user, groups, n, kg_view_of(extra));
  if (k->target) k->target->anonymous = !strcmp(user, "system:anonymous");
  kg_doc_unref(extra);
  free(ns);
  return k;
}

/* *good: what they say can be a name. */
static bool wants_mask(const gw_ex_t *ex, bool *good) {
  const char *name, *value;
  bool wants = false;
  *good = true;
  for (size_t at = 0; (name = gw_header_at(ex, &at, &value));) {
    if (strncmp(name, "impersonate-", 12)) continue;
    wants = true;
    *good &= kg_str_utf8(kg_str(value));
  }
  return wants;
}

void gw_impersonate(gw_ex_t *ex, void (*next)(gw_ex_t *ex)) {
  const char *user = gw_header(ex, "impersonate-user");
  bool good;
  if (!wants_mask(ex, &good)) {
    next(ex);
    return;
  }
  if (!good) {
    gw_status(ex, 400, "BadRequest", NULL, "who is impersonated must be named in UTF-8");
    return;
  }
  if (!user || !*user) {
    gw_status(ex, 400, "BadRequest", NULL, "requested groups, uid or extra without impersonating a user");
    return;
  }
  mask_t *k = read_mask(ex, user);
  if (!k || !k->target) {
    if (k) mask_free(k);
    gw_status(ex, 503, "ServiceUnavailable", NULL, "out of memory");
    return;
  }
  if (k->n == MAX_CHECKS) {
    mask_free(k);
    gw_status(ex, 400, "BadRequest", NULL, "more than %d groups and extra values are impersonated", MAX_CHECKS - 1);
    return;
  }
  ex->op = k;
  ex->on_gone = mask_gone;
  ex->allowed = next;
  ask(ex, k->checks[0], on_check);
}
