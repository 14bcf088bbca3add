# Nodes by the thousand that only pretend (plugins/node-sim) under the real API, scheduler and controllers: until all are Ready, what
# they cost while nothing happens, and how fast a Deployment's pods are placed on them and run.
. "$(dirname "$0")/lib.sh"
PODS=${PODS:-2000}
sed '/^  - {name: network,/,$d' "$BUILD/kogge.yaml" >"$WORK/kogge.yaml" # no node of this machine
CONFIG=$WORK/kogge.yaml

registered() { [ "$(kogge plugin stats nodes -o json | jq .own.registered)" = "$1" ]; }
scheduler_us() { kogge plugin stats scheduler -o json | jq .busy_us; }
all_ready() { [ "$(api GET /api/v1/nodes | grep -o '"reason": *"KubeletReady"' | wc -l)" = "$1" ]; }
running() { [ "$(k get deployment web -o jsonpath='{.status.readyReplicas}')" = "$PODS" ]; }
cpu_ms() { echo $(($(cpu_ticks) * 1000 / $(getconf CLK_TCK))); }

# measure N: with so many nodes.
measure() {
  local t before placing
  mkdir -p "$DATA" "$RUN"
  setsid -f "$BUILD/kogge" server --config "$CONFIG" --data-dir "$DATA" --run-dir "$RUN" --https-port "$PORT" >>"$WORK/kogge.log" 2>&1 </dev/null
  eventually 20 api_ready
  echo "{count: $1, zones: 3}" >"$WORK/nodes.yaml"
  t=$(now_us)
  kogge plugin load nodes node-sim.so nodes --config "$WORK/nodes.yaml" >/dev/null
  eventually 120 registered "$1"
  t=$(($(now_us) - t))
  eventually 20 all_ready "$1"
  row "$1 nodes: all registered and Ready" "$(ms $t)" ms
  metric "nodes$1_ready_ms" "$(ms $t)"
  sleep 3
  before=$(cpu_ms)
  sleep 20
  t=$(awk -v ms=$(($(cpu_ms) - before)) 'BEGIN {printf "%.1f", ms / 200}')
  row "$1 nodes: idle, their leases" "$t" "% core"
  metric "nodes$1_idle_cpu_pct" "$t"
  t=$(($(rss_kb) / 1024))
  row "$1 nodes: resident" "$t" MiB
  metric "nodes$1_rss_mb" "$t"
  before=$(cpu_ms) placing=$(scheduler_us) t=$(now_us)
  k create deployment web --image=any/thing --replicas="$PODS" >/dev/null
  eventually 300 running
  t=$(($(now_us) - t))
  row "$1 nodes: $PODS pods of a Deployment placed and ready" "$(ms $t)" ms "$((PODS * 1000000 / t)) per s"
  metric "nodes$1_pods_per_s" "$((PODS * 1000000 / t))"
  t=$(awk -v ms=$(($(cpu_ms) - before)) -v n="$PODS" 'BEGIN {printf "%.2f", ms / n}')
  placing=$(awk -v us=$(($(scheduler_us) - placing)) -v n="$PODS" 'BEGIN {printf "%.2f", us / n / 1000}')
  row "$1 nodes: processor time of a pod, all in all" "$t" ms "the scheduler: $placing ms"
  metric "nodes$1_cpu_ms_per_pod" "$t"
  metric "nodes$1_scheduler_ms_per_pod" "$placing"
  bash "$ROOT/scripts/down" --data-dir "$DATA" --run-dir "$RUN" >/dev/null 2>&1
}
measure 1000
measure 5000
print_results
