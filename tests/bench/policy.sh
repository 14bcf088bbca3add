# What a decision in Lua costs, beside plain C in the same run: calls a second, nanoseconds a call.
NAME=policy
. "$(dirname "$0")/lib.sh"
out=$("$BUILD/tests/bench-policy")
while read -r key rate ns what; do
  if [ "$key" = stopped_after_ms ]; then
    row "${what//_/ } stopped after" "$rate" ms
    metric stopped_after_ms "$rate"
  else
    row "${what//_/ }" "$rate" /s "$ns ns each"
    metric "${key}_per_s" "$rate"
  fi
done <<<"$out"
print_results
