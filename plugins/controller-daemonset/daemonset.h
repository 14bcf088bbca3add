#ifndef DAEMONSET_H
#define DAEMONSET_H
/* A pod on each node that fits. The pod says by its affinity where it belongs; the scheduler brings it there. */
#include "control.h"

#define HASH_LABEL "controller-revision-hash"

enum { SETS, PODS, NODES, REVISIONS };

/* When the last failed pod of a node was deleted, and how long the next one waits for that. */
typedef struct failure {
  uint64_t key;
  int64_t at_ms, wait_ms;
} failure_t;
enum { FAILURES = 512 };

typedef struct dsc {
  ctl_base_t base;
  ctl_ahead_t ahead;
  failure_t failures[FAILURES];
} dsc_t;

extern const kube_gvr_t GVR_SETS, GVR_PODS;

typedef struct daemon { /* a pod */
  kg_view_t object;
  bool current; /* of the present template */
  bool ready, available, deleting, failed, succeeded, doomed;
} daemon_t;

typedef struct place { /* a node */
  kg_view_t node;
  kg_str_t name;
  bool should_run, may_stay;
  daemon_t **pods; /* of it */
  size_t n;
} place_t;

typedef struct pass {
  kg_ctx_t *ctx;
  dsc_t *c;
  ctl_sync_t *sync;
  kube_arena_t *arena;
  kg_doc_t *doc;
  kg_view_t object, spec;
  ctl_owner_t owner;
  ctl_history_t history;
  int64_t min_ready, wait_ms;
  daemon_t *pods;
  size_t npods;
  place_t *places;
  size_t n;
  int64_t desired, surge, unavailable;
  const place_t **wanted; /* places that shall get a pod */
  size_t nwanted;
} pass_t;

/* pass.c: the work function */
void daemonset_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg);

/* nodes.c */
void places_read(pass_t *p);
bool node_changed(kg_view_t old, kg_view_t now); /* in what decides where daemons run */

/* pods.c */
void pods_read(pass_t *p);                        /* after places_read */
void daemon_create(pass_t *p, const place_t *at); /* with the others, in daemons_create() */
void daemons_create(pass_t *p);
void daemon_delete(pass_t *p, daemon_t *d);
kube_node_t *daemon_tolerations(pass_t *p);

/* roll.c */
void manage(pass_t *p); /* one on each node */
void roll(pass_t *p);   /* from the old template to the present one */

/* status.c */
void status_write(pass_t *p);

#endif
