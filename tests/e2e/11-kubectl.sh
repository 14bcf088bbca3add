# Given a cluster, when a user goes through kubectl's commands (1.35 all of them, 1.32 and 1.20 what they have), then he sees what
# a Kubernetes shows. Nodes are pretended: nothing here needs a container.
. "$(dirname "$0")/lib.sh"
CONFIG=$ROOT/tests/e2e/data/session.yaml
KUBECTL120=$BUILD/clients/kubectl-1.20
start_kogge
eventually 20 node_ready
# sees WHAT COMMAND...: it succeeds, and what it prints contains WHAT.
sees() {
  local what=$1 out
  shift
  out=$("$@" 2>&1) || fail "$*: $out"
  expect "$what" "$out"
}
# is WHAT COMMAND...: it prints exactly WHAT.
is() {
  local what=$1 out
  shift
  out=$("$@" 2>/dev/null) || fail "$*: $out"
  [ "$out" = "$what" ] || fail "$*: expected '$what', not '$out'"
}
# editor SED: what EDITOR does to the file.
editor() {
  printf '#!/bin/sh\nsed -i "%s" "$1"\n' "$1" >"$OWN/editor"
  chmod +x "$OWN/editor"
  export EDITOR=$OWN/editor
}
old() { [ "$KUBECTL" = "$KUBECTL120" ]; }
newest() { [ "$KUBECTL" = "$KUBECTL135" ]; }

creates() {
  say "create: every generator"
  sees "namespace/$NS created" k create namespace "$NS"
  k config set-context --current --namespace="$NS" >/dev/null
  sees "configmap/cm created" k create configmap cm --from-literal=a=1
  sees "secret/sec created" k create secret generic sec --from-literal=password=x
  sees "secret/cert created" k create secret tls cert --cert="$DATA/tls/admin.crt" --key="$DATA/tls/admin.key"
  sees "secret/reg created" k create secret docker-registry reg --docker-server=r.example --docker-username=u --docker-password=p
  sees "deployment.apps/web created" k create deployment web --image=nginx --replicas=2 --port=80
  sees "job.batch/one created" k create job one --image=busybox -- true
  sees "service/c1 created" k create service clusterip c1 --tcp=80:8080
  sees "service/n1 created" k create service nodeport n1 --tcp=80:8080
  sees "service/l1 created" k create service loadbalancer l1 --tcp=80:8080
  sees "service/e1 created" k create service externalname e1 --external-name=example.com
  sees "ingress.networking.k8s.io/ing created" k create ingress ing '--rule=a.example/*=web:80,tls=cert'
  sees "role.rbac.authorization.k8s.io/r1 created" k create role r1 --verb=get --resource=pods
  sees "rolebinding.rbac.authorization.k8s.io/rb1 created" k create rolebinding rb1 --role=r1 --user=jane
  sees "clusterrole.rbac.authorization.k8s.io/cr-$NS created" k create clusterrole "cr-$NS" --verb=get --resource=nodes
  sees "clusterrolebinding.rbac.authorization.k8s.io/cr-$NS created" k create clusterrolebinding "cr-$NS" --clusterrole="cr-$NS" --user=jane
  sees "serviceaccount/robot created" k create serviceaccount robot
  sees "resourcequota/quota created" k create quota quota --hard=pods=20,services=10
  sees "priorityclass.scheduling.k8s.io/pc-$NS created" k create priorityclass "pc-$NS" --value=100
  sees "pod/p1 created" k run p1 --image=busybox --labels=tier=x -- sleep 100
  sees "service/web exposed" k expose deployment web --port=80
  old || sees "HorizontalPodAutoscaler: it is kept, but nothing of this server scales by it" k autoscale deployment web --min=1 --max=5 --cpu-percent=50 --dry-run=server
  sees "horizontalpodautoscaler.autoscaling/web autoscaled" k autoscale deployment web --min=1 --max=5 --cpu-percent=50
  is 50 k get horizontalpodautoscalers.v1.autoscaling web -o jsonpath='{.spec.targetCPUUtilizationPercentage}'
  sees patched k patch horizontalpodautoscalers.v1.autoscaling web -p '{"spec":{"targetCPUUtilizationPercentage":60}}'
  is 60 k get horizontalpodautoscalers.v2.autoscaling web -o jsonpath='{.spec.metrics[0].resource.target.averageUtilization}'
  refuse 'configmaps "cm" already exists' k create configmap cm
  if old; then # that kubectl knows these kinds in versions that are gone
    refuse "the server could not find the requested resource" k create cronjob cj --image=busybox --schedule='*/5 * * * *'
    return
  fi
  sees "cronjob.batch/cj created" k create cronjob cj --image=busybox --schedule='*/5 * * * *' -- true
  sees "job.batch/from created" k create job from --from=cronjob/cj
  sees "poddisruptionbudget.policy/pdb created" k create pdb pdb --selector=app=web --min-available=1
  sees "eyJ" k create token robot --duration=10m
  sees "(server dry run)" k create configmap dry --from-literal=a=1 --dry-run=server
  refuse 'configmaps "dry" not found' k get cm dry
}

