#!/bin/bash
# docs/reference is what `make docs` would write: help texts, fields of the bootstrap file, metrics, limits.
set -u
cd "$(dirname "$0")/../.." || exit 1
: "${BUILD:=build}"
passed=0
failed=0

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL $name"
    fi
}

check 'the pages are what the code says' tools/docs/reference --build "$BUILD" --check

# It can fail: a tree with other pages is not accepted.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r tools proto sidecar services lib docs "$work"
sed -i 's/listeners | 1,000/listeners | 1,001/' "$work/docs/reference/limits.md"
tells() { ! "$work/tools/docs/reference" --build "$BUILD" --only limits.md --check >"$work/out" && grep -q '^-| listeners | 1,001' "$work/out"; }
check 'a page that says something else is found' tells

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
