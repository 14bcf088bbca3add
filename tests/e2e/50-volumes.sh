# Given real containers with every kind of volume, when sources change, probes fail and pods go, then the containers see it as
# Kubernetes says, and the node is clean afterwards.
. "$(dirname "$0")/lib.sh"
start_kogge
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest
mkdir -p "$WORK/host/below"
mount -t tmpfs below "$WORK/host/below"

say "volumes of every kind in one pod"
k create configmap conf --from-literal=colour=red --from-literal=size=3
k create secret generic pass --from-literal=word=sesame
k apply -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: vols, labels: {app: vols}}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000}
  containers:
  - name: main
    image: kogge/busybox
    imagePullPolicy: Never
    command: [sh, -c, 'sleep 3600']
    env: [{name: WHO, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    volumeMounts:
    - {name: disk, mountPath: /disk}
    - {name: disk, mountPath: /logs, subPathExpr: logs/\$(WHO)}
    - {name: memory, mountPath: /memory}
    - {name: conf, mountPath: /conf}
    - {name: conf, mountPath: /etc/colour, subPath: colour}
    - {name: pass, mountPath: /pass}
    - {name: all, mountPath: /all}
    - {name: host, mountPath: /host, readOnly: true}
    - {name: host, mountPath: /all-of-host, readOnly: true, recursiveReadOnly: Enabled}
    - {name: image, mountPath: /image}
    - {name: image, mountPath: /tools, subPath: bin}
  - name: other
    image: kogge/busybox
    imagePullPolicy: Never
    command: [sh, -c, 'sleep 3600']
    volumeMounts: [{name: disk, mountPath: /disk}]
  volumes:
  - {name: disk, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 4Mi}}
  - {name: conf, configMap: {name: conf, defaultMode: 0440}}
  - {name: pass, secret: {secretName: pass}}
  - {name: host, hostPath: {path: $WORK/host, type: Directory}}
  - {name: image, image: {reference: kogge/busybox, pullPolicy: Never}}
  - name: all
    projected:
      sources:
      - configMap: {name: conf, items: [{key: size, path: deep/size}]}
      - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
      - serviceAccountToken: {path: token, expirationSeconds: 600, audience: someone}
YAML
k wait --for=condition=Ready pod/vols --timeout=30s
x() { k exec vols -c main -- sh -c "$1"; }
[ "$(x 'id -u; id -g')" = "1000
1000" ] || fail "runAsUser: $(x id)"
expect 2000 "$(x 'id -G')"
expect '"supplementalGroups":[1000,2000],"uid":1000' "$(k get pod vols -o jsonpath='{.status.containerStatuses[0].user.linux}')"
x '/tools/busybox true && [ -x /image/bin/busybox ]' || fail "an image as a volume"
refuse "Read-only file system" x 'touch /image/x'
refuse "Read-only file system" x 'touch /all-of-host/below/x'
refuse "Read-only file system" x 'touch /host/x'
expect Enabled "$(k get pod vols -o jsonpath='{.status.containerStatuses[0].volumeMounts[?(@.mountPath=="/all-of-host")].recursiveReadOnly}')"
umount -l "$WORK/host/below"
x 'echo mine > /disk/file; echo log > /logs/x'
[ "$(k exec vols -c other -- cat /disk/file /disk/logs/vols/x)" = "mine
log" ] || fail "containers share an emptyDir"
[ "$(x 'stat -c %g /disk/file')" = 2000 ] || fail "fsGroup of new files"
expect tmpfs "$(x 'grep " /memory " /proc/mounts')"
expect "size=4096k" "$(x 'grep " /memory " /proc/mounts')"
expect tmpfs "$(x 'grep " /pass " /proc/mounts')"
[ "$(x 'cat /conf/colour /etc/colour /pass/word /all/deep/size')" = redredsesame3 ] || fail "files: $(x 'cat /conf/colour /etc/colour')"
[ "$(x 'stat -Lc %a /conf/colour')" = 440 ] || fail "defaultMode"
expect 'app="vols"' "$(x 'cat /all/labels')"
[ "$(x 'stat -Lc "%a %u %g" /all/token')" = "640 1000 2000" ] || fail "whose the token is: $(x 'ls -lnL /all/token')"
payload=$(x 'cat /all/token' | cut -d. -f2 | tr '_-' '/+')
expect '"someone"' "$(base64 -d <<<"$payload==" 2>/dev/null || true)"
expect "BEGIN CERTIFICATE" "$(x 'cat /var/run/secrets/kubernetes.io/serviceaccount/ca.crt')"
[ "$(x 'cat /var/run/secrets/kubernetes.io/serviceaccount/namespace')" = default ] || fail "namespace file"
refuse "Read-only" k exec vols -c main -- touch /host/x
refuse "Read-only" k exec vols -c main -- touch /conf/x
expect "vols" "$(x 'cat /etc/hosts')"
[ "$(x hostname)" = vols ] || fail hostname

say "changes are seen inside, all at once"
k patch configmap conf -p '{"data":{"colour":"blue","new":"n"}}'
k label pod vols more=yes
eventually 10 sh -c "[ \"\$('$KUBECTL' exec vols -c main -- cat /conf/colour /conf/new)\" = bluen ]"
eventually 10 sh -c "'$KUBECTL' exec vols -c main -- cat /all/labels | grep -q 'more=\"yes\"'"
[ "$(x 'cat /etc/colour')" = red ] || fail "a subPath does not change"

say "what is missing is waited for"
k run waits --image=kogge/busybox --image-pull-policy=Never --overrides='{"spec":{"volumes":[{"name":"v","configMap":{"name":"later"}}],
  "containers":[{"name":"waits","image":"kogge/busybox","imagePullPolicy":"Never","command":["sleep","3600"],"volumeMounts":[{"name":"v","mountPath":"/v"}]}]}}'
eventually 10 sh -c "'$KUBECTL' describe pod waits | grep -q 'MountVolume.SetUp failed for volume \"v\" : configmap \"later\" not found'"
k create configmap later --from-literal=a=b
k wait --for=condition=Ready pod/waits --timeout=30s

say "probes: readiness follows HTTP, a failed liveness probe restarts"
k apply -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: probed}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: kogge/busybox
    imagePullPolicy: Never
    command: [sh, -c, 'mkdir /www; touch /alive; httpd -f -p 8080 -h /www']
    startupProbe: {exec: {command: [cat, /alive]}, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 30}
    readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 1}
    livenessProbe: {exec: {command: [cat, /alive]}, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 1}
