/* Volumes behind claims: a claim leads to a persistent volume, that to a directory of this node. What lies there is not
 * the pod's: it stays when the pod goes. */
#include <sys/stat.h>

#include "kube/claims.h"
#include "node.h"

enum { QUIET_MS = 1000 };

/* Found once, it stays so for the life of the pod, whatever becomes of the objects. */
struct claimed {
  struct claimed *next;
  char *volume, *pv, *path; /* name in the pod's spec, of the persistent volume; on the host */
  ownership_t *giving;      /* it is being given to the pod's group; NULL: it is ready */
};

bool volume_is_claim(kg_view_t volume) {
  return kg_view_type(kg_view_get(volume, "persistentVolumeClaim")) == KG_V_MAP ||
         kg_view_type(kg_view_get(volume, "ephemeral")) == KG_V_MAP;
}

static struct claimed *claimed_as(const pod_t *p, kg_view_t volume) {
  kg_str_t name = VIEW_STR(volume, "name");
  struct claimed *c = p->claims;
  while (c && !kg_str_is(name, c->volume)) c = c->next;
  return c;
}

const char *claim_path(const pod_t *p, kg_view_t volume) {
  const struct claimed *c = claimed_as(p, volume);
  return c && !c->giving ? c->path : NULL;
}

static void claimed_free(struct claimed *c) {
  ownership_free(c->giving);
  free(c->volume), free(c->pv), free(c->path);
  free(c);
}

void claims_free(pod_t *p) {
  while (p->claims) {
    struct claimed *c = p->claims;
    p->claims = c->next;
    claimed_free(c);
  }
}

/* NULL: out of memory. */
static struct claimed *found(pod_t *p, kg_view_t volume, kg_view_t pv, kg_str_t path) {
  struct claimed *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  *c = (struct claimed){
      .volume = kg_str_dup(VIEW_STR(volume, "name")), .pv = kg_str_dup(kube_name(pv)), .path = kg_str_dup(path)};
  if (!c->volume || !c->pv || !c->path) return claimed_free(c), NULL;
  c->next = p->claims;
  return p->claims = c;
}

/* --- the group of a pod ------------------------------------------------------------------------------------------- */

/* Who has the volume on this node already; NULL: nobody. */
static const pod_t *other_user(const pod_t *p, const char *path) {
  for (const pod_t *o = p->agent->list; o; o = o->next)
    for (const struct claimed *c = o == p ? NULL : o->claims; c; c = c->next)
      if (!strcmp(c->path, path)) return o;
  return NULL;
}

/* A local volume becomes the group's before the first pod of the node that writes to it. */
static void begin_giving(pod_t *p, struct claimed *c, kg_view_t volume, kg_view_t pv) {
  struct stat st;
  int64_t gid = pod_fs_group(p);
  bool read_only = kg_view_bool(kg_view_path(volume, "persistentVolumeClaim", "readOnly", NULL), false);
  if (gid < 0 || read_only || p->sandbox != SB_NONE || !kg_view_there(kg_view_path(pv, "spec", "local", NULL))) return;
  if (!other_user(p, c->path)) {
    kg_str_t policy = VIEW_STR(pod_spec(p), "securityContext", "fsGroupChangePolicy");
    c->giving = ownership_new(c->path, gid, kg_str_is(policy, "OnRootMismatch"));
  } else if (!stat(c->path, &st) && st.st_gid != (gid_t)gid) {
    pod_event(p, "Warning", "AlreadyMountedVolume",
              "The requested fsGroup is %lld, but the volume %s has GID %u. The volume may not be shareable.",
              (long long)gid, c->pv, st.st_gid);
  }
}

static int go_on(pod_t *p, struct claimed *c, kg_error_t *err) {
  int r = c->giving ? ownership_go_on(c->giving, err) : 0;
  if (r > 0) {
    pod_kick(p);
    return r;
  }
  if (r)
    kg_error_prefix(err, "MountVolume.SetUp failed for volume \"%s\" : applyFSGroup failed for vol %s", c->pv, c->pv);
  ownership_free(c->giving);
  c->giving = r ? ownership_new(c->path, pod_fs_group(p), false) : NULL; /* from the start, later */
  return r;
}

/* --- from the volume of the pod to the persistent volume ---------------------------------------------------------- */