outputs() {
  say "get: every output"
  k rollout status deployment/web --timeout=30s
  sees "2/2" k get deployment web
  sees "nginx" k get deployment web -o wide
  sees "kind: Deployment" k get deployment web -o yaml
  is Deployment sh -c "'$KUBECTL' get deployment web -o json | jq -r .kind"
  is deployment.apps/web k get deployment web -o name
  is 2 k get deployment web -o jsonpath='{.spec.replicas}'
  is web/2 k get deployment web -o go-template='{{.metadata.name}}/{{.spec.replicas}}'
  is $'NAME   WANT\nweb    2' k get deployment web -o custom-columns=NAME:.metadata.name,WANT:.spec.replicas
  is "c1 e1 l1 n1 web" sh -c "'$KUBECTL' get svc --sort-by=.metadata.name -o name | cut -d/ -f2 | xargs"
  is "$NS" sh -c "'$KUBECTL' get pods -A --no-headers -l app=web | awk '{print \$1}' | grep -x '$NS' | uniq"
  is 2 sh -c "'$KUBECTL' get pods -l 'app in (web)' --no-headers | wc -l"
  sees "pod-template-hash=" k get pods -l app=web --show-labels
  is 2 sh -c "'$KUBECTL' get pods --field-selector=status.phase=Running -l app=web -o name | wc -l"
  refuse "field label not supported: spec.nope" k get pods --field-selector=spec.nope=1
  is "$(k get svc -o name)" k get svc -o name --chunk-size=1
  sees "deployment.apps/web" k get all
  sees "TIER" k get pods -L tier
  sees "<pending>" k get svc l1
  sees "example.com" k get svc e1
  sees "80, 443" k get ingress ing
  sees "pods: " k get quota
  sees "10.1" k get endpointslices -l kubernetes.io/service-name=web
  sees "kubernetes.io/tls" k get secrets
  sees "ScalingReplicaSet" k get events
  is "web web" k get deployment/web svc/web -o jsonpath='{.items[*].metadata.name}'
  refuse 'deployments.apps "nope" not found' k get deployment nope
  refuse 'the server doesn'"'"'t have a resource type "nope"' k get nope
  ! newest || sees "v1 Endpoints is deprecated in v1.33+" k get endpoints web
  timeout 60 "$KUBECTL" get cm cm --watch -o jsonpath='{.metadata.labels.seen}{"\n"}' >"$OWN/watch" &
  local watcher=$!
  eventually 20 watch_sees_label
  kill $watcher 2>/dev/null || true
}

# Between its get and its watch (from revision 0) kubectl itself misses a change, so there is more than one.
watch_sees_label() {
  k label cm cm seen="yes-$RANDOM" --overwrite
  grep -q yes "$OWN/watch"
}

