/* Binds claims and volumes as the volume controllers of Kubernetes do, and provides directories of the node as k3s
 * does. Configuration: storagePath (storage in the data directory), nodeName (host name). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/host.h"
#include "volume.h"

const kube_gvr_t GVR_CLAIMS = {"", "v1", "persistentvolumeclaims"}, GVR_VOLUMES = {"", "v1", "persistentvolumes"},
                 GVR_CLASSES = {"storage.k8s.io", "v1", "storageclasses"};

/* --- what a pass says and writes ---------------------------------------------------------------------------------- */

void pass_patch(pass_t *p, kube_gvr_t gvr, kg_view_t object, const char *sub, kube_node_t *patch, ctl_answer_fn fn) {
  kg_str_t revision = kg_view_str(kg_view_path(object, "metadata", "resourceVersion", NULL));
  kube_set(p->arena, kube_sub(p->arena, patch, "metadata"), "resourceVersion", kube_strn(p->arena, revision));
  kg_doc_t *doc = kube_tree_doc(patch);
  ctl_send(p->ctx, p->sync, CTL_PATCH,
           &(kube_call_t){.gvr = gvr,
                          .ns = ctl_text(p->arena, kube_namespace(object)),
                          .name = ctl_text(p->arena, kube_name(object)),
                          .sub = sub,
                          .object = doc,
                          .patch_type = "merge",
                          .grace_seconds = -1},
           fn, p);
  kg_doc_unref(doc);
}

/* Steps that follow go on from what was written; if it is gone there is nothing to go on from. */
static bool took(ctl_sync_t *s, const kg_msg_t *m, kg_view_t *into) {
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    ctl_sync_failed(s);
    return false;
  }
  ctl_keep_msg(s, m);
  *into = kg_view_of(kg_msg_doc(m, 0));
  return true;
}

void took_claim(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *pass) {
  (void)ctx, (void)self;
  took(s, m, &((pass_t *)pass)->claim);
}

void took_volume(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *pass) {
  (void)ctx, (void)self;
  took(s, m, &((pass_t *)pass)->volume);
}

static void tell(pass_t *p, kg_view_t object, const char *type, const char *reason, const char *fmt, va_list ap) {
  char text[1024];
  vsnprintf(text, sizeof text, fmt, ap);
  kube_event(p->ctx, p->c->base.recorder, object, type, reason, "%s", text);
}

void claim_event(pass_t *p, const char *type, const char *reason, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  tell(p, p->claim, type, reason, fmt, ap);
  va_end(ap);
}

void volume_event(pass_t *p, const char *type, const char *reason, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  tell(p, p->volume, type, reason, fmt, ap);
  va_end(ap);
}

/* --- what is to be worked on ------------------------------------------------------------------------------------- */

static void sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  vc_t *c = self;
  ctl_sync_t *s = ctl_sync_begin(&c->base.work, key);
  pass_t *p = kube_arena_alloc(ctl_arena(s), sizeof *p);
  *p = (pass_t){.ctx = ctx, .c = c, .sync = s, .arena = ctl_arena(s)};
  if (*key == '+')
    local_class(p);
  else if (*key == '/')
    volume_sync(p, kg_str(key + 1));
  else if (*key == ':')
    pod_sync(p, key + 1);
  else
    claim_sync(p, key);
  ctl_sync_end(ctx, self, s);
}

static void add(kg_ctx_t *ctx, vc_t *c, kg_str_t ns, kg_str_t name) {
  char key[CTL_KEY_MAX];
  ctl_work_add(ctx, &c->base.work, ctl_join(key, ns, name));
}

static void add_pod(kg_ctx_t *ctx, vc_t *c, kg_str_t ns, kg_str_t name) {
  char key[CTL_KEY_MAX];
  if ((size_t)snprintf(key, sizeof key, ":" KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(ns), KG_STR_ARG(name)) < sizeof key)
    ctl_work_add(ctx, &c->base.work, key);
}

static kg_str_t volume_name(kg_view_t claim) {
  return kg_view_str(kg_view_path(claim, "spec", "volumeName", NULL));
}

/* Claims that a new or freed volume, or a class, may help. */
static void add_waiting(kg_ctx_t *ctx, vc_t *c) {
  kg_doc_t *doc;
  for (size_t i = 0; (doc = kube_informer_at(c->base.informers[CLAIMS], i)); i++)
    if (!kg_view_there(kube_annotation(kg_view_of(doc), KUBE_BIND_COMPLETED)))
      add(ctx, c, kube_namespace(kg_view_of(doc)), kube_name(kg_view_of(doc)));
}

