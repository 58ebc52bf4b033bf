#!/bin/bash
# Proves that a clean clone works on a bare machine: in a chroot with Debian's base system, git, make
# and nothing else, `make demo` and `make test` of the committed HEAD. Needs root.
#
#   BUILD=dir      where the chroot is made (default build)
#   KEEP=1         leave the chroot for a look
#   FRESH_STEPS=   targets to run (default: demo test); "true" runs none
#   cache          ${XDG_CACHE_HOME:-/var/cache}/weft: the base system and downloaded packages of apt and npm
set -eu -o pipefail

inside() { # runs in mount and pid namespaces of its own: every mount is gone when it ends
    local root=$1
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    local node
    for node in null zero full random urandom tty; do
        touch "$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s fd/0 "$root/dev/stdin"
    ln -s fd/1 "$root/dev/stdout"
    ln -s fd/2 "$root/dev/stderr"
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    mount --bind "$cache/archives" "$root/var/cache/apt/archives"
    mount --bind "$cache/npm" "$root/root/.npm"

    local keep=() name
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        [ -z "${!name:-}" ] || keep+=("$name=${!name}")
    done
    [ ! -f "$root/root/node-ca.pem" ] || keep+=(NODE_EXTRA_CA_CERTS=/root/node-ca.pem)
    local run=(chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 TERM=dumb
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${keep[@]}")
    "${run[@]}" git -c advice.detachedHead=false clone -q /root/head.bundle /root/weft
    local step start
    for step in $steps; do
        [ "$step" != true ] || continue
        say "make $step"
        start=$SECONDS
        "${run[@]}" make -C /root/weft --no-print-directory "$step" </dev/null
        say "make $step succeeded in $((SECONDS - start)) s"
    done
}

# The host's way to npm's registry, if it has npm: where it is, proxies, whom to trust. No credentials.
npm_settings() {
    local root=$1 cafile
    if command -v npm >/dev/null && command -v node >/dev/null; then
        (cd / && npm config list --json 2>/dev/null) | node -e '
            const all = JSON.parse(require("fs").readFileSync(0, "utf8"));
            for (const key of ["registry", "proxy", "https-proxy", "noproxy", "strict-ssl"])
                if (String(all[key] ?? "")) console.log(`${key}=${all[key]}`);
            if (all.cafile) console.log("cafile=/root/npm-ca.pem");' >"$root/root/.npmrc"
        cafile=$(cd / && npm config get cafile 2>/dev/null)
        [ ! -f "$cafile" ] || cp -L "$cafile" "$root/root/npm-ca.pem"
    fi
    [ ! -f "${NODE_EXTRA_CA_CERTS:-}" ] || cp -L "$NODE_EXTRA_CA_CERTS" "$root/root/node-ca.pem"
}

say() { printf 'fresh: %s\n' "$*"; }
absent() { printf 'not possible here: %s\n' "$*"; exit 77; }

steps=${FRESH_STEPS:-demo test}
cache=${XDG_CACHE_HOME:-/var/cache}/weft
if [ "${1:-}" = --inside ]; then
    inside "$2"
    exit
fi

[ "$(id -u)" -eq 0 ] || absent "make fresh needs root for its chroot"
unshare --mount --pid --fork true || { say "root, but no right to make a mount namespace"; exit 1; }
work=$(mktemp -d "$(mkdir -p "${BUILD:=build}" && cd "$BUILD" && pwd)/fresh.XXXXXX")
trap '[ -n "${KEEP:-}" ] || rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
root=$work/root
mkdir -p "$root" "$cache/archives/partial" "$cache/npm"

# The suite and the mirror are the host's; so are its proxies.
. /etc/os-release
suite=${VERSION_CODENAME:?}
arch=$(dpkg --print-architecture)
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk -v suite="$suite" '$2 == suite && $3 == "main" { print $1; exit }')
[ -n "$mirror" ] || { say "apt has no source of Debian's $suite"; exit 1; }
apt_http_proxy=$(apt-config shell p Acquire::http::Proxy | sed "s/^p='\(.*\)'$/\1/")
[ -z "$apt_http_proxy" ] || export http_proxy=${http_proxy:-$apt_http_proxy}

base=$cache/base-$suite-$arch.tar
if [ ! -s "$base" ]; then
    say "debootstrap of $suite (kept for the next time)"
    start=$SECONDS
    if ! debootstrap --variant=minbase --include=git,make,ca-certificates --arch="$arch" \
        "$suite" "$root" "$mirror" >"$work/debootstrap.log" 2>&1; then
        tail -n 40 "$work/debootstrap.log" >&2
        say "debootstrap failed"
        exit 1
    fi
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    tar -C "$root" --numeric-owner -cf "$base.$$" . && mv "$base.$$" "$base"
    say "debootstrap done in $((SECONDS - start)) s"
else
    say "base system of $suite from the cache"
    tar -C "$root" --numeric-owner -xpf "$base"
fi

# The host's way to its mirrors, and packages kept between runs.
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d
mkdir -p "$root/etc/apt/sources.list.d" "$root/etc/apt/preferences.d" "$root/usr/share/keyrings"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    # Debian's own only: other vendors' packages have no place on a bare machine.
    if [ -f "$file" ] && grep -qE "^(deb|Suites:).*\b$suite\b" "$file" && grep -q debian "$file"; then
        cp "$file" "$root/etc/apt/${file#/etc/apt/}"
    fi
done
cp -n /usr/share/keyrings/debian-archive-*.gpg "$root/usr/share/keyrings/" 2>/dev/null || true
apt-config dump --format '%F "%v";%n' Acquire >"$root/etc/apt/apt.conf.d/90host"
cat >"$root/etc/apt/apt.conf.d/91keep" <<'END'
APT::Keep-Downloaded-Packages "true";
Binary::apt-get::APT::Keep-Downloaded-Packages "true";
Acquire::Languages "none";
END
cp -L /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || true
[ ! -s /etc/ssl/certs/ca-certificates.crt ] ||
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
# A chroot that is thrown away need not outlive a power failure: dpkg waits for the disk otherwise.
mkdir -p "$root/etc/dpkg/dpkg.cfg.d"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
mkdir -p "$root/var/cache/apt/archives" "$root/var/lib/apt/lists/partial" "$root/root/.npm"
npm_settings "$root"

changed=$(git status --porcelain | wc -l)
[ "$changed" -eq 0 ] || say "$changed uncommitted changes are not part of this check"
git bundle create -q "$root/root/head.bundle" HEAD
say "commit $(git rev-parse --short HEAD) in a chroot of $suite with git and make"

export XDG_CACHE_HOME=${XDG_CACHE_HOME:-/var/cache} FRESH_STEPS=$steps
status=0
unshare --mount --pid --fork --kill-child --propagation private "$0" --inside "$root" || status=$?
if [ $status -ne 0 ]; then
    say "failed"
    exit $status
fi
say "a clean clone works on a bare machine"
