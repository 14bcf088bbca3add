#!/usr/bin/env bash
# Messages are watched while they flow and recorded whole, a recording that was cut off is used as far as it goes, and what is no
# recording is refused.
. "$(dirname "$0")/lib.sh"
cat >"$WORK/c.yaml" <<Y
plugin_path: $BUILD/plugins:$BUILD/tests/plugins
plugins:
  - {name: hello, file: hello.so}
  - {name: unruly, file: unruly.so, lane: other}
Y
mkdir -p "$RUN"
setsid -f "$BUILD/kogge" --data-dir "$DATA" --run-dir "$RUN" server --config "$WORK/c.yaml" >"$WORK/kogge.log" 2>&1 </dev/null
eventually 5 kogge request unruly unruly.say

say "live messages by topic globs, as a table and as JSON"
kogge plugin trace 'hello.*' 'no.such.*' --count 4 >"$WORK/table" &
kogge --output json plugin trace 'hello.*' --count 4 >"$WORK/json" &
kogge plugin trace --of unruly --record "$WORK/a.rec" --quiet --count 6 2>"$WORK/recorded" &
sleep 0.3
for n in 1 2; do kogge request hello hello.say "{n: $n}" >/dev/null; done
for n in 1 2 3; do kogge request unruly unruly.say "{n: $n}" >/dev/null; done
wait
expect 'hello.say' "$(head -1 "$WORK/table")"
expect '"args":{"n":2}' "$(sed -n 3p "$WORK/json")"
expect "6 messages recorded in $WORK/a.rec, 0 lost" "$(cat "$WORK/recorded")"

say "a recording is gone on with, after what was cut off at its end is taken away"
head -c -5 "$WORK/a.rec" >"$WORK/b.rec"
expect "were cut off and are taken away" "$(kogge plugin trace --record "$WORK/b.rec" --quiet --duration 0.1 2>&1)"
[ "$(stat -c %s "$WORK/b.rec")" -lt "$(stat -c %s "$WORK/a.rec")" ] || fail "nothing was taken away"
refuse "at byte 0" kogge plugin trace --record "$WORK/c.yaml" --duration 0.1