/* Volumes that are promised to a claim which does not know it yet. */
static void add_promised(kg_ctx_t *ctx, vc_t *c, kg_view_t claim) {
  kg_doc_t *doc;
  for (size_t i = 0; (doc = kube_informer_at(c->base.informers[VOLUMES], i)); i++)
    if (kube_volume_is_of(kg_view_of(doc), claim)) add(ctx, c, (kg_str_t){0}, kube_name(kg_view_of(doc)));
}

static void on_claim(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)old, (void)arg;
  vc_t *c = self;
  kg_view_t owner = kube_controller_ref(now);
  if (change != KUBE_DELETED) add(ctx, c, kube_namespace(now), kube_name(now));
  if (volume_name(now).n)
    add(ctx, c, (kg_str_t){0}, volume_name(now));
  else if (change == KUBE_DELETED)
    add_promised(ctx, c, now);
  if (change == KUBE_DELETED && kg_str_is(kg_view_str(kg_view_get(owner, "kind")), "Pod"))
    add_pod(ctx, c, kube_namespace(now), kg_view_str(kg_view_get(owner, "name")));
}

static void on_volume(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)old, (void)arg;
  vc_t *c = self;
  kg_view_t ref = kg_view_path(now, "spec", "claimRef", NULL);
  kg_str_t name = kg_view_str(kg_view_get(ref, "name"));
  if (change != KUBE_DELETED)
    add(ctx, c, (kg_str_t){0}, kube_name(now));
  else if (kg_active(ctx))
    local_deleted(ctx, c, now);
  if (name.n)
    add(ctx, c, kg_view_str(kg_view_get(ref, "namespace")), name);
  else if (change != KUBE_DELETED)
    add_waiting(ctx, c);
}

static void on_class(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)old, (void)now, (void)arg;
  if (change != KUBE_DELETED) add_waiting(ctx, self);
}

static void on_pod(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)old, (void)arg;
  if (change == KUBE_ADDED && pod_wants_claims(now)) add_pod(ctx, self, kube_namespace(now), kube_name(now));
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static char *set_of(kg_ctx_t *ctx, const char *key, const char *fallback) {
  kg_str_t s = kg_view_str(kg_view_get(kg_config(ctx), key));
  return s.n ? kg_str_dup(s) : strdup(fallback);
}

static void end(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  vc_t *c = self;
  free(c->dir);
  free(c->node);
  kube_recorder_free(c->provisioner);
}

static int begin(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  vc_t *c = self;
  char host[KUBE_HOST_NAME_SIZE], component[KUBE_HOST_NAME_SIZE + sizeof LOCAL_PROVISIONER + 1], dir[4096];
  snprintf(dir, sizeof dir, "%s/storage", kg_data_dir(ctx));
  c->node = set_of(ctx, "nodeName", kube_host_name(host));
  c->dir = set_of(ctx, "storagePath", dir);
  snprintf(component, sizeof component, "%s_%s", LOCAL_PROVISIONER, c->node ? c->node : "");
  c->provisioner = kube_recorder_new(component, NULL);
  if (c->node && c->dir && c->provisioner && c->dir[0] == '/') return 0;
  kg_error_set(err, KG_EINVAL, "storagePath %s: an absolute path is needed", c->dir ? c->dir : "");
  end(ctx, c);
  return -1;
}

/* It goes on for another one: this is no start. */
static int accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx, (void)state, (void)err;
  ((vc_t *)self)->started = true;
  return 0;
}

static void active(kg_ctx_t *ctx, void *self) {
  vc_t *c = self;
  kg_doc_t *doc;
  if (!c->started) ctl_work_add(ctx, &c->base.work, "+");
  c->started = true;
  for (size_t i = 0; (doc = kube_informer_at(c->base.informers[PODS], i)); i++)
    if (pod_wants_claims(kg_view_of(doc))) add_pod(ctx, c, kube_namespace(kg_view_of(doc)), kube_name(kg_view_of(doc)));
  directory_forget(c);
  directory_sweep(ctx, c, NULL);
}

static const ctl_spec_t spec = {
    .size = sizeof(vc_t),
    .component = "persistentvolume-controller",
    .sync = sync,
    .parallel = 16,
    .watches = {[CLAIMS] = {.gvr = {"", "v1", "persistentvolumeclaims"}, .fn = on_claim, .keys = true},
                [VOLUMES] = {.gvr = {"", "v1", "persistentvolumes"}, .fn = on_volume, .keys = true},
                [CLASSES] = {.gvr = {"storage.k8s.io", "v1", "storageclasses"}, .fn = on_class},
                [PODS] = {.gvr = {"", "v1", "pods"}, .fn = on_pod}},
    .begin = begin,
    .active = active,
    .end = end};

CTL_PLUGIN(spec, .name = "controller-volume", .config_keys = "storagePath nodeName", .accept = accept,
           .summary = "Binds PersistentVolumeClaims, reclaims volumes, provides directories of the node (local-path)");
