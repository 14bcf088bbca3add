#!/usr/bin/env bash
# The command line as its user meets it: completion in real shells, forms of output, mistakes, a missing server, a run directory
# that only its owner can open.
. "$(dirname "$0")/lib.sh"
cat >"$WORK/c.yaml" <<Y
plugins:
  - {name: hello, file: hello.so, config: {greeting: x}}
  - {name: store, file: store-memory.so}
  - {name: policy, file: policy.so}
Y
bare() { env PATH="$BUILD:$PATH" kogge "$@"; }
code() { local want=$1 got=0; shift; "$@" >"$WORK/out" 2>"$WORK/err" || got=$?; [ $got = "$want" ] || fail "exit code $got, not $want: $*: $(cat "$WORK/err")"; }
says() { expect "$1" "$(cat "$WORK/err")"; [ ! -s "$WORK/out" ] || fail "an error speaks on standard output: $(cat "$WORK/out")"; }

say "without a server: a sentence with the socket's path"
code 1 kogge plugin list; says "no server answers at $RUN/kogge.sock"
code 1 kogge policy list; says "no server answers at $RUN/kogge.sock"
code 1 kogge image list; says "no server answers at $RUN/kogge.sock"
code 1 kogge plugn list; says "is plugin meant?"
code 0 kogge plugin trace --help; expect "--record FILE" "$(cat "$WORK/out")"
code 0 kogge help completion; expect "source <(kogge completion bash)" "$(cat "$WORK/out")"

mkdir -p "$DATA" "$RUN"
chmod 755 "$RUN"
setsid -f "$BUILD/kogge" server --config "$WORK/c.yaml" --data-dir "$DATA" --run-dir "$RUN" >"$WORK/kogge.log" 2>&1 </dev/null
eventually 5 kogge plugin list

say "only the owner can open the run directory"
[ "$(stat -c %a "$RUN" "$RUN/kogge.sock" | tr '\n' ' ')" = "700 600 " ] || fail "modes: $(stat -c '%a %n' "$RUN" "$RUN/kogge.sock")"
install -m 755 "$BUILD/kogge" "$BUILD/libkogge.so.1" "$WORK/" # where everybody may read
chmod 755 "$WORK"
as_nobody() { setpriv --reuid nobody --regid nogroup --clear-groups env LD_LIBRARY_PATH="$WORK" "$WORK/kogge" --run-dir "$RUN" "$@"; }
code 1 as_nobody plugin list; says "$RUN/kogge.sock cannot be asked: Permission denied"

mkdir "$WORK/shared" && chmod 755 "$WORK/shared" && touch "$WORK/shared/file"
refuse "chmod 700 it" "$BUILD/kogge" server --no-supervise --config "$WORK/c.yaml" --data-dir "$WORK/other" --run-dir "$WORK/shared"
[ "$(stat -c %a "$WORK/shared")" = 755 ] || fail "a foreign directory was changed"

say "help in all its forms"
for h in "-h" "--help" "help" "plugin -h" "help plugin swap" "plugin swap --help" "help completion bash" "server --help" "policy --help" "help policy" "--output json --help"; do
  # shellcheck disable=SC2086
  code 0 kogge $h
  grep -q usage "$WORK/out" || fail "no usage: kogge $h"
done

say "mistakes"
code 2 kogge help plugin lits; says "is plugin list meant?"
code 2 kogge server --config; says "--config needs a value"
code 2 kogge agent; says "it needs --connect"
code 1 kogge plugin load Hello hello.so; says "a name is of a-z"
code 2 kogge; says "usage: kogge COMMAND"
code 2 kogge plugin; says "usage: kogge plugin COMMAND"
code 2 kogge plugin swop hello x; says "is plugin swap meant?"
code 2 kogge plugin swap hello; says "takes NAME FILE, not 1 argument"
code 2 kogge plugin trace --recrod f; says "is --record meant?"
code 2 kogge plugin trace --record; says "--record needs a value: FILE"
code 2 kogge plugin trace --quiet=1; says "--quiet takes no value"
code 2 kogge plugin list -o yaml; says "output is json or table, not yaml"
code 2 kogge policy nonsense; says "usage: kogge policy load"
code 2 kogge nonsense; says "there is no command nonsense"
code 2 kogge completion tcsh; says "bash, zsh or fish"
code 1 kogge plugin stats nobody; says "no plugin nobody answers"
code 1 kogge plugin swap hello nowhere.so; says "was not found in"
code 1 kogge plugin load a ./nowhere.so; says "does not exist"
code 1 kogge server --config "$WORK/none.yaml"; expect "none.yaml" "$(cat "$WORK/err")"
cd "$WORK" && cp "$BUILD/plugins/hello.so" mine.so
code 1 kogge plugin load mine mine.so; says "is meant by ./mine.so"
cd /

