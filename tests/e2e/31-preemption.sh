# Given two full nodes (that only pretend), when a more important pod comes, then less important ones make room for it as
# kube-scheduler would have it: by budgets, with their grace period, and everybody is told why.
. "$(dirname "$0")/lib.sh"
CONFIG=$ROOT/tests/e2e/data/session.yaml
start_kogge
two_ready() { [ "$(k get nodes --no-headers | grep -cw Ready)" = 2 ]; }
eventually 20 two_ready
k create priorityclass low --value=1
k create priorityclass high --value=1000
k create priorityclass polite --value=1000 --preemption-policy=Never
k create ns work
k config set-context --current --namespace=work >/dev/null

# deployment NAME REPLICAS: of pods that take a quarter of a node each and five seconds to end
deployment() {
  k create -f - <<Y
{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "$1"}, "spec": {"replicas": $2,
 "selector": {"matchLabels": {"app": "$1"}}, "template": {"metadata": {"labels": {"app": "$1"}, "annotations": {"sim.kogge.dev/stop-delay": "5s"}},
 "spec": {"priorityClassName": "low", "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "8"}}}]}}}}
Y
  k rollout status "deployment/$1" --timeout=30s
}
# pod NAME CLASS [MORE]: one that wants half a node
pod() {
  k create -f - <<Y
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "$1"}, "spec": {"priorityClassName": "$2",
 "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "16"}}}]${3:-}}}
Y
}
says() { k get "pod/$1" -o jsonpath="{.status.conditions[?(@.type==\"$2\")].$3}"; }

say "two nodes are full: half of it may be disrupted, half may not"
deployment batch 4
deployment guarded 4
k create pdb guarded --selector=app=guarded --min-available=4
counted() { [ "$(k get pdb guarded -o jsonpath='{.status.currentHealthy}')" = 4 ]; }
eventually 10 counted

say "one that may not preempt waits"
pod polite polite
waits() { [[ $(says "$1" PodScheduled reason) == Unschedulable ]]; }
eventually 10 waits polite
expect "0/2 nodes are available: 2 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never." \
  "$(says polite PodScheduled message)"
k delete pod polite

say "a more important one gets a place promised; two that may be disrupted end, and are told why"
pod vip high
promised() { k get pod vip -o wide --no-headers | grep -E ' Pending .* sim-[0-9] +<none>$'; }
eventually 10 promised
expect "0/2 nodes are available: 2 Insufficient cpu." "$(k describe pod vip)"
ending() { [ "$(k get pods -l app=batch --no-headers | grep -c Terminating)" = 2 ]; }
eventually 10 ending
victim=$(k get pods -l app=batch --no-headers | awk '/Terminating/ {print $1; exit}')
[ "$(says "$victim" DisruptionTarget reason)" = PreemptionByScheduler ] || fail "the victim's condition"
expect "Preempted by pod $(k get pod vip -o jsonpath='{.metadata.uid}') on node sim-" "$(k get events --field-selector=reason=Preempted)"
k wait --for=condition=Ready pod/vip --timeout=20s
[ -z "$(k get pod vip -o jsonpath='{.status.nominatedNodeName}')" ] || fail "bound, and still promised a node"
[ "$(k get pods -l app=guarded --no-headers | grep -c Running)" = 4 ] || fail "the budget was not kept"

say "those that were replaced find no place, and nobody goes for them"
lost=$(k get pods -l app=batch --no-headers | awk '/Pending/ {print $1; exit}')
hopeless() { [[ $(says "$lost" PodScheduled message) == *"preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."* ]]; }
eventually 10 hopeless

say "a gated pod is left alone until its gates are gone"
k delete pod vip --wait=false
pod gated high ', "schedulingGates": [{"name": "example.com/wait"}]'
expect SchedulingGated "$(k get pod gated --no-headers)"
k patch pod gated --type=json -p '[{"op": "remove", "path": "/spec/schedulingGates"}]'
k wait --for=condition=Ready pod/gated --timeout=20s
