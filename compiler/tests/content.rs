//! What is in the outputs: the exact samples, all tags, all pictures, read back by programs that did not write them.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use support::{World, decoded, png, run, samples, says, tone, wave};

#[test]
fn flac_holds_the_exact_samples_of_every_kind_of_source() {
    let world = World::new();
    world.profile("car", "CONFIG_ENCODER=lame\n");
    world.profile("phone", "CONFIG_ENCODER=opusenc\n");
    world.profile("radio", "CONFIG_ENCODER=oggenc\n");
    let mut expected = Vec::new();
    for (seed, (channels, bits, rate)) in
        (0..).zip([(2, 16, 44_100), (1, 16, 44_100), (2, 24, 96_000), (1, 24, 48_000)])
    {
        let pcm = samples(seed, channels, bits, 9000);
        let bytes = wave(&pcm, channels, bits, rate);
        for extension in ["wav", "wave", "flac", "aiff", "aif"] {
            let path = format!("{extension}/{seed}.{extension}");
            world.write(&path, &bytes);
            let flags: &[&str] = match extension {
                "flac" => &[],
                "aiff" | "aif" => &["--force-aiff-format", "--decode"],
                _ => &["wave"],
            };
            if flags != ["wave"] {
                let (path, flac) = (world.source(&path), world.source("tmp.flac"));
                fs::rename(&path, world.source("tmp.wav")).unwrap();
                let convert = |flags: &[&str], from: &Path, to: &Path| {
                    let mut arguments: Vec<&OsStr> = flags.iter().map(OsStr::new).collect();
                    arguments.extend(["--silent", "--force", "-o"].map(OsStr::new));
                    arguments.extend([to.as_os_str(), from.as_os_str()]);
                    run("flac", &arguments);
                };
                convert(&[], &world.source("tmp.wav"), &flac);
                if flags.is_empty() {
                    fs::rename(flac, path).unwrap();
                } else {
                    convert(flags, &flac, &path);
                    fs::remove_file(flac).unwrap();
                }
                fs::remove_file(world.source("tmp.wav")).unwrap();
            }
            expected.push((format!("home/{extension}/{seed}.flac"), pcm.clone()));
        }
    }
    let built = world.build_well();
    assert_eq!(built.list("built").len(), 4 * expected.len());
    for (path, pcm) in expected {
        assert!(decoded(&world.output(&path)) == pcm, "{path}");
    }
}

#[test]
fn tags_and_pictures_are_in_every_format() {
    let world = World::new();
    world.profile("car", "CONFIG_ENCODER=lame\n");
    world.profile("phone", "CONFIG_ENCODER=opusenc\n");
    world.profile("radio", "CONFIG_ENCODER=oggenc\n");
    world.write("ccr/tags.vc", "ARTIST=Creedence\nARTIST=久石 譲\n");
    world.write(
        "ccr/bayou/tags.vc",
        "ALBUM=Bayou \"Country\" $1 100% <3\nDATE=1969\nMY OWN=yes\n",
    );
    world.write("ccr/bayou/1/tags.vc", "DISCNUMBER=1\n");
    world.write("ccr/bayou/1/vibes.txt", "apic=3:png:..;4:png:..\n");
    world.write("ccr/bayou/1/02-born.tags-album.vc", "TITLE=Born on the Bayou\n");
    world.write("ccr/bayou/1/02-born.wave", tone(1));
    let (front, back) = (png(1, 300_000), png(2, 10));
    world.write("ccr/bayou/picture-03.png", &front);
    world.write("ccr/bayou/picture-04.png", &back);
    world.build_well();
    let expected = [
        "ARTIST=Creedence",
        "ARTIST=久石 譲",
        "ALBUM=Bayou \"Country\" $1 100% <3",
        "DATE=1969",
        "MY OWN=yes",
        "DISCNUMBER=1",
        "TITLE=Born on the Bayou",
        "TRACKNUMBER=2",
    ];
    let output = |path: &str| world.output(path.replace("@", "ccr/bayou/1/02-born"));
    let flac = says("metaflac", &["--export-tags-to=-"], &output("home/@.flac"));
    let vorbis = says("vorbiscomment", &["--list", "--raw"], &output("radio/@.ogg"));
    let opus = says("opusinfo", &[], &output("phone/@.opus"));
    for line in expected {
        assert!(flac.lines().any(|said| said == line), "{line} in {flac}");
        assert!(vorbis.lines().any(|said| said == line), "{line} in Vorbis");
        assert!(opus.lines().any(|said| said.trim_start() == line), "{line} in {opus}");
    }

    let picture = tempfile::NamedTempFile::new().unwrap();
    let export = format!("--export-picture-to={}", picture.path().display());
    for (block, bytes) in [(3, &front), (4, &back)] {
        let of_type = says("metaflac", &["--list", "--block-type=PICTURE"], &output("home/@.flac"));
        assert!(of_type.contains(&format!("type: {block} (")), "{of_type}");
        let number = of_type
            .split("METADATA block #")
            .find(|text| text.contains(&format!("\n  type: {block} (")))
            .and_then(|text| text.lines().next())
            .unwrap()
            .to_owned();
        says(
            "metaflac",
            &[&format!("--block-number={number}"), &export],
            &output("home/@.flac"),
        );
        assert!(fs::read(picture.path()).unwrap() == *bytes, "picture {block}");
    }
    assert!(vorbis.matches("METADATA_BLOCK_PICTURE=").count() == 2);
    assert!(
        opus.contains("METADATA_BLOCK_PICTURE") || opus.contains("Picture"),
        "{opus}"
    );

    let mp3 = fs::read(output("car/@.mp3")).unwrap();
    let holds = |bytes: &[u8]| mp3.windows(bytes.len()).any(|window| window == bytes);
    assert_eq!(&mp3[..4], b"ID3\x04");
    for text in [
        "Creedence\0久石 譲",
        "Born on the Bayou",
        "MY OWN\0yes",
        "TXXX",
        "TDRC",
        "LAME3.100",
    ] {
        assert!(holds(text.as_bytes()), "{text}");
    }
    assert!(
        holds(&front) && holds(&back),
        "lame alone refuses pictures above 128 KiB"
    );
}

