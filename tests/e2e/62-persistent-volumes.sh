# Given claims as strangers' manifests have them, they are bound to volumes that suit or to directories of the node, as k3s does it;
# what they held goes with them, and nothing else does.
. "$(dirname "$0")/lib.sh"
start_kogge
eventually 30 node_ready
NODE=$(k get nodes -o jsonpath='{.items[0].metadata.name}')
phase_is() { [ "$(k get "$1" "$2" -o jsonpath='{.status.phase}')" = "$3" ]; }
told() { k get events --field-selector "involvedObject.name=$1,reason=$2" -o jsonpath='{.items[*].message}' | grep -F -- "$3"; }
claim() { # NAME CLASS SIZE: CLASS - is none named
  local class=""
  [ "$2" = - ] || class="storageClassName: '$2',"
  k create -f - <<<"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: $1}, spec: {accessModes: [ReadWriteOnce], $class resources: {requests: {storage: $3}}}}" >/dev/null
}

say "the class that k3s has is there, the default, and its owner may change it"
[ "$(k get storageclass --no-headers | awk '{print $1, $2, $3, $4, $5, $6}')" = "local-path (default) rancher.io/local-path Delete WaitForFirstConsumer false" ] ||
  fail "$(k get storageclass)"
k label storageclass local-path mine=yes >/dev/null

say "a claim without a class gets it and waits for a pod; on the chosen node it gets a directory"
claim data - 100Mi
eventually 10 told data WaitForFirstConsumer "waiting for first consumer to be created before binding"
k annotate pvc data volume.kubernetes.io/selected-node="$NODE" >/dev/null
eventually 10 phase_is pvc data Bound
volume=$(k get pvc data -o jsonpath='{.spec.volumeName}')
dir=$(k get pv "$volume" -o jsonpath='{.spec.hostPath.path}')
[ "$dir" = "$DATA/storage/${volume}_default_data" ] && [ "$(stat -c %a "$dir")" = 777 ] || fail "the directory $dir"
expect "kubernetes.io/hostname in [$NODE]" "$(k describe pv "$volume" | tr -s ' ' | grep -A9 'Node Affinity')"
expect "100Mi" "$(k get pvc data --no-headers)"
refuse "only dynamically provisioned pvc can be resized" k patch pvc data -p '{"spec":{"resources":{"requests":{"storage":"1Gi"}}}}'

say "volumes made by hand: the smallest that suits, kept when its claim goes"
for size in 3Gi 2Gi; do
  k create -f - <<<"{apiVersion: v1, kind: PersistentVolume, metadata: {name: by-hand-${size,,}}, spec: {capacity: {storage: $size}, accessModes: [ReadWriteOnce], hostPath: {path: $WORK/by-hand}}}" >/dev/null
done
claim hand "" 1Gi
eventually 10 phase_is pvc hand Bound
[ "$(k get pvc hand -o jsonpath='{.spec.volumeName}')" = by-hand-2gi ] || fail "$(k get pvc hand)"
k delete pvc hand >/dev/null
eventually 10 phase_is pv by-hand-2gi Released
phase_is pv by-hand-3gi Available || fail "$(k get pv)"

say "kogge killed and started again: all as it was"
kill_kogge
start_kogge
phase_is pvc data Bound && [ -d "$dir" ] || fail "$(k get pvc)"
[ "$(k get storageclass local-path -o jsonpath='{.metadata.labels.mine}')" = yes ] || fail "the class was written anew"

say "the claim goes: its directory and volume with it, however much is in it, and nothing that it links to"
mkdir "$WORK/mine" && touch "$WORK/mine/file" && ln -s "$WORK/mine" "$dir/link"
mkdir -p "$dir/deep/er" && (cd "$dir/deep" && seq 2000 | xargs touch)
k delete pvc data >/dev/null
no_volume() { ! k get pv "$volume" 2>/dev/null; }
eventually 10 no_volume
empty() { [ -z "$(ls -A "$DATA/storage")" ]; }
eventually 10 empty
[ -e "$WORK/mine/file" ] || fail "what the volume linked to is gone"
rm -r "$WORK/mine"
