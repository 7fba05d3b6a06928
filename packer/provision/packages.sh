#!/usr/bin/env bash
# Installs the Debian packages of the role and nothing else, and lets no package act by itself afterwards.
set -euo pipefail

# openssh-server: for whoever looks at a machine through an EC2 Instance Connect Endpoint.
packages=(ca-certificates chrony e2fsprogs openssh-server util-linux)
case "$VIBES_ROLE" in
volmgr) ;;
worker) packages+=(ffmpeg flac fuse3 lame opus-tools tup vorbis-tools wavpack) ;;
server) packages+=(caddy python3 rsync) ;; # rrsync is part of rsync and written in Python
*)
    echo "VIBES_ROLE is '$VIBES_ROLE': give volmgr, worker or server" >&2
    exit 1
    ;;
esac

export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q install --yes --no-install-recommends "${packages[@]}"
apt-get clean

# A machine lives for minutes: it must not spend them on updates.
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer man-db.timer unattended-upgrades.service
# The agent starts what serves, with a configuration of its own.
if [ "$VIBES_ROLE" = server ]; then
    systemctl disable caddy.service rsync.service
fi
