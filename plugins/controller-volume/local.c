/* The provisioner that k3s ships as rancher.io/local-path: a volume is a directory of the node its first pod runs on.
 * The directories of one node are made and removed by the process that runs there: this one. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "volume.h"

#define NOTE_LOCAL_NODE "local.path.provisioner/selected-node"
#define NOTE_TYPE "volumeType" /* of a claim; of its class with "default" before it */
#define NOTE_DEFAULT_TYPE "defaultVolumeType"
#define HOST_LABEL "kubernetes.io/hostname"

/* --- the class ---------------------------------------------------------------------------------------------------- */

static void made_class(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)arg;
  if (kg_msg_type(m) == KG_MSG_ERROR && kg_msg_code(m) == KG_ECONFLICT) ctl_sync_forgive(s);
}

/* Who has a default class of his own keeps it. */
void local_class(pass_t *p) {
  kube_arena_t *a = p->arena;
  if (kg_view_there(class_of(p, KG_STR(LOCAL_CLASS)))) return;
  kube_node_t *o = kube_map(a), *meta = kube_sub(a, o, "metadata");
  kube_set(a, o, "apiVersion", kube_str(a, "storage.k8s.io/v1"));
  kube_set(a, o, "kind", kube_str(a, "StorageClass"));
  kube_set(a, meta, "name", kube_str(a, LOCAL_CLASS));
  if (!kg_view_there(default_class(p)))
    kube_set(a, kube_sub(a, meta, "annotations"), NOTE_DEFAULT_CLASS, kube_str(a, "true"));
  kube_set(a, o, "provisioner", kube_str(a, LOCAL_PROVISIONER));
  kube_set(a, o, "reclaimPolicy", kube_str(a, "Delete"));
  kube_set(a, o, "volumeBindingMode", kube_str(a, "WaitForFirstConsumer"));
  kg_doc_t *doc = kube_tree_doc(o);
  ctl_send(p->ctx, p->sync, CTL_CREATE, &(kube_call_t){.gvr = GVR_CLASSES, .object = doc, .grace_seconds = -1},
           made_class, NULL);
  kg_doc_unref(doc);
}

/* --- providing ---------------------------------------------------------------------------------------------------- */

static void KG_PRINTF(2, 3) refuse(pass_t *p, const char *fmt, ...) {
  char why[600];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(why, sizeof why, fmt, ap);
  va_end(ap);
  kube_event(p->ctx, p->c->provisioner, p->claim, "Warning", "ProvisioningFailed",
             "failed to provision volume with StorageClass \"" KG_STR_FMT "\": %s",
             KG_STR_ARG(kube_storage_class_of(p->claim)), why);
}

static char *volume_name(pass_t *p) {
  return kube_arena_fmt(p->arena, "pvc-" KG_STR_FMT, KG_STR_ARG(kube_uid(p->claim)));
}

static char *directory_name(pass_t *p) {
  return kube_arena_fmt(p->arena, "%s_" KG_STR_FMT "_" KG_STR_FMT, volume_name(p), KG_STR_ARG(kube_namespace(p->claim)),
                        KG_STR_ARG(kube_name(p->claim)));
}

static kube_node_t *map_of(kube_arena_t *a, const char *key, kube_node_t *v) {
  kube_node_t *m = kube_map(a);
  kube_set(a, m, key, v);
  return m;
}

static kube_node_t *list_of(kube_arena_t *a, kube_node_t *v) {
  kube_node_t *list = kube_array(a);
  kube_push(a, list, v);
  return list;
}

static kube_node_t *affinity(kube_arena_t *a, kg_str_t host) {
  kube_node_t *e = kube_map(a);
  kube_set(a, e, "key", kube_str(a, HOST_LABEL));
  kube_set(a, e, "operator", kube_str(a, "In"));
  kube_set(a, e, "values", list_of(a, kube_strn(a, host)));
  kube_node_t *term = map_of(a, "matchExpressions", list_of(a, e));
  return map_of(a, "required", map_of(a, "nodeSelectorTerms", list_of(a, term)));
}

/* hostPath, or local where the claim or its class wants that. */
static void set_source(pass_t *p, kube_node_t *spec) {
  kube_arena_t *a = p->arena;
  kg_str_t type = kg_view_str(kube_annotation(p->claim, NOTE_TYPE));
  if (!type.n) type = kg_view_str(kube_annotation(class_of(p, kube_storage_class_of(p->claim)), NOTE_DEFAULT_TYPE));
  bool local = kg_str_is(type, "local");
  kube_node_t *source = kube_sub(a, spec, local ? "local" : "hostPath");
  kube_set(a, source, "path", kube_strf(a, "%s/%s", p->c->dir, directory_name(p)));
  if (!local) kube_set(a, source, "type", kube_str(a, "DirectoryOrCreate"));
}

