#!/usr/bin/env bash
# What idleness costs: a kernel with 20 plugins (none of its threads may wake up in 10 s), then the whole cluster, whose
# plugins ask for timers: which threads woke up how often in 20 s.
. "$(dirname "$0")/lib.sh"
SECONDS_IDLE=${SECONDS_IDLE:-20}

"$BUILD/tests/bench-idle" "$WORK/kernel.json"
start_kogge
node_is_ready() { api GET /api/v1/nodes | jq -e '.items[0].status.conditions | any(.type == "Ready" and .status == "True")'; }
eventually 60 node_is_ready
sleep 10 # caches fill, first leases are written
# wakeups: one line per thread, "ID NAME WAKEUPS".
wakeups() {
  local t
  for p in $(kogge_pids); do
    for t in "/proc/$p/task"/*; do
      echo "${t##*/} $(tr ' ' _ <"$t/comm") $(awk '/ctxt_switches/ {n += $2} END {print n}' "$t/status")"
    done
  done | sort
}
wakeups >"$WORK/before"
ticks=$(cpu_ticks)
sleep "$SECONDS_IDLE"
wakeups >"$WORK/after"
ticks=$(($(cpu_ticks) - ticks))
join "$WORK/before" "$WORK/after" | awk '{print $5 - $3, $2}' | sort -rn >"$WORK/woke"
plugins=$(kogge plugin list --output json | jq '.plugins | length')
total=$(awk '{n += $1} END {print n}' "$WORK/woke")
echo
row "whole cluster: plugins" "$plugins" ""
row "threads" "$(wc -l <"$WORK/woke")" ""
row "wake-ups in $SECONDS_IDLE s" "$total" "" "$(awk '$1 {printf "%s %d  ", $2, $1}' "$WORK/woke")"
row "processor time in $SECONDS_IDLE s" $((ticks * 10)) ms
row "resident" $(($(rss_kb) / 1024)) MiB
metric cluster_plugins "$plugins"
metric cluster_threads "$(wc -l <"$WORK/woke")"
metric cluster_wakeups "$total"
metric cluster_seconds "$SECONDS_IDLE"
metric cluster_cpu_ms $((ticks * 10))
metric cluster_resident_kib "$(rss_kb)"
print_results
jq -cs add "$WORK/kernel.json" "$BUILD/bench/idle.json" >"$WORK/both" && cp "$WORK/both" "$BUILD/bench/idle.json"