YAML
eventually 20 sh -c "'$KUBECTL' describe pod probed | grep -q 'Readiness probe failed: HTTP probe failed with statuscode: 404'"
k delete events --all >/dev/null # what goes on is told again
eventually 20 sh -c "'$KUBECTL' describe pod probed | grep -q 'Readiness probe failed: HTTP probe failed with statuscode: 404'"
k exec probed -- touch /www/ready
k wait --for=condition=Ready pod/probed --timeout=30s
k exec probed -- rm /www/ready
k wait --for=condition=Ready=false pod/probed --timeout=30s
k exec probed -- rm /alive
eventually 20 sh -c "[ \"\$('$KUBECTL' get pod probed -o jsonpath='{.status.containerStatuses[0].restartCount}')\" = 1 ]"
described=$(k describe pod probed)
expect "Container web failed liveness probe, will be restarted" "$described"
expect "Liveness probe failed: cat: can't open '/alive'" "$described"

say "mounts pass between host and container where the host's mount is shared; elsewhere the container does not start"
for kind in shared private; do
  mkdir -p "$DATA/$kind"
  mount --bind "$DATA/$kind" "$DATA/$kind"
  mount --make-$kind "$DATA/$kind"
  for way in Bidirectional HostToContainer; do
    k apply -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $(tr A-Z a-z <<<"$kind-$way")}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c, image: kogge/busybox, imagePullPolicy: Never, command: [sleep, '3600'], securityContext: {privileged: true}, volumeMounts: [{name: v, mountPath: /v, mountPropagation: $way}]}
  volumes: [{name: v, hostPath: {path: $DATA/$kind}}]
YAML
  done
done
k wait --for=condition=Ready pod/shared-bidirectional pod/shared-hosttocontainer --timeout=30s
k exec shared-bidirectional -- sh -c 'mkdir /v/m; mount -t tmpfs m /v/m; echo seen >/v/m/f'
[ "$(cat "$DATA/shared/m/f")" = seen ] && [ "$(k exec shared-hosttocontainer -- cat /v/m/f)" = seen ] || fail "a mount of a container is not seen"
for pod in private-bidirectional:shared private-hosttocontainer:shared\ or\ slave; do
  eventually 20 sh -c "'$KUBECTL' describe pod ${pod%%:*} | grep -q 'Warning  Failed .*Error: failed to generate container .* path \"$DATA/private\" is mounted on \"$DATA/private\" but it is not a ${pod#*:} mount'"
  [ "$(k get pod ${pod%%:*} -o jsonpath='{.status.containerStatuses[0].state.waiting.reason}')" = CreateContainerError ] || fail "$(k describe pod "${pod%%:*}")"
done
umount "$DATA/shared/m"
k delete pod --grace-period=1 --timeout=30s shared-bidirectional shared-hosttocontainer private-bidirectional private-hosttocontainer
umount "$DATA/shared" "$DATA/private"

say "a volume's files go with its pod"
disk=$(find "$DATA/pods" -type d -path '*empty-dir/disk')
[ -f "$disk/file" ] || fail "no file in $disk"
k delete pod vols waits probed --grace-period=1 --timeout=30s
[ ! -e "$disk" ] || fail "$disk is left"
eventually 5 sh -c "! grep -q '$DATA/pod' /proc/self/mountinfo"
