#ifndef NAMESPACE_H
#define NAMESPACE_H
/* Empties namespaces that are being deleted, pods first, and lets them go. */
#include "control.h"

/* A namespace whose content goes by itself (grace, finalizers): we hear of it through informers on what is left. */
typedef struct wait {
  struct wait *next;
  char *key;
  struct waited {
    struct waited *next;
    ctl_kind_t kind;
    kube_informer_t *informer;
  } * list;
} wait_t;

typedef struct nsc {
  ctl_base_t base;
  wait_t *waits;
} nsc_t;

extern const kube_gvr_t GVR_SPACES;

typedef struct found { /* one kind, and what of it is in the namespace */
  struct found *next;
  ctl_kind_t kind;
  const kg_msg_t *list; /* own reference; NULL: not listed */
  size_t fresh;         /* of them: not yet being deleted */
} found_t;

typedef struct pass {
  kg_ctx_t *ctx;
  nsc_t *c;
  ctl_sync_t *sync;
  kube_arena_t *arena;
  kg_doc_t *doc;
  const char *name;
  found_t *kinds; /* in order of groups and resources */
  size_t left;    /* objects in it */
  unsigned rounds;
  const char *discovery_error, *content_error;
} pass_t;

/* pass.c: the work function */
void namespace_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg);
size_t found_count(const found_t *f);
bool is_pods(const found_t *f);
bool pods_left(const pass_t *p);

/* conditions.c: writes what is left into the namespace's status. */
void conditions_write(pass_t *p);

/* waits.c */
void wait_for(pass_t *p); /* watches the kinds of which something is left */
void wait_forget(kg_ctx_t *ctx, nsc_t *c, const char *key);
void wait_free(kg_ctx_t *ctx, nsc_t *c);

#endif
