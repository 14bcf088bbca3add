# Given the API alone, when strangers send it what no honest client sends, then each request gets the right refusal and it goes on.
. "$(dirname "$0")/lib.sh"
mkdir -p "$DATA" "$RUN"
setsid -f "$BUILD/kogge" server --config "$ROOT/tests/compare/config.yaml" --data-dir "$DATA" --run-dir "$RUN" --https-port "$PORT" \
  >>"$WORK/kogge.log" 2>&1 </dev/null
eventually 20 api_ready
before=$(kogge_pids)
# The kernel: the process that the supervising one started.
for kernel in $before; do :; done
python3 "$(dirname "$0")/hostile.py" "$PORT" "$DATA/tls" "$kernel"
[ "$(kogge_pids)" = "$before" ] || fail "it was started again"
