#!/usr/bin/env bash
# A plugin that takes the kernel down: the kernel is back at once, and the culprit lives in a process of its own.
. "$(dirname "$0")/lib.sh"
cat >"$WORK/c.yaml" <<Y
plugin_path: $BUILD/plugins:$BUILD/tests/plugins
plugins:
  - {name: hello, file: hello.so}
  - {name: unruly, file: unruly.so}
Y
answers() { kogge request "$@" >/dev/null; }
lane_of() { kogge --output json plugin list | sed "s/.*\"name\":\"$1\"[^}]*\"process\":\([0-9]*\).*/\1/;t;s/.*/0/"; }

mkdir -p "$RUN"
setsid -f "$BUILD/kogge" --data-dir "$DATA" --run-dir "$RUN" server --config "$WORK/c.yaml" >"$WORK/kogge.log" 2>&1 </dev/null
eventually 5 answers unruly unruly.say
[ "$(lane_of unruly)" = 0 ] || fail "unruly began in a process of its own"

say "a crash in a lane ends the kernel, which is back within 100 ms on a quiet machine"
began=${EPOCHREALTIME/./}
answers hello hello.say
usual=$(((${EPOCHREALTIME/./} - began) / 1000))
kogge request unruly unruly.crash >/dev/null 2>&1 || true
began=${EPOCHREALTIME/./}
until answers hello hello.say 2>/dev/null; do sleep 0.005; done
took=$(((${EPOCHREALTIME/./} - began) / 1000))
echo "   $took ms"
[ $took -lt $((1000 + 20 * usual)) ] || fail "the kernel took $took ms to come back, a request $usual ms"
expect "plugin unruly took the kernel down" "$(cat "$WORK/kogge.log")"

say "from then on the culprit has a process of its own"
eventually 5 answers unruly unruly.say
[ "$(lane_of unruly)" != 0 ] || fail "unruly is still in a lane"
kernel=$(kernel_pid)
refuse "died of signal 6" kogge request unruly unruly.crash
eventually 5 answers unruly unruly.say
[ "$(kernel_pid)" = "$kernel" ] || fail "the kernel died again"

say "a handler that hangs is named, in the list, by ping, and in the log"
kogge request unruly unruly.hang '{ms: 20000}' >/dev/null &
stuck() { kogge plugin list | grep "plugin unruly has been stuck for [1-9]"; }
eventually 3 stuck
expect "in the handler of unruly.hang" "$(kogge plugin list)"
refuse "plugin unruly has been stuck for " kogge plugin ping unruly
kill $!
eventually 3 grep "plugin unruly hangs in its own process" "$WORK/kogge.log"
expect "in the handler of unruly.hang" "$(cat "$WORK/kogge.log")"
