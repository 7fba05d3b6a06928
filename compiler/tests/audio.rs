//! Every kind of source becomes the samples that it holds, in every format as well as the format can.

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use support::{World, decoded, run, samples, says, wave};

/// The length of a lossy file that a program that has not written it finds, in seconds.
fn seconds(path: &Path) -> f64 {
    let extension = path.extension().unwrap();
    if extension == "m4a" {
        let arguments = [
            "-v",
            "error",
            "-show_entries",
            "stream=sample_rate,duration_ts",
            "-of",
            "csv=p=0",
        ];
        let said = says("ffprobe", &arguments, path);
        let (rate, length) = said.trim().split_once(',').unwrap();
        return length.parse::<f64>().unwrap() / rate.parse::<f64>().unwrap();
    }
    if extension != "mp3" {
        let said = says(if extension == "opus" { "opusinfo" } else { "ogginfo" }, &[], path);
        let length = said.split_once("Playback length: ").unwrap().1;
        let (minutes, seconds) = length.split_once("m:").unwrap();
        let seconds = seconds.split_once('s').unwrap().0;
        return minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap();
    }
    let arguments = ["-v", "error", "-i"].map(OsStr::new).into_iter();
    let arguments = arguments.chain([path.as_os_str()]);
    let arguments = arguments.chain(["-ac", "1", "-ar", "48000", "-f", "s16le", "-"].map(OsStr::new));
    run("ffmpeg", &arguments.collect::<Vec<_>>()).stdout.len() as f64 / 2.0 / 48_000.0
}

/// A WAVE file of any shape.
struct Wave<'a> {
    samples: &'a [u8],
    channels: u16,
    bits: u16,
    rate: u32,
    /// 1 for whole numbers, 3 for floating point numbers.
    tag: u16,
    /// What WAVE_FORMAT_EXTENSIBLE says of the speakers; none for the older format.
    speakers: Option<u32>,
    /// The length of the samples in the header, if not the right one.
    announced: Option<u32>,
    /// Chunks before the samples.
    before: &'a [u8],
    /// Chunks behind the samples.
    after: &'a [u8],
    /// 64-bit lengths.
    rf64: bool,
}

