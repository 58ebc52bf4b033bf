#!/bin/bash
# Golden tests of the code generator.
#
#   tests/golden/run.sh             compare with what is expected, compile everything
#   tests/golden/run.sh --update    rewrite what is expected (look at the difference before you commit)
#
# *.proto             what is generated from them is in expected/, and compiles as C and C++
# errors/*.proto      what `weft gen` says about them is in errors/*.txt
# google/api/         an import of deep.proto that has no C code
set -u
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
build=${BUILD:-$root/build}
case $build in /*) ;; *) build=$root/$build ;; esac
plugin=$build/bin/protoc-gen-weft
weft=$build/bin/weft
update=
[ "${1:-}" = --update ] && update=1

passed=0
failed=0
pass() { passed=$((passed + 1)); }
fail() {
    failed=$((failed + 1))
    echo "FAILED $1"
    shift
    [ $# -eq 0 ] || printf '%s\n' "$@" | head -40
}
# check NAME COMMAND…: the command ends with 0
check() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then pass; else fail "$name" "$out"; fi
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for program in "$plugin" "$weft"; do
    [ -x "$program" ] || { fail "$program is not there (run make)"; echo "$passed passed, $failed failed"; exit 1; }
done
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"

generate() { # OUT ROOT FILES…
    local out=$1 from=$2
    shift 2
    mkdir -p "$out" && protoc -I"$from" -I/usr/include --plugin=protoc-gen-weft="$plugin" \
        --weft_out="$out" --weft_opt=messages "$@"
}
# The same file, or the new one taken over.
same() { # EXPECTED ACTUAL
    if [ -n "$update" ]; then
        mkdir -p "$(dirname "$1")" && cp "$2" "$1"
    else
        diff -u "$1" "$2"
    fi
}

# ---- what is generated
cd tests/golden || exit 1
check "generate" generate "$tmp/gen" . *.proto google/protobuf/{timestamp,empty}.proto
[ -z "$update" ] || rm -rf expected
for proto in *.proto; do
    for kind in h c; do
        name=${proto%.proto}.weft.$kind
        check "expected $name" same "expected/$name.txt" "$tmp/gen/$name"
    done
done
check "no code for no_generate" test ! -e "$tmp/gen/google/api"

# Whatever the order and company, a file's code is the same.
for proto in $(printf '%s\n' *.proto | sort -r); do
    generate "$tmp/again" . "$proto" >/dev/null 2>&1
done
for proto in *.proto; do
    for kind in weft.h weft.c pb-c.h pb-c.c; do
        check "alone ${proto%.proto}.$kind" cmp "$tmp/gen/${proto%.proto}.$kind" "$tmp/again/${proto%.proto}.$kind"
    done
done
check "embedded descriptors" /usr/bin/python3 - "$tmp/gen" <<'PY'
import glob, re, subprocess, sys
from google.protobuf import descriptor_pb2
names = sorted(glob.glob("*.proto"))
gen = sys.argv[1]
subprocess.run(["protoc", "-I.", "-I/usr/include", "--descriptor_set_out=" + gen + "/set", *names], check=True,
               stderr=subprocess.DEVNULL)
files = {f.name: f for f in descriptor_pb2.FileDescriptorSet.FromString(open(gen + "/set", "rb").read()).file}
for name in names:
    text = open("%s/%s.weft.c" % (gen, name[:-6]), encoding="utf-8").read()
    body = re.search(r"file_descriptor\[\] = \{(.*?)\};", text, re.S).group(1)
    data = bytes(int(x, 16) for x in re.findall(r"0x(..)", body))
    got, want = descriptor_pb2.FileDescriptorProto.FromString(data), files[name]
    gone = {"protobuf-c/protobuf-c.proto", "google/api/options.proto"}
    if not gone & set(want.dependency):
        assert data == want.SerializeToString(), name + " is not embedded as protoc has it"
    assert list(got.dependency) == [d for d in want.dependency if d not in gone], name
    assert [got.dependency[i] for i in got.public_dependency] == [want.dependency[i] for i in want.public_dependency]
    assert b"hidden" not in data and b"dropped" not in data, name + " keeps an option nobody can read"
    assert [m.SerializeToString() for m in got.service] == [m.SerializeToString() for m in want.service] or name == "deep.proto"
PY

# ---- it compiles: as C with our warnings, as C++ with the usual ones
strict='-std=c17 -Wall -Wextra -Wshadow -Wconversion -Werror'
plus='-std=c++17 -x c++ -Wall -Wextra -Werror'
compile() { # FOLDER FILE
    local folder=$1 file=$2 cc flags
    for cc in gcc clang g++ clang++; do
        flags=$strict
        case $cc in *++) flags=$plus ;; esac
        # shellcheck disable=SC2086
        check "$cc $file" $cc $flags -I"$root/lib/include" -I"$folder" -fsyntax-only "$folder/$file"
    done
    # protobuf-c's own file: it compiles, whatever it warns of
    check "gcc ${file%.weft.c}.pb-c.c" gcc -std=c17 -w -I"$folder" -fsyntax-only "$folder/${file%.weft.c}.pb-c.c"
}
for proto in *.proto; do compile "$tmp/gen" "${proto%.proto}.weft.c"; done

# Contracts that others wrote. service_config and meshca import contracts that no package has.
system=$(cd /usr/share/grpc-proto && find . -name '*.proto' | grep -v -e service_config -e meshca | sed 's|^./||' | sort)
known="any api descriptor duration empty field_mask source_context struct timestamp type wrappers"
for name in $known compiler/plugin; do
    check "generate $name" generate "$tmp/sys" /usr/include "google/protobuf/$name.proto"
done
for proto in $system; do check "generate $proto" generate "$tmp/sys" /usr/share/grpc-proto "$proto"; done
for name in $known compiler/plugin; do compile "$tmp/sys" "google/protobuf/$name.weft.c"; done
for proto in $system; do compile "$tmp/sys" "${proto%.proto}.weft.c"; done

# ---- what is said about wrong contracts
cd errors || exit 1
for proto in *.proto; do
    case $proto in errors_common.proto) continue ;; esac
    "$weft" gen --out "$tmp/none/of/this" "$proto" >"$tmp/said" 2>&1
    code=$?
    check "exit code of $proto" test $code -eq 1
    check "errors of $proto" same "${proto%.proto}.txt" "$tmp/said"
done
check "nothing half-written" test ! -e "$tmp/none"
check "nothing left behind" test -z "$(find "$tmp" -name '.weft-gen*')"

# ---- weft gen
cd .. || exit 1
out=$tmp/made
gen() { "$weft" gen --out "$out" "$@"; }
words() { # EXPECTED-CODE PATTERN ARGUMENTS…: the exit code, and something that is printed
    local code=$1 pattern=$2 said got
    shift 2
    said=$("$weft" gen "$@" 2>&1)
    got=$?
    [ $got -eq "$code" ] && grep -q -e "$pattern" <<<"$said" && return 0
    echo "exit code $got (expected $code), and not \"$pattern\": $said"
    return 1
}
check "list writes nothing" words 0 "/made/shop.weft.h" --out "$out" --list shop.proto
check "list wrote nothing" test ! -e "$out"
check "check finds it missing" words 1 "not up to date" --out "$out" --check shop.proto
check "it writes" words 0 "/made/shop.pb-c.c" --out "$out" shop.proto
check "it writes the same" cmp "$out/shop.weft.c" "$tmp/gen/shop.weft.c"
before=$(stat -c '%Y %i' "$out"/*)
check "a second run is silent" test -z "$(gen shop.proto 2>&1)"
check "a second run writes nothing" test "$before" = "$(stat -c '%Y %i' "$out"/*)"
check "check is content" words 0 "" --out "$out" --check shop.proto
echo >>"$out/shop.weft.h"
check "only what changed" test "$(gen shop.proto)" = "$out/shop.weft.h"
check "a folder of contracts" words 0 "all/deep.weft.h" --out "$tmp/all" -I . *.proto
check "from another folder" words 0 "far/shop.weft.c" --out "$tmp/far" -I "$root/tests/golden" "$root/tests/golden/shop.proto"
check "no messages" words 0 "bare/shop.weft.c" --out "$tmp/bare" --no-messages shop.proto
check "no messages were made" test ! -e "$tmp/bare/shop.pb-c.h"
check "prefix" words 0 "" --out "$tmp/pre" --prefix my_shop shop.proto
check "prefix is used" grep -q "my_shop_product_get_product(" "$tmp/pre/shop.weft.h"
check "descriptor set" words 0 "all.set" --out "$out" --descriptor-set "$tmp/all.set" shop.proto
check "descriptor set is one" protoc --descriptor_set_in="$tmp/all.set" --descriptor_set_out=/dev/null shop.proto
check "json of files" sh -c "'$weft' gen --out '$out' -o json shop.proto | /usr/bin/python3 -c 'import json,sys; d = json.load(sys.stdin); assert d[\"ok\"] and len(d[\"files\"]) == 4'"
check "json of errors" sh -c "'$weft' gen --out '$out' -o json errors/syntax.proto | /usr/bin/python3 -c 'import json,sys; d = json.load(sys.stdin); e = d[\"errors\"][0]; assert not d[\"ok\"] and (e[\"line\"], e[\"column\"]) == (5, 3)'"
mkdir "$tmp/odd"
printf 'syntax = "proto3";\n// caf\xe9 \x01\nmessage Latin {}\n' >"$tmp/odd/latin.proto"
printf 'syntax = "proto2";\nmessage N { optional string s = 1 [default = "a\\0b"]; }\n' >"$tmp/odd/nul.proto"
check "a comment in Latin-1" words 0 "warning: a comment or a string in a contract is not UTF-8" --out "$out" -I "$tmp/odd" "$tmp/odd/latin.proto"
check "its text is UTF-8" iconv -f UTF-8 -t UTF-8 "$out/latin.weft.h"
check "a default C cannot hold" words 1 "odd/nul.proto: a string holds a NUL byte" --out "$out" -I "$tmp/odd" "$tmp/odd/nul.proto"
check "paths in errors" words 1 "errors/clash_runtime.proto:2:1:" --out "$out" -I errors errors/clash_runtime.proto
check "both paths of a clash" words 1 "at errors/clash_types.proto:3:1" --out "$out" -I errors errors/clash_types.proto
check "no arguments" words 2 "name .proto files" --out "$out"
check "no --out" words 2 "out: must be given" shop.proto
check "unknown flag" words 2 "did you mean" --out "$out" --lst shop.proto
check "missing file" words 2 "did you mean shop.proto" --out "$out" shopp.proto
check "missing import folder" words 2 "no such folder" --out "$out" -I nowhere shop.proto
check "outside of imports" words 2 "none of the -I folders" --out "$out" -I errors shop.proto
check "out is a file" words 2 "not a folder" --out shop.proto shop.proto
check "no protoc" words 1 "cannot find the program /nowhere/protoc" --out "$out" --protoc /nowhere/protoc shop.proto
check "no protoc-gen-c" words 1 "cannot run /nowhere" --out "$out" --protoc-gen-c /nowhere shop.proto
check "help" words 0 "Examples" --help
check "unknown parameter" sh -c "protoc -I. --plugin=protoc-gen-weft='$plugin' --weft_out='$tmp' --weft_opt=mesages same.proto 2>&1 | grep -q 'did you mean'"
check "bad prefix" sh -c "protoc -I. --plugin=protoc-gen-weft='$plugin' --weft_out='$tmp' --weft_opt=prefix=1x same.proto 2>&1 | grep -q 'a name that C allows'"
check "not a request" sh -c "printf 'garbage' | '$plugin' 2>&1 | grep -q 'no request of protoc'"
check "plugin help" sh -c "'$plugin' --help | grep -q weft_out"

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
