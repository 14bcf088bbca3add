# Given pods that run while others come and go, when the runtime is swapped with itself again and again, then they run on untouched; one of
# another kind is refused, or by force starts them anew, and nothing of the old ones is left.
. "$(dirname "$0")/lib.sh"
start_kogge
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest
pods() { # NAME REPLICAS COMMAND
  printf '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"%s"},"spec":{"replicas":%s,"selector":{"matchLabels":{"app":"%s"}},"template":{"metadata":{"labels":{"app":"%s"}},"spec":{"terminationGracePeriodSeconds":2,"containers":[{"name":"c","image":"kogge/busybox","imagePullPolicy":"IfNotPresent","command":["sh","-c","%s"],"readinessProbe":{"exec":{"command":["true"]},"periodSeconds":1,"timeoutSeconds":20},"livenessProbe":{"exec":{"command":["true"]},"periodSeconds":1,"timeoutSeconds":20,"failureThreshold":1}}]}}}}' "$1" "$2" "$1" "$1" "$3"
}
pods web 3 'trap exit TERM; i=0; while :; do echo line $i; i=$((i + 1)); sleep 0.1; done' | k apply -f -
k rollout status deployment/web --timeout=30s
same() { k get pods -l app=web -o jsonpath='{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort; }
ready_since() { k get nodes -o jsonpath='{.items[0].status.conditions[?(@.type=="Ready")].lastTransitionTime}'; }
before=$(same) since=$(ready_since)

say "its like, 20 times, while others come and go"
churn() {
  local i=0
  while [ ! -e "$WORK/enough" ]; do
    i=$((i + 1))
    k run "churn$i" --image=kogge/busybox --image-pull-policy=Never --grace-period=1 -- sh -c 'trap exit TERM; sleep 1000 & wait' >/dev/null
    [ $i -le 2 ] || k delete pod "churn$((i - 2))" --grace-period=1 --wait=false >/dev/null
  done
}
k logs -f deployment/web >"$WORK/followed" 2>"$WORK/follower" &
follower=$!
churn &
churner=$!
for _ in $(seq 20); do kogge plugin swap runtime oci >>"$WORK/swaps"; sleep 0.1; done
touch "$WORK/enough"
wait $churner
[ "$(same)" = "$before" ] || fail "the pods changed: $before -- $(same) -- $(k get events)"
last=$(k logs "$(sed -n 's|.*using ||p' "$WORK/follower")" --tail=1) # said after the last swap, or while it went on
follows() { grep -qx "$last" "$WORK/followed"; }
[ -n "$last" ] && eventually 20 follows
kill $follower
awk '$2 != n++ { print "line " NR ": " $0; exit 1 }' <(head -n -1 "$WORK/followed") || fail "lines of the log are missing or came twice"
settled() { [ -z "$(k get pods --no-headers | grep -vE ' (Running|Completed) +0 ')" ]; }
eventually 20 settled
[ "$(ready_since)" = "$since" ] || fail "the node was not ready for a while"
k get events --field-selector type=Warning --no-headers >"$WORK/warnings" 2>&1
grep -v "^No resources" "$WORK/warnings" && fail "there were warnings"
k delete pods -l run --grace-period=1 --wait=false >/dev/null

say "one that does not load, and one of another kind, are refused"
refuse "swap refused" kogge plugin swap runtime "$BUILD/tests/plugins/crash-on-create.so"
refused() { refuse "runtime sim cannot take over the 3 pods of runtime oci (default/web-" kogge plugin swap runtime sim; }
in_subshell() { ("$@"); }
eventually 20 in_subshell refused # once the others are gone
[ "$(same)" = "$before" ] || fail "the pods changed: $before -- $(same)"
[ "$(k exec deployment/web -- echo yes)" = yes ] || fail "no command can be run any more"

k run done --image=kogge/busybox --image-pull-policy=Never --restart=Never -- echo finished
completed() { [ "$(k get pod done -o jsonpath='{.status.phase}')" = Succeeded ]; }
eventually 20 completed

say "by force it starts them anew, and nothing of the old ones is left"
runs_in() { # KIND: all three, ready
  [ "$(k get pods -l app=web -o jsonpath='{range .items[*]}{.status.containerStatuses[0].ready} {.status.containerStatuses[0].containerID}{"\n"}{end}' | grep -c "^true $1://")" = 3 ]
}
kogge plugin swap runtime sim --force >/dev/null
left=$(node_has | grep -E ' process| mount$| cgroup$|/(sandboxes|containers|exits|ns|runc)/' || true)
[ -z "$left" ] || fail "left of the old runtime: $left"
no_links() { [ "$(links_of_pods)" = 0 ]; } # the kernel lets go of a network name space when it comes to it
eventually 10 no_links
eventually 5 runs_in sim
kogge plugin swap runtime oci --force >/dev/null
eventually 5 runs_in runc
[ "$(k get pods -l app=web -o jsonpath='{.items[*].status.containerStatuses[0].restartCount}')" = "2 2 2" ] || fail "restarted: $(k get pods)"
[ -z "$(k get events --no-headers 2>/dev/null | grep BackOff)" ] || fail "they were held back: $(k get events)"
[ "$(k logs done)" = finished ] || fail "the log of what had ended is not there"
