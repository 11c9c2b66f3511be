#!/bin/sh
# Runs all tests on a bare Debian 13, with its Python 3.13 and make, but without a C compiler, git and curl.
#
#   tests/bare_debian.sh [ARGUMENTS OF PYTEST]     or: make debian ARGS="..."
#
#   COMPILER=yes    installs a C compiler too, so that the rules are compiled
#   MIRROR=URL      downloads Debian from this mirror; by default debootstrap chooses one
#
# Needs root, debootstrap and git. The first run makes the system in build/; later runs use it again, until it is removed.
# The tests run on a copy of all files that git knows or would add. All their processes and mounts end with this script.
set -eu
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ] || ! command -v debootstrap >/dev/null; then
    echo 'bare_debian.sh needs root and debootstrap' >&2
    exit 1
fi

packages=python3,python3-venv,make
system=build/debian-13
if [ "${COMPILER:-}" = yes ]; then
    packages=$packages,gcc,libc6-dev,python3-dev
    system=$system-compiler
fi
if [ ! -e "$system/etc/made-for-tidings" ]; then
    rm -rf "$system"
    mkdir -p "$system"
    debootstrap --variant=minbase --include="$packages" trixie "$system" ${MIRROR:+"$MIRROR"}
    touch "$system/etc/made-for-tidings"
fi

# The system uses the name servers of this machine, and the certificates that this machine trusts.
mkdir -p "$system/etc/ssl/certs"
cp -L /etc/resolv.conf /etc/hosts "$system/etc/"
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    cp -L /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/"
fi

mkdir -p "$system/tidings"
find "$system/tidings" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
git ls-files -z --cached --others --exclude-standard |
    tar --create --null --files-from=- --ignore-failed-read | tar --extract --no-same-owner --directory="$system/tidings"

# Runs in namespaces of its own. When they end, every server that is left ends too.
exec unshare --mount --pid --fork --kill-child sh -euc '
    mount --rbind /dev "$0/dev"
    mount -t proc proc "$0/proc"
    chroot "$0" /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root make --directory=/tidings test ARGS="$1"
' "$system" "$*"
