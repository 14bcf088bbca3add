#include <criterion/criterion.h>

#include "kube/json.h"
#include "kube/runtime.h"

static int takes(const char *state, const char *kind, kg_error_t *err) {
  kg_doc_t *doc = state ? kube_json_parse(state, strlen(state), NULL, NULL, err) : NULL;
  int result = kube_runtime_takes(kg_view_of(doc), kind, err);
  kg_doc_unref(doc);
  return result;
}

#define POD(name) "{\"namespace\":\"default\",\"name\":\"" name "\"}"
#define STATE(pods) "{\"runtime\":\"oci\",\"sandboxes\":[" pods "]}"

Test(runtime, goes_on_from_its_like_or_from_nothing) {
  kg_error_t err = {0};
  cr_assert_eq(takes(STATE(POD("a")), "oci", &err), 1);
  cr_assert_eq(takes(STATE(""), "oci", &err), 1);
  cr_assert_eq(takes(STATE(""), "sim", &err), 0);
  cr_assert_eq(takes(NULL, "sim", &err), 0);
}

Test(runtime, refuses_pods_of_another_kind_by_name) {
  kg_error_t err = {0};
  cr_assert_eq(takes(STATE(POD("a")), "sim", &err), -1);
  cr_assert_str_eq(err.text,
                   "runtime sim cannot take over the 1 pod of runtime oci (default/a): drain the node first, or swap "
                   "with --force, which ends them and starts them anew");
  cr_assert_eq(takes(STATE(POD("a") "," POD("b") "," POD("c") "," POD("d")), "sim", &err), -1);
  cr_assert(strstr(err.text, "the 4 pods of runtime oci (default/a, default/b, default/c, ...)"), "%s", err.text);
}
