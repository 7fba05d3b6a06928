#!/usr/bin/env bash
# Installs the Debian packages of the role and nothing else.
set -euo pipefail

common=(ca-certificates chrony e2fsprogs util-linux)
case "$VIBES_ROLE" in
worker) packages=("${common[@]}" flac fuse3 lame opus-tools tup vorbis-tools) ;;
volmgr) packages=("${common[@]}") ;;
server) packages=("${common[@]}" rsync) ;;
*)
    echo "VIBES_ROLE is '$VIBES_ROLE': give worker, volmgr or server" >&2
    exit 1
    ;;
esac

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends "${packages[@]}"
apt-get clean
# An instance lives for minutes: it must not spend them on updates.
systemctl mask apt-daily.timer apt-daily-upgrade.timer
