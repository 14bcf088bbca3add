/* A script is tried before it is in force: on its own sample, or on a pod and a node of the house. */
#include <string.h>

#include "kogge/yaml.h"
#include "scripts.h"

static const char house_sample[] =
    "object: {apiVersion: v1, kind: Pod, metadata: {name: sample, namespace: default, uid: u, labels: {app: sample}},\n"
    "  spec: {containers: [{name: c, image: 'busybox:1.36', resources: {requests: {cpu: 100m, memory: 64Mi}}}],\n"
    "    restartPolicy: Always, serviceAccountName: default}, status: {phase: Pending}}\n"
    "node: {apiVersion: v1, kind: Node, metadata: {name: sample, labels: {kubernetes.io/hostname: sample}},\n"
    "  spec: {}, status: {allocatable: {cpu: '4', memory: 8Gi, pods: '110'}}}\n"
    "n: {cpu: 4000, memory: 8589934592, cpu_used: 500, memory_used: 1073741824, pods: 3, max_pods: 110,\n"
    "  pod_cpu: 100, pod_memory: 67108864}\n";

kg_doc_t *sample_doc(kg_error_t *err) {
  return kg_yaml_doc("sample", house_sample, strlen(house_sample), err);
}

static kg_view_t either(kg_view_t a, kg_view_t b) {
  return kg_view_there(a) ? a : b;
}

size_t scoring_args(kg_view_t input, kg_view_t sample, policy_arg_t args[3]) {
  bool bare = kg_view_there(kg_view_get(input, "kind"));
  kg_view_t pod = bare ? input : either(kg_view_get(input, "pod"), kg_view_get(input, "object"));
  args[0] = POLICY_ARG_VIEW(either(pod, kg_view_get(sample, "object")));
  args[1] = POLICY_ARG_VIEW(either(kg_view_get(input, "node"), kg_view_get(sample, "node")));
  args[2] = POLICY_ARG_VIEW(either(kg_view_get(input, "n"), kg_view_get(sample, "n")));
  return 3;
}

static int try_admission(script_t *s, kg_view_t input, kg_error_t *err) {
  admission_t a = admission_of(input, kg_view_get(input, "object"), kg_view_get(input, "old"));
  kg_doc_t *changed = NULL;
  if (!a.operation.n) a.operation = KG_STR("CREATE");
  if (!a.resource.n) a.version = KG_STR("v1"), a.resource = KG_STR("pods"), a.ns = KG_STR("default");
  if (s->fn[FN_MUTATE] && script_mutate(s, &a, &changed, err) < 0) return -1;
  kg_doc_unref(changed);
  return s->fn[FN_VALIDATE] && script_validate(s, &a, err) < 0 ? -1 : 0;
}

static int try_scoring(script_t *s, kg_view_t input, kg_view_t sample, kg_error_t *err) {
  policy_arg_t args[3];
  policy_result_t r;
  size_t n = scoring_args(input, sample, args);
  if (s->fn[FN_FILTER]) {
    if (script_call(s, s->fn[FN_FILTER], args, n, &r, err) < 0) return -1;
    bool good = r.type == KG_V_BOOL || r.type == KG_V_STR;
    policy_result_clear(&r);
    if (!good) return kg_error_set(err, KG_EINVAL, "%s: filter gave neither true, false nor a string", s->name);
  }
  if (!s->fn[FN_SCORE]) return 0;
  if (script_call(s, s->fn[FN_SCORE], args, n, &r, err) < 0) return -1;
  bool good = r.type == KG_V_INT || r.type == KG_V_FLOAT;
  policy_result_clear(&r);
  return good ? 0 : kg_error_set(err, KG_EINVAL, "%s: score gave no number", s->name);
}

int script_try(plugin_t *pl, script_t *s, kg_error_t *err) {
  (void)pl;
  kg_doc_t *own = NULL, *house = sample_doc(err);
  int rc = house ? policy_global(s->policy, "sample", &own, err) : -1;
  kg_error_t why = {0};
  kg_view_t input = kg_view_of(own ? own : house);
  if (rc == 0 &&
      ((rc = try_admission(s, input, &why)) < 0 || (rc = try_scoring(s, input, kg_view_of(house), &why)) < 0))
    kg_error_set(err, KG_EINVAL, "tried on a sample: %.460s", why.text);
  kg_doc_unref(own);
  kg_doc_unref(house);
  s->calls = s->errors = 0;
  return rc;
}
