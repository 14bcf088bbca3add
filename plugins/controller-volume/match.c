/* Which volume suits a claim. */
#include <string.h>

#include "volume.h"

#define NOTE_CLASS "volume.beta.kubernetes.io/storage-class"

kg_str_t class_name(kg_view_t object) {
  kg_str_t old = kg_view_str(kube_annotation(object, NOTE_CLASS));
  return old.n ? old : kg_view_str(kg_view_path(object, "spec", "storageClassName", NULL));
}

int64_t storage_of(kg_view_t amounts) {
  int64_t bytes = 0;
  kube_quantity_value(kg_view_str(kg_view_get(amounts, "storage")), &bytes);
  return bytes;
}

static int64_t wanted(kg_view_t claim) {
  return storage_of(kg_view_path(claim, "spec", "resources", "requests", NULL));
}

static int64_t size(kg_view_t volume) {
  return storage_of(kg_view_path(volume, "spec", "capacity", NULL));
}

static kg_str_t mode(kg_view_t object) {
  kg_str_t s = kg_view_str(kg_view_path(object, "spec", "volumeMode", NULL));
  return s.n ? s : KG_STR("Filesystem");
}

static kg_str_t attributes(kg_view_t object) {
  return kg_view_str(kg_view_path(object, "spec", "volumeAttributesClassName", NULL));
}

static bool has(kg_view_t list, kg_str_t text) {
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);)
    if (kg_str_eq(kg_view_str(it.value), text)) return true;
  return false;
}

static kg_view_t modes(kg_view_t object) {
  return kg_view_path(object, "spec", "accessModes", NULL);
}

static bool grants(kg_view_t volume, kg_view_t claim) {
  for (kg_iter_t it = kg_iter(modes(claim)); kg_iter_next(&it);)
    if (!has(modes(volume), kg_view_str(it.value))) return false;
  return true;
}

bool claim_is_of(kg_view_t claim, kg_view_t volume) {
  kg_view_t ref = kg_view_path(volume, "spec", "claimRef", NULL);
  kg_str_t uid = kg_view_str(kg_view_get(ref, "uid")), name = kg_view_str(kg_view_get(ref, "name"));
  return name.n && kg_str_eq(name, kube_name(claim)) &&
         kg_str_eq(kg_view_str(kg_view_get(ref, "namespace")), kube_namespace(claim)) &&
         (!uid.n || kg_str_eq(uid, kube_uid(claim)));
}

const char *mismatch(kg_view_t volume, kg_view_t claim) {
  if (size(volume) < wanted(claim)) return "requested PV is too small";
  if (!kg_str_eq(class_name(volume), class_name(claim))) return "storageClassName does not match";
  if (!kg_str_eq(attributes(volume), attributes(claim))) return "volumeAttributesClassName does not match";
  if (!kg_str_eq(mode(volume), mode(claim))) return "incompatible volumeMode";
  return grants(volume, claim) ? NULL : "incompatible accessMode";
}

/* Without a claim's name on it. */
static bool is_free(kg_view_t volume, kg_view_t claim, const kube_selector_t *selector) {
  return kg_str_is(kg_view_str(kg_view_path(volume, "status", "phase", NULL)), "Available") &&
         !kg_view_there(kg_view_path(volume, "spec", "claimRef", NULL)) &&
         (!selector || kube_selector_matches(selector, kube_labels(volume))) && !mismatch(volume, claim);
}

/* With the fewest modes that nobody asked for, then the smallest. */
static bool is_better(kg_view_t volume, kg_view_t than) {
  size_t a = kg_view_count(modes(volume)), b = kg_view_count(modes(than));
  return !kg_view_there(than) || (a != b ? a < b : size(volume) < size(than));
}

kg_doc_t *volume_for(const pass_t *p, bool wait_for_a_node) {
  kg_view_t said = kg_view_path(p->claim, "spec", "selector", NULL);
  kube_selector_t *selector = kg_view_there(said) ? kube_selector_of(said, NULL) : NULL;
  kg_doc_t *best = NULL, *doc;
  for (size_t i = 0; (doc = kube_informer_at(p->c->base.informers[VOLUMES], i)); i++) {
    kg_view_t volume = kg_view_of(doc);
    if (kube_deleting(volume)) continue;
    bool promised = claim_is_of(p->claim, volume) && size(volume) >= wanted(p->claim) &&
                    kg_str_eq(mode(volume), mode(p->claim)) && grants(volume, p->claim);
    if (promised) {
      best = doc;
      break;
    }
    /* Where the node matters the scheduler writes the claim's name onto the volume. */
    if (wait_for_a_node || !is_free(volume, p->claim, selector) || (kg_view_there(said) && !selector)) continue;
    if (is_better(volume, kg_view_of(best))) best = doc;
  }
  kube_selector_free(selector);
  return best;
}
