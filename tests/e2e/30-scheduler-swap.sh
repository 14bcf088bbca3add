# Given 500 pods being created on pretended nodes, when the scheduler is swapped back and forth 20 times, then every pod is bound
# exactly once; and a scheduler that crashes on load is refused while the old one goes on.
. "$(dirname "$0")/lib.sh"
start_kogge
k create ns swap
for i in $(seq 20); do
  cat <<Y
---
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "pretended-$i", "labels": {"pretended": "true"}}}
Y
done | k create -f - >/dev/null
for i in $(seq 20); do
  k patch node "pretended-$i" --subresource=status --type=merge -p '{"status":{"capacity":{"cpu":"32","memory":"64Gi","pods":"110"},
    "allocatable":{"cpu":"32","memory":"64Gi","pods":"110"},"conditions":[{"type":"Ready","status":"True","reason":"Pretended"}]}}' >/dev/null
done

say "every binding is counted by a watch of the store: a pod's nodeName must change once, from nothing"
kogge plugin trace 'api.create' >"$WORK/trace" 2>&1 &
tracer=$!
pods() {
  for i in $(seq "$1" "$2"); do
    cat <<Y
---
apiVersion: v1
kind: Pod
metadata: {name: p$i, namespace: swap}
spec:
  nodeSelector: {pretended: "true"}
  tolerations: [{operator: Exists}]
  containers: [{name: c, image: none, resources: {requests: {cpu: 10m}}}]
Y
  done
}
for part in 0 1 2 3 4; do pods $((part * 100 + 1)) $((part * 100 + 100)) >"$WORK/pods$part.yaml"; done
"$KUBECTL" get pods -n swap --watch -o jsonpath='{.metadata.name} {.spec.nodeName}{"\n"}' >"$WORK/seen" &
watcher=$!
( for part in 0 1 2 3 4; do k create -f "$WORK/pods$part.yaml" >/dev/null; done ) &
creator=$!
for round in $(seq 10); do
  kogge plugin swap scheduler random
  kogge plugin swap scheduler default
done
wait $creator
all_bound() { [ "$(k -n swap get pods --field-selector=spec.nodeName!= -o name | wc -l)" = 500 ]; }
eventually 60 all_bound
all_seen() { [ "$(awk 'NF == 2 {print $1}' "$WORK/seen" | sort -u | wc -l)" = 500 ]; }
eventually 10 all_seen
sleep 1 # for one that is bound again
kill $watcher $tracer 2>/dev/null || true
twice=$(awk 'NF == 2' "$WORK/seen" | sort -u | cut -d' ' -f1 | uniq -d)
[ -z "$twice" ] || fail "bound to two nodes: $twice"
expect "scheduler-default" "$(kogge plugin list)"

say "a scheduler that crashes on load is refused, the old one goes on"
refuse "crash" kogge plugin swap scheduler "$BUILD/tests/plugins/crash-on-create.so"
expect "scheduler-default" "$(kogge plugin list)"
k -n swap delete pod p1 --grace-period=0 --force >/dev/null 2>&1
pods 1 1 | k create -f -
eventually 10 sh -c "'$KUBECTL' -n swap get pod p1 -o jsonpath='{.spec.nodeName}' | grep -q pretended"
# Nobody lives on the pretended nodes who could end their pods.
k delete --raw '/api/v1/namespaces/swap/pods?gracePeriodSeconds=0' >/dev/null
k delete ns swap --timeout=120s --wait=false