say "json wherever something is listed"
for c in "plugin list" "plugin stats hello" "plugin config hello" "plugin ping hello" "policy list" "version" "plugin swap hello hello.so"; do
  # shellcheck disable=SC2086
  kogge $c --output json | jq -e . >/dev/null || fail "no JSON: $c"
done
kogge plugin trace hello.say --count 1 -o json >"$WORK/traced" &
traced() { kogge request hello hello.say && [ -s "$WORK/traced" ]; }
eventually 10 traced
wait
jq -e '.topic == "hello.say"' "$WORK/traced" >/dev/null || fail "no JSON: $(cat "$WORK/traced")"
kogge plugin list -o json | jq -e '.plugins[] | select(.name == "hello") | .topics == ["hello.say"]' >/dev/null
[ "$(kogge -ojson plugin config hello | jq -r .greeting)" = x ]
echo 'time_ms: 30' >"$WORK/policy.yaml"
kogge plugin config policy "$WORK/policy.yaml"
[ "$(kogge plugin config policy -o json)" = '{"time_ms":30}' ]
echo '{time_sm: 40}' >"$WORK/typo.yaml"
code 1 kogge plugin config policy "$WORK/typo.yaml"; says "knows no key time_sm, only scripts time_ms"
[ "$(kogge plugin config policy -o json)" = '{"time_ms":30}' ]
echo 'plugins: [{name: gateway, file: gateway.so, config: {prot: 6443}}]' >"$WORK/typo.yaml"
code 1 "$BUILD/kogge" server --no-supervise --config "$WORK/typo.yaml" --data-dir "$WORK/other" --run-dir "$WORK/typo"; says "knows no key prot, only port"

say "completion: words, subcommands, flags, what runs"
words() { kogge __complete "$@" | cut -f1 | sort | tr '\n' ' '; }
[ "$(words pl)" = "plugin plugin-host " ]
[ "$(words plugin sw)" = "swap " ]
[ "$(words plugin stats '')" = "hello kernel policy store " ]
expect "lmdb memory " "$(words plugin swap store '')"
[ "$(words plugin trace --re)" = "--record " ]
[ "$(words plugin trace st)" = "store.* " ]
[ "$(words plugin trace --of h)" = "hello " ]
[ "$(words request hello '')" = "hello.say " ]
[ "$(words plugin list --output=t)" = "--output=table " ]
[ "$(words policy l)" = "list load " ]
[ "$(words policy load '')" = ":files " ]
expect "--https-port" "$(words server --h)"
[ "$(words help plugin un)" = "unload " ]

say "bash itself"
cat >"$WORK/complete.bash" <<'Y'
source <(kogge completion bash)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { :; }
_kogge
printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' '
Y
in_bash() { env PATH="$BUILD:$PATH" bash "$WORK/complete.bash" "$@"; }
[ "$(in_bash kogge plugin sw)" = "swap " ]
[ "$(in_bash kogge --run-dir "$RUN" plugin unload h)" = "hello " ]
[ "$(in_bash kogge plugin list --output = j)" = "json " ]
expect "$WORK/c.yaml" "$(in_bash kogge server --config "$WORK/c")"

if command -v zsh >/dev/null; then
  say "zsh"
  mkdir -p "$WORK/zsh"
  bare completion zsh >"$WORK/zsh/_kogge"
  cat >"$WORK/ask.zsh" <<'Y'
zmodload zsh/zpty
zpty shell zsh -f -i
read_until() {
  local all="" part="" n=0
  while ((++n < 100)) && [[ $all != *$1* ]]; do
    if zpty -r -t shell part; then all+=$part; else sleep 0.05; fi
  done
  print -r -- "$all" | sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g; s/.\x08//g; s/\x07//g'
}
zpty -w shell "PS1='%% '; fpath=($1 \$fpath); autoload -U compinit; compinit -u -d $1/dump; echo re''ady"
read_until ready >/dev/null
zpty -w -n shell "kogge --run-dir $2 plugin unload hel"$'\t'
read_until "lo"$'\e'
Y
  expect "unload hello" "$(env PATH="$BUILD:$PATH" timeout 20 zsh -f "$WORK/ask.zsh" "$WORK/zsh" "$RUN")"
fi
if command -v fish >/dev/null; then
  say "fish"
  in_fish() { env PATH="$BUILD:$PATH" HOME="$WORK" fish --no-config -c "source (kogge completion fish | psub); complete -C '$1'" | cut -f1 | sort | tr '\n' ' '; }
  [ "$(in_fish 'kogge plugin sw')" = "swap " ]
  [ "$(in_fish "kogge --run-dir $RUN plugin unload ")" = "hello kernel policy store " ]
fi