impl<'a> Wave<'a> {
    fn new(samples: &'a [u8], channels: u16, bits: u16) -> Wave<'a> {
        Wave {
            samples,
            channels,
            bits,
            rate: 44_100,
            tag: 1,
            speakers: None,
            announced: None,
            before: b"",
            after: b"",
            rf64: false,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let block = self.channels * self.bits / 8;
        let mut format = Vec::new();
        format.extend(if self.speakers.is_some() { 0xFFFE } else { self.tag }.to_le_bytes());
        format.extend(self.channels.to_le_bytes());
        format.extend(self.rate.to_le_bytes());
        format.extend((self.rate * u32::from(block)).to_le_bytes());
        format.extend(block.to_le_bytes());
        format.extend(self.bits.to_le_bytes());
        if let Some(speakers) = self.speakers {
            format.extend(22_u16.to_le_bytes());
            format.extend(self.bits.to_le_bytes());
            format.extend(speakers.to_le_bytes());
            format.extend(self.tag.to_le_bytes());
            format.extend(b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
        }
        let length = self.samples.len() as u32;
        let mut content = b"WAVE".to_vec();
        if self.rf64 {
            content.extend(b"ds64\x1c\0\0\0");
            content.extend([0; 8]);
            content.extend(u64::from(length).to_le_bytes());
            content.extend([0; 12]);
        }
        content.extend(b"fmt ");
        content.extend((format.len() as u32).to_le_bytes());
        content.extend(format);
        content.extend(self.before);
        content.extend(b"data");
        content.extend(
            if self.rf64 {
                u32::MAX
            } else {
                self.announced.unwrap_or(length)
            }
            .to_le_bytes(),
        );
        if self.bits == 8 {
            // Eight bits have no sign in WAVE.
            content.extend(self.samples.iter().map(|sample| sample.wrapping_add(128)));
        } else {
            content.extend(self.samples);
        }
        content.extend(self.after);
        let mut file = if self.rf64 { b"RF64" } else { b"RIFF" }.to_vec();
        file.extend(if self.rf64 { u32::MAX } else { content.len() as u32 }.to_le_bytes());
        file.extend(content);
        file
    }
}

/// Samples of 24 bits as floating point numbers, which hold them exactly.
fn floats(samples: &[u8], bits: u16) -> Vec<u8> {
    let mut floats = Vec::new();
    for sample in samples.chunks(3) {
        let value = f64::from(i32::from_le_bytes([0, sample[0], sample[1], sample[2]])) / 2_f64.powi(31);
        match bits {
            32 => floats.extend((value as f32).to_le_bytes()),
            _ => floats.extend(value.to_le_bytes()),
        }
    }
    floats
}

/// Makes another file of a source.
fn convert(world: &World, program: &str, flags: &[&str], from: &str, to: &str) {
    let (from, to) = (world.source(from), world.source(to));
    let (input, output): (&[&str], &[&str]) = match program {
        "ffmpeg" => (&["-v", "error", "-i"], &[]),
        _ => (&["--silent"], &["-o"]),
    };
    let mut arguments: Vec<&OsStr> = input.iter().map(OsStr::new).collect();
    arguments.push(from.as_os_str());
    arguments.extend(flags.iter().chain(output).map(OsStr::new));
    arguments.push(to.as_os_str());
    run(program, &arguments);
}

const FRAMES: u32 = 4000;

/// Sources of every kind and shape, with the samples that a FLAC file of each has to hold and their rate.
fn sources(world: &World) -> BTreeMap<String, (Vec<u8>, u32)> {
    let mut expected = BTreeMap::new();
    let mut add = |name: &str, wave: &Wave<'_>, samples: &[u8]| {
        world.write(name, wave.bytes());
        expected.insert(name.to_owned(), (samples.to_owned(), wave.rate));
    };
    for (seed, bits) in (0..).zip([8, 16, 24, 32]) {
        let pcm = samples(seed, 2, bits, FRAMES);
        add(&format!("bits/{bits}.wav"), &Wave::new(&pcm, 2, bits), &pcm);
        let extensible = Wave {
            speakers: Some(3),
            ..Wave::new(&pcm, 2, bits)
        };
        add(&format!("bits/extensible-{bits}.wave"), &extensible, &pcm);
    }
    let pcm = samples(5, 2, 24, FRAMES);
    for bits in [32, 64] {
        let values = floats(&pcm, bits);
        let float = Wave {
            tag: 3,
            ..Wave::new(&values, 2, bits)
        };
        add(&format!("bits/float-{bits}.wav"), &float, &pcm);
    }
    for (seed, rate) in (10..).zip([8000, 11_025, 48_000, 88_200, 192_000]) {
        let pcm = samples(seed, 1, 16, FRAMES);
        let wave = Wave {
            rate,
            ..Wave::new(&pcm, 1, 16)
        };
        add(&format!("rates/{rate}.wav"), &wave, &pcm);
    }
    let shapes = [
        (1, Some(4)),
        (2, Some(0x600)),
        (3, Some(0)),
        (3, Some(7)),
        (4, Some(0x107)),
        (5, Some(0x37)),
        (6, None),
        (6, Some(0x3F)),
        (6, Some(0x60F)),
        (8, Some(0xFF)),
        (8, Some(0x63F)),
    ];
    for (seed, (channels, speakers)) in (20..).zip(shapes) {
        let pcm = samples(seed, channels, 16, FRAMES);
        let wave = Wave {
            speakers,
            ..Wave::new(&pcm, channels, 16)
        };
        add(&format!("channels/{channels}-{speakers:?}.wav"), &wave, &pcm);
    }
    let pcm = samples(40, 2, 16, FRAMES);
    let length = pcm.len() as u32;
    for (name, announced) in [
        ("nothing", 0),
        ("everything", u32::MAX),
        ("sox", 0x7FFF_F000),
        ("half", 0x8000_0000),
        ("file", length + 44),
    ] {
        let streamed = Wave {
            announced: Some(announced),
            ..Wave::new(&pcm, 2, 16)
        };
        add(&format!("lengths/{name}.wav"), &streamed, &pcm);
    }
    let rf64 = Wave {
        rf64: true,
        ..Wave::new(&pcm, 2, 16)
    };
    add("lengths/rf64.wav", &rf64, &pcm);
    let odd = Wave {
        before: b"junk\x03\0\0\0abc\0",
        after: b"LIST\x13\0\0\0INFOINAM\x07\0\0\0a title\0",
        ..Wave::new(&pcm, 2, 16)
    };
    add("lengths/odd.wav", &odd, &pcm);

    let mut copy = |from: &str, to: &str| {
        let same = expected[from].clone();
        expected.insert(to.to_owned(), same);
    };
    for bits in ["8", "16", "24", "32"] {
        let (wave, flac) = (format!("bits/extensible-{bits}.wave"), format!("flac/{bits}.flac"));
        world.write("flac/none.txt", "");
        convert(world, "flac", &[], &wave, &flac);
        copy(&wave, &flac);
        let ogg = format!("flac/ogg-{bits}.oga");
        convert(world, "flac", &["--ogg"], &wave, &ogg);
        copy(&wave, &ogg);
        let aiff = format!("flac/aiff-{bits}.aiff");
        convert(world, "flac", &["--decode", "--force-aiff-format"], &flac, &aiff);
        copy(&wave, &aiff);
    }
    convert(
        world,
        "ffmpeg",
        &["-c:a", "pcm_s16le"],
        "lengths/odd.wav",
        "flac/sowt.aif",
    );
    copy("lengths/odd.wav", "flac/sowt.aif");
    convert(
        world,
        "ffmpeg",
        &["-c:a", "pcm_f32be"],
        "bits/float-32.wav",
        "flac/float.aif",
    );
    copy("bits/float-32.wav", "flac/float.aif");
    convert(world, "ffmpeg", &["-f", "s24be"], "bits/24.wav", "flac/samples.raw");
    copy("bits/24.wav", "flac/samples.raw");
    for (channels, speakers) in [(2, 0x600), (4, 0x107), (8, 0x63F)] {
        let wave = format!("channels/{channels}-Some({speakers}).wav");
        for (flags, extension) in [
            (&["--channel-map=none"] as &[&str], "flac"),
            (&["--channel-map=none", "--ogg"], "oga"),
        ] {
            let mask = format!("--tag=WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x{speakers:04X}");
            let flags = [flags, &[&mask]].concat();
            let flac = format!("flac/{channels}-{extension}.{extension}");
            convert(world, "flac", &flags, &wave, &flac);
            copy(&wave, &flac);
        }
    }
    fs::copy(world.source("flac/aiff-24.aiff"), world.source("flac/misnamed.wav")).unwrap();
    copy("bits/24.wav", "flac/misnamed.wav");
    for (content, name) in [
        ("flac/ogg-16.oga", "flac/ogg-as-flac.flac"),
        ("flac/ogg-24.oga", "flac/ogg-as-wave.wav"),
        ("flac/24.flac", "flac/flac-as-ogg.oga"),
    ] {
        fs::copy(world.source(content), world.source(name)).unwrap();
        copy(content, name);
    }
    expected
}

#[test]
fn flac_holds_the_samples_of_every_kind_of_source() {
    let world = World::new();
    world.profile("home", "CONFIG_ENCODER=flac\nCONFIG_RAW=s24be 44100 2\n");
    let expected = sources(&world);
    let built = world.build_well();
    assert_eq!(built.list("built").len(), expected.len());
    for (source, (pcm, _)) in &expected {
        let output = world.output(Path::new("home").join(source).with_extension("flac"));
        assert!(decoded(&output) == *pcm, "{source}");
    }
    let title = says(
        "metaflac",
        &["--show-tag=TITLE"],
        &world.output("home/lengths/odd.flac"),
    );
    assert_eq!(title, "TITLE=a title\n");
}

#[test]
fn every_lossless_format_holds_the_same_samples() {
    let world = World::new();
    world.remove_profile("home");
    world.profile("ogg", "CONFIG_ENCODER=flac\nCONFIG_FORMAT=oggflac\n");
    world.profile("pack", "CONFIG_ENCODER=wavpack\n");
    world.profile("apple", "CONFIG_ENCODER=ffmpeg\nCONFIG_FORMAT=alac\n");
    let kept = [
        "bits/8.wav",
        "bits/24.wav",
        "bits/32.wav",
        "bits/float-32.wav",
        "rates/192000.wav",
        "channels/5-Some(55).wav",
        "lengths/everything.wav",
        "lengths/odd.wav",
        "flac/16.flac",
        "flac/aiff-24.aiff",
    ];
    let expected = keep(&world, &kept);
    let built = world.build_well();
    assert_eq!(built.list("built").len(), 3 * kept.len());
    let lost = built.list("warnings");
    assert_eq!(
        lost.len(),
        3,
        "floating point numbers in FLAC and ALAC, 32 bits in ALAC: {lost:?}"
    );
    for (source, (pcm, _)) in &expected {
        let output =
            |profile: &str, extension: &str| world.output(Path::new(profile).join(source).with_extension(extension));
        assert!(decoded(&output("ogg", "oga")) == *pcm, "{source} in Ogg FLAC");
        let unpacked = run(
            "wvunpack",
            &[
                OsStr::new("-q"),
                OsStr::new("--raw"),
                output("pack", "wv").as_os_str(),
                OsStr::new("-o"),
                OsStr::new("-"),
            ],
        );
        let in_wave = match source.as_str() {
            "bits/8.wav" => pcm.iter().map(|sample| sample.wrapping_add(128)).collect(),
            "bits/float-32.wav" => floats(pcm, 32),
            _ => pcm.clone(),
        };
        assert!(unpacked.stdout == in_wave, "{source} in WavPack");
        let (format, in_alac): (_, Vec<u8>) = match source.as_str() {
            // ALAC has 16 bits at least, and 24 at most.
            "bits/8.wav" => ("s16le", pcm.iter().flat_map(|sample| [0, *sample]).collect()),
            "bits/32.wav" => ("s24le", pcm.chunks(4).flat_map(|sample| sample[1..].to_vec()).collect()),
            _ if source.contains("24") || source.contains("float") => ("s24le", pcm.clone()),
            _ => ("s16le", pcm.clone()),
        };
        let path = output("apple", "m4a");
        let arguments = [
            OsStr::new("-v"),
            OsStr::new("error"),
            OsStr::new("-i"),
            path.as_os_str(),
        ];
        let arguments = arguments.into_iter().chain(["-f", format, "-"].map(OsStr::new));
        let heard = run("ffmpeg", &arguments.collect::<Vec<_>>()).stdout;
        assert!(heard == in_alac, "{source} in ALAC");
    }
}

/// The named sources of all, and what a FLAC file of each has to hold.
fn keep(world: &World, names: &[&str]) -> BTreeMap<String, (Vec<u8>, u32)> {
    let mut expected = sources(world);
    expected.retain(|source, _| {
        let kept = names.contains(&source.as_str());
        if !kept {
            fs::remove_file(world.source(source)).unwrap();
        }
        kept
    });
    assert_eq!(expected.len(), names.len());
    expected
}

#[test]
fn lossy_formats_keep_the_length_of_every_kind_of_source() {
    let world = World::new();
    world.remove_profile("home");
    // At a constant bit rate, a frame of few bits has no room for where the music ends.
    world.profile("car", "CONFIG_ENCODER=lame\nCONFIG_LAME_FLAGS=-V 2\n");
    world.profile("phone", "CONFIG_ENCODER=opusenc\nCONFIG_RAW=s24be 44100 2\n");
    world.profile("radio", "CONFIG_ENCODER=oggenc\n");
    world.profile("pod", "CONFIG_ENCODER=ffmpeg\n");
    let expected = keep(&world, LOSSY);
    let built = world.build_well();
    assert_eq!(
        built.list("built").len(),
        4 * LOSSY.len() - 3,
        "only one profile tells what .raw holds"
    );
    for (source, (_, rate)) in &expected {
        let length = f64::from(FRAMES) / f64::from(*rate);
        for (profile, extension) in [("car", "mp3"), ("phone", "opus"), ("radio", "ogg"), ("pod", "m4a")] {
            let path = world.output(Path::new(profile).join(source).with_extension(extension));
            if source.ends_with(".raw") && profile != "phone" {
                assert!(!path.exists());
                continue;
            }
            let off = seconds(&path) - length;
            assert!(off.abs() < 0.0011, "{source} as {extension}: {off} s longer");
        }
    }
}

/// Sources that lossy encoders do not read themselves, or in a way of their own.
const LOSSY: &[&str] = &[
    "bits/8.wav",
    "bits/float-32.wav",
    "bits/float-64.wav",
    "rates/8000.wav",
    "rates/192000.wav",
    "channels/6-Some(63).wav",
    "channels/8-Some(255).wav",
    "lengths/nothing.wav",
    "lengths/rf64.wav",
    "lengths/odd.wav",
    "flac/32.flac",
    "flac/float.aif",
    "flac/samples.raw",
];

#[test]
fn what_is_cut_off_or_no_audio_fails_alone() {
    let world = World::new();
    let pcm = samples(1, 2, 16, 100_000);
    let whole = wave(&pcm, 2, 16, 44_100);
    world.write("good.wav", &whole);
    for (name, flags) in [
        ("whole.flac", &["--totally-silent"] as &[&str]),
        ("whole.oga", &["--ogg"]),
    ] {
        convert(&world, "flac", flags, "good.wav", name);
    }
    convert(
        &world,
        "flac",
        &["--decode", "--force-aiff-format"],
        "whole.flac",
        "whole.aiff",
    );
    world.write("short.wav", &whole[..whole.len() / 2]);
    world.write("header.wav", &whole[..30]);
    world.write("silent.wav", wave(&[], 2, 16, 44_100));
    for name in ["flac", "oga", "aiff"] {
        let bytes = fs::read(world.source(format!("whole.{name}"))).unwrap();
        world.write(format!("short-{name}.{name}"), &bytes[..bytes.len() / 2]);
        fs::rename(
            world.source(format!("whole.{name}")),
            world.source(format!("good-{name}.{name}")),
        )
        .unwrap();
    }
    let mut broken = fs::read(world.source("good-flac.flac")).unwrap();
    let middle = broken.len() / 2;
    broken[middle..middle + 100].fill(0);
    world.write("broken.flac", broken);
    convert(
        &world,
        "ffmpeg",
        &["-c:a", "libvorbis", "-f", "ogg"],
        "good.wav",
        "vorbis.oga",
    );
    let failures = world.build().failures();
    let expected = [
        ("broken.flac", "flac: "),
        ("header.wav", "it is cut off within its header"),
        (
            "short-aiff.aiff",
            "it is cut off: 400008 bytes of samples are announced, and 1",
        ),
        ("short-flac.flac", "flac: "),
        ("short-oga.oga", "flac: "),
        (
            "short.wav",
            "it is cut off: 400000 bytes of samples are announced, and 199978 are there",
        ),
        ("silent.wav", "there is no sample in it"),
        ("vorbis.oga", "its content is not what its extension says"),
    ];
    assert_eq!(
        failures.keys().map(String::as_str).collect::<Vec<_>>(),
        expected.map(|(name, _)| name)
    );
    for (name, reason) in expected {
        assert!(failures[name].starts_with(reason), "{name}: {}", failures[name]);
    }
}

#[test]
fn a_trimmed_track_holds_exactly_the_samples_of_its_range() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("work/build-home/collection");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(root.path().join("out/home")).unwrap();
    let pcm = samples(1, 2, 24, 20_000);
    fs::write(folder.join("a.wav"), wave(&pcm, 2, 24, 44_100)).unwrap();
    let convert = |flags: &[&str], from: &str, to: &str| {
        let mut command = Command::new("flac");
        command.current_dir(&folder).args(["--silent", "-o", to]);
        assert!(command.args(flags).arg(from).status().unwrap().success());
    };
    convert(&[], "a.wav", "b.flac");
    convert(&["--ogg"], "a.wav", "c.oga");
    convert(&["--decode", "--force-aiff-format"], "b.flac", "d.aiff");
    fs::copy(folder.join("b.flac"), folder.join("e.oga")).unwrap();
    fs::copy(folder.join("c.oga"), folder.join("f.flac")).unwrap();
    for source in ["a.wav", "b.flac", "c.oga", "d.aiff", "e.oga", "f.flac"] {
        for (trim, range) in [
            ("100000:250000", 4410..11_025),
            ("100000:", 4410..20_000),
            ("0:10", 0..0),
            ("0:9000000", 0..20_000),
            ("12:33", 1..1),
            ("23:57", 1..3),
        ] {
            let argument = format!("trim={}", trim.replace(':', "=3A"));
            let done = Command::new(env!("CARGO_BIN_EXE_vibes-compile"))
                .current_dir(&folder)
                .env("tup_vardict", root.path().join("work/.tup/vardict-build-home"))
                .args([
                    "encode",
                    "job=1",
                    "encoder=flac",
                    "version=x",
                    "format=flac",
                    "extension=flac",
                    &argument,
                ])
                .arg(format!("source={source}"))
                .output()
                .unwrap();
            if range.is_empty() {
                let said = String::from_utf8(done.stderr).unwrap();
                assert!(
                    said.contains("nothing is left of it when it begins at "),
                    "{source} {trim}: {said}"
                );
                continue;
            }
            let output = root.path().join("out/home").join(source).with_extension("flac");
            assert!(done.status.success(), "{source} {trim}: {done:?}");
            assert!(
                decoded(&output) == pcm[range.start * 6..range.end * 6],
                "{source} {trim}: {}",
                says("metaflac", &["--show-total-samples"], &output)
            );
        }
    }
}
