# Given servers behind a Service under a steady load of requests, each on a connection of its own, when the Deployment is rolled to another
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
k expose deployment web --port=80 --target-port=8080
k rollout status deployment/web --timeout=60s
ip=$(k get service web -o jsonpath='{.spec.clusterIP}')
eventually 10 curl -sf --max-time 2 "http://$ip/"

load() { # each request on a connection of its own; a line with its status or curl's error
  local i=0
  while [ ! -e "$WORK/stop" ]; do
    curl -s --max-time 5 -H 'Connection: close' -w '%{http_code} %{errormsg}\n' "http://$ip/?[1-50]" >>"$WORK/load$1" 2>&1 || true
  done
}
say "a steady load"
load 1 & load 2 &
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
k scale deployment web --replicas=2
sleep 4
touch "$WORK/stop"
wait

say "what the load saw"
cat "$WORK"/load[12] | grep -v '^version' | sort | uniq -c | tee "$WORK/seen"
requests=$(grep -c '^200' "$WORK"/load1) || true
[ "$requests" -gt 500 ] || fail "the load was only $requests requests"
[ "$(awk '$2 != 200' "$WORK/seen" | wc -l)" = 0 ] || fail "requests failed"
for v in 1 2 3; do grep -q "^version $v" "$WORK/load1" || fail "version $v never answered"; done
for _ in $(seq 20); do expect "version 2" "$(curl -sf --max-time 2 "http://$ip/")"; done
