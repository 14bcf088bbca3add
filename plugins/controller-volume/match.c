/* Which volume a claim gets. */
#include <string.h>

#include "volume.h"

bool is_in_tree(kg_str_t provisioner) {
  static const char prefix[] = "kubernetes.io/";
  return provisioner.n >= sizeof prefix - 1 && !memcmp(provisioner.p, prefix, sizeof prefix - 1);
}

static size_t modes(kg_view_t volume) {
  return kg_view_count(kg_view_path(volume, "spec", "accessModes", NULL));
}

/* With the fewest modes that nobody asked for, then the smallest. */
static bool is_better(kg_view_t volume, kg_view_t than) {
  size_t a = modes(volume), b = modes(than);
  return !kg_view_there(than) || (a != b ? a < b : kube_volume_bytes(volume) < kube_volume_bytes(than));
}

kg_doc_t *volume_for(const pass_t *p, bool wait_for_a_node) {
  kg_doc_t *best = NULL, *doc;
  for (size_t i = 0; (doc = kube_informer_at(p->c->base.informers[VOLUMES], i)); i++) {
    kg_view_t volume = kg_view_of(doc);
    if (!kube_volume_suits(volume, p->claim)) continue;
    if (kube_volume_is_of(volume, p->claim)) return doc;
    /* Where the node matters the scheduler writes the claim's name onto the volume. */
    if (!wait_for_a_node && is_better(volume, kg_view_of(best))) best = doc;
  }
  return best;
}