static int claimed_volume(pod_t *p, kg_view_t claim, kg_view_t *pv, kg_error_t *err) {
  kg_str_t name = VIEW_STR(claim, "spec", "volumeName"), uid;
  if (!kg_str_is(VIEW_STR(claim, "status", "phase"), "Bound")) return kg_error_set(err, KG_EINVAL, "PVC is not bound");
  if (!name.n) return kg_error_set(err, KG_EINVAL, "PVC has empty pvc.Spec.VolumeName");
  *pv = kg_view_of(kube_informer_get(agent_persistent_volumes(p->agent), KG_STR(""), name));
  if (!kg_view_there(*pv))
    return kg_error_set(err, KG_ENOTFOUND,
                        "failed to fetch PV \"" KG_STR_FMT "\" from API server: persistentvolumes \"" KG_STR_FMT
                        "\" not found",
                        KG_STR_ARG(name), KG_STR_ARG(name));
  if (kg_view_type(kg_view_path(*pv, "spec", "claimRef", NULL)) != KG_V_MAP)
    return kg_error_set(err, KG_EINVAL,
                        "found PV object \"" KG_STR_FMT
                        "\" but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim",
                        KG_STR_ARG(name));
  uid = VIEW_STR(*pv, "spec", "claimRef", "uid");
  if (kg_str_eq(uid, kube_uid(claim))) return 0;
  return kg_error_set(err, KG_EINVAL,
                      "found PV object \"" KG_STR_FMT "\" but its pv.Spec.ClaimRef.UID \"" KG_STR_FMT
                      "\" does not point to claim.UID \"" KG_STR_FMT "\"",
                      KG_STR_ARG(name), KG_STR_ARG(uid), KG_STR_ARG(kube_uid(claim)));
}

/* A pod that runs already keeps its volume though the claim is to go. */
static int bound_volume(pod_t *p, kg_view_t volume, const char *name, kg_view_t *pv, kg_error_t *err) {
  kg_view_t pod = pod_object(p),
            claim = kg_view_of(kube_informer_get(agent_claims(p->agent), kg_str(p->ns), kg_str(name)));
  if (!kg_view_there(claim))
    return kg_error_set(err, KG_ENOTFOUND,
                        "failed to fetch PVC from API server: persistentvolumeclaims \"%s\" not found", name);
  if (kube_deleting(claim) && p->sandbox == SB_NONE) return kg_error_set(err, KG_EINVAL, "PVC is being deleted");
  if (kg_view_there(kg_view_get(volume, "ephemeral")) && !kube_claim_is_of_pod(claim, pod))
    return kg_error_set(err, KG_EINVAL, "PVC %s/%s was not created for pod %s/%s (pod is not owner)", p->ns, name,
                        p->ns, p->name);
  return claimed_volume(p, claim, pv, err);
}

static int check_mode(kg_view_t volume, kg_view_t pv, bool as_device, kg_error_t *err) {
  bool block = kg_str_is(VIEW_STR(pv, "spec", "volumeMode"), "Block");
  if (block != as_device)
    return kg_error_set(err, KG_EINVAL, "volume " KG_STR_FMT " has volumeMode %s, but is specified in %s",
                        KG_STR_ARG(VIEW_STR(volume, "name")), block ? "Block" : "Filesystem",
                        as_device ? "volumeDevices" : "volumeMounts");
  return block ? kg_error_set(err, KG_EINVAL, "this node has no block volumes") : 0;
}

/* --- from the persistent volume to a directory -------------------------------------------------------------------- */

static const char *const not_sources[] = {"accessModes",
                                          "capacity",
                                          "claimRef",
                                          "mountOptions",
                                          "nodeAffinity",
                                          "storageClassName",
                                          "volumeMode",
                                          "persistentVolumeReclaimPolicy",
                                          "volumeAttributesClassName"};

static kg_str_t source_of(kg_view_t spec) {
  for (kg_iter_t it = kg_iter(spec); kg_iter_next(&it);) {
    bool source = true;
    for (size_t i = 0; i < sizeof not_sources / sizeof *not_sources; i++)
      source &= !kg_str_is(kg_view_str(it.key), not_sources[i]);
    if (source) return kg_view_str(it.key);
  }
  return KG_STR("(none)");
}

