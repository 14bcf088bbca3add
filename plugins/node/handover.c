/* What only this instance knows and its successor should: how long containers and images still wait for another try. */
#include "node.h"

static void pack_box(kg_pack_t *k, const box_t *b) {
  if (!b->crash_ms && !b->pull_ms) return;
  kg_pack_map(k);
  kg_pack_kv_str(k, "uid", b->pod->uid);
  kg_pack_kv_str(k, "name", b->name);
  kg_pack_kv_int(k, "crash_ms", b->crash_ms);
  kg_pack_kv_int(k, "crash_at", b->crash_at);
  kg_pack_kv_int(k, "pull_ms", b->pull_ms);
  kg_pack_end(k);
}

kg_doc_t *backoffs_pack(const agent_t *a) {
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_key(&k, "backoffs");
  kg_pack_array(&k);
  for (const pod_t *p = a->list; p; p = p->next)
    for (size_t i = 0; i < p->nboxes; i++) pack_box(&k, p->boxes[i]);
  kg_pack_end(&k);
  kg_pack_end(&k);
  return kg_pack_doc(&k);
}

void backoffs_take(pod_t *p) {
  for (kg_iter_t it = kg_iter(kg_view_get(kg_view_of(p->agent->handed), "backoffs")); kg_iter_next(&it);) {
    box_t *b = kg_str_is(VIEW_STR(it.value, "uid"), p->uid) ? pod_box(p, VIEW_STR(it.value, "name")) : NULL;
    if (!b) continue;
    b->crash_ms = kg_view_int(kg_view_get(it.value, "crash_ms"), 0);
    b->crash_at = kg_view_int(kg_view_get(it.value, "crash_at"), 0);
    b->pull_ms = kg_view_int(kg_view_get(it.value, "pull_ms"), 0);
  }
}
