//! Tags and pictures in MP4, WavPack and Ogg FLAC, read back by programs that did not write them.

mod support;

use std::fs;
use std::path::Path;

use support::{World, png, says, tone};

/// A track with tags of every kind, a front and a back cover, in each of the formats.
fn world() -> World {
    let world = World::new();
    world.profile("ogg", "CONFIG_ENCODER=flac\nCONFIG_FORMAT=oggflac\n");
    world.profile("pack", "CONFIG_ENCODER=wavpack\n");
    world.profile("pod", "CONFIG_ENCODER=ffmpeg\n");
    world.profile("apple", "CONFIG_ENCODER=ffmpeg\nCONFIG_FORMAT=alac\n");
    world.write("a.wav", tone(1));
    world.write(
        "tags.vc",
        "TITLE=Börn <3\nARTIST=Creedence\nARTIST=久石 譲\nALBUMARTIST=All\nDATE=1969-01-05\nTRACKNUMBER=3\nTRACKTOTAL=12\n\
         DISCNUMBER=1\nTOTALDISCS=2\nISRC=A\nISRC=B\nMY OWN=yes\nBPM=120\nCOMPILATION=1\nX=one letter\nTAG=reserved\n",
    );
    world.write("vibes.txt", "apic=4:png;3:png\n");
    world.write("picture-03.png", png(3, 200_000));
    world.write("picture-04.png", png(4, 10));
    world.build_well();
    world
}

fn holds(path: &Path, picture: &[u8]) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes.windows(picture.len()).any(|window| window == picture)
}

#[test]
fn mp4_has_the_atoms_of_itunes() {
    let world = world();
    for profile in ["pod", "apple"] {
        let path = world.output(Path::new(profile).join("a.m4a"));
        let said = says("mutagen-inspect", &[], &path);
        for line in [
            "©nam=Börn <3",
            "©ART=Creedence",
            "©ART=久石 譲",
            "aART=All",
            "©day=1969-01-05",
            "trkn=(3, 12)",
            "disk=(1, 2)",
            "tmpo=120",
            "cpil=True",
            "----:com.apple.iTunes:ISRC=MP4FreeForm(b'A', <AtomDataType.UTF8: 1>)",
            "----:com.apple.iTunes:ISRC=MP4FreeForm(b'B', <AtomDataType.UTF8: 1>)",
            "----:com.apple.iTunes:MY OWN=MP4FreeForm(b'yes', <AtomDataType.UTF8: 1>)",
        ] {
            assert!(said.lines().any(|found| found == line), "{line} in {said}");
        }
        let probed = says(
            "ffprobe",
            &[
                "-v",
                "error",
                "-show_entries",
                "stream=codec_name:stream_tags",
                "-of",
                "csv",
            ],
            &path,
        );
        assert!(probed.contains("png"), "{probed}");
        // The front cover comes first, whatever the order was.
        let bytes = fs::read(&path).unwrap();
        let at = |picture: Vec<u8>| {
            bytes
                .windows(picture.len())
                .position(|window| window == picture)
                .unwrap()
        };
        assert!(at(png(3, 200_000)) < at(png(4, 10)));
    }
}

#[test]
fn wavpack_has_the_items_of_apev2() {
    let world = world();
    let path = world.output("pack/a.wv");
    let said = says("mutagen-inspect", &[], &path);
    for line in [
        "Title=Börn <3",
        "Artist=Creedence / 久石 譲",
        "Year=1969-01-05",
        "Track=3/12",
        "Disc=1/2",
        "ISRC=A / B",
        "MY OWN=yes",
        // Names that APEv2 does not allow.
        "TAG X=one letter",
        "TAG TAG=reserved",
    ] {
        assert!(said.lines().any(|found| found == line), "{line} in {said}");
    }
    let listed = says("wvtag", &["-l", "-q"], &path);
    assert!(
        listed.contains("Cover Art (Front)") && listed.contains("Cover Art (Back)"),
        "{listed}"
    );
    assert!(holds(&path, &png(3, 200_000)) && holds(&path, &png(4, 10)));
    says("wvunpack", &["-q", "-v"], &path);
}

#[test]
fn names_that_share_a_place_keep_all_their_values() {
    let world = World::new();
    world.profile("car", "CONFIG_ENCODER=lame\n");
    world.profile("pack", "CONFIG_ENCODER=wavpack\n");
    world.profile("pod", "CONFIG_ENCODER=ffmpeg\n");
    world.write("1.wav", tone(1));
    let names = [
        "ALBUM ARTIST",
        "ALBUMARTIST",
        "DATE",
        "YEAR",
        "LABEL",
        "ORGANIZATION",
        "PUBLISHER",
        "LYRICS",
        "UNSYNCEDLYRICS",
        "ORIGINALDATE",
        "ORIGINALYEAR",
    ];
    // Dates that are none would be left out of ID3.
    let value = |number: usize| (1900 + number).to_string();
    let lines = names
        .iter()
        .enumerate()
        .map(|(number, name)| format!("{name}={}\n", value(number)));
    world.write("1.tags.vc", lines.collect::<String>());
    world.build_well();
    for output in ["car/1.mp3", "pack/1.wv", "pod/1.m4a"] {
        let said = says("mutagen-inspect", &[], &world.output(output));
        for (number, name) in names.iter().enumerate() {
            assert!(said.contains(&value(number)), "{name} in {output}: {said}");
        }
    }
    // The place is that of the name that belongs there.
    let said = says("mutagen-inspect", &[], &world.output("car/1.mp3"));
    for line in [
        "TPE2=1901",
        "TXXX=ALBUM ARTIST=1900",
        "TDOR=1909",
        "TXXX=ORIGINALYEAR=1910",
    ] {
        assert!(said.lines().any(|found| found == line), "{line} in {said}");
    }
    let said = says("mutagen-inspect", &[], &world.output("pack/1.wv"));
    for line in ["Album Artist=1901", "ALBUM ARTIST 2=1900", "Year=1902"] {
        assert!(said.lines().any(|found| found == line), "{line} in {said}");
    }
}

#[test]
fn ogg_flac_has_all_that_flac_has() {
    let world = world();
    let path = world.output("ogg/a.oga");
    let said = says("mutagen-inspect", &[], &path);
    for line in [
        "TITLE=Börn <3",
        "ARTIST=Creedence",
        "ARTIST=久石 譲",
        "TRACKTOTAL=12",
        "MY OWN=yes",
        "ISRC=B",
    ] {
        assert!(said.lines().any(|found| found == line), "{line} in {said}");
    }
    says("flac", &["--test", "--silent", "--warnings-as-errors"], &path);
    // As the source of a FLAC file it brings its pictures along, which metaflac understands.
    world.write("again/b.oga", fs::read(&path).unwrap());
    world.build_well();
    let native = world.output("home/again/b.flac");
    let pictures = says("metaflac", &["--list", "--block-type=PICTURE"], &native);
    for line in [
        "type: 3 (Cover (front))",
        "type: 4 (Cover (back))",
        "MIME type: image/png",
        "width: 1",
    ] {
        assert!(pictures.contains(line), "{line} in {pictures}");
    }
    let tags = says("metaflac", &["--export-tags-to=-"], &native);
    assert!(
        tags.contains("ARTIST=久石 譲\n") && tags.contains("TRACKTOTAL=12\n"),
        "{tags}"
    );
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let (first, second) = (world(), world());
    let bytes = |world: &World| -> Vec<_> {
        let outputs = world.outputs().into_iter();
        outputs.map(|(name, (bytes, _))| (name, bytes)).collect()
    };
    assert!(bytes(&first) == bytes(&second));
}
