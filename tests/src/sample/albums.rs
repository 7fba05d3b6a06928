//! Which artists, albums and tracks the sample has. Everything here is invented.

/// One album, or one disc of an album.
pub(super) struct Album {
    /// Folder below the collection's root.
    pub(super) folder: &'static str,
    /// Text of its `tags.vc`; empty for none.
    pub(super) tags: &'static str,
    /// Other text files beside the tracks: name and text.
    pub(super) sidecars: &'static [(&'static str, &'static str)],
    /// A picture beside the tracks.
    pub(super) cover: Cover,
    /// Bits of a sample: 16 or 24.
    pub(super) bits: u16,
    /// Number of channels.
    pub(super) channels: u16,
    /// The first track has 24 bits at 96 kHz.
    pub(super) hires_first: bool,
    /// It is another disc of the album before it.
    #[cfg_attr(not(test), expect(dead_code, reason = "the count of albums is what a test looks at"))]
    pub(super) later_disc: bool,
    /// File names of the tracks.
    pub(super) tracks: &'static [&'static str],
}

/// A picture file to be generated.
#[derive(Clone, Copy)]
pub(super) enum Cover {
    /// There is none.
    None,
    /// A small PNG of this name.
    Png(&'static str),
    /// A PNG above 128 KiB, which is more than `lame` embeds by itself.
    BigPng(&'static str),
    /// A JPEG of this name.
    Jpeg(&'static str),
}

const PLAIN: Album = Album {
    folder: "",
    tags: "",
    sidecars: &[],
    cover: Cover::None,
    bits: 16,
    channels: 2,
    hires_first: false,
    later_disc: false,
    tracks: &[],
};

/// Artists' folders with the text of their `tags.vc`. `Anonymous Session` has none: names tell everything there.
pub(super) const ARTISTS: &[(&str, &str)] = &[
    ("Die Wühlmäuse", "ARTIST=Die Wühlmäuse\nGENRE=Krautfolk\n"),
    (
        "Mick \"The Hammer\" O'Toole",
        "ARTIST=Mick \"The Hammer\" O'Toole\nGENRE=Blues\nGENRE=Pub Rock\n",
    ),
    ("山田花火", "ARTIST=山田花火\nARTISTSORT=Yamada Hanabi\n"),
    ("Null Pointer", "ARTIST=Null Pointer\nGENRE=Electronic\n"),
    ("Ёлки <3", "ARTIST=Ёлки <3\nGENRE=Ambient\n"),
];

/// A playlist at the collection's root: its name and its text.
pub(super) const PLAYLIST: (&str, &str) = (
    "Late & Loud.pl.yaml",
    "title: Late & Loud\ntracks:\n\
    - Null Pointer/Stack Overflow/02-Off by One\n\
    - 山田花火/夜 🌙/02-星 ✨\n\
    - \"Ёлки <3/Тишина #1/03-Снег\"\n",
);

/// Every album, artist by artist.
pub(super) const ALBUMS: &[Album] = &[
    Album {
        folder: "Die Wühlmäuse/Grün & Gründlich",
        tags: "ALBUM=Grün & Gründlich\nDATE=1998\n",
        sidecars: &[
            ("vibes.txt", "apic=3:png:.\n"),
            (
                "01-Maulwurfshügel.tags.vc",
                "TITLE=Maulwurfshügel\nPERFORMER=Erna Erdreich\nPERFORMER=Schorsch Schaufel\n",
            ),
            ("02-Über den Zaun.tags.vc", "TITLE=Über den Zaun\n"),
            ("03-Möhrentango.tags-album.vc", "TITLE=Möhrentango\n"),
            (
                "booklet.pdf",
                "%PDF-1.4\n% Not music: whoever compiles the collection leaves it alone.\n%%EOF\n",
            ),
        ],
        cover: Cover::Png("picture-03.png"),
        tracks: &[
            "01-Maulwurfshügel.wav",
            "02-Über den Zaun.wav",
            "03-Möhrentango.wav",
            "04-Süße Wurzeln.wav",
            "05-Regenwürmer.wav",
            "06-Gießkannenblues.wav",
        ],
        ..PLAIN
    },
    Album {
        folder: "Die Wühlmäuse/Tief unten (100% live)",
        tags: "ALBUM=Tief unten (100% live)\nDATE=2001-05-17\nLOCATION=Keller, Köln\n",
        sidecars: &[
            ("vibes.txt", "apic=3:jpeg:.\n"),
            ("02.tags.vc", "TITLE=50% Erde, 50% Stein\n"),
        ],
        cover: Cover::Jpeg("picture-03.jpeg"),
        tracks: &[
            "01.wave",
            "02.wave",
            "03.wave",
            "04-Zugabe, Zugabe!.wave",
            "05-Noch eine.wave",
            "06-Schluss jetzt.wave",
        ],
        ..PLAIN
    },
    Album {
        folder: "Mick \"The Hammer\" O'Toole/Songs for $5 & Less/1",
        tags: "DISCNUMBER=1\n",
        sidecars: &[
            ("../tags.vc", "ALBUM=Songs for $5 & Less\nDATE=1974\nDISCTOTAL=2\n"),
            ("vibes.txt", "apic=3:jpeg:..\n"),
        ],
        cover: Cover::Jpeg("../picture-03.jpeg"),
        tracks: &[
            "01-Can't Pay, Won't Pay.wave",
            "02-\"Free\" Beer.wave",
            "03-$HOME Is Where.wave",
            "04-Rent `Due`.wave",
        ],
        ..PLAIN
    },
    Album {
        folder: "Mick \"The Hammer\" O'Toole/Songs for $5 & Less/2",
        tags: "DISCNUMBER=2\n",
        sidecars: &[("vibes.txt", "apic=3:jpeg:..\n")],
        later_disc: true,
        tracks: &[
            "01-Nail; Hammer; Nail.wave",
            "02-Back\\Slash.wave",
            "03-What?.wave",
            "04-Stars * * *.wave",
        ],
        ..PLAIN
    },
    Album {
        folder: "Mick \"The Hammer\" O'Toole/It's [Not] {Over}",
        tags: "ALBUM=It's [Not] {Over}\nDATE=1979\n",
        sidecars: &[("vibes.txt", "apic=3:png:.\n")],
        cover: Cover::BigPng("picture-03.png"),
        channels: 1,
        tracks: &[
            "01-One More Time.wav",
            "02-Two  Spaces.wav",
            "03-It Was Me & Him.wav",
            "04-100%.wav",
            "05-#5.wav",
            "06-Last=First.wav",
        ],
        ..PLAIN
    },
    Album {
        folder: "山田花火/春の歌",
        tags: "ALBUM=春の歌\nDATE=2011\n",
        sidecars: &[
            ("vibes.txt", "apic=3:jpeg:.\n"),
            ("01-さくら.tags.vc", "TITLE=さくら\nTITLESORT=Sakura\n"),
            ("06-終わり.tags.vc", "TITLE=終わり\nCOMMENT=最後の曲 — ほんとうに\n"),
        ],
        cover: Cover::Jpeg("picture-03.jpeg"),
        bits: 24,
        tracks: &[
            "01-さくら.wav",
            "02-川.wav",
            "03-雨の日.wav",
            "04-電車.wav",
            "05-猫の足音.wav",
            "06-終わり.wav",
        ],
        ..PLAIN
    },
    Album {
        folder: "山田花火/夜 🌙",
        tags: "ALBUM=夜 🌙\nDATE=2016\n",
        sidecars: &[("vibes.txt", "apic=3:png:.\n")],
        cover: Cover::Png("picture-03.png"),
        bits: 24,
        hires_first: true,
        tracks: &["01-月.flac", "02-星 ✨.flac", "03-梟.flac", "04-夢.flac", "05-朝.flac"],
        ..PLAIN
    },
    Album {
        folder: "Null Pointer/Stack Overflow",
        sidecars: &[
            (
                "mustup-metadata.yaml",
                "tags:\n  common: {album: Stack Overflow}\n  Vorbis: {DATE: 2020}\n\
                pictures:\n  APIC:\n    3: {path: dump.png, description: A core dump}\n",
            ),
            (
                "mustup-manifest.yaml",
                "01-Segfault.wav:\n  metadata: {tags: {common: {title: Segfault}, Vorbis: {ISRC: XX0002000001}}}\n\
                02-Off by One.wav:\n  metadata: {tags: {common: {title: Off by Two}}}\n\
                03-Use After Free.wav:\n04-Race.wav:\n05-Deadlock.wav:\n06-Core Dump.wav:\n",
            ),
        ],
        cover: Cover::Png("dump.png"),
        channels: 1,
        tracks: &[
            "01-Segfault.wav",
            "02-Off by One.wav",
            "03-Use After Free.wav",
            "04-Race.wav",
            "05-Deadlock.wav",
            "06-Core Dump.wav",
        ],
        ..PLAIN
    },
    Album {
        folder: "Null Pointer/--rm -rf",
        tags: "ALBUM=--rm -rf\nDATE=2023\n",
        sidecars: &[("vibes.txt", "apic=3:jpeg:.\n")],
        cover: Cover::Jpeg("picture-03.jpeg"),
        tracks: &[
            "01--v.aiff",
            "02--help.aiff",
            "03-$(true).aiff",
            "04-a|b.aiff",
            "05-%d.aiff",
        ],
        ..PLAIN
    },
    Album {
        folder: "Ёлки <3/Тишина #1",
        tags: "ALBUM=Тишина #1\nDATE=2018\n",
        sidecars: &[("vibes.txt", "apic=3:png:.\n"), ("03-Снег.tags.vc", "TITLE=Снег <3\n")],
        cover: Cover::Png("picture-03.png"),
        tracks: &[
            "01-Лес.wav",
            "02-Иней.wav",
            "03-Снег.wav",
            "04-Ёж.wav",
            "05-Ночь.wav",
            "06-….wav",
        ],
        ..PLAIN
    },
    Album {
        folder: "Anonymous Session/Basement Tape",
        tracks: &[
            "01 - Tuning Up.wav",
            "02 - Take One.wav",
            "03 - Take Two.wav",
            "04 - Someone Coughs.wav",
            "05 - Take Three.wav",
            "06 - Lights Out.wav",
        ],
        ..PLAIN
    },
];
