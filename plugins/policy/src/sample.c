/* What scripts are tried with when they bring nothing of their own, and how those that score are tried. */
#include <string.h>

#include "kogge/yaml.h"
#include "policy/policy.h"

static const char house_sample[] =
    "object: {apiVersion: v1, kind: Pod, metadata: {name: sample, namespace: default, uid: u, labels: {app: sample}},\n"
    "  spec: {containers: [{name: c, image: 'busybox:1.36', resources: {requests: {cpu: 100m, memory: 64Mi}}}],\n"
    "    restartPolicy: Always, serviceAccountName: default}, status: {phase: Pending}}\n"
    "node: {apiVersion: v1, kind: Node, metadata: {name: sample, labels: {kubernetes.io/hostname: sample}},\n"
    "  spec: {}, status: {allocatable: {cpu: '4', memory: 8Gi, pods: '110'}}}\n"
    "n: {cpu: 4000, memory: 8589934592, cpu_used: 500, memory_used: 1073741824, pods: 3, max_pods: 110,\n"
    "  pod_cpu: 100, pod_memory: 67108864}\n";

kg_doc_t *policy_sample(kg_error_t *err) {
  return kg_yaml_doc("sample", house_sample, strlen(house_sample), err);
}

static kg_view_t either(kg_view_t a, kg_view_t b) {
  return kg_view_there(a) ? a : b;
}

size_t policy_scoring_args(kg_view_t input, kg_view_t sample, policy_arg_t args[3]) {
  bool bare = kg_view_there(kg_view_get(input, "kind"));
  kg_view_t pod = bare ? input : either(kg_view_get(input, "pod"), kg_view_get(input, "object"));
  args[0] = POLICY_ARG_VIEW(either(pod, kg_view_get(sample, "object")));
  args[1] = POLICY_ARG_VIEW(either(kg_view_get(input, "node"), kg_view_get(sample, "node")));
  args[2] = POLICY_ARG_VIEW(either(kg_view_get(input, "n"), kg_view_get(sample, "n")));
  return 3;
}

int policy_try_scoring(policy_t *p, int filter, int score, kg_view_t input, kg_view_t sample, kg_error_t *err) {
  policy_arg_t args[3];
  policy_result_t r;
  size_t n = policy_scoring_args(input, sample, args);
  if (filter) {
    if (policy_call(p, filter, args, n, &r, err) < 0) return -1;
    bool good = r.type == KG_V_BOOL || r.type == KG_V_STR;
    policy_result_clear(&r);
    if (!good) return kg_error_set(err, KG_EINVAL, "%s: filter gave neither true, false nor a string", policy_name(p));
  }
  if (!score) return 0;
  if (policy_call(p, score, args, n, &r, err) < 0) return -1;
  bool good = r.type == KG_V_INT || r.type == KG_V_FLOAT;
  policy_result_clear(&r);
  return good ? 0 : kg_error_set(err, KG_EINVAL, "%s: score gave no number", policy_name(p));
}
