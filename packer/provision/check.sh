#!/usr/bin/env bash
# Asserts that the machine is what its role asks for, and writes down what the agent says that it is made of.
set -euo pipefail
# shellcheck source=packer/versions
. /tmp/vibes/versions
. /etc/os-release
trap 'echo "check.sh: line $LINENO does not hold: $BASH_COMMAND" >&2' ERR

[ "$VERSION_ID" = "$debian" ]
[ "$(id --user vibes)" = "$uid" ]
programs=(vibes-agent vibes-compile chronyd sshd mkfs.ext4 e2fsck dumpe2fs resize2fs blkid)
case "$VIBES_ROLE" in
worker) programs+=(tup ffmpeg flac lame oggenc opusenc wavpack fusermount3) ;;
server) programs+=(caddy rsync rrsync /usr/lib/openssh/sftp-server) ;;
esac
for program in "${programs[@]}"; do
    command -v "$program" >/dev/null
done

units=(vibes-agent.service)
if [ "$VIBES_ROLE" = server ]; then
    [ "$(id --user rsync)" = "$rsync_uid" ]
    [ "$(getent shadow vibes rsync | cut --delimiter=: --fields=2 | uniq)" = "*" ]
    [ "$(systemctl is-enabled caddy.service rsync.service | uniq)" = disabled ]
    mkdir -p /run/sshd
    sshd -T | grep --line-regexp "port 3389" >/dev/null
else
    units+=(vibes-longest-run.timer)
    [ "$(stat --format=%a /var/lib/vibes/sources /var/lib/vibes/builds | uniq)" = 0 ]
fi
systemctl is-enabled --quiet "${units[@]}" chrony.service ssh.service
systemd-analyze verify --man=no "${units[@]}" emergency.service rescue.service
[ "$(systemctl is-enabled apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer man-db.timer | uniq)" = masked ]
[ "$(chronyd -p | grep --count --extended-regexp "^(server|pool|peer) ")" = 1 ]
chronyd -p | grep "^server 169.254.169.123 " >/dev/null
vibes-agent image >/tmp/vibes/image.json
