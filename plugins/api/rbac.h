#ifndef KOGGE_API_RBAC_H
#define KOGGE_API_RBAC_H
/*
 * Who may do what (RBAC, rbac.authorization.k8s.io/v1). Decided from the cache: a change of a role or binding counts
 * from the moment the api shows it. Lane thread.
 */
#include "api.h"

#define API_AUDIENCE "https://kubernetes.default.svc.cluster.local"

/* What somebody wants to do: to a resource, or (path not empty) to a URL that is none. Strings are borrowed. */
typedef struct access {
  kg_view_t user; /* {name, uid?, groups: [...], extra?}; absent: the kernel's own plugins, who may do everything */
  kg_str_t verb, group, resource, sub, ns, name, path;
} access_t;

/* `why` (may be NULL) gets the reason: which binding allows it; empty when nothing does. */
bool rbac_allows(api_t *api, const access_t *a, kube_buf_t *why);
/* 403 in the API server's words. */
bool fault_access(fault_t *f, const access_t *a);
/* Reads {user, verb, g, r, sub, ns, name, path}. */
access_t access_of(kg_view_t args, kg_str_t verb);
bool access_is_super(kg_view_t user); /* no user, or of system:masters */

/* Calls fn for every rule that holds for the user in the namespace ("": cluster-wide rules only) until it returns
 * false. `local`: the rule comes from a RoleBinding, so it grants nothing cluster-wide. */
typedef bool (*rbac_rule_fn)(kg_view_t rule, bool local, kg_view_t binding, void *arg);
void rbac_visit(api_t *api, kg_view_t user, kg_str_t ns, rbac_rule_fn fn, void *arg);
bool rbac_rule_allows(kg_view_t rule, const access_t *a);
/* The rules of the role a binding refers to; absent: there is no such role. */
kg_view_t rbac_role_rules(api_t *api, kg_view_t role_ref, kg_str_t ns);

/* rbac_admit.c: nobody gives away more than he has. Called for roles and bindings; true for all else. */
bool rbac_admit(write_t *w, const kube_node_t *object, const kube_node_t *old);
/* Aggregated cluster roles follow the roles they select: called for every change of a cluster role. */
void rbac_role_seen(api_t *api);

/* rbac_boot.c: makes the roles and bindings of rbac.txt that are missing, adds rules that default roles lack; then
 * done(api). */
void rbac_boot(api_t *api, void (*done)(api_t *api));

/* review.c: kinds that are answered, not kept. */
bool compute_review(write_t *w);
/* token.c: POST serviceaccounts/NAME/token; answers itself. body is borrowed. */
void token_request(const req_t *q, kg_doc_t *body);
/* False: the account or pod that the user's token is bound to is gone (KEP-1205), so the token holds no more. */
bool rbac_user_holds(const api_t *api, kg_view_t user);
/* `api.authorize` */
void on_authorize(kg_ctx_t *ctx, void *self, const kg_msg_t *m);

#endif
