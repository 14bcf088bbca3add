/* A script is tried before it is in force: on its own sample, or on a pod and a node of the house. */
#include "scripts.h"

static int try_admission(script_t *s, kg_view_t input, kg_error_t *err) {
  admission_t a = admission_of(input, kg_view_get(input, "object"), kg_view_get(input, "old"));
  kg_doc_t *changed = NULL;
  if (!a.operation.n) a.operation = KG_STR("CREATE");
  if (!a.resource.n) a.version = KG_STR("v1"), a.resource = KG_STR("pods"), a.ns = KG_STR("default");
  if (s->fn[FN_MUTATE] && script_mutate(s, &a, &changed, err) < 0) return -1;
  kg_doc_unref(changed);
  return s->fn[FN_VALIDATE] && script_validate(s, &a, err) < 0 ? -1 : 0;
}

int script_try(plugin_t *pl, script_t *s, kg_error_t *err) {
  (void)pl;
  kg_doc_t *own = NULL, *house = policy_sample(err);
  int rc = house ? policy_global(s->policy, "sample", &own, err) : -1;
  kg_error_t why = {0};
  kg_view_t input = kg_view_of(own ? own : house);
  if (rc == 0 &&
      ((rc = try_admission(s, input, &why)) < 0 ||
       (rc = policy_try_scoring(s->policy, s->fn[FN_FILTER], s->fn[FN_SCORE], input, kg_view_of(house), &why)) < 0))
    kg_error_set(err, KG_EINVAL, "tried on a sample: %.460s", why.text);
  kg_doc_unref(own);
  kg_doc_unref(house);
  s->calls = s->errors = 0;
  return rc;
}
