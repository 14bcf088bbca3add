# Given three web servers in real containers, when a user scales, updates, reads logs, runs commands and deletes, then it happens
# to real processes that answer on their pod addresses; and nothing is left in the end.
. "$(dirname "$0")/lib.sh"
start_kogge
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest
expect "kogge/busybox" "$(kogge image list)"

pod_ips() { k get pods -l app=web --field-selector=status.phase=Running -o jsonpath='{.items[*].status.podIP}'; }
all_answer() {
  local ip n=0
  for ip in $(pod_ips); do curl -sf --max-time 2 "http://$ip:8080/" >/dev/null || return 1; n=$((n + 1)); done
  [ $n = "$1" ]
}

demo() {
  say "apply: three replicas answer HTTP on their pod addresses"
  k apply -f "$ROOT/deploy/demo/web.yaml"
  k rollout status deployment/web --timeout=60s
  eventually 10 all_answer 3
  k get pods -o wide
  expect "3/3" "$(k get deployment web --no-headers)"
  pod=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
  expect "hello from $pod" "$(curl -s "http://$(k get pod "$pod" -o jsonpath='{.status.podIP}'):8080/")"

  say "scale up and down"
  k scale deployment web --replicas=5
  k rollout status deployment/web --timeout=60s
  eventually 10 all_answer 5
  k scale deployment web --replicas=2
  eventually 60 sh -c "[ \$('$KUBECTL' get pods -l app=web --no-headers | wc -l) = 2 ]"

  say "exec, with exit code and standard input"
  pod=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
  [ "$(k exec "$pod" -- sh -c 'echo out; hostname')" = "out
$pod" ] || fail "exec's output"
  [ "$(echo typed | k exec -i "$pod" -- cat)" = typed ] || fail "exec's standard input"
  head -c 5000000 /dev/urandom >"$WORK/input"
  [ "$(k exec -i "$pod" -- sh -c 'sleep 1; md5sum' <"$WORK/input")" = "$(md5sum <"$WORK/input")" ] || fail "input of a slow reader was lost"
  local code=0
  k exec "$pod" -- sh -c 'exit 7' || code=$?
  [ $code = 7 ] || fail "exec's exit code was $code, not 7"

  say "logs, and logs -f"
  timeout 30 "$KUBECTL" logs -f "$pod" >"$WORK/logs" &
  local follower=$!
  sleep 0.5
  k exec "$pod" -- sh -c 'echo followed >/proc/1/fd/1'
  eventually 10 grep -q followed "$WORK/logs"
  kill $follower 2>/dev/null || true
  expect followed "$(k logs "$pod")"
  expect followed "$(k logs "$pod" --tail=50)" # what answered before may tell of it late

  say "a rolling update replaces every pod and keeps history"
  before=$(k get pods -l app=web -o jsonpath='{.items[*].metadata.uid}')
  k set env deployment/web VERSION=2
  k rollout status deployment/web --timeout=60s
  for uid in $before; do
    eventually 30 sh -c "! '$KUBECTL' get pods -l app=web -o jsonpath='{.items[*].metadata.uid}' | grep -q $uid"
  done
  expect "2" "$(k rollout history deployment/web)"
  k rollout undo deployment/web
  k rollout status deployment/web --timeout=60s

  say "describe shows events"
  pod=$(k get pods -l app=web -o json | jq -r '[.items[] | select(.metadata.deletionTimestamp == null)][0].metadata.name') # one that stays
  described=$(k describe pod "$pod")
  expect "Successfully assigned default/$pod" "$described"
  expect Started "$described"

  say "delete"
  k delete deployment web --timeout=60s
  eventually 60 sh -c "[ -z \"\$('$KUBECTL' get pods -l app=web -o name)\" ]"
  eventually 10 no_container_processes 'httpd -f -vv -p 8080 -h /tmp/www'
}

for KUBECTL in "$KUBECTL135" "$KUBECTL132"; do demo; done

say "a container that fails is restarted, with its exit code shown"
k run crash --image=kogge/busybox --image-pull-policy=IfNotPresent --restart=Always --command -- sh -c 'exit 3'
eventually 30 sh -c "'$KUBECTL' get pod crash -o jsonpath='{.status.containerStatuses[0].lastState.terminated.exitCode}' | grep -qx 3"
eventually 40 sh -c "'$KUBECTL' get pod crash --no-headers | grep -q CrashLoopBackOff"
k delete pod crash --timeout=30s
say "a pod that ends is Succeeded; an image that is not there says so"
k run once --image=kogge/busybox --image-pull-policy=IfNotPresent --restart=Never --command -- sh -c 'echo done'
eventually 30 sh -c "'$KUBECTL' get pod once --no-headers | grep -q Completed"
expect "done" "$(k logs once)"
k run noimage --image=kogge/absent:1 --image-pull-policy=Never
eventually 30 sh -c "'$KUBECTL' get pod noimage --no-headers | grep -q ErrImageNeverPull"
say "a pod with limits only is Guaranteed, and starts where kogge may not lower its OOM score"
k run sure --image=kogge/busybox --overrides='{"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"sure","image":"kogge/busybox",
  "imagePullPolicy":"IfNotPresent","command":["sleep","1000"],"resources":{"limits":{"cpu":"10m","memory":"20Mi"}}}]}}'
