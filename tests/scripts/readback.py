"""Prints what mutagen, which wrote none of it, reads back from every FLAC, MP3, Vorbis and Opus file below a directory.

One JSON object: relative path -> {"seconds", "tags": {KEY: [value, ...]}, "pictures": [{"type", "mime", "sha256"}]}.
Keys are Vorbis comment names in upper case; ID3 frames are named by their Vorbis counterpart.
"""

import base64
import hashlib
import json
import pathlib
import sys

from mutagen.flac import FLAC, Picture
from mutagen.mp3 import MP3
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis

ID3_NAMES = {
    "TIT2": "TITLE",
    "TPE1": "ARTIST",
    "TPE2": "ALBUMARTIST",
    "TALB": "ALBUM",
    "TDRC": "DATE",
    "TRCK": "TRACKNUMBER",
    "TPOS": "DISCNUMBER",
    "TCON": "GENRE",
}


def picture(kind, mime, data):
    return {"type": int(kind), "mime": mime, "sha256": hashlib.sha256(data).hexdigest()}


def vorbis(comments):
    return {
        key.upper(): list(values)
        for key, values in comments.as_dict().items()
        if key.upper() != "METADATA_BLOCK_PICTURE"
    }


def read_ogg(file):
    encoded = file.get("metadata_block_picture", [])
    blocks = [Picture(base64.b64decode(block)) for block in encoded]
    return vorbis(file.tags), [picture(b.type, b.mime, b.data) for b in blocks]


def read_flac(file):
    return vorbis(file.tags), [picture(p.type, p.mime, p.data) for p in file.pictures]


def read_mp3(file):
    tags, pictures = {}, []
    for frame in file.tags.values():
        if frame.FrameID == "APIC":
            pictures.append(picture(frame.type, frame.mime, frame.data))
        elif frame.FrameID == "TXXX":
            tags[frame.desc.upper()] = [str(text) for text in frame.text]
        elif frame.FrameID in ID3_NAMES:
            tags[ID3_NAMES[frame.FrameID]] = [str(text) for text in frame.text]
    return tags, pictures


READERS = {
    ".flac": (FLAC, read_flac),
    ".mp3": (MP3, read_mp3),
    ".ogg": (OggVorbis, read_ogg),
    ".opus": (OggOpus, read_ogg),
}


def main(root):
    found = {}
    for path in sorted(root.rglob("*")):
        if path.suffix not in READERS or not path.is_file():
            continue
        opener, reader = READERS[path.suffix]
        file = opener(path)
        tags, pictures = reader(file)
        found[str(path.relative_to(root))] = {
            "seconds": file.info.length,
            "tags": tags,
            "pictures": pictures,
        }
    json.dump(found, sys.stdout, ensure_ascii=False)


main(pathlib.Path(sys.argv[1]))
