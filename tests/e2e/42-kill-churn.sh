# Given pods that run, and others that come and go all the time, when kogge is killed with -9 at any moment, again and again, then what ran
# runs on, nothing is started twice, no acknowledged object is lost, and in the end node and API agree.
#   [--rounds N]: 8
. "$(dirname "$0")/lib.sh"
ROUNDS=8
[ "${1:-}" != --rounds ] || ROUNDS=$2
mkdir "$WORK/starts"
start_kogge
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest
k apply -f "$ROOT/deploy/demo/web.yaml"
k rollout status deployment/web --timeout=60s
steady() { k get pods -l app=web -o jsonpath='{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort; }
servers() { container_processes 'httpd -f -vv -p 8080 -h /tmp/www'; }
before=$(steady) processes=$(servers)

# Each container writes a line when it starts: its pod's uid. None of them may ever start again (restartPolicy Never).
pod_json() { # NAME SECONDS
  printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s","labels":{"churn":"yes"}},"spec":{"restartPolicy":"Never","terminationGracePeriodSeconds":1,"volumes":[{"name":"starts","hostPath":{"path":"%s"}},{"name":"own","emptyDir":{}}],"containers":[{"name":"c","image":"kogge/busybox","imagePullPolicy":"IfNotPresent","env":[{"name":"U","valueFrom":{"fieldRef":{"fieldPath":"metadata.uid"}}}],"command":["sh","-c","echo x >>/starts/$U; exec sleep %s"],"volumeMounts":[{"name":"starts","mountPath":"/starts"},{"name":"own","mountPath":"/own"}]}]}}' \
    "$1" "$WORK/starts" "$2"
}
api() { curl -s -m 5 --cacert "$DATA/tls/ca.crt" --cert "$DATA/tls/admin.crt" --key "$DATA/tls/admin.key" -H 'Content-Type: application/json' \
  -X "$1" ${3:+--data-binary "$3"} -o /dev/null -w '%{http_code}' "https://127.0.0.1:$PORT$2" 2>/dev/null || true; }
PODS=/api/v1/namespaces/default/pods
churn() {
  local i=0
  while [ ! -e "$WORK/enough" ]; do
    i=$((i + 1))
    [ "$(api POST "$PODS" "$(pod_json "c$i" $((i % 3 ? 1000 : 1)))")" = 201 ] && echo "c$i" >>"$WORK/made"
    if [ $i -gt 4 ]; then
      echo "c$((i - 4))" >>"$WORK/gone" # a delete may be done and its answer lost
      api DELETE "$PODS/c$((i - 4))" >/dev/null
    fi
    sleep 0.1
  done
}
churn &
churner=$!
killed=0
for round in $(seq "$ROUNDS"); do
  sleep "$((RANDOM % 2)).$((RANDOM % 1000 + 1000))" # also while it starts
  kill_kogge
  killed=$((killed + 1))
  [ "$(servers)" = "$processes" ] || fail "round $round: the containers' processes changed while kogge was down"
  start_kogge
  [ $((round % 4)) != 0 ] || eventually 30 node_ready
done
touch "$WORK/enough"
wait $churner || true
eventually 30 node_ready
sleep 2
[ "$(servers)" = "$processes" ] || fail "the containers' processes changed"
[ "$(steady)" = "$before" ] || fail "the pods changed: $before -- $(steady)"

say "what was acknowledged is there, and converges"
k get pods -l churn=yes -o name | sed 's:pod/::' >"$WORK/there"
lost=$(sort "$WORK/made" | comm -23 - <(sort -u "$WORK/gone") | comm -23 - <(sort "$WORK/there"))
[ -z "$lost" ] || fail "acknowledged and lost: $lost"
settled() { [ -z "$(k get pods -l churn=yes --no-headers | grep -vE ' (Running|Completed) ' | head -3)" ]; }
settle_end=$((SECONDS + 30)); until settled || [ $SECONDS -gt $settle_end ]; do sleep 0.5; done
settled || { k get pods -l churn=yes -o json | jq -c '.items[] | select(.status.phase != "Running" and .status.phase != "Succeeded") | [.metadata.name, .metadata.uid, .status]'; fail "pods that did not come to run"; }
eventually 30 node_agrees
twice=$(find "$WORK/starts" -type f -size +2c)
[ -z "$twice" ] || fail "started twice: $twice"
say "$killed kills, $(wc -l <"$WORK/made") pods made, $(find "$WORK/starts" -type f | wc -l) started, none twice; 3 servers never touched"