#[test]
fn what_a_source_brings_is_carried_over_and_sidecars_come_first() {
    let world = World::new();
    world.profile("car", "CONFIG_ENCODER=lame\n");
    world.write("art/alb/tmp.wav", tone(1));
    world.write("art/alb/cover.png", png(1, 10));
    world.write("front.png", png(2, 10));
    let flags = ["--silent", "-T", "TITLE=Inside", "-T", "ISRC=X1", "-T", "GENRE=Rock"].map(OsStr::new);
    let picture = format!("--picture={}", world.source("front.png").display());
    let (from, to) = (world.source("art/alb/tmp.wav"), world.source("art/alb/07 - named.flac"));
    let mut arguments = flags.to_vec();
    arguments.extend([OsStr::new(&picture), OsStr::new("-o"), to.as_os_str(), from.as_os_str()]);
    run("flac", &arguments);
    fs::remove_file(from).unwrap();
    world.write("art/alb/tags.vc", "GENRE=Pop\nISRC=\n");
    world.build_well();
    let path = world.output("home/art/alb/07 - named.flac");
    let said = says("metaflac", &["--export-tags-to=-"], &path);
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["ALBUM=alb", "ARTIST=art", "GENRE=Pop", "TITLE=Inside", "TRACKNUMBER=7"]
    );
    let flac = fs::read(path).unwrap();
    let inside = png(2, 10);
    assert!(
        flac.windows(inside.len()).any(|window| window == inside),
        "its own front cover stays"
    );
}

#[test]
fn all_pictures_of_one_type_are_carried_over() {
    let world = World::new();
    for (profile, encoder) in [
        ("car", "lame"),
        ("radio", "oggenc"),
        ("pack", "wavpack"),
        ("pod", "ffmpeg"),
    ] {
        world.profile(profile, &format!("CONFIG_ENCODER={encoder}\n"));
    }
    world.write("tmp.wav", tone(1));
    world.write("1.vibes.txt", "apic=4:png:.\n");
    world.write("picture-04.png", png(9, 10));
    let mut arguments = vec!["--silent".to_owned()];
    // Three leaflet pages, and a back cover that gives way to another.
    for (number, kind) in [(1, 5), (2, 5), (3, 5), (4, 4)] {
        world.write(format!("{number}.png"), png(number, 10));
        let path = world.source(format!("{number}.png"));
        arguments.push(format!("--picture={kind}||||{}", path.display()));
    }
    arguments.extend(["-o".to_owned(), world.source("1.flac").display().to_string()]);
    arguments.push(world.source("tmp.wav").display().to_string());
    run("flac", &arguments.iter().map(OsStr::new).collect::<Vec<_>>());
    fs::remove_file(world.source("tmp.wav")).unwrap();
    world.build_well();
    for output in ["home/1.flac", "car/1.mp3", "pack/1.wv", "pod/1.m4a"] {
        let bytes = fs::read(world.output(output)).unwrap();
        let holds = |seed| bytes.windows(png(seed, 10).len()).any(|window| window == png(seed, 10));
        assert!([1, 2, 3, 9].into_iter().all(holds) && !holds(4), "{output}");
    }
    let vorbis = says("vorbiscomment", &["--list", "--raw"], &world.output("radio/1.ogg"));
    assert_eq!(vorbis.matches("METADATA_BLOCK_PICTURE=").count(), 4);
}

#[test]
fn an_mp3_tells_players_where_the_music_begins_and_ends() {
    let world = World::new();
    world.profile("car", "CONFIG_ENCODER=lame\n");
    let pcm = samples(1, 2, 16, 10_000);
    world.write("1.wav", wave(&pcm, 2, 16, 44_100));
    world.write("1.tags.vc", "TITLE=x\n");
    world.build_well();
    let back = tempfile::NamedTempFile::new().unwrap();
    let path = world.output("car/1.mp3");
    run(
        "lame",
        &["--quiet", "--decode"]
            .map(OsStr::new)
            .into_iter()
            .chain([path.as_os_str(), back.path().as_os_str()])
            .collect::<Vec<_>>(),
    );
    assert_eq!(fs::read(back.path()).unwrap().len(), 44 + pcm.len());
}
