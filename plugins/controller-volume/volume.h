#ifndef VOLUME_H
#define VOLUME_H
/*
 * Claims get volumes, volumes that lost their claim are reclaimed, volumes of class local-path are directories of this
 * node, pods' ephemeral volumes get claims. Keys: "namespace/name" of a claim, "/name" of a volume, ":namespace/name"
 * of a pod, "+" for the class that is made at the start.
 */
#include "control.h"
#include "kube/claims.h"

enum { CLAIMS, VOLUMES, CLASSES, PODS };

#define LOCAL_PROVISIONER "rancher.io/local-path"
#define LOCAL_CLASS "local-path"
#define NOTE_PROVISIONED_BY "pv.kubernetes.io/provisioned-by"
#define NOTE_PROVISIONER "volume.kubernetes.io/storage-provisioner"
#define NOTE_PROVISIONER_BETA "volume.beta.kubernetes.io/storage-provisioner"
#define NOTE_DEFAULT_CLASS "storageclass.kubernetes.io/is-default-class"

typedef struct vc {
  ctl_base_t base;
  kube_recorder_t *provisioner; /* tells what a provisioner of its own would tell */
  char *dir, *node;             /* where this node has the directories of volumes */
  bool started;                 /* the class was made if it was missing */
  uint64_t sweep;               /* timer that empties what was thrown away */
} vc_t;

/* One pass. Its objects are those the informers had, and what writes of the pass made of them. */
typedef struct pass {
  kg_ctx_t *ctx;
  vc_t *c;
  ctl_sync_t *sync;
  kube_arena_t *arena;
  kg_view_t claim, volume;
  unsigned step; /* of a binding */
} pass_t;

extern const kube_gvr_t GVR_CLAIMS, GVR_VOLUMES, GVR_CLASSES;

/* plugin.c: a merge patch of just that revision of the object; `sub` may be NULL. */
void pass_patch(pass_t *p, kube_gvr_t gvr, kg_view_t object, const char *sub, kube_node_t *patch, ctl_answer_fn fn);
void took_claim(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *pass);
void took_volume(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *pass);
void claim_event(pass_t *p, const char *type, const char *reason, const char *fmt, ...) KG_PRINTF(4, 5);
void volume_event(pass_t *p, const char *type, const char *reason, const char *fmt, ...) KG_PRINTF(4, 5);

/* claims.c */
void claim_sync(pass_t *p, const char *key);
kg_view_t class_of(const pass_t *p, kg_str_t name); /* absent: there is none */
kg_view_t default_class(const pass_t *p);           /* the same */

/* bind.c: both ends of a binding, one after the other; what is written already is not written again. */
void bind(pass_t *p);
kube_node_t *claim_ref(kube_arena_t *a, kg_view_t claim);             /* as a volume names it */
bool volume_phase(pass_t *p, const char *phase, const char *message); /* false: it has it */
bool claim_phase(pass_t *p, const char *phase, bool bound);           /* bound: to p->volume */

/* match.c */
bool is_in_tree(kg_str_t provisioner);                       /* one that Kubernetes had built in once */
kg_doc_t *volume_for(const pass_t *p, bool wait_for_a_node); /* borrowed; NULL: none */

/* volumes.c */
void volume_sync(pass_t *p, kg_str_t name);

/* local.c: the provisioner of local-path. */
void local_class(pass_t *p);     /* makes the class if it is missing */
void local_provision(pass_t *p); /* a volume for p->claim */
void local_reclaim(pass_t *p);   /* p->volume was released */

/* A volume is gone. If its claim is, too, so is the directory, even where the volume was deleted first. */
void local_deleted(kg_ctx_t *ctx, vc_t *c, kg_view_t volume);

/* directory.c: directories below c->dir, by names without a slash. */
int directory_make(vc_t *c, const char *name, kg_error_t *err);
/* Its name goes at once, what is in it bit by bit. */
int directory_remove(kg_ctx_t *ctx, vc_t *c, kg_str_t name, kg_error_t *err);
void directory_forget(vc_t *c); /* empty ones that were made, but no volume for them */
void directory_sweep(kg_ctx_t *ctx, void *self, void *arg);

/* ephemeral.c */
void pod_sync(pass_t *p, const char *key);
bool pod_wants_claims(kg_view_t pod);

#endif