static kube_node_t *volume_spec(pass_t *p, kg_str_t host) {
  kube_arena_t *a = p->arena;
  kg_view_t claim = kg_view_get(p->claim, "spec"), class = class_of(p, kube_storage_class_of(p->claim));
  kube_node_t *spec = kube_map(a);
  set_source(p, spec);
  kube_set(a, kube_sub(a, spec, "capacity"), "storage",
           kube_strn(a, kg_view_str(kg_view_path(claim, "resources", "requests", "storage", NULL))));
  kube_set(a, spec, "accessModes", kube_tree_parse(a, kg_view_get(claim, "accessModes")));
  kube_set(a, spec, "volumeMode", kube_str(a, "Filesystem"));
  kube_set(a, spec, "storageClassName", kube_strn(a, kube_storage_class_of(p->claim)));
  kube_set(a, spec, "persistentVolumeReclaimPolicy", kube_strn(a, kg_view_str(kg_view_get(class, "reclaimPolicy"))));
  if (kg_view_count(kg_view_get(class, "mountOptions")))
    kube_set(a, spec, "mountOptions", kube_tree_parse(a, kg_view_get(class, "mountOptions")));
  kube_set(a, spec, "claimRef", claim_ref(a, p->claim));
  kube_set(a, spec, "nodeAffinity", affinity(a, host));
  return spec;
}

static void provided(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)self;
  pass_t *p = arg;
  if (kg_msg_type(m) == KG_MSG_REPLY)
    return kube_event(ctx, p->c->provisioner, p->claim, "Normal", "ProvisioningSucceeded",
                      "Successfully provisioned volume %s", volume_name(p));
  if (kg_msg_code(m) == KG_ECONFLICT) return ctl_sync_forgive(s); /* made before, and the cache was behind */
  refuse(p, "%s", kg_msg_text(m));
}

static void provide(pass_t *p, kg_str_t host) {
  kube_arena_t *a = p->arena;
  kube_node_t *o = kube_map(a), *meta = kube_sub(a, o, "metadata"), *notes = kube_sub(a, meta, "annotations");
  kube_set(a, o, "apiVersion", kube_str(a, "v1"));
  kube_set(a, o, "kind", kube_str(a, "PersistentVolume"));
  kube_set(a, meta, "name", kube_str(a, volume_name(p)));
  kube_set(a, notes, NOTE_LOCAL_NODE, kube_str(a, p->c->node));
  kube_set(a, notes, NOTE_PROVISIONED_BY, kube_str(a, LOCAL_PROVISIONER));
  kube_set(a, o, "spec", volume_spec(p, host));
  kg_doc_t *doc = kube_tree_doc(o);
  ctl_send(p->ctx, p->sync, CTL_CREATE, &(kube_call_t){.gvr = GVR_VOLUMES, .object = doc, .grace_seconds = -1},
           provided, p);
  kg_doc_unref(doc);
}

/* The node says how pods are bound to it. One that is gone was chosen by mistake: the scheduler chooses again. */
static void saw_node(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  pass_t *p = arg;
  kube_arena_t *a = p->arena;
  kg_error_t err;
  if (kg_msg_type(m) == KG_MSG_REPLY) {
    kg_str_t host = kg_view_str(kg_view_get(kube_labels(kg_view_of(kg_msg_doc(m, 0))), HOST_LABEL));
    if (!host.n) return refuse(p, "configuration error, node{%s} hostname is empty", p->c->node);
    if (!directory_make(p->c, directory_name(p), &err)) return provide(p, host);
    ctl_sync_failed(s); /* a full disk has room again some time */
    return refuse(p, "%s", err.text);
  }
  if (kg_msg_code(m) != KG_ENOTFOUND) return;
  kube_node_t *patch = kube_map(a);
  kube_set(a, kube_sub(a, kube_sub(a, patch, "metadata"), "annotations"), KUBE_SELECTED_NODE, kube_nil(a));
  refuse(p, "node \"%s\" not found", p->c->node);
  pass_patch(p, GVR_CLAIMS, p->claim, NULL, patch, took_claim);
}

static const char *unsupported(kg_view_t claim, kg_view_t class) {
  kg_view_t spec = kg_view_get(claim, "spec");
  if (kg_str_is(kg_view_str(kg_view_get(spec, "volumeMode")), "Block"))
    return LOCAL_PROVISIONER " does not support block volume provisioning";
  if (kg_view_there(kg_view_get(spec, "selector"))) return "claim.Spec.Selector is not supported";
  if (kg_view_there(kg_view_get(spec, "dataSource")) || kg_view_there(kg_view_get(spec, "dataSourceRef")))
    return "volumes are made empty: dataSource and dataSourceRef are not supported";
  if (kg_view_count(kg_view_get(class, "parameters"))) return "parameters of the class are not supported";
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "accessModes")); kg_iter_next(&it);)
    if (!kg_str_is(kg_view_str(it.value), "ReadWriteOnce") && !kg_str_is(kg_view_str(it.value), "ReadWriteOncePod"))
      return "NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes";
  return NULL;
}

