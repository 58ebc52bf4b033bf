#!/bin/bash
# Installs the Debian packages that a set of targets needs: tools/deps.sh [--verbose] SET…
# Sets: build (libraries, programs, demo), test, ci, bench. Silent and quick when nothing is missing.
# PACKAGE/PROGRAM is not needed where there is such a program, whoever installed it: packages of Node from
# elsewhere bring npm along and refuse Debian's.
set -eu

build='gcc libc6-dev make pkg-config protobuf-compiler protobuf-c-compiler libprotobuf-c-dev
    libprotoc-dev grpc-proto libgrpc-dev libsqlite3-dev libyaml-dev libyajl-dev
    libssl-dev libc-ares-dev zlib1g-dev'
test='libcmocka-dev libnghttp2-dev python3 python3-grpcio python3-protobuf sqlite3 procps openssl
    clang g++ nodejs/node npm/npm'
ci='valgrind libclang-rt-14-dev clang-format cppcheck debootstrap git'
bench='haproxy nghttp2-proxy nginx valgrind'

verbose=
wanted=
for arg in "$@"; do
    case $arg in
    --verbose) verbose=1 ;;
    build) wanted+=" $build" ;;
    test) wanted+=" $test" ;;
    ci) wanted+=" $ci" ;;
    bench) wanted+=" $bench" ;;
    *) echo "deps: no set '$arg'; there are build, test, ci and bench" >&2; exit 2 ;;
    esac
done

needed=
for package in $wanted; do
    case $package in
    */*) command -v "${package#*/}" >/dev/null || needed+=" ${package%/*}" ;;
    *) needed+=" $package" ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then
    echo "deps: not a Debian system; make sure these or their like are installed:" $needed >&2
    exit 0
fi

missing=()
# shellcheck disable=SC2086
have=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' $needed 2>/dev/null || true)"
for package in $needed; do
    case $have in
    *" installed:$package "*) ;;
    *) missing+=("$package") ;;
    esac
done
if [ ${#missing[@]} -eq 0 ]; then
    [ -z "$verbose" ] || echo "deps: nothing missing"
    exit 0
fi

echo "deps: missing: ${missing[*]}"
root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "deps: installing them needs root or sudo; as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    root=(sudo)
fi
apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -y)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Package lists may be absent or old: refresh them only when installing without that fails.
if ! "${apt[@]}" install --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null; then
    echo "deps: refreshing the package lists"
    "${apt[@]}" update >"$log" 2>&1 </dev/null || { cat "$log" >&2; exit 1; }
    if ! "${apt[@]}" install --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        echo "deps: could not install ${missing[*]}" >&2
        exit 1
    fi
fi
echo "deps: installed ${#missing[@]} packages"
