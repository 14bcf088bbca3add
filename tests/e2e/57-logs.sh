# Given containers that talk, when their logs are read with every flag kubectl has, then what was asked for comes; and when a log grows
# too big, it is put aside, as many files stay as are allowed, and who follows it misses nothing and sees nothing twice.
# Collectors of logs find them where a kubelet has them; there, nothing stays of what has gone, and what others have is left alone.
. "$(dirname "$0")/lib.sh"
sed "s|file: \([a-z]\)|file: $BUILD/plugins/\1|; s|{name: node, .*config: {|&containerLogMaxSize: 20Ki, containerLogMaxFiles: 3, containerLogMonitorInterval: 100ms, |" \
  "$BUILD/kogge.yaml" >"$WORK/kogge.yaml"
CONFIG=$WORK/kogge.yaml
LOGS=$WORK/log
# of its containers only the last two have links
attempts_of_again() { [ -e "$(echo "$LOGS"/pods/default_again_*/c/"$1".log)" ] && [ "$(ls "$LOGS"/containers/again_* | wc -l)" = 2 ]; }
start_kogge
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest
k apply -f - <<'Y'
apiVersion: v1
kind: Pod
metadata: {name: talk, labels: {app: talk}}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
    - {name: first, image: 'kogge/busybox:latest', imagePullPolicy: IfNotPresent, command: [echo, from the first]}
  containers:
    - {name: a, image: 'kogge/busybox:latest', imagePullPolicy: IfNotPresent, command: [sh, -c, 'echo a1; sleep 2; echo a2 >&2; sleep 0.3; printf unfinished; sleep 1000']}
    - {name: b, image: 'kogge/busybox:latest', imagePullPolicy: IfNotPresent, command: [sh, -c, 'echo b1; sleep 1000']}
