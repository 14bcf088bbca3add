#include <stdio.h>
#include <string.h>

#include "control.h"

static uint32_t fnv32a(const void *data, size_t n, uint32_t h) {
  const uint8_t *p = data;
  for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 16777619u;
  return h;
}

/* Two documents of one template may order their keys differently (a patch does that): the hash must not see it. */
static void sort_keys(kube_node_t *n) {
  if (n->type != KG_V_MAP && n->type != KG_V_ARRAY) return;
  n->c.index = NULL; /* keys change their places; nobody looks them up here */
  for (uint32_t i = 0; i < n->c.n; i++) {
    sort_keys(n->c.items[i]);
    if (n->type == KG_V_ARRAY) continue;
    kube_node_t *item = n->c.items[i];
    kg_str_t key = n->c.keys[i];
    uint32_t k = i;
    for (; k && kg_str_cmp(key, n->c.keys[k - 1]) < 0; k--) {
      n->c.items[k] = n->c.items[k - 1];
      n->c.keys[k] = n->c.keys[k - 1];
    }
    n->c.items[k] = item;
    n->c.keys[k] = key;
  }
}

/* Letters that cannot make words, as Kubernetes names things. */
void ctl_template_hash(kube_arena_t *a, kg_view_t template, int64_t collisions, char out[16]) {
  static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
  kube_node_t *t = kube_tree_parse(a, template);
  if (t) sort_keys(t);
  kg_doc_t *doc = kube_tree_doc(t);
  uint32_t h = fnv32a(kg_doc_data(doc), kg_doc_size(doc), 2166136261u);
  kg_doc_unref(doc);
  if (collisions) h = fnv32a(&collisions, sizeof collisions, h);
  char digits[16];
  snprintf(digits, sizeof digits, "%u", h);
  size_t n = 0;
  for (; digits[n]; n++) out[n] = alphabet[(uint8_t)digits[n] % 27];
  out[n] = '\0';
}
