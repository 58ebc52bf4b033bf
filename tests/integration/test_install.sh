#!/bin/bash
# Small programs compile, link and run against an installed tree, found through pkg-config only.
set -u
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
passed=0 failed=0

check() { # NAME COMMAND…
    local name=$1 output
    shift
    if output=$("$@" 2>&1 </dev/null); then
        passed=$((passed + 1)) && echo "ok   $name"
    else
        failed=$((failed + 1)) && printf 'FAIL %s\n%s\n' "$name" "$output"
    fi
}

staged() { # DESTDIR only prefixes: nothing inside the files names it
    make --no-print-directory -s install DESTDIR="$prefix/stage" PREFIX=/opt/weft BUILD="$build" &&
        [ -f "$prefix/stage/opt/weft/lib/libweft.a" ] && ! grep -rq "$prefix" "$prefix/stage/opt/weft/lib/pkgconfig"
}

check "make install" make --no-print-directory -s install DESTDIR= PREFIX="$prefix" BUILD="$build"
check "make install DESTDIR" staged
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib
for module in weft weft-core weft-store; do
    check "pkg-config $module" [ "$(pkg-config --modversion $module)" = "$(cat VERSION)" ]
done
for program in weft protoc-gen-weft; do
    check "bin/$program is installed" test -x "$prefix/bin/$program"
done
check "weft version" "$prefix/bin/weft" version

cd "$prefix" || exit 1
cat >base.c <<'END'
#include <stdio.h>
#include <weft/error.h>
int main(void) { return puts(weft_strerror(0)) < 0; }
END
cat >rpc.c <<'END'
#include <google/protobuf/timestamp.weft.h>
#include <grpc/health/v1/health.weft.h>
#include <weft/rpc.h>
extern int weft_transport_core __attribute__((weak)); /* only its presence matters */
int main(void) {
    Google__Protobuf__Timestamp now = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    weft_ctx *ctx = weft_ctx_new(WEFT_TIMEOUT_MS(100));
    int good = ctx && protobuf_c_message_get_packed_size(&now.base) == 0 && &weft_transport_core;
    weft_ctx_free(ctx);
    return !good;
}
END
cat >store.c <<'END'
#include <weft/store.h>
int main(void) {
    weft_db *db = NULL;
    char *why = NULL;
    if (weft_db_open("store.db", NULL, &db, &why)) return 1;
    weft_db_close(db);
    return 0;
}
END
strict=(-std=gnu17 -Wall -Wextra -Wshadow -Wconversion -Werror)
builds_and_runs() { # SOURCE MODULES EXTRA…
    local source=$1 modules=$2
    shift 2
    # shellcheck disable=SC2046,SC2086
    ${CC:-gcc} "${strict[@]}" -o "$source.bin" "$source" $(pkg-config --cflags --libs "$@" $modules) && "./$source.bin"
}
static() { # the archives instead of the shared libraries
    local source=$1 modules=$2 flags
    flags=$(pkg-config --cflags --libs --static $modules | sed -E 's/-l(weft[a-z-]*)/-l:lib\1.a/g')
    # shellcheck disable=SC2086
    ${CC:-gcc} "${strict[@]}" -o "$source.static" "$source" $flags && "./$source.static" &&
        ! ldd "./$source.static" | grep -q libweft
}
check "shared: base" builds_and_runs base.c weft
check "shared: rpc over C-core" builds_and_runs rpc.c weft-core
check "shared: store" builds_and_runs store.c weft-store
check "static: base" static base.c weft
check "static: rpc over C-core" static rpc.c weft-core
check "static: store" static store.c weft-store
check "programs without weft-core do not load C-core" bash -c '! ldd ./base.c.bin | grep -q libgrpc'

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
