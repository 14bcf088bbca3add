# Given a node, when pods are bound to it past the scheduler that it cannot take, then it refuses them with a kubelet's reasons and words.
. "$(dirname "$0")/lib.sh"
start_kogge --max-pods 8
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest
node=$(k get nodes -o jsonpath='{.items[0].metadata.name}')
bound() { # NAME, rest of the spec as JSON members
  printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s"},"spec":{"nodeName":"%s","terminationGracePeriodSeconds":0,%s}}' "$1" "$node" "$2" | k create -f - >/dev/null
}
box() { printf '"containers":[{"name":"c","image":"kogge/busybox:latest","imagePullPolicy":"IfNotPresent","command":["sleep","1000"],"resources":{%s}}]' "${1:-}"; }
status() { k get pod "$1" -o jsonpath='{.status.phase} {.status.reason}: {.status.message}'; }
refused() { # NAME REASON MESSAGE
  eventually 10 sh -c "'$KUBECTL' get pod $1 -o jsonpath='{.status.phase}' | grep -q Failed"
  expect "Failed $2: Pod was rejected: $3" "$(status "$1")"
  eventually 5 sh -c "'$KUBECTL' get events --field-selector involvedObject.name=$1 -o jsonpath='{.items[*].reason}' | grep -q '$2'"
}

say "too much processor, memory and storage"
bound cpu "$(box '"requests":{"cpu":"1000"}')"
refused cpu OutOfcpu "Node didn't have enough resource: cpu, requested: 1000000, used: 0, capacity: "
bound memory "$(box '"requests":{"memory":"10Ti"}')"
refused memory OutOfmemory "Node didn't have enough resource: memory, requested: 10995116277760, used: 0, capacity: "
bound disk "$(box '"requests":{"ephemeral-storage":"100Ti"}')"
refused disk OutOfephemeral-storage "Node didn't have enough resource: ephemeral-storage, requested: 109951162777600, used: 0, capacity: "

say "another node's pod"
bound place "\"nodeSelector\":{\"disk\":\"ssd\"},$(box)"
refused place NodeAffinity "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
k label node "$node" disk=ssd >/dev/null
place2_runs() { # the node may not have seen its label yet, as a kubelet
  k delete pod place2 --now --ignore-not-found >/dev/null
  bound place2 "\"nodeSelector\":{\"disk\":\"ssd\"},$(box)"
  k wait --for=condition=Ready pod/place2 --timeout=10s
}
eventually 30 place2_runs
k delete pod place2 --now >/dev/null

say "a host port that another pod has"
ports() { printf '"containers":[{"name":"c","image":"kogge/busybox:latest","imagePullPolicy":"IfNotPresent","command":["sleep","1000"],"ports":[{"containerPort":80,"hostPort":18080}]}]'; }
bound port "$(ports)"
k wait --for=condition=Ready pod/port --timeout=30s
bound port2 "$(ports)"
refused port2 NodePorts "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
k delete pod port port2 --now >/dev/null

say "too many pods"
for i in $(seq 8); do bound "p$i" "$(box)"; done
k wait --for=condition=Ready pod/p1 pod/p8 --timeout=30s
bound p9 "$(box)"
refused p9 OutOfpods "Node didn't have enough resource: pods, requested: 1, used: 8, capacity: 8"

say "a resource that somebody wrote into the node's capacity is given out, until it is taken from there"
gives() { [ "$(k get node "$node" -o jsonpath='{.status.allocatable.example\.com/dongle}')" = "$1" ]; }
k patch node "$node" --subresource=status --type=json -p '[{"op":"add","path":"/status/capacity/example.com~1dongle","value":"4"}]'
eventually 5 gives 4
k patch node "$node" --subresource=status --type=json -p '[{"op":"remove","path":"/status/capacity/example.com~1dongle"}]'
eventually 5 gives ""
