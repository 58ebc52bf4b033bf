#!/bin/bash
# A second make does nothing; changing one contract rebuilds what depends on it and nothing else.
set -u
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
build=${build#"$PWD"/}
gen=${GEN:-$build/gen}
passed=0 failed=0

check() { # NAME CONDITION…
    local name=$1
    shift
    if "$@"; then
        passed=$((passed + 1)) && echo "ok   $name"
    else
        failed=$((failed + 1)) && echo "FAIL $name"
    fi
}

up_to_date() {
    local output
    output=$(make --no-print-directory -j1 all 2>&1 </dev/null) && [ "$output" = "make: Nothing to be done for 'all'." ] ||
        { echo "$output" | head -20; return 1; }
}

# What make would run if FILE were new.
if_new() { make --no-print-directory -n V=1 -j1 "${@/#/-W}" all 2>/dev/null </dev/null; }
generated() { if_new "$1" | grep -oE -- '--dependency_out=[^ ]+' | sed "s|.*=$gen/||; s|\.d\.tmp$||" | sort -u; }
compiled() { if_new "$@" | grep -oE -- ' -c -o [^ ]+' | sed 's| -c -o ||' | sort -u; }

# Contracts that import FILE, directly or not, and FILE itself: read from the import lines.
importers() {
    local all=$1 more
    while :; do
        more=$(
            printf '%s\n' $all
            for name in $all; do grep -rlF "\"$name.proto\"" proto 2>/dev/null; done | sed 's|^proto/||; s|\.proto$||'
        )
        more=$(sort -u <<<"$more" | tr '\n' ' ')
        [ "$more" != "$all" ] || break
        all=$more
    done
    tr ' ' '\n' <<<"$all" | sed '/^$/d' | sort -u
}

check "the build succeeds" make --no-print-directory -s all </dev/null
check "a second make does nothing" up_to_date
check "make -q agrees" make -q all

contracts=$(find proto -name '*.proto' 2>/dev/null | sort | sed 's|^proto/||; s|\.proto$||')
for contract in $contracts; do
    expected=$(importers "$contract")
    actual=$(generated "proto/$contract.proto" | grep -vE '^test/' || true)
    check "$contract.proto regenerates it and its importers" [ "$actual" = "$expected" ]
    [ "$actual" = "$expected" ] || diff <(echo "$expected") <(echo "$actual")
done

# C follows: every object whose dependency file names the generated header, and no other object. The headers
# are new, not the contract: of files made together, make -n takes only the one it came by to be remade.
for contract in $(printf '%s\n' $contracts | sed -n '1p;$p'); do
    names=$(importers "$contract")
    expected=$(
        for name in $names; do
            grep -rlE --include='*.d' "(^|[ /])$name\.(pb-c|weft)\.[ch]( |:|$)" "$build/obj" 2>/dev/null
        done | sed 's|\.d$|.o|' | grep -v '/obj/tests/' | sort -u
    )
    headers=()
    for name in $names; do headers+=("$gen/$name.pb-c.h" "$gen/$name.weft.h" "$gen/$name.pb-c.c" "$gen/$name.weft.c"); done
    actual=$(compiled "${headers[@]}" | grep -v '/obj/tests/')
    check "$contract.proto recompiles its users only" [ "$actual" = "$expected" ]
    [ "$actual" = "$expected" ] || diff <(echo "$expected") <(echo "$actual")
done

check "a header of lib/base recompiles lib/base" [ -n "$(compiled lib/include/weft/arena.h | grep "^$build/obj/lib/base/")" ]
# Once as an object and, with gcc, once more for the sidecar's program.
own=$(compiled lib/base/arena.c | grep -v "^$build/obj/lto/lib/base/arena.o\$")
check "a source recompiles itself" [ "$own" = "$build/obj/lib/base/arena.o" ]
check "other flags recompile" grep -q "$build/obj/lib/base/arena.o" <(if_new "$build/.flags")

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
