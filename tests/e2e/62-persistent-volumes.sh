# Given claims as strangers' manifests have them, they are bound to volumes that suit or to directories of the node, as k3s does it;
# what they held goes with them, and nothing else does.
. "$(dirname "$0")/lib.sh"
start_kogge --node-name disks
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest
NODE=disks
phase_is() { [ "$(k get "$1" "$2" -o jsonpath='{.status.phase}')" = "$3" ]; }
told() { k get events --field-selector "involvedObject.name=$1,reason=$2" -o jsonpath='{.items[*].message}' | grep -F -- "$3"; }
claim() { # NAME CLASS SIZE: CLASS - is none named
  local class=""
  [ "$2" = - ] || class="storageClassName: '$2',"
  k create -f - <<<"{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: $1}, spec: {accessModes: [ReadWriteOnce], $class resources: {requests: {storage: $3}}}}" >/dev/null
}

say "the class that k3s has is there, the default"
[ "$(k get storageclass --no-headers | awk '{print $1, $2, $3, $4, $5, $6}')" = "local-path (default) rancher.io/local-path Delete WaitForFirstConsumer false" ] ||
  fail "$(k get storageclass)"

# pod NAME VOLUME-SOURCE: one that writes its name into its volume, as nobody in particular.
pod() {
  k create -f - <<Y >/dev/null
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1234}
  containers:
  - name: main
    image: kogge/busybox
    imagePullPolicy: Never
    command: [sh, -c, 'echo $1 >>/data/names && exec sleep 3600']
    volumeMounts: [{name: v, mountPath: /data}]
  volumes: [{name: v, $2}]
Y
}
names() { [ "$(k exec "$1" -- cat /data/names | tr '\n' ' ')" = "$2 " ]; }

say "a claim without a class gets it and waits for a pod, which gets a directory of its node; the next pod has what the first one wrote"
claim data - 100Mi
eventually 10 told data WaitForFirstConsumer "waiting for first consumer to be created before binding"
pod first 'persistentVolumeClaim: {claimName: data}'
eventually 30 names first first
phase_is pvc data Bound || fail "$(k get pvc data)"
k delete pod first >/dev/null
pod second 'persistentVolumeClaim: {claimName: data}'
eventually 30 names second "first second"
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

say "a class that was deleted is back at the next start, not before; the rest is as it was"
k delete storageclass local-path >/dev/null
kogge plugin swap controller-volume controller-volume >/dev/null
[ -z "$(k get storageclass -o name)" ] || fail "the class is back before the next start"
kill_kogge
start_kogge --node-name disks
class() { k get storageclass local-path; }
eventually 10 class
k label storageclass local-path mine=yes >/dev/null
names second "first second" || fail "the pod has not what it had"
phase_is pvc data Bound && [ -d "$dir" ] || fail "$(k get pvc)"

say "a claim in use stays until its pod is gone"
k delete pvc data --wait=false >/dev/null
[ "$(k get pvc data --no-headers | awk '{print $2}')" = Terminating ] && [ -d "$dir" ] || fail "$(k get pvc)"

say "the claim goes: its directory and volume with it, however much is in it, and nothing that it links to"
mkdir "$WORK/mine" && touch "$WORK/mine/file" && ln -s "$WORK/mine" "$dir/link"
mkdir -p "$dir/deep/er" && (cd "$dir/deep" && seq 2000 | xargs touch)
k delete pod second >/dev/null
no_volume() { ! k get pv "$volume" 2>/dev/null; }
eventually 10 no_volume
empty() { [ -z "$(ls -A "$DATA/storage")" ]; }
eventually 10 empty
[ -e "$WORK/mine/file" ] || fail "what the volume linked to is gone"
rm -r "$WORK/mine"

say "a pod whose claim is missing waits, and says so in kube-scheduler's words"
kogge image build-rootfs kogge/busybox:latest >/dev/null
pod() { # NAME CLAIM [more of the volume's source]
  k create -f - <<<"{apiVersion: v1, kind: Pod, metadata: {name: $1}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: kogge/busybox, imagePullPolicy: Never, command: [sh, -c, 'sleep 3600'], volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, persistentVolumeClaim: {claimName: $2 ${3:-}}}]}}" >/dev/null
}
pod early late
eventually 10 told early FailedScheduling '0/1 nodes are available: persistentvolumeclaim "late" not found. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.'
phase_is pod early Pending || fail "$(k get pods)"
claim late - 10Mi
k wait --for=condition=Ready pod/early --timeout=40s >/dev/null
[ "$(k get pvc late -o jsonpath="{.metadata.annotations['volume\.kubernetes\.io/selected-node']}")" = "$NODE" ] || fail "$(k get pvc late -o yaml)"
k exec early -- sh -c 'echo here >/v/file'
expect here "$(cat "$(k get pv "$(k get pvc late -o jsonpath='{.spec.volumeName}')" -o jsonpath='{.spec.hostPath.path}')/file")"
expect "late" "$(k describe pod early | grep ClaimName)"
k delete pvc late --wait=false >/dev/null # in use: it stays until the pod goes
k get pvc late >/dev/null
k delete pod early >/dev/null
late_gone() { ! k get pvc late && empty; }
eventually 20 late_gone

