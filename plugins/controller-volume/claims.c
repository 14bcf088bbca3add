/* A claim: bound to the volume that it names, to one that suits it, or to one that is made for it. */
#include "kube/json.h"
#include "volume.h"

kg_view_t class_of(const pass_t *p, kg_str_t name) {
  return kg_view_of(kube_informer_get(p->c->base.informers[CLASSES], (kg_str_t){0}, name));
}

kg_view_t default_class(const pass_t *p) {
  kg_view_t class = {0};
  kg_doc_t *doc;
  for (size_t i = 0; (doc = kube_informer_at(p->c->base.informers[CLASSES], i)); i++)
    class = kube_default_class(class, kg_view_of(doc));
  return class;
}

static kg_str_t field(kg_view_t object, const char *name) {
  return kg_view_str(kg_view_get(object, name));
}

static bool take_volume(pass_t *p, kg_str_t name) {
  kg_doc_t *doc = kube_informer_get(p->c->base.informers[VOLUMES], (kg_str_t){0}, name);
  if (doc) p->volume = kg_view_of(ctl_keep(p->sync, doc));
  return doc != NULL;
}

static void lose(pass_t *p, const char *reason, const char *text) {
  if (claim_phase(p, "Lost", false)) claim_event(p, "Warning", reason, "%s", text);
}

