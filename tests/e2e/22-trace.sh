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

traces() { [ "$(kogge -o json plugin stats kernel | jq .own.traces)" = "$1" ]; }

say "live messages by topic globs, as a table and as JSON"
kogge plugin trace 'hello.*' 'no.such.*' --count 4 >"$WORK/table" &
kogge --output json plugin trace 'hello.*' --count 4 >"$WORK/json" &
kogge plugin trace --of unruly --record "$WORK/a.rec" --quiet --count 6 2>"$WORK/recorded" &
eventually 10 traces 3
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

say "a recording is replayed into a plugin that reaches nobody, and the answers are compared"
code() { local c=0; "$@" >"$WORK/out" 2>&1 || c=$?; echo $c; }
# The live one had answered before the recording began.
[ "$(code kogge plugin replay "$WORK/a.rec" unruly)" = 3 ] || fail "$(cat "$WORK/out")"
expect "args.count: live 2, candidate 1" "$(cat "$WORK/out")"
[ "$(code kogge plugin replay "$WORK/a.rec" "$BUILD/tests/plugins/unruly.so" --ignore args.count --speed 1)" = 0 ] || fail "$(cat "$WORK/out")"
expect "answers   unruly.say                                        3          0" "$(cat "$WORK/out")"
head -c -5 "$WORK/a.rec" >"$WORK/b.rec"
[ "$(code kogge plugin replay "$WORK/b.rec" unruly --ignore args.count)" = 0 ] || fail "$(cat "$WORK/out")"
expect "bytes were cut off, the 5 messages before them are used" "$(cat "$WORK/out")"
refuse "at byte 0" kogge plugin replay "$WORK/c.yaml" unruly
refuse "no request to nobody, but to unruly" kogge plugin replay "$WORK/a.rec" unruly --as nobody
refuse "there is no plugin nobody" kogge plugin replay "$WORK/a.rec" nobody

say "one that dies of it is told"
kogge plugin unload unruly
kogge plugin load unruly unruly.so process
kogge plugin trace --of unruly --record "$WORK/d.rec" --quiet --count 2 2>/dev/null &
eventually 10 traces 1
kogge request unruly unruly.crash >/dev/null 2>&1 || true
wait
[ "$(code kogge plugin replay "$WORK/d.rec" unruly.so)" = 1 ] || fail "$(cat "$WORK/out")"
[ "$(code kogge plugin replay "$WORK/d.rec" "$BUILD/tests/plugins/unruly.so")" = 3 ] || fail "$(cat "$WORK/out")"
expect "died of signal 6 (Aborted) in the handler of unruly.crash" "$(cat "$WORK/out")"
