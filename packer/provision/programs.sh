#!/usr/bin/env bash
# Puts our programs, their user, their folders and the units in place.
set -euo pipefail
# shellcheck source=packer/versions
. /tmp/vibes/versions

# The uid is fixed, so that files on a volume belong to the same user on the next image. No password, but not locked:
# sshd lets nobody in who is.
user() {
    groupadd --gid "$2" "$1"
    useradd --uid "$2" --gid "$2" --no-create-home --home-dir /var/lib/vibes --shell "$3" --password "*" "$1"
}
user vibes "$uid" /usr/sbin/nologin

install --mode=0755 /tmp/vibes/programs/vibes-agent /tmp/vibes/programs/vibes-compile /usr/local/bin/
cp --recursive --no-preserve=mode,ownership /tmp/vibes/rootfs/. /
systemctl enable vibes-agent.service

if [ "$VIBES_ROLE" = server ]; then
    # Port 22 belongs to those who pull. An EC2 Instance Connect Endpoint reaches 22 and 3389 and nothing else.
    echo "Port 3389" >/etc/ssh/sshd_config.d/vibes.conf
    # Pulls by rsync over SSH; sshd runs what it forces with the shell.
    user rsync "$rsync_uid" /bin/sh
else
    # Mode 0000: an encoder writes nothing where no volume is mounted.
    install --directory --mode=0000 /var/lib/vibes/sources /var/lib/vibes/builds
    systemctl enable vibes-longest-run.timer
fi

# Every machine gets an id of its own at its first boot.
: >/etc/machine-id
