# Given a fresh cluster, when a user works with objects through kubectl, then he sees what a Kubernetes would show.
. "$(dirname "$0")/lib.sh"
start_kogge

session() {
  say "$("$KUBECTL" version 2>&1)"
  expect "v1.37" "$(k version)"
  expect "deployments" "$(k api-resources)"
  expect "Active" "$(k get ns default --no-headers)"

  say "create, get, label, patch, edit conflicts"
  k create ns story
  k -n story create configmap cm --from-literal=a=1
  [ "$(k -n story get cm cm -o jsonpath='{.data.a}')" = 1 ] || fail "the config map's data"
  refuse 'configmaps "cm" already exists' k -n story create configmap cm --from-literal=a=1
  k -n story label cm cm tier=x
  expect "cm" "$(k -n story get cm -l tier=x -o name)"
  k -n story patch cm cm --type=merge -p '{"data":{"b":"2"}}'
  k -n story patch cm cm --type=json -p '[{"op":"remove","path":"/data/a"}]'
  [ "$(k -n story get cm cm -o jsonpath='{.data}')" = '{"b":"2"}' ] || fail "the patches' result"
  refuse 'configmaps "nope" not found' k -n story get cm nope
  refuse 'the server doesn'"'"'t have a resource type "nope"' k get nope

  say "apply twice: unchanged; a stale update: conflict"
  k -n story apply -f "$ROOT/tests/e2e/data/deployment.yaml"
  expect unchanged "$(k -n story apply -f "$ROOT/tests/e2e/data/deployment.yaml")"
  k -n story get cm cm -o json >"$WORK/stale.json"
  k -n story label cm cm tier=y --overwrite
  refuse 'the object has been modified' k -n story replace -f "$WORK/stale.json"

  say "bad input is refused with the field"
  refuse 'spec.template.metadata.labels' k -n story apply -f "$ROOT/tests/e2e/data/deployment-bad-selector.yaml"
  refuse 'namespaces "absent" not found' k -n absent create configmap x

  say "watch sees changes"
  timeout 20 "$KUBECTL" -n story get cm cm --watch -o jsonpath='{.metadata.labels.tier}{"\n"}' >"$WORK/watch" &
  local watcher=$!
  eventually 10 grep -q y "$WORK/watch"
  eventually 10 watch_sees_label
  kill $watcher 2>/dev/null || true

  say "deleting the namespace deletes what is in it"
  k delete ns story --timeout=60s
  refuse 'namespaces "story" not found' k get ns story
}

# Between its get and its watch (from revision 0) kubectl itself misses a change, so there is more than one.
watch_sees_label() {
  k -n story label cm cm tier="z$RANDOM" --overwrite
  grep -q z "$WORK/watch"
}

for KUBECTL in "$KUBECTL135" "$KUBECTL132"; do session; done

say "the components say how they are, and that they are not"
[ "$(k get cs --no-headers | grep -cE '^(controller-manager|etcd-0|scheduler) +Healthy +ok')" = 3 ] || fail "not all components are well: $(k get cs 2>&1)"
"$BUILD/kogge" plugin unload scheduler --run-dir "$RUN"
expect "Unhealthy" "$(k get cs scheduler --no-headers)"
refuse 'componentstatuses "nope" not found' k get cs nope
refuse 'does not allow this method' k delete cs scheduler
