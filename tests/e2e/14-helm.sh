# Given a chart with hooks and a test, when it is installed, upgraded, rolled back, tested and uninstalled with helm 4, then each release
# is what it should be. Nodes are pretended: nothing here needs a container.
. "$(dirname "$0")/lib.sh"
CONFIG=$ROOT/tests/e2e/data/session.yaml
CHART=$ROOT/tests/e2e/data/chart
start_kogge
eventually 20 node_ready
helm() { HELM_CACHE_HOME=$WORK HELM_CONFIG_HOME=$WORK HELM_DATA_HOME=$WORK "$BUILD/clients/helm" "$@" 2>&1; }
greeting() { k get configmap greet -o jsonpath='{.data.greeting}'; }

say "install waits for the hook and the pods"
expect "greet says hello." "$(helm install greet "$CHART" --wait --timeout 60s)"
[ "$(k get deployment greet -o jsonpath='{.status.readyReplicas}')" = 2 ] || fail "not ready"
[ "$(k get job greet-before -o jsonpath='{.status.succeeded}')" = 1 ] || fail "the hook did not run"
expect "deployed" "$(helm list)"
expect "deployment.apps/greet" "$(k get all)"
expect "cannot reuse a name that is still in use" "$(helm install greet "$CHART" || true)"

say "upgrade, history, values, status, test"
helm upgrade greet "$CHART" --set greeting=hi,replicas=3 --wait --timeout 60s
[ "$(greeting)" = hi ] || fail "the upgrade's greeting: $(greeting)"
expect "superseded" "$(helm history greet)"
expect "greeting: hi" "$(helm get values greet)"
expect "greet   3/3" "$(helm status greet)"
expect "Phase:          Succeeded" "$(helm test greet)"
helm upgrade greet "$CHART" --reuse-values --set testExit=1 --wait --timeout 60s
expect "Phase:          Failed" "$(helm test greet || true)"

say "rollback"
helm rollback greet 1 --wait --timeout 60s
[ "$(greeting)" = hello ] || fail "the rollback's greeting: $(greeting)"
expect "Rollback to 1" "$(helm history greet)"

say "a bad upgrade is refused with the field and told in the history"
expect 'spec.replicas: Invalid value: -1' "$(helm upgrade greet "$CHART" --set replicas=-1 || true)"
expect "failed" "$(helm history greet)"
expect "has been upgraded" "$(helm upgrade greet "$CHART" --rollback-on-failure --timeout 60s)"

say "the old way of applying, on the client's side"
helm upgrade --install plain "$CHART" --server-side=false --wait --timeout 60s
helm upgrade --install plain "$CHART" --server-side=false --set greeting=again
[ "$(k get configmap plain -o jsonpath='{.data.greeting}')" = again ] || fail "the plain upgrade"

say "uninstall leaves nothing of the release"
helm uninstall greet plain --wait --timeout 60s
[ -z "$(k get deployment,service,configmap -l app.kubernetes.io/name=greeter -o name)" ] || fail "left: $(k get all)"
[ -z "$(helm list -q)" ] || fail "releases are left"
[ -z "$(k get secret -l owner=helm -o name)" ] || fail "secrets of releases are left"
