# Given real containers with security contexts, when they look at themselves, then they are what was asked for, and no more.
. "$(dirname "$0")/lib.sh"
start_kogge
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest
mkdir -p "$DATA/seccomp"
echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}' >"$DATA/seccomp/nomkdir.json"

# pod NAME POD-SPEC CONTAINER-SPEC: a pod that sleeps (both in flow style, without braces)
pod() {
  printf -- '---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  {terminationGracePeriodSeconds: 0, %s containers: [{name: c, image: kogge/busybox, imagePullPolicy: Never, command: [sleep, "3600"], %s}]}\n' "$1" "${2:+$2,}" "$3"
}
{
  pod plain '' ''
  pod caps '' 'securityContext: {capabilities: {add: [NET_ADMIN], drop: [CHOWN, MKNOD]}}'
  pod nocaps '' 'securityContext: {runAsUser: 1000, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}'
  pod users 'hostUsers: false' ''
  pod localhost 'securityContext: {seccompProfile: {type: Localhost, localhostProfile: nomkdir.json}}' ''
  pod privileged '' 'securityContext: {privileged: true}'
  pod groups 'securityContext: {runAsUser: 1001, runAsGroup: 1002, supplementalGroups: [1003], fsGroup: 1004}' ''
  pod sysctls 'securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: "1"}, {name: net.ipv4.tcp_syncookies, value: "0"}]}' ''
  pod unsafe 'securityContext: {sysctls: [{name: kernel.msgmax, value: "9000"}]}' ''
  pod host 'hostNetwork: true, hostPID: true, hostIPC: true' ''
  pod nonroot 'securityContext: {runAsNonRoot: true}' ''
  pod shared 'shareProcessNamespace: true' ''
  pod limited '' 'resources: {requests: {cpu: 100m}, limits: {cpu: 500m, memory: 64Mi}}'
} | k apply -f -
k wait --for=condition=Ready pod/plain pod/caps pod/nocaps pod/localhost pod/privileged pod/groups pod/sysctls pod/host pod/limited pod/shared --timeout=40s
x() { local pod=$1; shift; k exec "$pod" -- sh -c "$*"; }
status() { x "$1" "sed -n 's/^$2:[[:space:]]*//p' /proc/1/status"; }

say "capabilities"
[ "$(status plain CapEff)" = 00000000a80425fb ] || fail "usual capabilities: $(status plain CapEff)"
[ "$(status caps CapEff)" = 00000000a00435fa ] || fail "added and dropped: $(status caps CapEff)"
[ "$(status nocaps CapBnd)" = 0000000000000000 ] || fail "all dropped: $(status nocaps CapBnd)"
[ "$(status nocaps NoNewPrivs)" = 1 ] || fail "no new privileges"
[ "$(status plain NoNewPrivs)" = 0 ] || fail "new privileges"

say "root file system and masked files"
refuse "Read-only" k exec nocaps -- touch /x
x plain 'touch /x'
refuse "Read-only" k exec plain -- sh -c 'echo 1 >/proc/sys/kernel/printk'
[ -z "$(x plain 'cat /proc/timer_list')" ] || fail "masked files are seen"
expect nsecs "$(x privileged 'cat /proc/timer_list')"

say "seccomp"
[ "$(status plain Seccomp)" = 0 ] || fail "unconfined is the usual"
[ "$(status nocaps Seccomp)" = 2 ] || fail "RuntimeDefault"
refuse "not permitted" k exec nocaps -- unshare -U true
nocaps=$(k get pod nocaps -o jsonpath="{.metadata.uid}")
[ "$(jq -r .linux.seccomp.defaultAction "$DATA/runtime/containers/$nocaps"-*/config.json)" = SCMP_ACT_ERRNO ] || fail "what the profile does not name is allowed"
refuse "not permitted" k exec localhost -- mkdir /tmp/new

say "privileged containers see the host's devices"
[ "$(status privileged Seccomp)" = 0 ] || fail "privileged is unconfined"
x privileged 'mkdir /m && mount -t tmpfs none /m && test -e /dev/kmsg' || fail "privileged"
refuse "permission denied" k exec plain -- sh -c 'mkdir /m && mount -t tmpfs none /m'

say "users and groups"
[ "$(x groups 'id -u; id -g')" = "1001
1002" ] || fail "$(x groups id)"
for g in 1002 1003 1004; do expect $g "$(x groups 'id -G')"; done
eventually 10 sh -c "'$KUBECTL' get pod nonroot -o jsonpath='{.status.containerStatuses[0].state.waiting}' | grep -q 'container has runAsNonRoot and image will run as root'"

say "user name spaces are refused, and said so"
eventually 10 sh -c "'$KUBECTL' get events --field-selector involvedObject.name=users,reason=FailedCreatePodSandBox -o jsonpath='{.items[*].message}' | grep -q 'hostUsers: false) are not supported'"
[ "$(k get pod users -o jsonpath='{.status.phase}')" = Pending ] || fail "users: $(k get pod users)"

say "sysctls"
[ "$(x sysctls 'cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/tcp_syncookies')" = "1
0" ] || fail "sysctls"
eventually 10 sh -c "'$KUBECTL' get pod unsafe -o jsonpath='{.status.phase} {.status.reason}' | grep -q 'Failed SysctlForbidden'"
expect SysctlForbidden "$(k get pod unsafe --no-headers)"

say "the host's name spaces"
[ "$(x host 'readlink /proc/self/ns/net')" = "$(readlink /proc/self/ns/net)" ] || fail "host network"
[ "$(x plain "sed -n 's/^ *\([^:]*\):.*/\1/p' /proc/net/dev | sort")" = "eth0
lo" ] || fail "own network"
x host "test -d /proc/$$" || fail "the host's processes are not seen"
x plain "! test -d /proc/$$" || fail "the host's processes are seen"
touch /dev/shm/kogge-e2e-$$
x host "test -e /dev/shm/kogge-e2e-$$" || fail "host IPC"
x plain "! test -e /dev/shm/kogge-e2e-$$" || fail "own IPC"
rm /dev/shm/kogge-e2e-$$

say "control groups"
group() { x limited "cat /sys/fs/cgroup/$1 2>/dev/null || cat /sys/fs/cgroup/$2"; }
[ "$(group memory/memory.limit_in_bytes memory.max)" = 67108864 ] || fail "memory limit"
expect 50000 "$(group cpu/cpu.cfs_quota_us cpu.max)"
uid=$(k get pod limited -o jsonpath='{.metadata.uid}')
whole=$(find /sys/fs/cgroup -type d -path "*kogge*$(basename "$WORK")*/pod$uid" | head -20)
expect 67108864 "$(for d in $whole; do cat "$d/memory.limit_in_bytes" "$d/memory.max" 2>/dev/null || true; done)"
expect 50000 "$(for d in $whole; do cat "$d/cpu.cfs_quota_us" "$d/cpu.max" 2>/dev/null || true; done)"

say "a shared name space of processes"
expect kogge-pause "$(x shared 'cat /proc/1/cmdline | tr "\0" " "')"
expect sleep "$(x shared 'cat /proc/*/cmdline | tr "\0" " "')"
k delete pod shared --timeout=20s
eventually 5 sh -c "[ -z \"\$(find /sys/fs/cgroup -type d -path '*$(basename "$WORK")*/pause')\" ]"

k delete pod --all --timeout=30s
