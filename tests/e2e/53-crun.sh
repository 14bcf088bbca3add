# Given crun instead of runc, when pods run, then they start, log, take commands and signals, and a killed kogge finds them again.
# crun does not take cgroup v1 and v2 side by side: where there are both, the story sees only the first.
if [ -d /sys/fs/cgroup/unified ] && [ -z "${CRUN_STORY:-}" ]; then
  CRUN_STORY=1 exec unshare --mount --propagation slave bash "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
if [ -n "${CRUN_STORY:-}" ]; then
  mkdir "$WORK/cgroups"
  mount --rbind /sys/fs/cgroup "$WORK/cgroups"
  mount -t tmpfs cgroup /sys/fs/cgroup
  for group in "$WORK"/cgroups/*; do
    name=${group##*/}
    [ -d "$group" ] && [ "$name" != unified ] || continue
    mkdir "/sys/fs/cgroup/$name"
    mount --bind "$group" "/sys/fs/cgroup/$name"
  done
  umount -R -l "$WORK/cgroups"
fi
sed 's|\(file: runtime-oci.so, lane: node\)|\1, config: {runc: /usr/bin/crun}|' "$BUILD/kogge.yaml" >"$WORK/crun.yaml"
CONFIG=$WORK/crun.yaml
start_kogge
eventually 30 node_ready
expect "crun://" "$(k get nodes -o jsonpath='{.items[0].status.nodeInfo.containerRuntimeVersion}')"
kogge image build-rootfs kogge/busybox:latest

say "a pod runs, logs and takes commands"
k run web --image=kogge/busybox:latest --image-pull-policy=Never -- sh -c 'trap "echo asked to stop; exit 3" TERM; echo begun; while :; do sleep 0.1; done'
k run first --image=kogge/busybox:latest --image-pull-policy=Never -- sleep 1000
running() { [ "$(k get pod web -o jsonpath='{.status.phase}')" = Running ]; }
eventually 20 running
logged() { [ "$(k logs web)" = begun ]; }
eventually 10 logged
[ "$(k exec web -- hostname)" = web ] || fail "exec: $(k exec web -- hostname)"
[ "$(echo input | k exec -i web -- cat)" = input ] || fail "exec -i"
refuse "exit code 7" k exec web -- sh -c 'exit 7'
# The size comes after the start.
sized='n=0; until stty size | grep -q ^20 || [ $n = 100 ]; do sleep 0.1; n=$((n + 1)); done; stty size'
expect "20 70" "$(sized=$sized script -qc "stty rows 20 cols 70; '$KUBECTL' exec -it web -- sh -c \"\$sized\"" /dev/null </dev/null)"

say "a killed kogge finds it again"
before=$(k get pod web -o jsonpath='{.status.containerStatuses[0].containerID}{.status.containerStatuses[0].restartCount}')
kill_kogge
start_kogge
eventually 30 node_ready
sleep 1
[ "$(k get pod web -o jsonpath='{.status.containerStatuses[0].containerID}{.status.containerStatuses[0].restartCount}')" = "$before" ] || fail "it was made anew"
running || fail "it does not run any more"

say "with runc configured what crun made is still crun's"
runtime_is() { k get nodes -o jsonpath='{.items[0].status.nodeInfo.containerRuntimeVersion}' | grep "^$1://"; }
restart_with() { # CONFIGURATION KIND
  kill_kogge
  CONFIG=$1 start_kogge
  eventually 30 runtime_is "$2" # the node object is still that of the one before
  eventually 30 node_ready
}
restarts() { k get pod web -o jsonpath='{.status.containerStatuses[0].restartCount}'; }
restart_with "$BUILD/kogge.yaml" runc
[ "$(k exec web -- hostname)" = web ] || fail "exec: $(k exec web -- hostname)"
k delete pod first --grace-period=1 >/dev/null
k run other --image=kogge/busybox:latest --image-pull-policy=Never -- sleep 1000
k wait --for=condition=Ready pod/other --timeout=20s >/dev/null
restart_with "$WORK/crun.yaml" crun
[ "$(k exec other -- hostname)" = other ] || fail "exec: $(k exec other -- hostname)"
k delete pod other --grace-period=1 >/dev/null
[ "$(restarts)" = 0 ] || fail "it was made anew"

say "it is asked to stop, and its exit code is known"
k logs -f web >"$WORK/followed" &
follower=$!
eventually 10 grep -q begun "$WORK/followed"
k delete pod web --grace-period=10 >/dev/null
wait $follower
expect "asked to stop" "$(cat "$WORK/followed")"
