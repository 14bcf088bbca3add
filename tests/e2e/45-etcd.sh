# Given an etcd of three members behind TLS that asks for client certificates, and two Kogges that keep their state in it, then
# kubectl works on both, each sees the other's changes, and whichever members are killed, nothing acknowledged is lost and
# watches go on.
. "$(dirname "$0")/lib.sh"
TLS=$WORK/tls
mkdir -p "$TLS"
member_port() { echo $((PORT + 400 + 2 * $1)); }
etcd_pids=()

make_certificates() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=etcd-ca -keyout "$TLS/ca.key" -out "$TLS/ca.crt" 2>/dev/null
  for who in server client; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$who" -keyout "$TLS/$who.key" -out "$TLS/$who.csr" 2>/dev/null
    openssl x509 -req -in "$TLS/$who.csr" -CA "$TLS/ca.crt" -CAkey "$TLS/ca.key" -CAcreateserial -days 2 -out "$TLS/$who.crt" \
      -extfile <(echo "subjectAltName=IP:127.0.0.1,DNS:localhost") 2>/dev/null
  done
}
peers() { for i in 0 1 2; do printf 'm%s=https://127.0.0.1:%s\n' $i $(($(member_port $i) + 1)); done | paste -sd,; }
start_member() {
  local port=$(member_port "$1")
  setsid etcd --name "m$1" --data-dir "$WORK/etcd$1" --listen-client-urls "https://127.0.0.1:$port" --advertise-client-urls "https://127.0.0.1:$port" \
    --listen-peer-urls "https://127.0.0.1:$((port + 1))" --initial-advertise-peer-urls "https://127.0.0.1:$((port + 1))" --initial-cluster "$(peers)" \
    --cert-file "$TLS/server.crt" --key-file "$TLS/server.key" --trusted-ca-file "$TLS/ca.crt" --client-cert-auth \
    --peer-cert-file "$TLS/server.crt" --peer-key-file "$TLS/server.key" --peer-trusted-ca-file "$TLS/ca.crt" --peer-client-cert-auth \
    --heartbeat-interval 50 --election-timeout 500 >>"$WORK/etcd$1.log" 2>&1 </dev/null &
  etcd_pids[$1]=$!
}
kill_member() { kill -9 "${etcd_pids[$1]}" 2>/dev/null; { wait "${etcd_pids[$1]}"; } 2>/dev/null || true; }
etcd_curl() { curl -sf --cacert "$TLS/ca.crt" --cert "$TLS/client.crt" --key "$TLS/client.key" "https://127.0.0.1:$(member_port "$1")$2" "${@:3}"; }
endpoints() { for i in 0 1 2; do printf 'https://127.0.0.1:%s\n' "$(member_port $i)"; done | paste -sd,; }
# config FILE TLS: the control plane alone, on etcd.
config() {
  sed -E '/file: (network|runtime|node|proxy|dns)/d; /network|node-name|pod-cidr|bridge/d' "$BUILD/kogge.yaml" |
    sed -E "s|.name: store, file: store-lmdb.so, lane: main.|{name: store, file: store-etcd.so, lane: main, config: {endpoints: [$(endpoints)], $2}}|" >"$1"
}
# server NAME PORT CONFIG: data and run directory of its own.
server() {
  mkdir -p "$WORK/$1/data" "$WORK/$1/run"
  setsid -f "$BUILD/kogge" server --config "$3" --data-dir "$WORK/$1/data" --run-dir "$WORK/$1/run" --https-port "$2" >>"$WORK/$1.log" 2>&1 </dev/null
}
server_pids() { pgrep -f -- "--run-dir $WORK/$1/run( |\$)" || true; }
on() { KUBECONFIG=$WORK/$1/data/admin.kubeconfig "$KUBECTL" "${@:2}"; }
ready() { on "$1" get --raw /readyz; }
finish() {
  local status=$?
  for s in a b c; do server_pids $s | xargs -r kill 2>/dev/null || true; done
  for i in "${!etcd_pids[@]}"; do kill_member "$i" || true; done
  [ $status = 0 ] || tail -n 30 "$WORK"/*.log
  for _ in $(seq 50); do [ -z "$(server_pids a)$(server_pids b)$(server_pids c)" ] && break; sleep 0.1; done
  set +e
  (exit $status)
  take_down
}
trap finish EXIT

make_certificates
for i in 0 1 2; do start_member $i; done
for i in 0 1 2; do eventually 20 etcd_curl $i /health; done

say "without a client certificate etcd is not to be had, and the log says why"
config "$WORK/c.yaml" "ca: $TLS/ca.crt"
server c $((PORT + 2)) "$WORK/c.yaml"
eventually 10 grep -E 'lost etcd at 127.0.0.1:[0-9]+: .*certificate' "$WORK/c.log"
server_pids c | xargs -r kill -9

say "two Kogges on one etcd"
config "$WORK/etcd.yaml" "ca: $TLS/ca.crt, cert: $TLS/client.crt, key: $TLS/client.key, requestTimeoutMs: 4000"
server a "$PORT" "$WORK/etcd.yaml"
eventually 20 ready a
# b is a second API: the same CA and keys, no controllers.
sed '/file: \(controller\|scheduler\)/d' "$WORK/etcd.yaml" >"$WORK/api.yaml"
mkdir -p "$WORK/b/data"
cp -r "$WORK/a/data/tls" "$WORK/b/data/"
server b $((PORT + 1)) "$WORK/api.yaml"
eventually 20 ready b
on a create namespace shared
on a -n shared create configmap first --from-literal=k=v
on b -n shared get configmap first -o jsonpath='{.data.k}' | grep -qx v || fail "b does not see what a made"
on b -n shared patch configmap first -p '{"data":{"k":"w"}}'
eventually 5 sh -c "KUBECONFIG=$WORK/a/data/admin.kubeconfig '$KUBECTL' -n shared get configmap first -o jsonpath='{.data.k}' | grep -qx w"
refuse "the object has been modified" on a -n shared replace -f <(on a -n shared get configmap first -o json | jq '.metadata.resourceVersion = "1"')

say "keys lie where people look for them"
etcd_curl 0 /v3/kv/range -d "$(jq -n '{key: ("/registry/" | @base64), range_end: ("/registry0" | @base64), keys_only: true}')" |
  jq -r '.kvs[].key | @base64d' >"$WORK/keys"
grep -qx /registry/core/configmaps/shared/first "$WORK/keys" || fail "no /registry/core/configmaps/shared/first in $(head "$WORK/keys")"

say "members are killed one after the other; writes and a watch go on"
on b -n shared get configmaps --watch --output-watch-events -o 'jsonpath={.type} {.object.metadata.name}{"\n"}' >"$WORK/watched" 2>&1 &
watcher=$!
eventually 5 grep -q first "$WORK/watched"
( i=0; while [ ! -e "$WORK/enough" ]; do
    i=$((i + 1))
    on a -n shared create configmap "w$i" -o name 2>>"$WORK/refused" || true
    sleep 0.05
  done ) >"$WORK/acknowledged" &
writer=$!
for i in 0 1 2; do
  sleep 1
  kill_member $i
  before=$(wc -l <"$WORK/acknowledged")
  eventually 20 sh -c "[ \$(wc -l <'$WORK/acknowledged') -gt $((before + 3)) ]"
  start_member $i
  eventually 20 etcd_curl $i /health
done

say "all are killed: requests are refused; they come back: everything goes on"
for i in 0 1 2; do kill_member $i; done
refuse "etcd" on a -n shared --request-timeout=20s create configmap nowhere
for i in 0 1 2; do start_member $i; done
eventually 20 on a -n shared create configmap last
touch "$WORK/enough"
wait $writer
eventually 10 grep -q 'ADDED last' "$WORK/watched"
kill $watcher

on b -n shared get configmaps -o name | sort >"$WORK/there"
lost=$(sed -n 's/ created//p;/^configmap/p' "$WORK/acknowledged" | sort -u | comm -23 - "$WORK/there")
[ -z "$lost" ] || fail "acknowledged and lost: $lost"
awk '$1 == "ADDED" {print "configmap/" $2}' "$WORK/watched" | sort >"$WORK/told"
[ -z "$(uniq -d "$WORK/told")" ] || fail "told twice: $(uniq -d "$WORK/told")"
missing=$(grep -v kube-root-ca "$WORK/there" | comm -23 - "$WORK/told")
[ -z "$missing" ] || fail "written, but not told to the watch: $missing"
say "$(wc -l <"$WORK/acknowledged") writes were acknowledged, $(grep -c . "$WORK/refused" || true) lines of refusals, none lost; the watch told each once"
