# Given 64 writers and a watch over HTTPS, when the whole server is killed with -9 again and again, then every acknowledged write
# is there, revisions never go back, and the watch goes on at the last revision it saw without a gap or a repeat.
# ROUNDS=100 scripts/test --e2e kill-writers: the long run.
. "$(dirname "$0")/lib.sh"
sed -E '/file: (network|runtime|node|proxy|dns|controller|scheduler)/d; /network|node-name|pod-cidr|bridge/d' "$CONFIG" >"$WORK/api.yaml"
cat >"$WORK/start" <<S
setsid -f "$BUILD/kogge" server --config "$WORK/api.yaml" --data-dir "$DATA" --run-dir "$RUN" --https-port "$PORT" >>"$WORK/kogge.log" 2>&1 </dev/null
for _ in \$(seq 400); do curl -sf --cacert "$DATA/tls/ca.crt" "https://127.0.0.1:$PORT/readyz" >/dev/null && exit 0; sleep 0.05; done
exit 1
S
cat >"$WORK/kill" <<S
while pids=\$(pgrep -f -- '--run-dir $RUN( |\$)'); do kill -9 \$pids 2>/dev/null; sleep 0.02; done
exit 0
S
mkdir -p "$DATA" "$RUN"
bash "$WORK/start" || fail "the server does not start"
python3 "$ROOT/tests/e2e/data/kill_writers.py" --port "$PORT" --tls "$DATA/tls" --rounds "${ROUNDS:-5}" \
  --kill "bash $WORK/kill" --start "bash $WORK/start"
