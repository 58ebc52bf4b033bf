#!/bin/bash
# Runs make targets one after another, all of them even when one fails, and adds up their cases:
# tools/ci.sh BUILD TARGET…   A step that exits 77 could not be run here and says why.
set -u
# Each step is a make of its own with all processors, not a part of the one that called us.
unset MAKEFLAGS MFLAGS MAKELEVEL
build=$1
shift
logs=$build/ci-logs
mkdir -p "$logs"
passed=0 failed=0 rows=()
began=$SECONDS
for step in "$@"; do
    printf '== %s\n' "$step"
    start=$SECONDS
    ${MAKE:-make} --no-print-directory BUILD="$build" "$step" </dev/null 2>&1 | tee "$logs/$step.log"
    code=${PIPESTATUS[0]}
    last=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$logs/$step.log" | tail -n 1)
    read -r step_passed _ step_failed _ <<<"${last:-0 passed, 0 failed}"
    word=ok
    if grep -q '^not possible here:' "$logs/$step.log"; then
        word=absent
    elif [ "$code" -ne 0 ]; then
        word=FAIL
        [ "$step_failed" -gt 0 ] || step_failed=1
    elif [ -z "$last" ]; then
        step_passed=1
    fi
    passed=$((passed + step_passed))
    failed=$((failed + step_failed))
    rows+=("$(printf '  %-6s %-12s %6d passed %4d failed %5d s' "$word" "$step" "$step_passed" \
        "$step_failed" $((SECONDS - start)))")
done
printf '== all steps, %d s\n' $((SECONDS - began))
printf '%s\n' "${rows[@]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
