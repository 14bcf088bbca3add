#!/usr/bin/env bash
# Given a scheduler at work, when another one is its shadow, then their decisions are compared and every pod is bound once, by the
# live one.
. "$(dirname "$0")/lib.sh"
cat >"$WORK/c.yaml" <<Y
plugin_path: $BUILD/plugins:$BUILD/tests/plugins
plugins:
  - {name: store, file: store-lmdb.so}
  - {name: api, file: api.so, config: {serviceCIDR: 10.43.0.0/16}}
  - {name: gateway, file: gateway.so, config: {port: $PORT, bind: 127.0.0.1}}
  - {name: controller-serviceaccount, file: controller-serviceaccount.so}
  - {name: scheduler, file: scheduler-default.so}
Y
mkdir -p "$RUN"
setsid -f "$BUILD/kogge" --data-dir "$DATA" --run-dir "$RUN" server --config "$WORK/c.yaml" >"$WORK/kogge.log" 2>&1 </dev/null
eventually 20 api_ready
for i in $(seq 4); do
  cat <<Y
---
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "pretended-$i", "labels": {"pretended": "true"}}}
Y
done | k create -f - >/dev/null
for i in $(seq 4); do
  k patch node "pretended-$i" --subresource=status --type=merge -p '{"status":{"capacity":{"cpu":"32","memory":"64Gi","pods":"110"},
    "allocatable":{"cpu":"32","memory":"64Gi","pods":"110"},"conditions":[{"type":"Ready","status":"True","reason":"Pretended"}]}}' >/dev/null
done
account_there() { k get serviceaccount default; }
eventually 10 account_there

say "scheduler-random in the shadow of scheduler-default"
kogge plugin shadow scheduler random --by r --by sub
expect "shadow" "$(kogge plugin list | grep scheduler.shadow)"
"$KUBECTL" get pods --watch -o jsonpath='{.metadata.name} {.spec.nodeName}{"\n"}' >"$WORK/seen" &
watcher=$!
for i in $(seq 40); do
  cat <<Y
---
apiVersion: v1
kind: Pod
metadata: {name: p$i}
spec:
  tolerations: [{operator: Exists}]
  nodeSelector: {pretended: "true"}
  containers: [{name: c, image: none, resources: {requests: {cpu: 10m}}}]
Y
done >"$WORK/pods.yaml"
k create -f "$WORK/pods.yaml" >/dev/null
all_bound() { [ "$(k get pods --field-selector=spec.nodeName!= -o name | wc -l)" = 40 ]; }
eventually 20 all_bound
sleep 2.5
kill $watcher
kogge --output json plugin shadow scheduler --report >"$WORK/report" || true
kogge plugin shadow scheduler --stop || [ $? = 3 ] || fail "it did not stop"
group() { sed 's/},{/},\n{/g' "$WORK/report" | grep '"what":"requests","topic":"api.create","by":"pods/binding"' | grep -o "\"$1\":[0-9]*" | head -1 | cut -d: -f2; }
# A pod that the candidate sees bound before it comes to it is none of its decisions.
echo "   decisions: $(group equal) equal, $(group different) different, $(group only_live) by the live one only"
compared=$(($(group equal) + $(group different)))
[ $((compared + $(group only_live))) = 40 ] && [ $compared -ge 20 ] || fail "40 decisions were not compared: $(cat "$WORK/report")"
[ "$(group different)" -gt 3 ] || fail "by chance it decided like the other one: $(cat "$WORK/report")"
grep -q '"path":"docs\[0\].target.name"' "$WORK/report" || fail "no difference names the node"

say "every pod was bound once, and by the live one"
twice=$(awk 'NF == 2' "$WORK/seen" | sort -u | cut -d' ' -f1 | uniq -d)
[ -z "$twice" ] || fail "bound to two nodes: $twice"
[ "$(kogge --output json plugin stats scheduler | grep -o '"bound":[0-9]*')" = '"bound":40' ] || fail "the live one did not bind all"
[ "$(kogge --output json plugin stats scheduler | grep -o '"conflicts":[0-9]*')" = '"conflicts":0' ] || fail "somebody else bound some"
refuse "has no shadow" kogge plugin shadow scheduler --report
if kogge plugin list | grep -q shadow; then fail "it is still listed"; fi
if ls "$RUN" | grep -q shadow; then fail "its directory is left behind"; fi
