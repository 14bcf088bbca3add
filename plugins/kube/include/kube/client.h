#ifndef KUBE_CLIENT_H
#define KUBE_CLIENT_H
/*
 * Requests to the api role (plugins/contracts/api.md) without packing arguments by hand. Everything returns a call id
 * as kg_send does and answers to a kg_reply_fn: REPLY carries the object as document 0, ERROR carries code, sentence
 * and a Status as document 0. Lane thread of ctx.
 */
#include "kogge/plugin.h"

/* Which collection. Strings are borrowed for the call. group "" is core. */
typedef struct kube_gvr {
  const char *group, *version, *resource;
} kube_gvr_t;

typedef struct kube_call {
  kube_gvr_t gvr;
  const char *ns;             /* NULL or "": cluster-scoped, or all namespaces for list and watch */
  const char *name;           /* NULL for create, list, watch */
  const char *sub;            /* "status", "scale", "binding", ...; NULL: none */
  kg_doc_t *object;           /* create, update, patch body; borrowed */
  const char *patch_type;     /* patch: "merge", "strategic", "json", "apply" */
  const char *label_selector; /* list, watch, deletecollection */
  const char *field_selector;
  int64_t limit;                /* list; 0: all */
  const char *cont;             /* list: continue token */
  const char *resource_version; /* list, watch, delete precondition; NULL: none */
  const char *precondition_uid; /* delete */
  const char *propagation;      /* delete: "Background", "Foreground", "Orphan" */
  int64_t grace_seconds;        /* delete: -1: default */
  const char *field_manager;    /* NULL: name of the calling plugin; controllers: kube-controller-manager */
  bool force, dry_run;
  int64_t timeout_ms;
} kube_call_t;

uint64_t kube_api_get(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg);
uint64_t kube_api_list(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn,
                       void *arg); /* documents 0..n-1: the items */
uint64_t kube_api_watch(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg); /* stream */
uint64_t kube_api_create(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg);
uint64_t kube_api_update(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg);
uint64_t kube_api_patch(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg);
uint64_t kube_api_delete(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg);
uint64_t kube_api_delete_all(kg_ctx_t *ctx, const kube_call_t *c, kg_reply_fn fn, void *arg); /* deletecollection */

/* Records a core/v1 Event about `object` (a view of a full object; apiVersion, kind, name, namespace, uid are read from
 * it, and fieldPath, which no object has, if the caller put it there). Repeated (same object, reason, message) events
 * within 10 minutes become one with a count, kept in `recorder`. */
typedef struct kube_recorder kube_recorder_t;
kube_recorder_t *kube_recorder_new(const char *component, const char *host); /* NULL host: "" */
void kube_recorder_free(kube_recorder_t *r);
void kube_event(kg_ctx_t *ctx, kube_recorder_t *r, kg_view_t object, const char *type, const char *reason,
                const char *fmt, ...) KG_PRINTF(6, 7);

#endif
