# The API over TLS with 64 requests in flight, client on the same two cores: durable creates and updates, gets, lists, watch
# fan-out, memory. Beside it in the same run the limits: puts of a real etcd over gRPC, and answers of the gateway that touch
# nothing behind it (/livez).
. "$(dirname "$0")/lib.sh"
OBJECTS=${OBJECTS:-100000} WATCHERS=${WATCHERS:-1000} CHANGES=${CHANGES:-2000} MANY=${MANY:-10000}
LOAD=$BUILD/tests/kogge-load
PATH_CM=/api/v1/namespaces/default/configmaps
ulimit -n "$(ulimit -Hn)" # a descriptor for each of MANY watchers

# The control plane alone: a pod would only add noise.
sed -E '/file: (network|runtime|node|proxy|dns|controller|scheduler)/d; /network|node-name|pod-cidr|bridge/d' "$CONFIG" >"$WORK/api.yaml"
mkdir -p "$DATA" "$RUN"
"$BUILD/kogge" server --config "$WORK/api.yaml" --data-dir "$DATA" --run-dir "$RUN" --https-port "$PORT" >>"$WORK/kogge.log" 2>&1 </dev/null &
eventually 20 api_ready
sleep 1
idle_rss=$(awk -v k="$(rss_kb)" 'BEGIN {printf "%.1f", k / 1024}')

load() { "$LOAD" --port "$PORT" --cert "$DATA/tls/admin.crt" --key "$DATA/tls/admin.key" --ca "$DATA/tls/ca.crt" "$@"; }
field() { jq -r ".$1" <<<"$2"; }
share() { awk -v c="$(field client_cpu_s "$1")" -v s="$(field seconds "$1")" 'BEGIN {printf "client: %.0f %% of a core", 100 * c / s}'; }

creates=$(load --mode create --path $PATH_CM --count 20000 --names c)
load --mode create --path $PATH_CM --count 64 --names u >/dev/null
updates=$(load --mode update --path $PATH_CM --count 20000 --names u)
gets=$(load --mode get --path $PATH_CM/c-7 --count 100000)
echo=$(load --mode get --path /livez --count 100000)
before=$(rss_kb)
load --mode create --path $PATH_CM --count $OBJECTS --names m >/dev/null
rss_100k=$(awk -v a="$before" -v b="$(rss_kb)" -v n="$OBJECTS" 'BEGIN {printf "%.1f", (b - a) / 1024 * 100000 / n}')
# 10,000 objects in a namespace of their own.
api POST /api/v1/namespaces '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"ten"}}' >/dev/null
load --mode create --path /api/v1/namespaces/ten/configmaps --count 10000 --names l >/dev/null
list=$(load --mode list --path /api/v1/namespaces/ten/configmaps --count 20 --connections 1)

api POST /api/v1/namespaces '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"fan"}}' >/dev/null
rv=$(api GET '/api/v1/namespaces/fan/configmaps?limit=1' | jq -r .metadata.resourceVersion)
fan=$(load --mode watch --path /api/v1/namespaces/fan/configmaps --count "$CHANGES" --connections "$WATCHERS" --writers 64 \
  --value 256 --since "$rv" --names f)

# Many clients with one watch each: what a watcher costs in memory.
api POST /api/v1/namespaces '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"many"}}' >/dev/null
rv=$(api GET '/api/v1/namespaces/many/configmaps?limit=1' | jq -r .metadata.resourceVersion)
before=$(rss_kb)
load --mode watch --path /api/v1/namespaces/many/configmaps --count 200 --connections "$MANY" --writers 64 \
  --value 256 --since "$rv" --names w --seconds 120 >"$WORK/many" &
load_pid=$!
peak=$before
while kill -0 $load_pid 2>/dev/null; do now=$(rss_kb); [ "$now" -le "$peak" ] || peak=$now; sleep 0.2; done
wait $load_pid || fail "the watches of $MANY clients: $(cat "$WORK/many")"
many=$(cat "$WORK/many")
kb_per_watcher=$(awk -v a="$before" -v b="$peak" -v n="$MANY" 'BEGIN {printf "%.1f", (b - a) / n}')

