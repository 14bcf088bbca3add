# Given a cluster, when programs use it by a client library's informers and by plain HTTP, then events, custom kinds, watches, pages,
# options and health are those of Kubernetes.
. "$(dirname "$0")/lib.sh"
CONFIG=$ROOT/tests/e2e/data/session.yaml
start_kogge
api() { # METHOD PATH [BODY [TYPE]]: the answer's body
  curl -s --cacert "$DATA/tls/ca.crt" --cert "$DATA/tls/admin.crt" --key "$DATA/tls/admin.key" -X "$1" ${3+-H "Content-Type: ${4:-application/json}"} \
    ${3+-d "$3"} "https://127.0.0.1:$PORT$2"
}
headers() { # PATH [HEADER]...
  local path=$1
  shift
  curl -s -o /dev/null -D- --cacert "$DATA/tls/ca.crt" --cert "$DATA/tls/admin.crt" --key "$DATA/tls/admin.key" "${@/#/-H}" "https://127.0.0.1:$PORT$path"
}
maps=/api/v1/namespaces/default/configmaps

say "informers of @kubernetes/client-node see what happens, on built-in kinds and on a definition made just now"
out=$(node "$ROOT/tests/e2e/data/informer.mjs" "$BUILD/clients" 2>&1) || fail "$out"
expect "default red
404 NotFound
409 Conflict
add ConfigMap my-map
update ConfigMap my-map
delete ConfigMap my-map
add Widget my-widget
delete Widget my-widget" "$out"

say "definitions: columns, selectable fields, scale, validation, what is not there is refused"
k create -f - <<<'{"apiVersion":"stories.example/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"size":3}}'
expect "COLOR" "$(k get wi)"
expect "widget.stories.example/w" "$(k get all)"
[ "$(k get wi --field-selector=spec.color=red -o name)" = widget.stories.example/w ] || fail "selectable fields"
k scale widget w --replicas=4
[ "$(k get widget w -o jsonpath='{.spec.replicas}')" = 4 ] || fail "scale"
refuse "spec.size in body should be less than or equal to 9" k patch widget w --type=merge -p '{"spec":{"size":10}}'
expect "color" "$(k explain widget.spec)"
definition() { k get crd widgets.stories.example -o json | jq "del(.metadata,.status) | .metadata.name=\"gadgets.stories.example\" | .spec.names={plural:\"gadgets\",kind:\"Gadget\"} | $1" | k create -f -; }
expect "rules in CEL are kept, but not evaluated" "$(definition '.spec.versions[0].schema.openAPIV3Schema["x-kubernetes-validations"]=[{rule:"true"}]' 2>&1)"
k delete crd gadgets.stories.example
refuse "conversion by webhooks is not supported" definition '.spec.conversion={strategy:"Webhook",webhook:{clientConfig:{url:"https://x"},conversionReviewVersions:["v1"]}}'

say "watch: initial events end with a bookmark; pages of one list show one state; unknown states are told"
api POST $maps '{"metadata":{"name":"one"}}' >/dev/null
api GET "$maps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1" >"$WORK/events"
expect '"k8s.io/initial-events-end":"true"' "$(tail -1 "$WORK/events")"
next=$(api GET "$maps?limit=1" | jq -r .metadata.continue)
api POST $maps '{"metadata":{"name":"zz-late"}}' >/dev/null
[[ $(api GET "$maps?continue=$next") != *zz-late* ]] || fail "a page shows what came after its list"
expect 'Too large resource version' "$(api GET "$maps?resourceVersion=999999999")"

say "options: dry run, field validation, preconditions, generated names, managers"
expect '"code":422' "$(api POST "$maps?dryRun=some" '{"metadata":{"name":"x"}}')"
expect 'strict decoding error: unknown field \"nope\", duplicate field \"data.a\"' "$(api POST "$maps?fieldValidation=Strict" '{"metadata":{"name":"x"},"data":{"a":"1","a":"2"},"nope":1}')"
expect 'line 3: key \"a\" already set in map' "$(api POST "$maps?fieldValidation=Strict" $'metadata: {name: x}\ndata: {a: "1",\n  a: "2"}' application/yaml)"
expect 'does not match the UID in record' "$(api DELETE $maps/one '{"preconditions":{"uid":"other"}}')"
expect 'orphanDependents and deletionPropagation cannot be both set' "$(api DELETE $maps/one '{"orphanDependents":true,"propagationPolicy":"Orphan"}')"
expect '"generateName":"any-"' "$(api POST $maps '{"metadata":{"generateName":"any-"}}')"
expect 'may not be specified for non-apply patch' "$(api PATCH "$maps/one?force=true" '{}' application/merge-patch+json)"
expect 'uid mismatch' "$(api PATCH "$maps/new?fieldManager=me" '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"uid":"x"}}' application/apply-patch+yaml)"
expect 'MethodNotAllowed' "$(api POST $maps/one '{}')"

say "admission: a claim without a class gets the default one"
k create -f - <<<'{"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{"name":"standard","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"example.com/none"}'
claim=$(api POST "/api/v1/namespaces/default/persistentvolumeclaims?dryRun=All" '{"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}')
[ "$(jq -r .spec.storageClassName <<<"$claim")" = standard ] || fail "$claim"

say "discovery and OpenAPI have tags; health is told one by one; metrics have their names"
aggregated='Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'
tag=$(headers /apis "$aggregated" | tr -d '\r' | sed -n 's/^etag: //Ip')
expect "304" "$(headers /apis "$aggregated" "If-None-Match: $tag" | head -1)"
expect "200" "$(headers "$(api GET /openapi/v3 | jq -r '.paths["apis/apps/v1"].serverRelativeURL')" | head -1)"
expect "301" "$(headers '/openapi/v3/apis/apps/v1?hash=OLD' | head -1)"
expect "[+]etcd excluded: ok" "$(api GET '/readyz?verbose&exclude=etcd')"
[ "$(api GET /livez/ping)" = ok ] || fail "/livez/ping"
api GET /metrics >"$WORK/metrics"
for name in 'apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="configmaps"' apiserver_request_duration_seconds_bucket \
  'apiserver_current_inflight_requests{request_kind="mutating"}' 'apiserver_storage_objects{resource="widgets.stories.example"} 1' \
  process_start_time_seconds process_resident_memory_bytes kubernetes_build_info; do
  grep -qF "$name" "$WORK/metrics" || fail "no metric $name"
done