---
apiVersion: v1
kind: Pod
metadata: {name: again}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {name: c, image: 'kogge/busybox:latest', imagePullPolicy: IfNotPresent, command: [sh, -c, 'echo turn $(cat /n/n); echo x >>/n/n; sleep 1; exit 1'], volumeMounts: [{name: count, mountPath: /n}]}
  volumes: [{name: count, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: much}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {name: c, image: 'kogge/busybox:latest', imagePullPolicy: IfNotPresent, command: [sh, -c, 'echo begun; while [ ! -e /go ]; do sleep 0.1; done; i=0; while [ $i -lt 4000 ]; do echo "line $i of much"; i=$((i+1)); [ $((i % 100)) -gt 0 ] || sleep 0.05; done; sleep 1000']}
Y
k wait --for=condition=Ready pod/talk --timeout=30s

say "kubectl logs with all its flags"
eventually 10 sh -c "'$KUBECTL' logs talk -c a | grep -q unfinished"
[ "$(k logs talk -c first)" = "from the first" ] || fail "init container"
expect "a1
a2
unfinished" "$(k logs talk -c a)"
[ "$(k logs talk -c a --tail=1)" = unfinished ] || fail "--tail=1: $(k logs talk -c a --tail=1)"
[ -z "$(k logs talk -c a --tail=0)" ] || fail "--tail=0"
[ "$(k logs talk -c a --limit-bytes=4)" = "a1
a" ] || fail "--limit-bytes: $(k logs talk -c a --limit-bytes=4)"
[[ $(k logs talk -c a --timestamps | head -1) =~ ^20[0-9-]+T[0-9:.]+Z\ a1$ ]] || fail "--timestamps: $(k logs talk -c a --timestamps)"
at=$(k logs talk -c a --timestamps | sed -n 's/ a2$//p')
expect "a2" "$(k logs talk -c a --since-time="$at")"
[[ $(k logs talk -c a --since-time="$at") != *a1* ]] || fail "--since-time"
expect "a1" "$(k logs talk -c a --since=1h)"
all=$(k logs talk --all-containers --prefix)
for line in "[pod/talk/first] from the first" "[pod/talk/a] a1" "[pod/talk/b] b1"; do expect "$line" "$all"; done
expect "[pod/talk/b] b1" "$(k logs -l app=talk --all-containers --prefix --max-log-requests 5)"
refuse "container nobody is not valid" k logs talk -c nobody
k apply -f - <<<'{apiVersion: v1, kind: Pod, metadata: {name: nowhere}, spec: {nodeSelector: {no: where}, containers: [{name: c, image: kogge/busybox}]}}'
[ -z "$(k logs nowhere)" ] || fail "logs of a pod without a node"
k delete pod nowhere >/dev/null

say "where collectors look: a DaemonSet reads them by their links, named after pod, name space, container and the id that the API shows"
k apply -f - <<Y
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: collector}
spec:
  selector: {matchLabels: {app: collector}}
  template:
    metadata: {labels: {app: collector}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {name: c, image: 'kogge/busybox:latest', imagePullPolicy: IfNotPresent, command: [sh, -c, 'touch $LOGS/x; exec tail -n +1 -F $LOGS/containers/talk_*.log'], volumeMounts: [{name: log, mountPath: $LOGS, readOnly: true}]}
      volumes: [{name: log, hostPath: {path: $LOGS}}]
Y
id=$(k get pod talk -o jsonpath='{.status.containerStatuses[?(@.name=="a")].containerID}')
link=$LOGS/containers/talk_default_a-${id#*://}.log
[[ $id =~ ://[0-9a-f]{64}$ ]] && [ "$(readlink "$link")" = "$LOGS/pods/default_talk_$(k get pod talk -o jsonpath='{.metadata.uid}')/a/0.log" ] ||
  fail "$id: $(ls -l "$LOGS"/*)"
eventually 20 sh -c "'$KUBECTL' logs ds/collector | grep -q 'stdout F a1' && '$KUBECTL' logs ds/collector | grep -q 'Read-only file system'"

say "as WebSocket messages"
ws_log() { # SUBPROTOCOL
  (
    printf 'GET /api/v1/namespaces/default/pods/talk/log?container=b HTTP/1.1\r\nHost: kogge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
    printf 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n' "$1"
    sleep 1
  ) | openssl s_client -quiet -connect "127.0.0.1:$PORT" -cert "$DATA/tls/admin.crt" -key "$DATA/tls/admin.key" 2>/dev/null | tr -d '\000'
}
expect "101 Switching Protocols" "$(ws_log binary.k8s.io)"
expect "b1" "$(ws_log binary.k8s.io)"
expect "$(printf 'b1\n' | base64)" "$(ws_log base64.binary.k8s.io)"

say "the log of the container before"
eventually 30 sh -c "'$KUBECTL' logs again -p | grep -q turn"
eventually 30 sh -c "[ \"\$('$KUBECTL' get pod again -o jsonpath='{.status.containerStatuses[0].restartCount}')\" -ge 1 ]"
refuse 'previous terminated container "a" in pod "talk" not found' k logs talk -c a -p

say "a log that grows: 4,000 lines in files of 20 KiB, all of them seen once by who follows"
k wait --for=condition=Ready pod/much --timeout=30s
k logs -f much >"$WORK/followed" &
follower=$!
eventually 10 grep -qx begun "$WORK/followed"
k exec much -- touch /go
eventually 60 grep -qx "line 3999 of much" "$WORK/followed"
{ echo begun; seq 0 3999 | sed 's/.*/line & of much/'; } >"$WORK/much"
cmp "$WORK/much" "$WORK/followed" || fail "what was followed differs: $(diff "$WORK/much" "$WORK/followed" | head -5)"
three_files() { ls -l "$LOGS"/pods/default_much_*/c; [ "$(ls "$LOGS"/pods/default_much_*/c | wc -l)" = 3 ]; }
eventually 5 three_files
# The newest file may be empty, put aside a moment ago: another line is said.
k exec much -- sh -c "echo the last line >/proc/1/fd/1"
eventually 10 sh -c "'$KUBECTL' logs much --tail=1 | grep -qx 'the last line'"
k delete pod much --wait >/dev/null
wait $follower || true
eventually 5 sh -c "! ls -d $LOGS/pods/default_much_* $LOGS/containers/much_*"

say "killed: what it left of pods that nobody knows goes, what others have stays; logs are found again"
eventually 30 attempts_of_again 2
lost=default_lost_00000000-0000-0000-0000-000000000001 other=default_other_00000000-0000-0000-0000-000000000002
kill_kogge
mkdir -p "$LOGS/pods/$lost/c" "$LOGS/pods/$other/c"
touch "$LOGS/pods/$lost/c/0.log" "$LOGS/pods/$other/c/0.log"
ln -s "$LOGS/pods/$lost" "$DATA/logs/$lost"
for pod in lost other dead; do ln -s "$LOGS/pods/${!pod:-default_dead_0}/c/0.log" "$LOGS/containers/${pod}_default_c-0.log"; done
start_kogge
eventually 10 sh -c "! ls -d '$LOGS/pods/$lost' '$DATA/logs/$lost' '$LOGS'/containers/lost_* '$LOGS'/containers/dead_*"
[ -e "$LOGS/containers/other_default_c-0.log" ] || fail "a log of others was removed"
rm -r "$LOGS/pods/$other" "$LOGS"/containers/other_*
eventually 10 node_ready
expect unfinished "$(k logs talk -c a)"
[ -e "$link" ] && eventually 10 sh -c "'$KUBECTL' logs ds/collector | grep -q unfinished" || fail "no link after the restart"
