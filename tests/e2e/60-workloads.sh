# Given one of each workload in one file, when it is applied in a namespace of its own, then each does what Kubernetes says it
# does in real containers; and when the namespace is deleted, all of it goes.
. "$(dirname "$0")/lib.sh"
start_kogge
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest
k create namespace work
k config set-context --current --namespace=work >/dev/null
field() { k get "$1" -o jsonpath="{$2}"; }
is() { [ "$(field "$1" "$2")" = "$3" ]; }

k apply -f "$ROOT/tests/e2e/data/workloads/all.yaml"

say "a Job runs each index once"
k wait job/indexed --for=condition=Complete --timeout=60s
is job/indexed .status.completedIndexes 0-2 || fail "completed indexes: $(field job/indexed .status.completedIndexes)"
for i in 0 1 2; do
  pod=$(k get pods -l job-name=indexed,batch.kubernetes.io/job-completion-index=$i -o name)
  expect "index $i on indexed-$i" "$(k logs "$pod")"
done
expect "3/3" "$(k get job indexed --no-headers)"

say "a Job that fails says why"
k wait job/failing --for=condition=Failed --timeout=60s
expect BackoffLimitExceeded "$(k describe job failing)"
is job/failing .status.failed 1 || fail "failed: $(field job/failing .status.failed)"

say "a StatefulSet: names, order, names again"
k rollout status statefulset/db --timeout=60s
expect "db-0 db-1" "$(k get pods -l app=db -o jsonpath='{.items[*].metadata.name}')"
[ "$(k exec db-1 -- hostname)" = db-1 ] || fail "host name of db-1"
uid=$(field pod/db-0 .metadata.uid)
k delete pod db-0 --wait=false
eventually 30 sh -c "[ \"\$('$KUBECTL' get pod db-0 -o jsonpath='{.metadata.uid}')\" != $uid ]"
k rollout status statefulset/db --timeout=60s
expect "hostname" "$(k get endpointslices -l kubernetes.io/service-name=db -o yaml)"

say "a DaemonSet: one on each node, updated in place"
k rollout status daemonset/agent --timeout=60s
k set env daemonset/agent VERSION=2
k rollout status daemonset/agent --timeout=60s
expect VERSION "$(k exec "$(k get pods -l app=agent -o name)" -- env)"
k rollout undo daemonset/agent
k rollout status daemonset/agent --timeout=60s

say "a disruption budget refuses an eviction"
eventually 30 is pdb/rc .status.currentHealthy 2
pod=$(k get pods -l app=rc -o jsonpath='{.items[0].metadata.name}')
printf '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"%s","namespace":"work"}}' "$pod" >"$WORK/eviction"
refuse "disruption budget" k create --raw "/api/v1/namespaces/work/pods/$pod/eviction" -f "$WORK/eviction"
k patch pdb rc --type=merge -p '{"spec":{"minAvailable":1}}'
eventually 10 is pdb/rc .status.disruptionsAllowed 1
k create --raw "/api/v1/namespaces/work/pods/$pod/eviction" -f "$WORK/eviction" >/dev/null
eventually 30 sh -c "! '$KUBECTL' get pod $pod"
eventually 30 is rc/rc .status.readyReplicas 2

say "a CronJob makes a Job in its minute"
eventually 75 sh -c "'$KUBECTL' get jobs -o name | grep -q /tick-"
eventually 30 sh -c "[ -n \"\$('$KUBECTL' get cronjob tick -o jsonpath='{.status.lastSuccessfulTime}')\" ]"

say "the namespace goes with all of it"
k delete namespace work --timeout=90s
refuse NotFound k get namespace work
[ -z "$(k get pods,jobs,pvc,endpointslices -n work -o name 2>/dev/null)" ] || fail "something is left in it"
