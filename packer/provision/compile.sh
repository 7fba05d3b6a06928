#!/usr/bin/env bash
# A worker compiles a second of silence in every format, as on a build: as user vibes, through FUSE, without a network.
set -euo pipefail
[ "$VIBES_ROLE" = worker ] || exit 0

trial=$(mktemp --directory)
trap 'rm --recursive "$trial"' EXIT
chmod 0755 "$trial"
mkdir -p "$trial/sources/artist/album" "$trial/profiles" "$trial/builds"

# 44 bytes of WAVE header: PCM, two channels, 44,100 Hz, 16 bits; then that much silence.
{
    printf 'RIFF\x34\xb1\x02\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00\x44\xac\x00\x00\x10\xb1\x02\x00\x04\x00\x10\x00'
    printf 'data\x10\xb1\x02\x00'
    head --bytes=176400 /dev/zero
} >"$trial/sources/artist/album/01-silence.wav"
for encoder in flac lame oggenc opusenc wavpack ffmpeg; do
    echo "CONFIG_ENCODER=$encoder" >"$trial/profiles/$encoder.config"
done

unshare --net vibes-compile build --sources "$trial/sources" --profiles "$trial/profiles" --builds "$trial/builds" --user vibes
[ "$(find "$trial/builds/out" -name "01-silence.*" -size +0 | wc --lines)" = 6 ]
