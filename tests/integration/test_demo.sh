#!/bin/bash
# make demo as a user runs it: it adds up, exits 0 and leaves no process; DEMO=stay stays until it is told to go.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
: "${BUILD:=$root/build}"
export BUILD
work=$(mktemp -d)
export TMPDIR=$work
trap 'rm -rf "$work"' EXIT
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
        tail -n 40 "$work/out" 2>/dev/null
    fi
}

says() { grep -qF -- "$1" "$work/out"; }

# Everything of ours has TMPDIR in its environment.
processes() {
    local environ pid
    for environ in /proc/[0-9]*/environ; do
        pid=${environ#/proc/}
        pid=${pid%/environ}
        if [ "$pid" != $$ ] && [ "$pid" != "$BASHPID" ] && grep -qzxF "TMPDIR=$work" "$environ" 2>/dev/null; then
            # A line each, or one that is left out below takes the others with it.
            { tr '\0' ' ' <"/proc/$pid/cmdline" && echo; } 2>/dev/null
        fi
    done | grep -v '^grep \|^tr \|^$' || true
}
none_left() { [ -z "$(processes)" ]; }

"$root/deploy/demo/run" >"$work/out" 2>&1
check 'exit code 0' [ $? -eq 0 ]
check '100 orders' says '100 orders: 97 confirmed, 2 failed, 1 cancelled, 0 not decided'
check 'one fails at the payment' says 'charge: the wallet of user'
check 'one loses the race' says 'reserve: out of stock: product'
check 'one wins it' says 'races for the last item'
check 'goods and money add up' says 'it all adds up'
check 'the auditor agrees' says 'the books agree'
check 'a hop with both identities' says 'spiffe://mesh.local/ns/shop/sa/order -> spiffe://mesh.local/ns/shop/sa/payment'
check 'the hop before it' says 'spiffe://mesh.local/ns/shop/sa/client -> spiffe://mesh.local/ns/shop/sa/order'
check 'counters of a sidecar' says 'weft_tls_handshakes_total{direction="inbound",outcome="ok"}'
check 'spans of both sides' says 'payment serves shop.payment.v1.PaymentService/Charge'
check 'no process is left' none_left

# Without sidecars.
DEMO_MESH=no "$root/deploy/demo/run" >"$work/out" 2>&1
check 'exit code 0 without sidecars' [ $? -eq 0 ]
check 'the auditor agrees without sidecars' says 'the books agree'
check 'no process is left without sidecars' none_left

# The demo can fail, and then says so.
DEMO_ARGS='--orders nonsense' "$root/deploy/demo/run" >"$work/out" 2>&1
check 'a failure is a failure' [ $? -ne 0 ]
check 'no process is left after a failure' none_left

# Staying: wait for the line, then end it as a terminal (or make) would.
DEMO=stay "$root/deploy/demo/run" >"$work/out" 2>&1 &
demo=$!
for _ in $(seq 1200); do
    says 'stays until ctrl-C' && break
    kill -0 $demo 2>/dev/null || break
    sleep 0.1
done
check 'it stays' says 'stays until ctrl-C'
check 'it runs' kill -0 $demo
check 'five services run' [ "$(processes | grep -o 'weft-shop [a-z]*' | sort -u | wc -l)" -ge 5 ]
kill -TERM $demo
wait $demo
check 'exit code 0 when told to go' [ $? -eq 0 ]
check 'the auditor agrees then, too' says 'the books agree'
check 'no process is left after staying' none_left

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
