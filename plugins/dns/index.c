/* Services and slices found by what a question says. */
#include "dns.h"
#include "kube/values.h"

uint64_t index_service_key(kg_str_t ip) {
  return kube_index_key(KG_STR("service of"), ip);
}

uint64_t index_slice_key(kg_str_t ns, kg_str_t service) {
  return kube_index_key(ns, service);
}

uint64_t index_endpoint_key(kg_str_t ip) {
  return kube_index_key(KG_STR("endpoint"), ip);
}

/* doc NULL: the object's entry goes. */
static void change(kube_index_t *x, uint64_t key, kg_view_t object, kg_doc_t *doc) {
  if (doc)
    kube_index_add(x, key, doc);
  else
    kube_index_remove(x, key, object);
}

void index_service(kube_index_t *x, kg_view_t service, kg_doc_t *doc) {
  kg_view_t spec = kg_view_get(service, "spec");
  kg_str_t ip = kg_view_str(kg_view_get(spec, "clusterIP"));
  if (!ip.n || kg_str_is(ip, "None")) return;
  change(x, index_service_key(ip), service, doc);
  for (kg_iter_t it = kg_iter(kg_view_get(spec, "clusterIPs")); kg_iter_next(&it);)
    change(x, index_service_key(kg_view_str(it.value)), service, doc);
}

void index_slice(kube_index_t *x, kg_view_t slice, kg_doc_t *doc) {
  kg_str_t service = kg_view_str(kg_view_get(kube_labels(slice), "kubernetes.io/service-name"));
  if (!service.n) return;
  change(x, index_slice_key(kube_namespace(slice), service), slice, doc);
  for (kg_iter_t it = kg_iter(kg_view_get(slice, "endpoints")); kg_iter_next(&it);)
    change(x, index_endpoint_key(kg_view_str(kg_view_at(kg_view_get(it.value, "addresses"), 0))), slice, doc);
}
