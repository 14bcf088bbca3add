# Given the API alone, when strangers send it what no honest client sends, then each request gets the right refusal and it goes on.
. "$(dirname "$0")/lib.sh"
mkdir -p "$DATA" "$RUN"
serve() { # SECONDS: what a request may take to arrive
  sed "s/bind: 127.0.0.1/&, requestTimeoutSeconds: $1/" "$ROOT/tests/compare/config.yaml" >"$WORK/config.yaml"
  setsid -f "$BUILD/kogge" server --config "$WORK/config.yaml" --data-dir "$DATA" --run-dir "$RUN" --https-port "$PORT" \
    >>"$WORK/kogge.log" 2>&1 </dev/null
  eventually 20 api_ready
  before=$(kogge_pids)
}
goes_on() { [ "$(kogge_pids)" = "$before" ] || fail "it was started again"; }
serve 30
python3 "$(dirname "$0")/hostile_http2.py" "$PORT" "$DATA/tls" "$(kernel_pid)" 30 floods
python3 "$(dirname "$0")/hostile.py" "$PORT" "$DATA/tls" "$(kernel_pid)"
goes_on
kill_kogge
say "slow ones, which need not be waited for so long as usual"
serve 2
python3 "$(dirname "$0")/hostile_http2.py" "$PORT" "$DATA/tls" "$(kernel_pid)" 2 slow
goes_on
