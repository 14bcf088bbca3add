# For the stories; sourced. Each gets a cluster of its own (data, run directory, port, bridge), taken down at its end.
set -euo pipefail
umask 022 # the usual one: what stories make is for users in containers, too
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${KOGGE_BUILD_DIR:-$ROOT/build}
NAME=$(basename "$0" .sh)
NUMBER=${NAME%%-*}
[[ $NUMBER =~ ^[0-9]+$ ]] || NUMBER=99 # a benchmark
WORK=$(mktemp -d "/tmp/kogge-e2e-$NUMBER-XXXXXX")
DATA=$WORK/data RUN=$WORK/run
# E2E_INSTANCE keeps checkouts that test side by side on one machine apart (up to 16, by its remainder).
INSTANCE=${E2E_INSTANCE:-0}
PORT=$((16000 + 1000 * INSTANCE + 10#$NUMBER)) BRIDGE=kgt$INSTANCE$NUMBER CIDR=10.$((100 + 10#$NUMBER)).$((INSTANCE % 16 * 16)).0/24
SERVICES=10.43.$((INSTANCE % 16 * 16)).0/20
export KUBECONFIG=$DATA/admin.kubeconfig
export HOME=$WORK/home # kubectl keeps there for hours what the server at an address, another story's maybe, had of kinds
mkdir "$HOME"
KUBECTL135=$BUILD/clients/kubectl-1.35
KUBECTL132=$BUILD/clients/kubectl-1.32
KUBECTL=$KUBECTL135
CONFIG=${CONFIG:-$BUILD/kogge.yaml}
ip link del "$BRIDGE" 2>/dev/null || true # of a story that was killed: kogge does not take over what others made

k() { "$KUBECTL" "$@"; }
kogge() { "$BUILD/kogge" --run-dir "$RUN" --data-dir "$DATA" "$@"; }
say() { printf '== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*"; exit 1; }

# expect WHAT TEXT: the text contains WHAT.
expect() { [[ $2 == *"$1"* ]] || fail "expected '$1' in: $2"; }
# refuse WHAT COMMAND...: the command fails and says WHAT.
refuse() {
  local what=$1 out
  shift
  if out=$("$@" 2>&1); then fail "should have been refused: $*"; fi
  expect "$what" "$out"
}
# eventually SECONDS COMMAND...: succeeds within that time; on a machine that is busy with other things within 20 s more, and then says so.
eventually() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $((end + 20)) ] || { "$@" || true; fail "did not happen in time: $*"; }
    sleep 0.1
  done
  [ $SECONDS -le $end ] || echo "   late by $((SECONDS - end)) s: $*"
}

start_kogge() {
  mkdir -p "$DATA" "$RUN"
  setsid -f "$BUILD/kogge" server --config "$CONFIG" --data-dir "$DATA" --run-dir "$RUN" --https-port "$PORT" \
    --bridge "$BRIDGE" --pod-cidr "$CIDR" --service-cidr "$SERVICES" --pod-logs-dir "$WORK/log/pods" "$@" >>"$WORK/kogge.log" 2>&1 </dev/null
  eventually 20 api_ready
}
api_ready() { curl -sf --cacert "$DATA/tls/ca.crt" "https://127.0.0.1:$PORT/readyz"; }
node_ready() { k get nodes --no-headers | grep -qw Ready; }
# PIDs of this story's kogge: the supervising parent, the kernel, and what else was started with its run directory.
kogge_pids() { pgrep -f -- "--run-dir $RUN( |\$)" || true; }
# The kernel alone: what the first of them started.
kernel_pid() { pgrep -o -f -P "$(pgrep -o -f -- "--run-dir $RUN( |\$)")" -- "--run-dir $RUN( |\$)"; }

# With -9, and waits until they are gone: an ending process shows no command line while its sockets are still open.
kill_kogge() {
  local p pids
  pids=$(kogge_pids)
  kill -9 $pids 2>/dev/null || true
  for p in $pids; do while [ -e "/proc/$p" ]; do sleep 0.01; done; done
}

# container_processes PATTERN: PIDs in this story's containers whose command line matches (others may run the same programs), without
# what a server forks for a single request, as for each of a probe's.
container_processes() {
  local p parent
  for p in $(pgrep -f -- "$1"); do
    grep -qF "$(basename "$WORK")" "/proc/$p/cgroup" 2>/dev/null || continue
    parent=$(sed -n 's/^PPid:\t//p' "/proc/$p/status" 2>/dev/null) || continue
    cmp -s "/proc/$p/cmdline" "/proc/$parent/cmdline" || echo "$p"
  done | sort
}
no_container_processes() { [ -z "$(container_processes "$1")" ]; }

# What this story's node has of pods: a line of "UID KIND WHAT" for every process, mount, name space, link, group and file.
node_has() {
  local p group
  for p in $(pgrep -f -- "^[^ ]*conmon -c .*$WORK/"); do
    { tr '\0' ' ' <"/proc/$p/cmdline" && echo; } 2>/dev/null | sed -n 's/^[^ ]*conmon -c \(.\{36\}\)-.*/\1 process conmon/p'
  done
  sed -n "s:.* $WORK/[^ ]*/\([0-9a-f-]\{36\}\)[-/][^ ]* .*:\1 mount:p" /proc/self/mountinfo
  find "$DATA/pods" "$DATA/pod-secrets" "$DATA/logs" "$WORK/log/pods" "$DATA/runtime/sandboxes" "$DATA/runtime/containers" "$DATA/runtime/exits" \
    "$RUN/ns" "$RUN/runc" -mindepth 1 -maxdepth 1 2>/dev/null | sed -n 's:^\(.*[/_]\)\([0-9a-f-]\{36\}\)\([-.].*\)\{0,1\}$:\2 file \1:p'
  find "$WORK/log/containers" -type l -printf '%l\n' 2>/dev/null | sed -n 's:.*_\([0-9a-f-]\{36\}\)/[^/]*/[0-9]*.log$:\1 link to its log:p'
  group=kogge${DATA//\//-}
  find /sys/fs/cgroup -maxdepth 3 -type d -path "*/$group/pod*" 2>/dev/null | sed -n 's:.*/pod\([0-9a-f-]\{36\}\)$:\1 cgroup:p'
}
links_of_pods() { ip -o link show master "$BRIDGE" 2>/dev/null | grep -c ' kgp' || true; }
# The node has nothing of pods that the API does not know, and a link for each that has an address.
node_agrees() {
  k get pods -A -o jsonpath='{range .items[*]}{.metadata.uid}{"\n"}{end}' | sort -u >"$WORK/known-pods" || return 1
  node_has | sort -u >"$WORK/node-has"
  local strange addresses
  strange=$(join -v 1 "$WORK/node-has" "$WORK/known-pods")
  [ -z "$strange" ] || { echo "the node has, and the API does not know: $strange"; return 1; }
  addresses=$(k get pods -A -o json | jq '[.items[] | select(.spec.hostNetwork != true and .status.podIP != null and .status.phase == "Running")] | length')
  [ "$(links_of_pods)" = "$addresses" ] || { echo "$(links_of_pods) links of pods, $addresses pods with addresses"; return 1; }
}
# Deletes all that makes pods; then the node has nothing of any pod.
delete_everything() {
  k delete deployments,statefulsets,daemonsets,replicasets,replicationcontrollers,cronjobs,jobs --all -A --wait=false >/dev/null
  k delete pods --all -A --grace-period=1 --wait=false >/dev/null 2>&1 || true
  eventually 60 no_pods
  eventually 45 node_agrees # a pod deleted by force still has its grace period
  [ ! -s "$WORK/node-has" ] || fail "left of pods: $(cat "$WORK/node-has")"
}
no_pods() {
  [ -z "$(k get pods -A -o name)" ] || { k delete pods --all -A --grace-period=1 --wait=false; return 1; }
}

# machine_outside OFFSET: a machine beside this one, in the namespace $BRIDGE-out; it reaches this one at $here. Stories that run at
# once have different offsets, multiples of 64.
machine_outside() {
  local net=198.51.100 first=$((INSTANCE % 16 * 4 + $1)) # four addresses
  ip netns add "$BRIDGE-out"
  ip link add "$BRIDGE-o" type veth peer name eth0 netns "$BRIDGE-out"
  here=$net.$((first + 1))
  ip addr add "$here/30" dev "$BRIDGE-o"
  ip link set "$BRIDGE-o" up
  ip -n "$BRIDGE-out" addr add "$net.$((first + 2))/30" dev eth0
  ip -n "$BRIDGE-out" link set eth0 up
}

take_down() {
  local status=$?
  trap - EXIT
  if [ $status = 0 ] && [ -d "$DATA/runtime/sandboxes" ] && [ "$(k get nodes --no-headers 2>/dev/null | grep -cw Ready)" = 1 ]; then
    (delete_everything) || status=1
  fi
  if [ $status != 0 ]; then
    echo "-- kogge.log"; tail -80 "$WORK/kogge.log" 2>/dev/null || true
    k get pods,nodes -A -o wide 2>/dev/null || true
  fi
  bash "$ROOT/scripts/down" --data-dir "$DATA" --run-dir "$RUN" >"$WORK/down.log" 2>&1 || { cat "$WORK/down.log"; status=1; }
  [ $status != 0 ] || check_nothing_left || status=1
  rm -rf --one-file-system "$WORK"
  exit $status
}
trap take_down EXIT

# Nothing of this story may be left: process, mount, namespace, link, cgroup, file.
check_nothing_left() {
  local left=""
  left+=$(pgrep -af -- "$WORK" | grep -v "^$$ " || true)
  left+=$(grep -F "$WORK" /proc/self/mountinfo || true)
  left+=$(ip -o link show "$BRIDGE" 2>/dev/null || true)
  left+=$(nft list tables 2>/dev/null | grep -w "$BRIDGE" || true)
  left+=$(find /sys/fs/cgroup -type d -path "*kogge*$(basename "$WORK")*" 2>/dev/null | head -5)
  [ ! -e "$DATA" ] || left+=" $DATA"
  [ ! -e "$RUN" ] || left+=" $RUN"
  left+=$(find "$WORK/log" -mindepth 1 2>/dev/null | head -5)
  [ -z "$left" ] || { echo "FAILED: left behind: $left"; return 1; }
}