say "a volume made by hand for a class of its own: bound when the first pod comes, read-only for one that says so, kept"
mkdir -p "$WORK/disk" && echo old >"$WORK/disk/file"
k create -f - <<YAML >/dev/null
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: disks}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  storageClassName: disks
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  local: {path: $WORK/disk}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$NODE]}]}]}}
YAML
claim mine disks 500Mi
pod reader mine ', readOnly: true'
k wait --for=condition=Ready pod/reader --timeout=30s >/dev/null
expect old "$(k exec reader -- cat /v/file)"
refuse "Read-only file system" k exec reader -- touch /v/new
k delete pod reader >/dev/null
k delete pvc mine >/dev/null
eventually 10 phase_is pv disk Released
[ "$(cat "$WORK/disk/file")" = old ] || fail "the data of a volume made by hand is gone"

say "a generic ephemeral volume: its claim is the pod's, and goes with it"
k create -f - <<<"{apiVersion: v1, kind: Pod, metadata: {name: own}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: kogge/busybox, imagePullPolicy: Never, command: [sh, -c, 'sleep 3600'], volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 5Mi}}}}}}]}}" >/dev/null
k wait --for=condition=Ready pod/own --timeout=40s >/dev/null
k exec own -- touch /v/file
phase_is pvc own-v Bound || fail "$(k get pvc)"
k delete pod own >/dev/null
own_gone() { ! k get pvc own-v && empty; }
eventually 30 own_gone

say "a StatefulSet's data outlives its pods, and kogge; with the claim it goes"
k create -f - <<YAML >/dev/null
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: kogge/busybox
        imagePullPolicy: Never
        command: [sh, -c, 'echo \$HOSTNAME started >>/data/log; trap "exit 0" TERM; sleep 3600 & wait']
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
YAML
eventually 40 k rollout status statefulset/db --timeout=30s
uid() { k get pod db-1 -o jsonpath='{.metadata.uid}'; }
was=$(uid)
k delete pod db-1 >/dev/null
new_pod() { [ "$(uid)" != "$was" ] && k wait --for=condition=Ready pod/db-1 --timeout=10s; }
eventually 30 new_pod
[ "$(k exec db-1 -- cat /data/log)" = "db-1 started
db-1 started" ] || fail "$(k exec db-1 -- cat /data/log)"
id=$(k get pod db-0 -o jsonpath='{.status.containerStatuses[0].containerID}')
kill_kogge
start_kogge --node-name disks
eventually 30 node_ready
[ "$(k get storageclass local-path -o jsonpath='{.metadata.labels.mine}')" = yes ] || fail "the class was written anew"
k exec db-0 -- sh -c 'echo after >>/data/log'
[ "$(k get pod db-0 -o jsonpath='{.status.containerStatuses[0].containerID}')" = "$id" ] || fail "db-0 was started again"
k exec db-0 -- kill 1 || true
again() { [ "$(k exec db-0 -- cat /data/log)" = "db-0 started
after
db-0 started" ]; }
eventually 30 again
[ -z "$(k get events --field-selector reason=FailedMount -o name)" ] || fail "$(k get events --field-selector reason=FailedMount)"
k delete statefulset db --wait >/dev/null
[ "$(k get pvc --no-headers | awk '{print $1, $2}')" = "data-db-0 Bound
data-db-1 Bound" ] || fail "$(k get pvc)"
k delete pvc data-db-0 data-db-1 >/dev/null
eventually 20 empty

say "claims that get their owner meanwhile are told their node all the same, and go with him"
k create -f - <<YAML >/dev/null
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: own}
spec:
  replicas: 6
  serviceName: own
  podManagementPolicy: Parallel
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}
  selector: {matchLabels: {app: own}}
  template:
    metadata: {labels: {app: own}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: c, image: kogge/busybox, imagePullPolicy: Never, command: [sleep, "1000"], volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
  - {metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}
YAML
k rollout status statefulset/own --timeout=30s
! k get events | grep "has been modified" || fail "pods began anew because their claims had changed"
k delete statefulset own >/dev/null
eventually 20 empty
