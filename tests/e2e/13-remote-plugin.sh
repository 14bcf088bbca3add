#!/usr/bin/env bash
# A plugin on another machine (a process that only has tcp and a key): reached with CURVE, refused without a known key.
. "$(dirname "$0")/lib.sh"
cat >"$WORK/c.yaml" <<Y
plugin_path: $BUILD/plugins:$BUILD/tests/plugins
start_timeout_ms: 10000
plugins:
  - {name: hello, file: hello.so}
  - {name: unruly, remote: "tcp://127.0.0.1:$((PORT + 300))"}
  - {name: late, remote: "tcp://127.0.0.1:$((PORT + 301))", services: [late]}
Y
answers() { kogge request "$@" >/dev/null; }
mkdir -p "$RUN" "$DATA" "$WORK/elsewhere" "$WORK/stranger"
chmod 700 "$DATA"

say "keys are for their owner only"
key=$(kogge plugin key west)
[ "$(stat -c %a "$key" "$DATA/bus" "$DATA/bus/server.key" | tr '\n' ' ')" = "600 700 600 " ] || fail "modes: $(stat -c '%a %n' "$key" "$DATA/bus"/*)"
stranger=$("$BUILD/kogge" --data-dir "$WORK/stranger" plugin key nobody)
# The stranger knows whom it talks to, but is not known there.
sed -i "s|^server: .*|$(grep ^server: "$key")|" "$stranger"
cp "$key" "$WORK/elsewhere/west.key"

say "nobody is there, one address is taken: the server starts and says so, once each"
timeout 120 python3 -m http.server --bind 127.0.0.1 $((PORT + 301)) --directory "$WORK/stranger" >/dev/null 2>&1 &
squatter=$!
eventually 10 curl -s "http://127.0.0.1:$((PORT + 301))/"
setsid -f "$BUILD/kogge" --data-dir "$DATA" --run-dir "$RUN" server --config "$WORK/c.yaml" >"$WORK/kogge.log" 2>&1 </dev/null
eventually 8 answers hello hello.say
awaited() { [ "$(kogge plugin list -o json | jq -r '.plugins[] | select(.state == "awaited") | .name' | sort | tr '\n' ' ')" = "$1" ]; }
eventually 5 awaited "late unruly "
refuse "nobody serves unruly" kogge request unruly unruly.say
refuse "nobody serves late" kogge request late unruly.say
refuse "no plugin unruly answers" kogge plugin stats unruly
[ "$(grep -c "its host did not come within" "$WORK/kogge.log")" = 1 ] && [ "$(grep -c "cannot be bound" "$WORK/kogge.log")" = 1 ] || fail "$(cat "$WORK/kogge.log")"
kill $squatter

agent() { setsid -f "$BUILD/kogge" agent --connect "tcp://127.0.0.1:$((PORT + 300))" --key "$1" --file "$BUILD/tests/plugins/unruly.so" --name unruly --run "$WORK/elsewhere" >>"$WORK/agent.log" 2>&1 </dev/null; }
# An agent takes a moment to go, and to come: it is gone when nothing by its key is left.
agent_gone() { pkill -KILL -f -- "--key $1"; ! pgrep -f -- "--key $1" >/dev/null; }
agent "$stranger"
sleep 0.5
if answers unruly unruly.say 2>/dev/null; then fail "a stranger was let in"; fi
eventually 5 agent_gone "$stranger"

say "with a known key it serves"
agent "$WORK/elsewhere/west.key"
eventually 10 answers unruly unruly.say
expect '"n":5' "$(kogge request unruly unruly.say '{n: 5}')"

say "so does the one whose address was taken"
setsid -f "$BUILD/kogge" agent --connect "tcp://127.0.0.1:$((PORT + 301))" --key "$WORK/elsewhere/west.key" --file "$BUILD/tests/plugins/unruly.so" --name late --run "$WORK/elsewhere" >>"$WORK/agent.log" 2>&1 </dev/null
eventually 15 answers late unruly.say
[ "$(kogge plugin list -o json | jq -r '.plugins[] | select(.name == "late" or .name == "unruly") | .state' | tr '\n' ' ')" = "running running " ]

say "its crash is an error at once, and it comes back"
refuse "unruly" kogge request unruly unruly.crash
eventually 10 answers unruly unruly.say

say "the kernel ends, the agent waits; the kernel comes back, so does the plugin"
kill -9 "$(kernel_pid)"
eventually 5 answers hello hello.say
eventually 15 answers unruly unruly.say
eventually 5 agent_gone "$WORK/elsewhere"
