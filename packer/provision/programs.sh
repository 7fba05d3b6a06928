#!/usr/bin/env bash
# Puts our programs, the user that encodes, and the unit in place.
set -euo pipefail

# The uid is fixed, so that files on a volume belong to the same user on the next image.
groupadd --gid 900 vibes
useradd --uid 900 --gid 900 --home-dir /nonexistent --shell /usr/sbin/nologin vibes

install --mode=0755 /tmp/vibes-agent /tmp/vibes-compile /usr/local/bin/
cp --recursive --no-preserve=mode,ownership /tmp/rootfs/. /
# Mode 0000: what is written here without a mounted volume fails at once.
install --directory --mode=0000 /var/lib/vibes/sources /var/lib/vibes/builds
systemctl enable vibes-agent.service