kogge_pids | xargs -r kill
for _ in $(seq 100); do [ -z "$(kogge_pids)" ] && break; sleep 0.1; done

# etcd: puts of 1 KB, 64 in flight on one connection (a PutRequest of protobuf in a gRPC frame).
etcd_puts() {
  etcd --data-dir "$WORK/etcd" --listen-client-urls "http://127.0.0.1:$((PORT + 1))" --advertise-client-urls "http://127.0.0.1:$((PORT + 1))" \
    --listen-peer-urls "http://127.0.0.1:$((PORT + 2))" --initial-advertise-peer-urls "http://127.0.0.1:$((PORT + 2))" \
    --initial-cluster "default=http://127.0.0.1:$((PORT + 2))" >"$WORK/etcd.log" 2>&1 &
  local pid=$!
  eventually 20 curl -sf "http://127.0.0.1:$((PORT + 1))/health"
  # PutRequest {1: "bench", 2: 1,024 bytes}: 7 + 3 + 1024 = 1034 = 0x40a bytes
  { printf '\0\0\0\4\012\012\005bench\022\200\010'; head -c 1024 /dev/zero | tr '\0' v; } >"$WORK/put"
  h2load -n 20000 -c 1 -m 64 -H 'content-type: application/grpc' -H 'te: trailers' -d "$WORK/put" \
    "http://127.0.0.1:$((PORT + 1))/etcdserverpb.KV/Put" >"$WORK/h2load" 2>&1 || { cat "$WORK/h2load"; fail "h2load"; }
  grep -q '20000 succeeded' "$WORK/h2load" || { cat "$WORK/h2load"; fail "etcd did not take the puts"; }
  kill $pid
  awk '/^finished in/ {print $4}' "$WORK/h2load"
}
puts=$(command -v etcd >/dev/null && etcd_puts | tail -1 || echo null)

per() { awk -v v="$(field per_s "$1")" 'BEGIN {printf "%.0f", v}'; }
list_ms=$(field p50_ms "$list")
row "durable creates, 64 in flight" "$(per "$creates")" /s "p99 $(field p99_ms "$creates") ms; $(share "$creates"); etcd puts: $puts/s; Go: 2,600"
row "durable updates, 64 in flight" "$(per "$updates")" /s "p99 $(field p99_ms "$updates") ms; $(share "$updates"); Go: 2,100"
row "gets, 64 in flight" "$(per "$gets")" /s "p99 $(field p99_ms "$gets") ms; $(share "$gets"); Go: 5,100"
row "answers of the gateway alone (/livez)" "$(per "$echo")" /s "the limit of TLS and HTTP here"
row "list of 10,000 (1 KB each)" "$list_ms" ms "the first, of which nothing is encoded yet: $(field p99_ms "$list"); $(share "$list"); Go, 20,000: 240"
row "watch events to $WATCHERS watchers" "$(field events_per_s "$fan" | cut -d. -f1)" /s "$(share "$fan"); Go: 107,000"
row "watch events to $MANY watchers" "$(field events_per_s "$many" | cut -d. -f1)" /s "$(share "$many"); $kb_per_watcher KiB each, at most"
row "resident idle (store, api, gateway)" "$idle_rss" MiB
row "resident per 100,000 objects of 1 KB" "$rss_100k" MiB
metric creates_per_s "$(per "$creates")"; metric updates_per_s "$(per "$updates")"; metric gets_per_s "$(per "$gets")"
metric list10k_ms "$list_ms"; metric fanout_events_per_s "$(field events_per_s "$fan")"; metric idle_rss_mb "$idle_rss"
metric rss_mb_per_100k "$rss_100k"; metric fanout_many_events_per_s "$(field events_per_s "$many")"; metric rss_kb_per_watcher "$kb_per_watcher"
metric livez_per_s "$(per "$echo")"; metric etcd_puts_per_s "${puts:-null}"
print_results
