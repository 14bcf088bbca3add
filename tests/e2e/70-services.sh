# Given web servers behind a Service, when pods, the node and a machine outside ask by name, cluster address and node port, then one of
# them answers; and when the Service goes, so do its rules.
. "$(dirname "$0")/lib.sh"
start_kogge
eventually 30 node_ready
kogge image build-rootfs kogge/busybox:latest

# Debian's static busybox cannot look up names in its wget: the client is an image of the host's curl.
client_image() {
  local dir=$WORK/image root=$WORK/image/root
  mkdir -p "$root"/{bin,etc,tmp}
  cp "$(command -v curl)" "$(command -v getent)" /bin/busybox "$root/bin/"
  ln -s busybox "$root/bin/sh"
  ldd "$(command -v curl)" "$(command -v getent)" | grep -o '/[^ :]*\.so[^ ]*' | sort -u | while read -r lib; do
    mkdir -p "$root$(dirname "$lib")"
    cp -L "$lib" "$root$lib"
  done
  echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
  tar -C "$root" -cf "$dir/layer.tar" .
  local digest
  digest=$(sha256sum "$dir/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$digest" >"$dir/config.json"
  printf '[{"Config":"config.json","RepoTags":["kogge/client:1"],"Layers":["layer.tar"]}]' >"$dir/manifest.json"
  tar -C "$dir" -cf "$WORK/client.tar" manifest.json config.json layer.tar
  kogge image import "$WORK/client.tar"
}
client_image

rules() { nft list table ip "$BRIDGE-proxy"; }
in_client() { k exec client -- sh -c "$1"; }

say "a Deployment, a Service with a node port, a client"
k apply -f "$ROOT/deploy/demo/web.yaml"
k expose deployment web --port=80 --target-port=8080 --type=NodePort
k run client --image=kogge/client:1 --image-pull-policy=IfNotPresent --command -- /bin/busybox sleep 100000
k rollout status deployment/web --timeout=60s
k wait --for=condition=Ready pod/client --timeout=60s
ip=$(k get service web -o jsonpath='{.spec.clusterIP}') port=$(k get service web -o jsonpath='{.spec.ports[0].nodePort}')
eventually 20 sh -c "[ \$('$KUBECTL' get endpointslices -l kubernetes.io/service-name=web -o jsonpath='{.items[*].endpoints[*].addresses[0]}' | wc -w) = 3 ]"

say "by cluster address and node port, from the node"
service_port=$(k get service web -o jsonpath='{.spec.ports[0].port}')
eventually 10 curl -sf --max-time 2 "http://$ip:$service_port/"
expect "hello from web" "$(curl -sf --max-time 2 "http://127.0.0.1:$port/")"
for i in $(seq 40); do curl -s --max-time 2 "http://$ip:$service_port/" | head -1; done | sort -u >"$WORK/servers"
[ "$(wc -l <"$WORK/servers")" = 3 ] || fail "not all three servers answered: $(cat "$WORK/servers")"

say "by name from a pod, over the search path and in full"
for name in web web.default web.default.svc web.default.svc.cluster.local; do
  expect "hello from web" "$(in_client "curl -sf --max-time 5 http://$name:$service_port/")"
done
expect "$ip" "$(in_client 'busybox nslookup web.default.svc.cluster.local')"
expect "10.43" "$(in_client 'busybox cat /etc/resolv.conf')"
expect "cluster.local" "$(in_client 'busybox cat /etc/resolv.conf')"
[ -z "$(in_client 'busybox nslookup absent.default.svc.cluster.local >/dev/null 2>&1 && echo found' || true)" ] || fail "a name that is not there was found"

say "search paths may have underscores, and be a dot"
with_search() { k run search --image=i --dry-run=server --overrides='{"spec":{"dnsConfig":{"searches":["'"$1"'"]}}}'; }
with_search _sip._tcp.abc_d.example.com
with_search .
refuse "'-', '_' or '.', and must start and end" with_search a_.example.com

say "the API over its own Service from a pod"
expect "ok" "$(in_client 'curl -skf --max-time 5 https://kubernetes.default.svc/healthz')"

say "what a write that did not come about had taken is free again"
many() { # NAME OPTION...: a Service of twenty node ports, of those that only who asks for them gets
  local name=$1
  shift
  jq -n --arg name "$name" '{apiVersion: "v1", kind: "Service", metadata: {name: $name}, spec: {type: "NodePort",
    ports: [range(20) | {name: "p\(.)", port: (. + 1), nodePort: (. + 30000)}]}}' | k create -f - "$@"
}
many tried --dry-run=server
expect "service/many created" "$(many many)"
k delete service many

say "from a machine outside"
machine_outside 0
outside=$(ip netns exec "$BRIDGE-out" curl -sf --max-time 3 "http://$here:$port/" || true)
ip netns del "$BRIDGE-out"
expect "hello from web" "$outside"

say "fewer servers, then none: refused at once"
k scale deployment web --replicas=0
eventually 60 sh -c "[ -z \"\$('$KUBECTL' get pods -l app=web -o name)\" ]"
refused() { ! curl -s --max-time 2 "http://$ip:$service_port/" && [ "$(curl -s -o /dev/null -w '%{errormsg}' --max-time 2 "http://$ip:$service_port/" | grep -c 'refused\|connect')" = 1 ]; }
eventually 10 refused
in_client "curl -sS --max-time 5 http://$ip:$service_port/ 2>&1 || true" | grep -q -i 'connect' || fail "a pod's connection was not refused"
k scale deployment web --replicas=2
k rollout status deployment/web --timeout=60s
eventually 10 curl -sf --max-time 2 "http://$ip:$service_port/"

say "headless: the pods' own addresses"
k expose deployment web --name=each --port=80 --target-port=8080 --cluster-ip=None
addresses() { in_client 'busybox nslookup each.default.svc.cluster.local' | grep -c "^Address.*${CIDR%.*}\."; }
both() { [ "$(addresses)" = 2 ]; }
eventually 20 both

say "a plugin is swapped, the rules stay"
kogge plugin reload proxy >/dev/null
kogge plugin reload dns >/dev/null
eventually 10 curl -sf --max-time 2 "http://$ip:$service_port/"
eventually 10 in_client "curl -sf --max-time 3 http://web:$service_port/"

say "somebody deletes the rules: they come back"
nft delete table ip "$BRIDGE-proxy"
nft delete table ip "$BRIDGE"
eventually 5 curl -sf --max-time 1 "http://$ip:$service_port/"
eventually 5 nft list chain ip "$BRIDGE" postrouting

say "delete takes the rules"
grep -q "$ip" <<<"$(rules)" || fail "there was no rule for $ip"
k delete services,endpoints,endpointslices --all --timeout=30s
gone() { ! grep -q -e "$ip" -e "tcp \. $port" <<<"$(rules)"; }
eventually 10 gone
eventually 10 in_client 'curl -skf --max-time 3 https://kubernetes.default.svc/healthz' # its Service went with the others, and is back
eventually 10 sh -c "'$KUBECTL' get endpoints kubernetes -o name"
k delete deployment web --timeout=30s
k delete pod client --grace-period=0 --force --timeout=30s 2>/dev/null || k delete pod client --timeout=60s