describes() {
  say "describe each kind"
  local kind
  sees "2 desired | 2 updated | 2 total | 2 available | 0 unavailable" k describe deployment web
  sees "Scaled up replica set" k describe deployment web
  sees "Successfully assigned $NS/p1 to sim-" k describe pod p1
  sees "QoS Class:                   BestEffort" k describe pod p1
  sees "Controlled By:  Deployment/web" k describe rs
  sees "Created pod: one-" k describe job one
  sees "10.1" k describe svc web
  sees "cert terminates a.example" k describe ingress ing
  sees "password:  1 bytes" k describe secret sec
  sees "Resource Quotas" k describe namespace "$NS"
  sees "Non-terminated Pods" k describe node sim-0
  sees "Deployment/web" k describe hpa web
  for kind in cm sa role rolebinding "clusterrole/cr-$NS" "clusterrolebinding/cr-$NS" quota "priorityclass/pc-$NS" endpoints; do
    sees "Name:" k describe $kind
  done
  old || sees "AddressType:  IPv4" k describe endpointslices
  old || sees "Allowed disruptions:" k describe pdb pdb
  old || sees "*/5 * * * *" k describe cronjob cj
}

changes() {
  say "label, annotate, patch in every type, edit, scale, set"
  sees "deployment.apps/web labeled" k label deployment web tier=a
  refuse "already has a value (a), and --overwrite is false" k label deployment web tier=b
  sees "labeled" k label deployment web tier=b --overwrite
  k label deployment web tier- >/dev/null
  sees "annotated" k annotate deployment web kubernetes.io/change-cause=first
  sees "patched" k patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"nginx","env":[{"name":"A","value":"1"}]}]}}}}'
  is nginx/A k get deployment web -o jsonpath='{.spec.template.spec.containers[0].image}/{.spec.template.spec.containers[0].env[0].name}'
  sees "patched" k patch deployment web --type=merge -p '{"spec":{"minReadySeconds":0,"replicas":3}}'
  sees "patched" k patch deployment web --type=json -p '[{"op":"test","path":"/spec/replicas","value":3},{"op":"replace","path":"/spec/replicas","value":2}]'
  refuse "The request is invalid" k patch deployment web --type=json -p '[{"op":"test","path":"/spec/replicas","value":9}]'
  sees "(no change)" k patch cm cm -p '{"data":{"a":"1"}}' # of what no controller changes meanwhile
  refuse "field is immutable" k patch deployment web -p '{"spec":{"selector":{"matchLabels":{"x":"y"}}}}'
  refuse 'spec.replicas: Invalid value: -1: must be greater than or equal to 0' k patch deployment web -p '{"spec":{"replicas":-1}}'
  old || sees "patched" k patch deployment web --subresource=scale --type=merge -p '{"spec":{"replicas":2}}'
  editor "s/replicas: 2/replicas: 3/"
  sees "deployment.apps/web edited" k edit deployment web
  is 3 k get deployment web -o jsonpath='{.spec.replicas}'
  sees "Edit cancelled, no changes made" k edit deployment web
  editor "s/replicas: 3/replicas: many/"
  refuse "is invalid" k edit deployment web
  sees "deployment.apps/web scaled" k scale deployment web --replicas=2
  refuse "Expected replicas to be 9, was 2" k scale deployment web --current-replicas=9 --replicas=1
  sees "image updated" k set image deployment/web nginx=nginx:2
  sees "env updated" k set env deployment/web B=2
  sees "resource requirements updated" k set resources deployment/web --limits=cpu=100m,memory=64Mi
  sees "serviceaccount updated" k set serviceaccount deployment/web robot
  sees "selector updated" k set selector svc/c1 app=web
  ! newest || refuse 'spec.ephemeralContainers[0].targetContainerName: Not found: "nope"' k debug p1 --image=busybox --profile=general --target=nope
  sees "subjects updated" k set subject rolebinding/rb1 --serviceaccount="$NS:robot"
}

rollouts() {
  say "rollout: status, history, pause, resume, undo, restart"
  k annotate deployment web kubernetes.io/change-cause=second --overwrite >/dev/null
  sees "successfully rolled out" k rollout status deployment/web --timeout=30s
  sees "second" k rollout history deployment/web
  sees "A:" k rollout history deployment/web --revision=2
  sees "paused" k rollout pause deployment/web
  refuse "is already paused" k rollout pause deployment/web
  refuse "cannot rollback a paused deployment" k rollout undo deployment/web
  sees "resumed" k rollout resume deployment/web
  sees "rolled back" k rollout undo deployment/web --to-revision=1
  is nginx k get deployment web -o jsonpath='{.spec.template.spec.containers[0].image}'
  refuse "unable to find specified revision 99 in history" k rollout undo deployment/web --to-revision=99
  sees "restarted" k rollout restart deployment/web
  sees "successfully rolled out" k rollout status deployment/web --timeout=30s
}

