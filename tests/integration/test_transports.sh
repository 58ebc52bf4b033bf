#!/bin/sh
# The suite of lib/rpc with a transport on the server that is not the client's, both ways round.
set -u
programs=${BUILD:?}/bin/tests/unit/rpc
passed=0
failed=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

for client in native core; do
    server=core
    [ $client = core ] && server=native
    for suite in unary stream server chain main mix; do
        if WEFT_TRANSPORT=$client TEST_SERVER_TRANSPORT=$server "$programs/test_$suite" >"$log" 2>&1; then
            passed=$((passed + 1))
            echo "ok $suite: $client calls $server"
        else
            failed=$((failed + 1))
            echo "FAIL $suite: $client calls $server"
            tail -n 40 "$log"
        fi
    done
done
if WEFT_TRANSPORT=native "$BUILD/bin/tests/integration/test_rpc_python" >"$log" 2>&1; then
    passed=$((passed + 1))
    echo "ok native and python3-grpcio, both ways"
else
    failed=$((failed + 1))
    echo "FAIL native and python3-grpcio"
    tail -n 40 "$log"
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
