#!/usr/bin/env bash
# Asserts that the machine can do what its role asks.
set -euo pipefail

programs=(vibes-agent vibes-compile mkfs.ext4 e2fsck resize2fs blkid)
case "$VIBES_ROLE" in
worker) programs+=(tup flac lame oggenc opusenc fusermount3) ;;
server) programs+=(rsync) ;;
esac
for program in "${programs[@]}"; do
    command -v "$program" >/dev/null || {
        echo "the image lacks $program" >&2
        exit 1
    }
done
[ "$(id --user vibes)" = 900 ]
systemctl is-enabled --quiet vibes-agent.service
systemd-analyze verify /etc/systemd/system/vibes-agent.service
vibes-agent image