custom_kind() {
  cat <<YAML
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.$1.example}
spec:
  group: $1.example
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: string}}}}}}}
YAML
}

applies() {
  local file=$ROOT/tests/e2e/data/deployment.yaml
  say "apply on either side, diff, replace, kustomize"
  sees "deployment.apps/idle created" k apply -f "$file"
  sees "deployment.apps/idle unchanged" k apply -f "$file"
  sed 's/replicas: 0/replicas: 1/' "$file" >"$OWN/idle.yaml"
  expect "+  replicas: 1" "$(k diff -f "$OWN/idle.yaml" || true)"
  sees "deployment.apps/idle configured" k apply -f "$OWN/idle.yaml"
  sees "replicas: 1" k apply view-last-applied deployment idle
  sees "serverside-applied" k apply --server-side --field-manager=me --force-conflicts -f "$OWN/idle.yaml"
  refuse 'with "me"' k apply --server-side --field-manager=you -f "$file"
  sees "serverside-applied" k apply --server-side --field-manager=you --force-conflicts -f "$file"
  k get cm cm -o yaml >"$OWN/stale.yaml"
  k label cm cm now=later >/dev/null
  refuse "the object has been modified" k replace -f "$OWN/stale.yaml"
  sees "deployment.apps/idle replaced" k replace --force -f "$file"
  refuse 'namespaces "absent" not found' k -n absent apply -f "$file"
  sees "deployment.apps/x-kus created" k apply -k "$ROOT/tests/e2e/data/kustomize/over"
  sees "unchanged" k apply -k "$ROOT/tests/e2e/data/kustomize/over"
  sees "deleted" k delete -k "$ROOT/tests/e2e/data/kustomize/over"
  custom_kind "$NS" >"$OWN/crd.yaml"
  k apply -f "$OWN/crd.yaml"
  k wait --for=condition=Established "crd/widgets.$NS.example" --timeout=10s
  widget() { printf '{"apiVersion":"%s.example/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"size":"%s"}}' "$NS" "$1"; }
  widget S >"$OWN/widget" && sees "created" k apply -f "$OWN/widget"
  widget M >"$OWN/widget" && expect "+  size: M" "$(k diff -f "$OWN/widget" || true)"
  sees "configured" k apply -f "$OWN/widget"
  sees "unchanged" k apply -f "$OWN/widget"
  is M k get "widgets.$NS.example" w -o jsonpath='{.spec.size}'
  sees "deleted" k delete crd "widgets.$NS.example"
  old || refuse 'unknown field "spec.nope"' k create --validate=strict -f - <<<'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"nope":1,"containers":[{"name":"c","image":"i"}]}}'
}

waits() {
  say "wait for conditions, fields, deletion, creation"
  sees "condition met" k wait --for=condition=Available deployment/web --timeout=20s
  refuse "timed out waiting for the condition" k wait --for=condition=Nope deployment/web --timeout=1s
  k create configmap soon --from-literal=a=1
  (sleep 1.5; k delete configmap soon) >/dev/null &
  k wait --for=delete configmap/soon --timeout=10s
  old && return
  sees "condition met" k wait --for=jsonpath='{.spec.replicas}'=2 deployment/web --timeout=20s
  newest || return 0
  (sleep 0.5; k create configmap later --from-literal=a=1) >/dev/null &
  sees "condition met" k wait --for=create configmap/later --timeout=10s
}

nodes() {
  say "taint, cordon, drain, uncordon"
  sees "node/sim-0 tainted" k taint node sim-0 a=b:NoSchedule
  refuse "already has a taint(s) with same effect(s) and --overwrite is false" k taint node sim-0 a=c:NoSchedule
  sees "node/sim-0 untainted" k taint node sim-0 a-
  sees "node/sim-0 cordoned" k cordon sim-0
  sees "Ready,SchedulingDisabled" k get node sim-0
  sees "sim-0" k drain sim-0 --force --ignore-daemonsets
  is "" k get pods --field-selector=spec.nodeName=sim-0 -o name
  sees "node/sim-0 uncordoned" k uncordon sim-0
}