static void sync_bound(pass_t *p, kg_str_t name) {
  if (!name.n)
    return lose(p, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
  if (!take_volume(p, name))
    return lose(p, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
  kg_view_t ref = kg_view_path(p->volume, "spec", "claimRef", NULL);
  if (kg_view_there(ref) && !kg_str_eq(field(ref, "uid"), kube_uid(p->claim)))
    return lose(p, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly");
  bind(p);
}

/* --- of its own choice -------------------------------------------------------------------------------------------- */

static void sync_named(pass_t *p, kg_str_t name) {
  if (!take_volume(p, name)) {
    claim_phase(p, "Pending", false);
    return;
  }
  const char *why = NULL;
  if (kube_volume_is_of(p->volume, p->claim)) return bind(p);
  if (kg_view_there(kg_view_path(p->volume, "spec", "claimRef", NULL)))
    claim_event(p, "Warning", "FailedBinding", "volume \"" KG_STR_FMT "\" already bound to a different claim.",
                KG_STR_ARG(name));
  else if ((why = kube_volume_lacks(p->volume, p->claim)))
    claim_event(p, "Warning", "VolumeMismatch", "Cannot bind to requested volume \"" KG_STR_FMT "\": %s",
                KG_STR_ARG(name), why);
  else
    return bind(p);
  claim_phase(p, "Pending", false);
}

/* --- of any ------------------------------------------------------------------------------------------------------- */

static bool uses(kg_view_t pod, kg_str_t claim) {
  char name[KUBE_CLAIM_NAME];
  for (kg_iter_t it = kg_iter(kg_view_path(pod, "spec", "volumes", NULL)); kg_iter_next(&it);)
    if (kube_claim_of(pod, it.value, name) && kg_str_is(claim, name)) return true;
  return false;
}

/* Pods that wait for a node, and the claim with them. */
static size_t waiting_pods(pass_t *p, kube_buf_t *names) {
  kube_informer_t *pods = p->c->base.informers[PODS];
  size_t first, count, n = 0;
  kube_informer_ns(pods, kube_namespace(p->claim), &first, &count);
  for (size_t i = first; i < first + count; i++) {
    kg_view_t pod = kg_view_of(kube_informer_at(pods, i));
    if (kg_view_str(kg_view_path(pod, "spec", "nodeName", NULL)).n || !uses(pod, kube_name(p->claim))) continue;
    kube_buf_fmt(names, "%s" KG_STR_FMT, n++ ? "," : "", KG_STR_ARG(kube_name(pod)));
  }
  return n;
}

static void wait_for_pod(pass_t *p) {
  kube_buf_t names = {0};
  size_t n = waiting_pods(p, &names);
  if (n && !names.failed)
    claim_event(p, "Normal", "WaitForPodScheduled", "waiting for pod%s %.*s to be scheduled", n > 1 ? "s" : "",
                (int)names.n, names.p);
  else
    claim_event(p, "Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
  kube_buf_free(&names);
  claim_phase(p, "Pending", false);
}

/* Whoever provides volumes of that class looks at these annotations. */
static void ask_provisioner(pass_t *p, kg_str_t provisioner) {
  static const char *const notes[] = {NOTE_PROVISIONER, NOTE_PROVISIONER_BETA};
  kube_arena_t *a = p->arena;
  kube_node_t *patch = kube_map(a), *to = kube_sub(a, kube_sub(a, patch, "metadata"), "annotations");
  for (int i = 0; i < 2; i++)
    if (!kg_str_eq(kg_view_str(kube_annotation(p->claim, notes[i])), provisioner))
      kube_set(a, to, notes[i], kube_strn(a, provisioner));
  bool asked = !to->c.n;
  if (!asked || !kg_str_is(provisioner, LOCAL_PROVISIONER))
    claim_event(p, "Normal", "ExternalProvisioning",
                "Waiting for a volume to be created either by the external provisioner '" KG_STR_FMT
                "' or manually by the system administrator. If volume creation is delayed, please verify that the "
                "provisioner is running and correctly registered.",
                KG_STR_ARG(provisioner));
  if (!asked)
    pass_patch(p, GVR_CLAIMS, p->claim, NULL, patch, took_claim);
  else if (kg_str_is(provisioner, LOCAL_PROVISIONER))
    local_provision(p);
}

/* A claim that is older than the default class gets it, too (KEP-3333); one that says "" wants none. */
static bool take_default_class(pass_t *p) {
  kube_arena_t *a = p->arena;
  kg_view_t class = default_class(p);
  if (kube_storage_class_of(p->claim).p || !kg_view_there(class)) return false;
  kube_node_t *patch = kube_map(a);
  kube_set(a, kube_sub(a, patch, "spec"), "storageClassName", kube_strn(a, kube_name(class)));
  pass_patch(p, GVR_CLAIMS, p->claim, NULL, patch, took_claim);
  return true;
}

static void sync_any(pass_t *p) {
  kg_str_t name = kube_storage_class_of(p->claim);
  kg_view_t class = class_of(p, name);
  kg_str_t provisioner = field(class, "provisioner");
  bool waits = kg_str_is(field(class, "volumeBindingMode"), "WaitForFirstConsumer");
  kg_doc_t *found = volume_for(p, waits);
  if (found) {
    p->volume = kg_view_of(ctl_keep(p->sync, found));
    return bind(p);
  }
  if (take_default_class(p)) return;
  if (waits && !kg_view_there(kube_annotation(p->claim, KUBE_SELECTED_NODE))) return wait_for_pod(p);
  if (!name.n) {
    claim_event(p, "Normal", "FailedBinding",
                "no persistent volumes available for this claim and no storage class is set");
    claim_phase(p, "Pending", false);
  } else if (!kg_view_there(class)) {
    claim_event(p, "Warning", "ProvisioningFailed", "storageclass.storage.k8s.io \"" KG_STR_FMT "\" not found",
                KG_STR_ARG(name));
  } else if (is_in_tree(provisioner)) {
    claim_event(p, "Warning", "ProvisioningFailed", "no volume plugin matched name: " KG_STR_FMT,
                KG_STR_ARG(provisioner));
  } else {
    ask_provisioner(p, provisioner);
  }
}

void claim_sync(pass_t *p, const char *key) {
  kg_str_t ns, name;
  ctl_split(key, &ns, &name);
  kg_doc_t *doc = kube_informer_get(p->c->base.informers[CLAIMS], ns, name);
  if (!doc) return;
  p->claim = kg_view_of(ctl_keep(p->sync, doc));
  kg_str_t volume = kg_view_str(kg_view_path(p->claim, "spec", "volumeName", NULL));
  if (kg_view_there(kube_annotation(p->claim, KUBE_BIND_COMPLETED))) return sync_bound(p, volume);
  if (volume.n) return sync_named(p, volume);
  sync_any(p);
}
