# For the benchmarks; sourced. A cluster of its own, measuring helpers, a table and a flat JSON object at the end.
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/lib.sh"
PORT=$((PORT + 500)) BRIDGE=kgb$INSTANCE CIDR=10.99.$((INSTANCE % 16 * 16)).0/24
BENCH=$NAME
TABLE=() JSON=()

now_us() { echo "${EPOCHREALTIME/./}"; }
# row LABEL VALUE UNIT [BESIDE]; metric KEY VALUE
row() { TABLE+=("$(printf '%-44s %12s %-8s %s' "$1" "$2" "$3" "${4:-}")"); }
metric() { JSON+=("\"$1\": $2"); }
# percentile P FILE: of one number a line.
percentile() { sort -n "$2" | awk -v p="$1" '{v[NR] = $1} END {i = int(NR * p / 100 + 0.999999); if (i < 1) i = 1; print v[i]}'; }
ms() { awk -v us="$1" 'BEGIN {printf "%.1f", us / 1000}'; }
print_results() {
  printf '%s\n' "${TABLE[@]}"
  { printf '{'; local IFS=,; printf '%s' "${JSON[*]}"; printf '}\n'; } >"$BUILD/bench/$BENCH.json"
}
api() { # api METHOD PATH [BODY]
  curl -s --cacert "$DATA/tls/ca.crt" --cert "$DATA/tls/admin.crt" --key "$DATA/tls/admin.key" -X "$1" \
    -H 'Content-Type: application/json' ${3:+--data-binary "$3"} "https://127.0.0.1:$PORT$2"
}
# rss_kb, cpu_ticks: of all processes of this kogge (parent and kernel), not of the containers' monitors. Pages that the two share are
# counted once: all of the kernel's, and the parent's own.
rss_kb() {
  local p
  for p in $(kogge_pids); do
    awk '/^Rss:/ {rss = $2} /^Private/ {own += $2} END {print rss, own}' "/proc/$p/smaps_rollup"
  done | awk '{own += $2; if ($1 - $2 > most) most = $1 - $2} END {print own + most}'
}
cpu_ticks() { for p in $(kogge_pids); do awk '{print $14 + $15}' "/proc/$p/stat"; done | awk '{s += $1} END {print s + 0}'; }