# Pod Security: what is refused, what is warned of, what is said of pods that are there already.
levels() {
  local ns=$NS-levels
  say "levels of pod security"
  k create namespace "$ns" >/dev/null
  refuse "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted" \
    k label namespace "$ns" pod-security.kubernetes.io/enforce=strict
  k -n "$ns" run there --image=busybox >/dev/null
  sees "there: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile" \
    k label namespace "$ns" pod-security.kubernetes.io/enforce=restricted
  refuse 'pods "p" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "p" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "p" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "p" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "p" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")' \
    k -n "$ns" run p --image=busybox
  sees 'Warning: would violate PodSecurity "restricted:latest": allowPrivilegeEscalation' k -n "$ns" create deployment d --image=busybox --dry-run=server
  sees created k -n "$ns" create --dry-run=server -f "$ROOT/tests/e2e/data/pod-security/restricted.yaml"
  refuse 'PodSecurity "restricted:latest": host namespaces (hostNetwork=true, hostPID=true, hostIPC=true), hostPort (container "c" uses hostPort 80), probe or lifecycle host (container "c" uses probe or lifecycle host "a.b"), privileged (container "c" must not set securityContext.privileged=true), procMount (container "c" must not set securityContext.procMount to "Unmasked"), seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "x"; user may not be set), forbidden sysctls (kernel.msgmax), allowPrivilegeEscalation != false (containers "c", "d" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (containers "c", "d" must set securityContext.capabilities.drop=["ALL"]; container "c" must not include "SYS_ADMIN" in securityContext.capabilities.add), restricted volume types (volumes "files", "host" use restricted volume types "hostPath", "nfs"), runAsNonRoot != true (pod and container "d" must not set securityContext.runAsNonRoot=false), runAsUser=0 (pod must not set runAsUser=0), seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")' \
    k -n "$ns" create -f "$ROOT/tests/e2e/data/pod-security/all-wrong.yaml"
  sees labeled k label namespace "$ns" --overwrite pod-security.kubernetes.io/enforce=baseline pod-security.kubernetes.io/enforce-version=v1.33 pod-security.kubernetes.io/warn=restricted
  refuse 'PodSecurity "baseline:v1.33": non-default capabilities (container "c" must not include "SYS_ADMIN" in securityContext.capabilities.add), host namespaces (hostNetwork=true, hostPID=true, hostIPC=true), hostPath volumes (volume "host"), hostPort (container "c" uses hostPort 80), privileged' \
    k -n "$ns" create -f "$ROOT/tests/e2e/data/pod-security/all-wrong.yaml"
  sees 'Warning: would violate PodSecurity "restricted:latest"' k -n "$ns" run p --image=busybox
  refuse 'violates PodSecurity "baseline:v1.33": privileged' k -n "$ns" debug p --image=busybox --profile=sysadmin
  k delete namespace "$ns" --timeout=30s
}

finds() {
  say "version, discovery, explain, access, certificates, completion"
  sees "v1.37" k version
  sees "deployments" k api-resources
  is "true" sh -c "'$KUBECTL' api-resources --api-group=apps -o name | grep -qx statefulsets.apps && echo true"
  sees "resource.k8s.io/v1" k api-versions
  sees "maxSurge" k explain deployment.spec --recursive
  sees "strategy" k explain deployment.spec.strategy
  sees "Standard object's metadata" k explain deployment.metadata
  sees "CreationTimestamp is a timestamp" k explain deployment.metadata
  refuse 'field "nope" does not exist' k explain deployment.nope
  sees "https://127.0.0.1:$PORT" k cluster-info
  is yes k auth can-i create pods
  is yes k auth can-i get pods --as="system:serviceaccount:$NS:robot"
  refuse no k auth can-i delete pods --as="system:serviceaccount:$NS:robot"
  sees "*.*" k auth can-i --list
  sees "reconciled" sh -c "'$KUBECTL' get role r1 -o yaml | '$KUBECTL' auth reconcile -f -"
  is kogge k config current-context
  sees "__start_kubectl" k completion bash
  certificate
  old && return
  sees "kubernetes-admin" k auth whoami
  sees "Created pod" k events --for=job/one
  sees "version difference between client (1.${NS#k1})" k version
}

