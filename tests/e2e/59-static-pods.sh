# Given manifests in a directory of the node, when they come, change and go, and their mirrors are deleted, and kogge is killed, then the
# node runs exactly them, and the API shows them.
. "$(dirname "$0")/lib.sh"
MANIFESTS=$WORK/manifests
mkdir "$MANIFESTS"
manifest() { # TEXT
  cat <<Y
apiVersion: v1
kind: Pod
metadata: {name: still, labels: {app: still}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: c
      image: kogge/busybox:latest
      imagePullPolicy: IfNotPresent
      command: [sh, -c, 'echo $1; exec sleep 1234']
Y
}
start_kogge --static-pod-path "$MANIFESTS"
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest
node=$(k get nodes -o jsonpath='{.items[0].metadata.name}')
running() { container_processes '^sleep 1234'; }
field() { k get pod "still-$node" -o jsonpath="{$1}"; }

say "a manifest comes"
manifest one >"$MANIFESTS/still.yaml"
echo "kind: Nonsense" >"$MANIFESTS/nonsense.yaml"
eventually 20 k get pod "still-$node"
k wait --for=condition=Ready "pod/still-$node" --timeout=30s
[ "$(k logs "still-$node")" = one ] || fail "its log: $(k logs "still-$node")"
uid=$(field .metadata.uid) process=$(running)
hash=$(field '.metadata.annotations.kubernetes\.io/config\.mirror')
[ -n "$process" ] && [ -n "$hash" ] || fail "process '$process', mirror '$hash'"
expect "file $hash Node $node" "$(field '.metadata.annotations.kubernetes\.io/config\.source') $(field '.metadata.annotations.kubernetes\.io/config\.hash') $(field '.metadata.ownerReferences[0].kind') $(field '.metadata.ownerReferences[0].name')"
expect "Started" "$(k describe pod "still-$node")"

say "its mirror is deleted, gracefully and by force: it comes back, the pod was not touched"
for how in --wait=false "--force --grace-period=0"; do
  k delete pod "still-$node" $how >/dev/null 2>&1
  eventually 20 sh -c "u=\$('$KUBECTL' get pod 'still-$node' -o jsonpath='{.metadata.uid}') && [ -n \"\$u\" ] && [ \"\$u\" != '$uid' ]"
  k wait --for=condition=Ready "pod/still-$node" --timeout=30s
  uid=$(field .metadata.uid)
  [ "$(running)" = "$process" ] || fail "the pod was touched: $process, $(running)"
done

say "kogge is killed: it runs on"
kill_kogge
start_kogge --static-pod-path "$MANIFESTS"
eventually 30 node_ready
sleep 1
[ "$(running)" = "$process" ] || fail "the pod was touched: $process, $(running)"
k wait --for=condition=Ready "pod/still-$node" --timeout=30s
[ "$(field .metadata.uid)" = "$uid" ] || fail "the mirror was made anew"

say "the manifest changes, and goes"
manifest two >"$MANIFESTS/still.yaml"
eventually 30 sh -c "'$KUBECTL' logs 'still-$node' | grep -qx two"
k wait --for=condition=Ready "pod/still-$node" --timeout=30s
[ "$(running | wc -l)" = 1 ] && [ "$(running)" != "$process" ] || fail "processes: $(running)"
rm "$MANIFESTS/still.yaml"
eventually 20 sh -c "! '$KUBECTL' get pod 'still-$node'"
eventually 20 no_container_processes '^sleep 1234'
eventually 10 node_agrees