k wait --for=condition=Ready pod/sure --timeout=30s
[ "$(k get pod sure -o jsonpath='{.status.qosClass}')" = Guaranteed ] || fail "it is not Guaranteed"
say "a DaemonSet on the node's network, of a containerPort alone"
k apply -f - <<YAML
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: onhost}
spec:
  selector: {matchLabels: {app: onhost}}
  template:
    metadata: {labels: {app: onhost}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 1
      containers:
      - {name: c, image: kogge/busybox, imagePullPolicy: IfNotPresent, command: [httpd, -f, -p, "127.0.0.1:$((PORT + 600))"], ports: [{containerPort: $((PORT + 600))}]}
YAML
k rollout status daemonset/onhost --timeout=30s
[ "$(k get pods -l app=onhost -o jsonpath='{.items[0].spec.containers[0].ports[0].hostPort}')" = $((PORT + 600)) ] || fail "the pod has no hostPort"
k delete daemonset/onhost pod/sure --timeout=30s
say "run -i attaches: standard input goes in, what the container says comes out, its exit code is kubectl's"
out=$(echo through | k run attached -i --image=kogge/busybox --image-pull-policy=IfNotPresent --restart=Never --command -- sh -c 'sleep 1; cat; exit 5') && fail "the exit code of a container was lost"
expect through "$out"
k delete pod once noimage attached --timeout=30s
say "an ephemeral container looks into a running one; port-forward reaches what listens on loopback only"
k run target --image=kogge/busybox --image-pull-policy=IfNotPresent --command -- sh -c 'mkdir /www; echo inside >/www/index.html; httpd -p [::1]:8082 -h /www; exec httpd -f -p 127.0.0.1:8081 -h /www'
k wait --for=condition=Ready pod/target --timeout=30s
k debug target --image=kogge/busybox --image-pull-policy=IfNotPresent --target=target --attach=false --profile=general -c look -- sh -c 'ps; sleep 100'
eventually 20 sh -c "'$KUBECTL' logs target -c look | grep -q 'httpd -f -p 127.0.0.1:8081'"
"$KUBECTL" port-forward target $((PORT + 500)):8081 $((PORT + 501)):8082 $((PORT + 502)):9 >"$WORK/forward" 2>&1 &
eventually 10 grep -q "Forwarding.*-> 9" "$WORK/forward"
for at in 500 $([ ! -e /proc/net/if_inet6 ] || echo 501); do expect inside "$(curl -s --max-time 5 "http://127.0.0.1:$((PORT + at))/index.html")"; done
curl -s --max-time 5 "http://127.0.0.1:$((PORT + 502))/" || true
eventually 5 grep -q "IPv4: dial tcp4 127.0.0.1:9: connect: connection refused IPv6 dial tcp6" "$WORK/forward"
kill $! 2>/dev/null || true
k delete pod target --grace-period=1 --timeout=30s
