# Given the API alone, when strangers send it what no honest client sends, then each request gets the right refusal and it goes on.
. "$(dirname "$0")/lib.sh"
mkdir -p "$DATA" "$RUN"
# Requests are to arrive within 2 seconds instead of 30, so that slow ones need not be waited for so long.
sed 's/bind: 127.0.0.1/&, requestTimeoutSeconds: 2/' "$ROOT/tests/compare/config.yaml" >"$WORK/config.yaml"
setsid -f "$BUILD/kogge" server --config "$WORK/config.yaml" --data-dir "$DATA" --run-dir "$RUN" --https-port "$PORT" \
  >>"$WORK/kogge.log" 2>&1 </dev/null
eventually 20 api_ready
before=$(kogge_pids)
# The kernel: the process that the supervising one started.
for kernel in $before; do :; done
python3 "$(dirname "$0")/hostile.py" "$PORT" "$DATA/tls" "$kernel"
python3 "$(dirname "$0")/hostile_http2.py" "$PORT" "$DATA/tls" "$kernel" 2
[ "$(kogge_pids)" = "$before" ] || fail "it was started again"
