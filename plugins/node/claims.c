/* Volumes behind claims: a claim leads to a persistent volume, that to a directory of this node. What lies there is not
 * the pod's: it stays when the pod goes. */
#include <sys/stat.h>

#include "kube/claims.h"
#include "node.h"

/* Found once, it stays so for the life of the pod, whatever becomes of the objects. */
struct claimed {
  struct claimed *next;
  char *volume, *path; /* name in the pod's spec; on the host */
};

bool volume_is_claim(kg_view_t volume) {
  return kg_view_type(kg_view_get(volume, "persistentVolumeClaim")) == KG_V_MAP ||
         kg_view_type(kg_view_get(volume, "ephemeral")) == KG_V_MAP;
}

const char *claim_path(const pod_t *p, kg_view_t volume) {
  kg_str_t name = VIEW_STR(volume, "name");
  for (const struct claimed *c = p->claims; c; c = c->next)
    if (kg_str_is(name, c->volume)) return c->path;
  return NULL;
}

void claims_free(pod_t *p) {
  while (p->claims) {
    struct claimed *c = p->claims;
    p->claims = c->next;
    free(c->volume), free(c->path);
    free(c);
  }
}

static int found(pod_t *p, kg_view_t volume, kg_str_t path, kg_error_t *err) {
  struct claimed *c = calloc(1, sizeof *c);
  if (c) *c = (struct claimed){p->claims, kg_str_dup(VIEW_STR(volume, "name")), kg_str_dup(path)};
  if (c) p->claims = c;
  return c && c->volume && c->path ? 0 : kg_error_set(err, KG_EFULL, "out of memory");
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

int claim_prepare(pod_t *p, kg_view_t volume, bool as_device, kg_error_t *err) {
  char name[KUBE_CLAIM_NAME];
  kg_view_t pv = {0};
  kg_str_t path, own = VIEW_STR(volume, "name");
  const char *step;
  if (claim_path(p, volume)) return 0;
  if (!kube_informer_synced(agent_claims(p->agent)) || !kube_informer_synced(agent_persistent_volumes(p->agent)))
    return 1;
  kube_claim_of(pod_object(p), volume, name);
  if (bound_volume(p, volume, name, &pv, err) || check_mode(volume, pv, as_device, err))
    return kg_error_prefix(err,
                           "Unable to attach or mount volumes: unmounted volumes=[" KG_STR_FMT
                           "], unattached volumes=[], failed to process volumes=[" KG_STR_FMT
                           "]: error processing PVC %s/%s",
                           KG_STR_ARG(own), KG_STR_ARG(own), p->ns, name);
  if (set_up(p, pv, &path, &step, err))
    return kg_error_prefix(err, "MountVolume.%s failed for volume \"" KG_STR_FMT "\" ", step,
                           KG_STR_ARG(kube_name(pv)));
  return found(p, volume, path, err);
}
