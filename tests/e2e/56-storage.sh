# Given limits of what pods take on disk, when a pod takes more, then it is evicted with a kubelet's words and what keeps within them runs on;
# and images that no container uses go when they are asked to, or when the disk fills.
. "$(dirname "$0")/lib.sh"
config() { # FILE, members of the node's configuration
  sed "s|file: \([a-z]\)|file: $BUILD/plugins/\1|; s|{name: node, .*config: {|&$2, |" "$BUILD/kogge.yaml" >"$1"
}
config "$WORK/kogge.yaml" "localStorageMonitorInterval: 300ms"
config "$WORK/full.yaml" "imageGCHighThresholdPercent: 1, imageGCLowThresholdPercent: 0, imageMinimumGCAge: 1ms"
CONFIG=$WORK/kogge.yaml
start_kogge
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest
pod() { # NAME COMMAND VOLUME [CONTAINER-MEMBERS]
  cat <<Y
---
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  containers:
    - {name: c, image: 'kogge/busybox:latest', imagePullPolicy: IfNotPresent, command: [sh, -c, '$2; sleep 1000'], volumeMounts: [{name: v, mountPath: /v}]${4:-}}
    - {name: d, image: 'kogge/busybox:latest', imagePullPolicy: IfNotPresent, command: [sleep, '1000']${4:-}}
  volumes: [{name: v, emptyDir: {$3}}]
Y
}
write='dd if=/dev/zero bs=1M count=3 of='
limit=', resources: {limits: {ephemeral-storage: 2Mi}}'
{
  pod volume "${write}/v/x" 'sizeLimit: 1Mi'
  pod layer "${write}/x" '' "$limit"
  pod whole "dd if=/dev/zero bs=1M count=5 of=/v/x" '' "$limit"
  pod good "dd if=/dev/zero bs=512K count=1 of=/v/x" 'sizeLimit: 1Mi' "$limit"
} | k apply -f -
evicted() { # NAME MESSAGE
  eventually 30 sh -c "'$KUBECTL' get pod $1 -o jsonpath='{.status.phase}' | grep -q Failed"
  expect "Failed Evicted $2" "$(k get pod "$1" -o jsonpath='{.status.phase} {.status.reason} {.status.message}')"
  expect "True TerminationByKubelet" "$(k get pod "$1" -o jsonpath='{range .status.conditions[?(@.type=="DisruptionTarget")]}{.status} {.reason}{end}')"
  expect "$2" "$(k get events --field-selector "involvedObject.name=$1,reason=Evicted" -o jsonpath='{.items[*].message}')"
}
say "evictions"
evicted volume 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
evicted layer 'Container c exceeded its local ephemeral storage limit "2Mi". '
evicted whole 'Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. '
k wait --for=condition=Ready pod/good --timeout=10s
[ "$(k get pod good -o jsonpath='{.status.phase}')" = Running ] || fail "good: $(k get pod good)"
eventually 10 no_container_processes 'dd if'

say "images"
images() { kogge image list --output json | jq '.images | length'; }
expect "removed 0 images" "$(kogge image prune)"
k delete pods --all --now >/dev/null
eventually 10 sh -c "'$BUILD/kogge' --run-dir '$RUN' image prune | grep -q 'removed 1 image,'"
[ "$(images)" = 0 ] || fail "images are left: $(kogge image list)"
kogge image build-rootfs kogge/busybox:latest
eventually 10 sh -c "[ -n \"\$(ls '$DATA/runtime/images/layers')\" ]"
kogge_pids | xargs kill
while [ -n "$(kogge_pids)" ]; do sleep 0.05; done
CONFIG=$WORK/full.yaml
start_kogge
eventually 20 sh -c "[ \"\$('$BUILD/kogge' --run-dir '$RUN' image list --output json | jq '.images | length')\" = 0 ]"
eventually 10 sh -c "[ -z \"\$(ls '$DATA/runtime/images/layers')\" ]"
