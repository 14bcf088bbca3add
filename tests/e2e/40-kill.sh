# Given running pods, when kogge is killed with -9 and started again, then the same containers still run, the pods are the same
# objects, and every acknowledged write is there.
. "$(dirname "$0")/lib.sh"
start_kogge
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest
k apply -f "$ROOT/deploy/demo/web.yaml"
k rollout status deployment/web --timeout=60s
state() { k get pods -l app=web -o jsonpath='{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount} {.status.podIP}{"\n"}{end}' | sort; }
servers() { container_processes 'httpd -f -vv -p 8080 -h /tmp/www'; }
before=$(state) processes=$(servers)


for round in 1 2 3; do
  say "round $round: kill -9 while writes are under way"
  ( for i in $(seq 200); do
      k create configmap "r$round-$i" --from-literal=i=$i -o name 2>/dev/null || break
    done ) >"$WORK/acknowledged-$round" &
  writer=$!
  eventually 10 test -s "$WORK/acknowledged-$round"
  sleep 1
  kill_kogge
  wait $writer || true
  [ "$(servers)" = "$processes" ] || fail "the containers' processes changed while kogge was down"
  start_kogge
  eventually 30 node_ready
  k get configmaps -o name >"$WORK/there"
  lost=$(sort "$WORK/acknowledged-$round" | comm -23 - <(sort "$WORK/there"))
  [ -z "$lost" ] || fail "acknowledged and lost: $lost"
  sleep 2
  [ "$(servers)" = "$processes" ] || fail "the containers' processes changed after the restart"
  [ "$(state)" = "$before" ] || fail "the pods changed: $before -- $(state)"
done
say "they still answer, and can be deleted"
for ip in $(k get pods -l app=web -o jsonpath='{.items[*].status.podIP}'); do curl -sf --max-time 2 "http://$ip:8080/" >/dev/null || fail "no answer from $ip"; done
k delete deployment web --timeout=60s
eventually 60 sh -c "[ -z \"\$('$KUBECTL' get pods -l app=web -o name)\" ]"