# A user's certificate from a request: asked for, approved, signed, used; another one denied.
certificate() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/$NS.key" -subj "/O=dev/CN=jane-$NS" -out "$WORK/$NS.csr" 2>/dev/null
  local name
  for name in "yes-$NS" "no-$NS"; do
    k create -f - <<<"{\"apiVersion\":\"certificates.k8s.io/v1\",\"kind\":\"CertificateSigningRequest\",\"metadata\":{\"name\":\"$name\"},
      \"spec\":{\"request\":\"$(base64 -w0 <"$WORK/$NS.csr")\",\"signerName\":\"kubernetes.io/kube-apiserver-client\",\"usages\":[\"client auth\"]}}"
  done
  sees "Pending" k get csr "yes-$NS"
  sees "approved" k certificate approve "yes-$NS"
  sees "denied" k certificate deny "no-$NS"
  eventually 10 sh -c "'$KUBECTL' get csr yes-$NS | grep -q Approved,Issued"
  sees "Denied" k get csr "no-$NS"
  k get csr "yes-$NS" -o jsonpath='{.status.certificate}' | base64 -d >"$WORK/$NS.crt"
  refuse "User \"jane-$NS\" cannot list resource \"pods\"" k --kubeconfig=/dev/null --server="https://127.0.0.1:$PORT" \
    --certificate-authority="$DATA/tls/ca.crt" --client-certificate="$WORK/$NS.crt" --client-key="$WORK/$NS.key" get pods
}

deletes() {
  say "delete in every cascade, by name, label, all; the namespace at last"
  k run p2 --image=busybox >/dev/null # the other one may have been drained
  sees "(server dry run)" k delete pod p2 --dry-run=server
  sees "deleted" k delete pod p2 --now
  refuse 'configmaps "nope" not found' k delete cm nope
  is "" k delete cm nope --ignore-not-found
  sees "deleted" k delete deployment web --cascade=orphan
  [ -n "$(k get rs -l app=web -o name)" ] || fail "orphans are gone"
  sees "deleted" k delete rs -l app=web --cascade=foreground
  is "" k get pods -l app=web -o name
  sees "deleted" k delete deployment idle --cascade=background
  eventually 10 sh -c "[ -z \"\$('$KUBECTL' get rs -l app=idle -o name)\" ]"
  sees "deleted" k delete svc --all
  sees "deleted" k delete clusterrole,clusterrolebinding "cr-$NS"
  sees "deleted" k delete namespace "$NS" --timeout=60s
  refuse "namespaces \"$NS\" not found" k get namespace "$NS"
  refuse "this namespace may not be deleted" k delete namespace default
}

# Each client has a namespace and a configuration of its own; what changes nodes comes when all others are through.
client() {
  KUBECTL=$BUILD/clients/kubectl-$1 NS=k${1/./} OWN=$WORK/k${1/./}
  export KUBECONFIG=$OWN/config
}
session() {
  creates; outputs; changes; applies; waits; finds
  [ "$1" = 1.32 ] || { describes; rollouts; }
  ! newest || levels
}
sessions=()
for version in 1.35 1.32 1.20; do
  (
    mkdir "$WORK/k${version/./}"
    cp "$DATA/admin.kubeconfig" "$WORK/k${version/./}/config"
    client $version
    session $version
  ) >"$WORK/$version.log" 2>&1 &
  sessions+=($!)
done
for version in 1.35 1.32 1.20; do
  status=0
  wait "${sessions[0]}" || status=1
  sessions=("${sessions[@]:1}")
  say "kubectl $version"
  cat "$WORK/$version.log"
  [ $status = 0 ] || fail "the session of kubectl $version"
done
for version in 1.35 1.32 1.20; do
  say "kubectl $version, at last"
  client $version
  [ $version = 1.32 ] || nodes
  deletes
done
! grep "is being terminated" "$WORK/kogge.log" || fail "controllers tried to make pods in namespaces that were going"
