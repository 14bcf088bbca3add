# Given a machine, when its owner types scripts/up --demo, types it again, or types it where another holds the port, then what works says
# so in a line each and what does not ends at once with its reason; scripts/down finds what is to go by the run directory alone.
. "$(dirname "$0")/lib.sh"
PATH=/usr/local/bin:/usr/bin:/bin # what root has after su
again() { KUBECTL="$KUBECTL" "$ROOT/scripts/up" --run-dir "$RUN" 2>&1; }
up() { KUBECTL="$KUBECTL" "$ROOT/scripts/up" --run-dir "$RUN" --data-dir "$DATA" --bridge "$BRIDGE" --pod-cidr="$CIDR" --service-cidr "$SERVICES" "$@" 2>&1; }

say "three web servers and a Service in front of them"
out=$(up --demo --https-port "$PORT") || fail "$out"
for line in "✓ the API is ready" "✓ the node is Ready" "(Service web) answers: hello from web-" "Take it down: $ROOT/scripts/down --run-dir $RUN"; do expect "$line" "$out"; done
[ "$(grep -c '✓ http://.*answers: hello from web-' <<<"$out")" = 4 ] || fail "not every address answered: $out"
[ "$(stat -c %a "$RUN" "$DATA" | sort -u)" = 700 ] || fail "others can look into $RUN or $DATA"

say "again: nothing is started twice, and the port is the one that it has"
before=$(kogge_pids)
out=$(again) || fail "$out"
expect "✓ kogge runs already" "$out"
expect "its API at https://127.0.0.1:$PORT" "$out"
[ "$(kogge_pids)" = "$before" ] || fail "started twice"

say "after another build: the new one runs, the containers go on"
pods() { k get pods -l app=web -o jsonpath='{.items[*].status.containerStatuses[*].containerID}'; }
running=$(pods)
touch "$RUN/kogge.sock" -d '1 hour ago'
out=$(again) || fail "$out"
expect "✓ started kogge server, log in $DATA/" "$out"
expect "its API at https://127.0.0.1:$PORT" "$out"
[ "$(kogge_pids)" != "$before" ] || fail "it is the old one"
[ "$(pods)" = "$running" ] || fail "containers were started again"

say "after a reboot (no process, mount, link, rule, group or run directory is left): every pod's container is started again"
"$ROOT/scripts/node-reset" --data-dir "$DATA" --run-dir "$RUN" >"$WORK/reset" 2>&1 || fail "$(cat "$WORK/reset")"
rm -rf --one-file-system "$RUN"
out=$(up --https-port "$PORT") || fail "$out"
again_each() { [ "$(k get pods -l app=web -o jsonpath='{.items[*].status.containerStatuses[*].restartCount}')" = "1 1 1" ]; }
eventually 20 again_each
eventually 20 curl -sf --max-time 2 "http://$(k get service web -o jsonpath='{.spec.clusterIP}')/"

say "beside another that has the port: ends at once, with the reason"
start=$SECONDS
(RUN=$WORK/run2 DATA=$WORK/data2; refuse "port $PORT is in use" up --https-port "$PORT")
[ $((SECONDS - start)) -lt 25 ] || fail "took $((SECONDS - start)) s to say so"
(RUN=$WORK/run3 DATA=$WORK/data3; refuse "overlaps the addresses of Services" up --https-port $((PORT + 500)) --pod-cidr "${SERVICES%/*}/24")
refuse "--bridge wants a value" "$ROOT/scripts/up" --bridge

say "down, by the run directory alone; of the logs in /var/log none stays that is ours"
logs=$(readlink "$DATA"/logs/default_web-*)
[ "$(wc -l <<<"$logs")" = 3 ] && [[ $logs = /var/log/pods/* ]] && ls $logs >/dev/null || fail "logs of the pods: $logs"
k delete -f "$ROOT/deploy/demo" --wait=false
out=$("$ROOT/scripts/down" --run-dir="$RUN" 2>&1) || fail "$out"
expect "✓ removed $DATA and $RUN" "$out"
left=$({ ls -d $logs; for at in $logs; do find /var/log/containers -lname "$at/*"; done; } 2>/dev/null || true)
[ -z "$left" ] || fail "left: $left"