void local_provision(pass_t *p) {
  kg_str_t node = kg_view_str(kube_annotation(p->claim, KUBE_SELECTED_NODE));
  const char *why = unsupported(p->claim, class_of(p, kube_storage_class_of(p->claim)));
  if (kube_deleting(p->claim) ||
      kube_informer_get(p->c->base.informers[VOLUMES], (kg_str_t){0}, kg_str(volume_name(p))))
    return;
  kube_event(p->ctx, p->c->provisioner, p->claim, "Normal", "Provisioning",
             "External provisioner is provisioning volume for claim \"" KG_STR_FMT "/" KG_STR_FMT "\"",
             KG_STR_ARG(kube_namespace(p->claim)), KG_STR_ARG(kube_name(p->claim)));
  if (why) return refuse(p, "%s", why);
  if (!node.n) return refuse(p, "configuration error, no node was specified");
  if (!kg_str_is(node, p->c->node))
    return refuse(p, "node \"" KG_STR_FMT "\" was chosen, but directories are provided on node \"%s\" alone",
                  KG_STR_ARG(node), p->c->node);
  ctl_send(p->ctx, p->sync, CTL_GET, &(kube_call_t){.gvr = {"", "v1", "nodes"}, .name = p->c->node}, saw_node, p);
}

/* --- reclaiming --------------------------------------------------------------------------------------------------- */

static void KG_PRINTF(2, 3) deletion_failed(pass_t *p, const char *fmt, ...) {
  char why[600];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(why, sizeof why, fmt, ap);
  va_end(ap);
  kube_event(p->ctx, p->c->provisioner, p->volume, "Warning", "VolumeFailedDelete", "%s", why);
}

/* Name of the directory if the path is one that was made for that volume: anybody who may make volumes writes paths.
 * Borrowed from the volume; empty: it is not. */
static kg_str_t own_directory(const vc_t *c, kg_view_t volume) {
  kg_view_t spec = kg_view_get(volume, "spec"), source = kg_view_get(spec, "hostPath");
  if (!kg_view_there(source)) source = kg_view_get(spec, "local");
  kg_str_t path = kg_view_str(kg_view_get(source, "path")), name = kube_name(volume);
  size_t n = strlen(c->dir);
  if (path.n <= n + 1 || memcmp(path.p, c->dir, n) || path.p[n] != '/') return (kg_str_t){0};
  kg_str_t rest = {path.p + n + 1, path.n - n - 1};
  bool ours = rest.n > name.n && !memcmp(rest.p, name.p, name.n) && rest.p[name.n] == '_' &&
              !memchr(rest.p, '/', rest.n) && !memchr(rest.p, 0, rest.n);
  return ours ? rest : (kg_str_t){0};
}

static bool is_here(const vc_t *c, kg_view_t volume) {
  return kg_str_is(kg_view_str(kube_annotation(volume, NOTE_LOCAL_NODE)), c->node);
}

void local_reclaim(pass_t *p) {
  kg_error_t err;
  kg_str_t name = own_directory(p->c, p->volume);
  if (kube_deleting(p->volume)) return;
  if (!is_here(p->c, p->volume))
    return deletion_failed(p, "the volume is on node \"" KG_STR_FMT "\", this is \"%s\"",
                           KG_STR_ARG(kg_view_str(kube_annotation(p->volume, NOTE_LOCAL_NODE))), p->c->node);
  if (!name.n)
    return deletion_failed(p, "its path is no directory of this volume below %s: it is left alone", p->c->dir);
  if (directory_remove(p->ctx, p->c, name, &err)) {
    ctl_sync_failed(p->sync);
    return deletion_failed(p, "%s", err.text);
  }
  ctl_send(p->ctx, p->sync, CTL_DELETE,
           &(kube_call_t){.gvr = GVR_VOLUMES,
                          .name = ctl_text(p->arena, kube_name(p->volume)),
                          .precondition_uid = ctl_text(p->arena, kube_uid(p->volume)),
                          .grace_seconds = -1},
           NULL, NULL);
}

void local_deleted(kg_ctx_t *ctx, vc_t *c, kg_view_t volume) {
  kg_error_t err;
  kg_view_t spec = kg_view_get(volume, "spec"), ref = kg_view_get(spec, "claimRef");
  kg_str_t name = own_directory(c, volume), uid = kg_view_str(kg_view_get(ref, "uid"));
  bool ours = kg_str_is(kg_view_str(kube_annotation(volume, NOTE_PROVISIONED_BY)), LOCAL_PROVISIONER) &&
              kg_str_is(kg_view_str(kg_view_get(spec, "persistentVolumeReclaimPolicy")), "Delete");
  kg_doc_t *claim = kube_informer_get(c->base.informers[CLAIMS], kg_view_str(kg_view_get(ref, "namespace")),
                                      kg_view_str(kg_view_get(ref, "name")));
  if (!ours || !name.n || !uid.n || !is_here(c, volume)) return;
  if (claim && kg_str_eq(kube_uid(kg_view_of(claim)), uid)) return; /* lost, and pods may still be in it */
  if (directory_remove(ctx, c, name, &err)) kg_log(ctx, KG_LOG_WARN, "%s", err.text);
}
