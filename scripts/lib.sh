# Shared by the scripts; sourced, not run. Sets ROOT, BUILD; defines step/ok/die, package and build helpers.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${KOGGE_BUILD_DIR:-$ROOT/build}
PATH=$PATH:/usr/sbin:/sbin # root has none of them after `su`
STEP=""

step() { STEP=$1; printf '  … %s\n' "$STEP" >&2; }
ok() { printf '  ✓ %s\n' "${1:-$STEP}" >&2; }
die() { printf '  ✗ %s\n' "$*" >&2; exit 1; }

need_root() { [ "$(id -u)" = 0 ] || die "must run as root (namespaces, cgroups and mounts need it): try sudo $0"; }

# missing_packages FILE...: prints the packages of the lists that are not installed.
missing_packages() {
  local p
  sed -e 's/#.*//' -e '/^\s*$/d' "$@" | sort -u | while read -r p; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] && continue
    # A tool that came another way (a newer cmake, npm of nodesource) will do as well.
    case $p in npm | cmake | ninja-build | python3 | git | gcc | curl) command -v "${p%-build}" >/dev/null && continue ;; esac
    echo "$p"
  done
}

install_packages() {
  local missing
  missing=$(missing_packages "$@" | tr '\n' ' ')
  if [ -z "${missing// /}" ]; then ok "Debian packages are installed"; return; fi
  need_root
  step "installing from Debian: $missing"
  local log=${TMPDIR:-/tmp}/kogge-apt.log
  apt-get -o Acquire::Retries=3 update -qq >"$log" 2>&1 || true # one source of several may be broken
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 install -y -qq --no-install-recommends $missing >>"$log" 2>&1 || {
    grep -E '^[EW]: ' "$log" | sort -u | tail -5 >&2
    die "apt-get install failed: is the machine online? All it said is in $log"
  }
  rm -f "$log"
  ok
}

# build PRESET [TARGET…]: configures and builds into the preset's directory.
build() {
  local preset=$1 dir=$BUILD
  shift
  [ "$preset" = release ] || dir=$BUILD/$preset
  mkdir -p "$dir"
  step "building ($preset)"
  (cd "$ROOT" && cmake --preset "$preset" -B "$dir" >"$dir/configure.log" 2>&1) || { cat "$dir/configure.log" >&2; die "cmake failed"; }
  if [ -t 2 ]; then ninja -C "$dir" "$@" >&2 || die "the build failed"
  else ninja -C "$dir" "$@" >"$dir/build.log" 2>&1 || { tail -60 "$dir/build.log" >&2; die "the build failed, see $dir/build.log"; }; fi
  ok
}

# wait_for SECONDS WHAT COMMAND...: polls until the command succeeds; gives up early when the process WATCH has ended.
wait_for() {
  local seconds=$1 what=$2 end
  shift 2
  end=$((SECONDS + seconds))
  step "waiting until $what"
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    [ -z "${WATCH:-}" ] || kill -0 "$WATCH" 2>/dev/null || return 1
    sleep 0.1
  done
  ok "$what"
}

# find_kubectl: prints the kubectl to use; installs Debian's if there is none.
find_kubectl() {
  local k
  for k in "${KUBECTL:-}" "$BUILD/clients/kubectl-1.35" "$(command -v kubectl || true)"; do
    [ -n "$k" ] && [ -x "$k" ] && { echo "$k"; return; }
  done
  install_packages <(echo kubernetes-client)
  command -v kubectl
}
