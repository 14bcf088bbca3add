# Start of kogge, pod start latency beside a bare `runc run` in the same run and 50 and 200 pods at once (tests/bench/starts.c), idle
# cost with 50 pods and with none, and a Service's first endpoint beside 10,000 Services (tests/bench/services.sh).
. "$(dirname "$0")/lib.sh"
PODS=${PODS:-30}
bash "$ROOT/tests/bench/services.sh" >/dev/null

pod_json() {
  printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s"},"spec":{"terminationGracePeriodSeconds":0,"containers":[{"name":"c","image":"kogge/busybox","imagePullPolicy":"IfNotPresent","command":["sleep","1000000"]}]}}' "$1"
}
starts() { "$BUILD/tests/bench-starts" "$DATA" "$PORT" "$(pod_json @)" "$@"; } # COUNT [BUNDLE]

t0=$(now_us)
mkdir -p "$DATA" "$RUN"
setsid -f "$BUILD/kogge" server --config "$CONFIG" --data-dir "$DATA" --run-dir "$RUN" --https-port "$PORT" --bridge "$BRIDGE" \
  --pod-cidr "$CIDR" --max-pods 250 >>"$WORK/kogge.log" 2>&1 </dev/null
until api_ready >/dev/null 2>&1; do sleep 0.002; done
api_ready_us=$(($(now_us) - t0))
until api GET /api/v1/nodes | grep -q '"reason":"KubeletReady","status":"True"\|"status":"True","type":"Ready"\|"type":"Ready","status":"True"'; do sleep 0.005; done
node_ready_us=$(($(now_us) - t0))
kogge image build-rootfs kogge/busybox:latest >/dev/null
until api GET /api/v1/namespaces/default/serviceaccounts/default | grep -q '"uid"'; do sleep 0.005; done
first_us=$(($(starts 1) + node_ready_us))

# Bare runc with a namespace of its own and the same root file system.
bundle=$WORK/bundle
mkdir -p "$bundle/rootfs/bin" "$bundle/rootfs/proc" "$bundle/rootfs/dev" "$bundle/rootfs/sys"
cp /bin/busybox "$bundle/rootfs/bin/"
(cd "$bundle" && runc spec && jq '.process.args = ["/bin/busybox", "true"] | .process.terminal = false' config.json >c && mv c config.json)
starts "$PODS" "$bundle" >"$WORK/starts"
cut -d' ' -f1 "$WORK/starts" >"$WORK/pod_us"
cut -d' ' -f2 "$WORK/starts" >"$WORK/runc_us"
pods_gone() { [ "$(api GET '/api/v1/namespaces/default/pods' | jq '.items | length')" = 0 ]; }
delete_pods() { api DELETE "/api/v1/namespaces/default/pods" >/dev/null; eventually 120 pods_gone; }
# idle: MiB resident and per cent of a core, over 20 s that begin when it has settled.
idle() {
  sleep 5
  local c0
  c0=$(cpu_ticks)
  sleep 20
  awk -v t=$(($(cpu_ticks) - c0)) -v hz="$(getconf CLK_TCK)" -v k="$(rss_kb)" 'BEGIN {printf "%.1f %.2f", k / 1024, t / hz / 20 * 100}'
}
delete_pods
burst50_us=$(starts 50)
read -r idle50_rss idle50_cpu <<<"$(idle)"
delete_pods
read -r idle_rss idle_cpu <<<"$(idle)"
burst200_us=$(starts 200)

pod50=$(percentile 50 "$WORK/pod_us") pod99=$(percentile 99 "$WORK/pod_us")
runc50=$(percentile 50 "$WORK/runc_us") runc99=$(percentile 99 "$WORK/runc_us")
row "start to API ready" "$(ms $api_ready_us)" ms "Go control plane: 4,000-6,000"
row "start to node Ready" "$(ms $node_ready_us)" ms
row "start to first pod Running (image there)" "$(ms $first_us)" ms
row "pod create to Running p50" "$(ms "$pod50")" ms "bare runc run p50: $(ms "$runc50") (this run); Go: 1,000"
row "pod create to Running p99" "$(ms "$pod99")" ms "bare runc run p99: $(ms "$runc99")"
row "50 pods at once" "$(ms "$burst50_us")" ms "Go: 10,800"
row "200 pods at once" "$(ms "$burst200_us")" ms
row "resident with 50 pods" "$idle50_rss" MiB "Go: 740"
row "CPU with 50 pods" "$idle50_cpu" "% core" "Go: 10"
row "resident after they are gone" "$idle_rss" MiB
row "CPU idle" "$idle_cpu" "% core"
service10k=$(jq .service10k_ms "$BUILD/bench/services.json")
row "a Service's first endpoint beside 10,000" "$service10k" ms
metric api_ready_ms "$(ms $api_ready_us)"; metric node_ready_ms "$(ms $node_ready_us)"; metric first_pod_ms "$(ms $first_us)"
metric pod_p50_ms "$(ms "$pod50")"; metric pod_p99_ms "$(ms "$pod99")"; metric runc_p50_ms "$(ms "$runc50")"; metric runc_p99_ms "$(ms "$runc99")"
metric pods50_s "$(awk -v u="$burst50_us" 'BEGIN {printf "%.2f", u / 1e6}')"
metric pods200_s "$(awk -v u="$burst200_us" 'BEGIN {printf "%.2f", u / 1e6}')"; metric service10k_ms "$service10k"
metric idle50_rss_mb "$idle50_rss"; metric idle50_cpu_pct "$idle50_cpu"; metric idle_rss_mb "$idle_rss"; metric idle_cpu_pct "$idle_cpu"
print_results
