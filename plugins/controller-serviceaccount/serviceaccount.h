#ifndef SERVICEACCOUNT_H
#define SERVICEACCOUNT_H
/* What each namespace and each account gets. Keys: "/namespace"; "namespace/name" of a Secret that wants a token. */
#include "control.h"

enum { SPACES, ACCOUNTS, MAPS, SECRETS };

typedef struct sac {
  ctl_base_t base;
  char *pem; /* the root certificate; NULL: the gateway has not said yet */
  uint64_t retry;
} sac_t;

/* tokens.c: Secrets of the type kubernetes.io/service-account-token. */
#define TOKEN_TYPE "kubernetes.io/service-account-token"
void on_secret(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg);
void tokens_of_account(kg_ctx_t *ctx, sac_t *c, kg_view_t account); /* it came or went: looks at its secrets */
void token_sync(kg_ctx_t *ctx, sac_t *c, ctl_sync_t *s);            /* one pass over one Secret */

#endif