static int local_path(kg_view_t spec, kg_error_t *err) {
  struct stat st;
  char *path = kg_str_dup(VIEW_STR(spec, "local", "path"));
  int r = 0;
  if (!path || stat(path, &st))
    r = kg_error_set(err, KG_ENOTFOUND, "path \"%s\" does not exist", path ? path : "");
  else if (!S_ISDIR(st.st_mode))
    r = kg_error_set(err, KG_EINVAL, "path \"%s\" is no directory: this node makes no file systems on devices", path);
  free(path);
  return r;
}

static bool wants_options(kg_view_t pv) {
  return kg_view_count(kg_view_path(pv, "spec", "mountOptions", NULL)) > 0 ||
         kg_view_str(kube_annotation(pv, "volume.beta.kubernetes.io/mount-options")).n > 0;
}

/* 0 with where it lies; -1 with a sentence and the step that failed. */
static int set_up(const pod_t *p, kg_view_t pv, kg_str_t *path, const char **step, kg_error_t *err) {
  kg_view_t spec = kg_view_get(pv, "spec"), node = kg_view_of(kube_informer_at(p->agent->node, 0));
  kg_str_t source = source_of(spec);
  bool host = kg_str_is(source, "hostPath"), local = kg_str_is(source, "local");
  *step = "SetUp";
  if (!host && !local)
    return kg_error_set(err, KG_EINVAL, "this node has no volume plugin for " KG_STR_FMT, KG_STR_ARG(source));
  *step = "NodeAffinity check";
  if (!kube_volume_reaches(pv, kube_labels(node))) return kg_error_set(err, KG_EINVAL, "no matching NodeSelectorTerms");
  *step = "MountOptionSupport check";
  if (wants_options(pv)) return kg_error_set(err, KG_EINVAL, "Mount options are not supported for this volume type");
  *path = VIEW_STR(spec, host ? "hostPath" : "local", "path");
  *step = host ? "SetUp" : "NewMounter initialization";
  return host ? host_path_check(spec, err) : local_path(spec, err);
}

/* The binding is news, too, and may come a moment after the pod: that is not worth an event. */
static bool is_early(pod_t *p) {
  int64_t now = kg_now_ms(p->agent->ctx);
  if (!p->claims_since_ms) p->claims_since_ms = now;
  if (now - p->claims_since_ms >= QUIET_MS) return false;
  pod_wake(p, p->claims_since_ms + QUIET_MS);
  return true;
}

static int find_volume(pod_t *p, kg_view_t volume, bool as_device, kg_view_t *pv, kg_error_t *err) {
  char name[KUBE_CLAIM_NAME];
  kg_str_t own = VIEW_STR(volume, "name");
  if (!kube_informer_synced(agent_claims(p->agent)) || !kube_informer_synced(agent_persistent_volumes(p->agent)))
    return 1;
  kube_claim_of(pod_object(p), volume, name);
  if (!bound_volume(p, volume, name, pv, err) && !check_mode(volume, *pv, as_device, err)) return 0;
  if (is_early(p)) return 1;
  return kg_error_prefix(err,
                         "Unable to attach or mount volumes: unmounted volumes=[" KG_STR_FMT
                         "], unattached volumes=[], failed to process volumes=[" KG_STR_FMT
                         "]: error processing PVC %s/%s",
                         KG_STR_ARG(own), KG_STR_ARG(own), p->ns, name);
}

int claim_prepare(pod_t *p, kg_view_t volume, bool as_device, kg_error_t *err) {
  kg_view_t pv = {0};
  kg_str_t path;
  const char *step;
  struct claimed *c = claimed_as(p, volume);
  int r = c ? 0 : find_volume(p, volume, as_device, &pv, err);
  if (r) return r;
  if (c) return go_on(p, c, err);
  if (set_up(p, pv, &path, &step, err))
    return kg_error_prefix(err, "MountVolume.%s failed for volume \"" KG_STR_FMT "\" ", step,
                           KG_STR_ARG(kube_name(pv)));
  if (!(c = found(p, volume, pv, path))) return kg_error_set(err, KG_EFULL, "out of memory");
  begin_giving(p, c, volume, pv);
  return go_on(p, c, err);
}
