#!/usr/bin/env bash
# A plugin built outside of this tree with nothing but the installed package, by CMake and by pkg-config; loaded into a running
# kernel, called, swapped, unloaded.
. "$(dirname "$0")/lib.sh"
P=$WORK/prefix
export CMAKE_PREFIX_PATH=$P PKG_CONFIG_PATH=$P/lib/pkgconfig
mkdir -p "$RUN" "$DATA" "$WORK/out"
installed() { "$P/bin/kogge" --run-dir "$RUN" --data-dir "$DATA" "$@"; }

say "the package holds what a plugin needs, and no header of the inside"
cmake --install "$BUILD" --prefix "$P" --strip >/dev/null
grep -qx "ExecStart=$P/bin/kogge server" "$P/lib/systemd/system/kogge.service" || fail "the unit does not start the program installed with it"
DESTDIR=$WORK/dest cmake --install "$BUILD" --prefix /usr --component development >/dev/null
[ -f "$WORK/dest/usr/include/kogge/plugin.h" ] || fail "DESTDIR is not heeded: $(find "$WORK/dest")"
diff <(cd "$ROOT" && ls bus/include/kogge core/include/kogge | grep '\.h$' | sort) <(ls "$P/include/kogge")
[ "$(readlink "$P/lib/libkogge.so.1" | cut -d. -f1-3)" = libkogge.so.1 ] || fail "no versioned library: $(ls -l "$P/lib")"
expect "not found" "not found $(ldd "$P/bin/kogge" | grep -v "$P/lib/libkogge" | grep libkogge || true)"
[ -f "$P/lib/libkogge-kube.a" ] && [ -f "$P/include/kogge-kube/kube/informer.h" ] || fail "the kube component is not there"
"$P/bin/kogge" server --config "$P/share/kogge/kogge.yaml" --help | grep -q https-port

say "names are checked, and nothing is overwritten"
cd "$WORK/out"
refuse "begins with a letter" installed plugin new 9lives
refuse "of a-z, 0-9 and -" installed plugin new Greeter
refuse "of a-z, 0-9 and -" installed plugin new ../greeter
refuse "1 to 63 letters" installed plugin new ''
refuse "belongs to the kernel" installed plugin new kernel
refuse "usage: kogge plugin new NAME" installed plugin new
refuse "cannot be made" installed plugin new greeter --dir "$WORK/nowhere/greeter"
[ -z "$(ls)" ] || fail "a refusal left files: $(ls)"
installed plugin new greeter
refuse "greeter is there already" installed plugin new greeter

say "CMake"
cmake -S greeter -B greeter/build -DCMAKE_C_FLAGS="-Wall -Wextra -Werror" >/dev/null
cmake --build greeter/build >/dev/null
ctest --test-dir greeter/build --output-on-failure | tail -3

say "pkg-config"
installed plugin new two-words --dir second
cc -O2 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden second/two-words.c -o second/two-words.so $(pkg-config --cflags --libs kogge)
[ "$(nm -D --defined-only second/two-words.so greeter/build/greeter.so | grep -c ' kogge_plugin$')" = 2 ]
installed sim second/test.yaml --seeds 1-20 --replay --plugin-path second

say "a plugin of Kubernetes, with the kube library"
mkdir kinds && cat >kinds/CMakeLists.txt <<'Y'
cmake_minimum_required(VERSION 3.25)
project(kinds LANGUAGES C)
find_package(Kogge REQUIRED COMPONENTS Kube)
kogge_plugin(kinds SOURCES kinds.c LIBS Kogge::kube)
Y
cat >kinds/kinds.c <<'Y'
#include "kogge/plugin.h"
#include "kube/schema.h"
static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self;
  if (!kube_resource_find(KG_STR("apps"), KG_STR("v1"), KG_STR("deployments"))) return kg_error_set(err, KG_EINVAL, "no");
  kg_ready(ctx);
  return 0;
}
static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) { (void)err; *self = ctx; return 0; }
KG_PLUGIN(.name = "kinds", .role = "kinds", .version = "1", .create = create, .start = start);
Y
cmake -S kinds -B kinds/build >/dev/null && cmake --build kinds/build >/dev/null
cc -shared -fPIC -fvisibility=hidden kinds/kinds.c -o kinds/kinds.so $(pkg-config --cflags --libs kogge-kube)

say "into a kernel that runs: load, call, swap, unload"
(cd greeter && setsid -f "$P/bin/kogge" server --config kogge.yaml --data-dir "$DATA" --run-dir "$RUN" >"$WORK/kogge.log" 2>&1 </dev/null)
eventually 5 installed request greeter greeter.count
expect '"text":"Hello, Ada!"' "$(installed request greeter greeter.say '{name: Ada}')"
refuse "needs a name" installed request greeter greeter.say
installed plugin swap greeter ./greeter/build/greeter.so
expect '"greeted":2' "$(installed request greeter greeter.say '{name: Ben}')"
installed plugin load two-words ./second/two-words.so
expect '"greeted":1' "$(installed request two-words two-words.say '{name: Cy}')"
installed plugin load kinds ./kinds/build/kinds.so
installed plugin swap kinds ./kinds/kinds.so
installed plugin load hello hello.so
expect Hello "$(installed request hello hello.say)"
for p in two-words kinds greeter hello; do installed plugin unload $p; done
refuse "nobody serves" installed request greeter greeter.say
cd /
