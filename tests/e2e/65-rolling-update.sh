# Given servers behind a Service under a steady load of requests from the node, a pod and a machine outside (over its node port), each on a
# connection of its own, when the Deployment is rolled to another
# version and back, by surge and by unavailability, then not one request fails, and at the end all come from the new version.
. "$(dirname "$0")/lib.sh"
start_kogge
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest

deployment() { # VERSION
  cat <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 20
      containers:
      - name: web
        image: kogge/busybox:latest
        imagePullPolicy: IfNotPresent
        command: ["sh", "-c", "mkdir -p /www; echo version $1 >/www/index.html; exec httpd -f -p 8080 -h /www"]
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 2}}}
YAML
}

deployment 1 | k apply -f -
k expose deployment web --port=80 --target-port=8080 --type=NodePort
k run client --image=kogge/busybox:latest --image-pull-policy=IfNotPresent -- sleep 100000
k rollout status deployment/web --timeout=60s
ip=$(k get service web -o jsonpath='{.spec.clusterIP}')
port=$(k get service web -o jsonpath='{.spec.ports[0].nodePort}')
eventually 10 curl -sf --max-time 2 "http://$ip/"
k wait --for=condition=Ready pod/client --timeout=30s
pod=$RUN/ns/$(k get pod client -o jsonpath='{.metadata.uid}')-0/net

machine_outside 64
trap 'code=$?; touch "$WORK/stop"; ip netns del "$BRIDGE-out"; (exit $code); take_down' EXIT

load() { # NAME URL COMMAND...: each request on a connection of its own; a line with its status or curl's error
  local name=$1 url=$2
  shift 2
  while [ ! -e "$WORK/stop" ]; do
    "$@" curl -s --max-time 5 -H 'Connection: close' -w '%{http_code} %{errormsg}\n' "$url?[1-50]" >>"$WORK/load-$name" 2>&1 || true
  done
}
say "a steady load"
load node "http://$ip/" env &
load pod "http://$ip/" nsenter --net="$pod" &
load outside "http://$here:$port/" ip netns exec "$BRIDGE-out" &
sleep 1

say "rolled to version 2 with the default strategy, then to 3 without surge, then back"
deployment 2 | k apply -f -
k rollout status deployment/web --timeout=90s
k patch deployment web -p '{"spec":{"strategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":2}}}}'
deployment 3 | k apply -f -
k rollout status deployment/web --timeout=90s
expect "version 3" "$(curl -sf --max-time 2 "http://$ip/")"
k rollout undo deployment/web
k rollout status deployment/web --timeout=90s
for round in $(seq "${ROUNDS:-0}"); do
  k patch deployment web -p "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"round\":\"$round\"}}}}}" >/dev/null
  k rollout status deployment/web --timeout=90s >/dev/null
done
k scale deployment web --replicas=2
sleep 4
touch "$WORK/stop"
wait

say "what the load saw"
for from in node pod outside; do
  grep -v '^version' "$WORK/load-$from" | sort | uniq -c | tee "$WORK/seen"
  [ "$(grep -c '^200' "$WORK/load-$from")" -gt 300 ] || fail "the load from $from was too small"
  [ "$(awk '$2 != 200' "$WORK/seen" | wc -l)" = 0 ] || fail "requests from $from failed"
  for v in 1 2 3; do grep -q "^version $v" "$WORK/load-$from" || fail "version $v never answered $from"; done
done
for _ in $(seq 20); do expect "version 2" "$(curl -sf --max-time 2 "http://$ip/")"; done
