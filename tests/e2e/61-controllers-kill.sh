# Given workloads of five kinds on nodes that pretend, when the server is killed again and again while they are rolled out, then all
# converges and no pod of a Job was made too often; beyond a quota there are few events.
. "$(dirname "$0")/lib.sh"
CONFIG=$ROOT/tests/e2e/data/session.yaml
start_kogge
eventually 10 node_ready

template() { echo "template: {metadata: {labels: {app: $1}, annotations: {sim.kogge.dev/run-time: $2}}, spec: {restartPolicy: $3, containers: [{name: c, image: x}]}}"; }
workload() { printf 'apiVersion: apps/v1\nkind: %s\nmetadata: {name: %s}\nspec: {%sselector: {matchLabels: {app: %s}}, %s}\n---\n' "$1" "$2" "$3" "$2" "$(template "$2" 1h Always)"; }
job() { printf 'apiVersion: batch/v1\nkind: Job\nmetadata: {name: %s}\nspec: {parallelism: 12, completions: 60, %s%s}\n---\n' "$1" "$2" "$(template "$1" 200ms Never)"; }
running() { [ "$(k get pods -l "app=$1" --no-headers | grep -c Running)" = "$2" ]; }

say "killed while five kinds of workloads are rolled out"
{
  workload Deployment d 'replicas: 12, '
  workload StatefulSet s 'replicas: 4, podManagementPolicy: Parallel, '
  workload DaemonSet a ''
  job indexed 'completionMode: Indexed, backoffLimitPerIndex: 2, '
  job plain ''
} | k apply -f -
for i in 1 2 3 4; do
  sleep 0.4
  kill -9 "$(kernel_pid)"
  eventually 20 api_ready
  for w in deployment/d statefulset/s daemonset/a; do k set image "$w" "c=x:$i" >/dev/null || true; done
done
k wait --for=condition=complete job/indexed job/plain --timeout=60s
for w in deployment/d statefulset/s daemonset/a; do k rollout status "$w" --timeout=60s | tail -1; done
for name in indexed plain; do
  [ "$(k get job $name -o jsonpath='{.status.succeeded} {.status.failed}')" = "60 " ] || fail "$(k get job $name -o jsonpath='{.status}')"
  [ "$(k get pods -l "job-name=$name" --no-headers | wc -l)" = 60 ] || fail "pods of $name: $(k get pods -l "job-name=$name")"
done
[ "$(k get pods -o json | jq '[.items[] | select(.metadata.finalizers)] | length')" = 0 ] || fail "pods with finalizers"
eventually 10 running d 12
eventually 10 running s 4
eventually 10 running a 2

say "beyond a quota a few words, not one for each pod; then all of them"
k create namespace small
k -n small create quota q --hard=pods=3
k -n small create deployment many --image=x --replicas=150
eventually 10 sh -c "'$KUBECTL' -n small get rs -o jsonpath='{.items[0].status.conditions[0].reason}' | grep -q FailedCreate"
[ "$(k -n small get events --field-selector reason=FailedCreate --no-headers | wc -l)" -le 10 ] || fail "$(k -n small get events)"
k -n small patch quota q --type=merge -p '{"spec":{"hard":{"pods":"150"}}}'
k -n small rollout status deployment/many --timeout=60s | tail -1
