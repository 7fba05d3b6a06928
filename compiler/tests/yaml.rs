//! mustup's sidecars, alone and mixed with the others: what they say arrives, and a change builds what it is about.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use support::{World, decoded, png, samples, says, tone};

/// The tags of an output, as the program of its format prints them.
fn tags(path: &Path) -> Vec<String> {
    let said = match path.extension().and_then(OsStr::to_str) {
        Some("flac") => says("metaflac", &["--export-tags-to=-"], path),
        Some("ogg") => says("vorbiscomment", &["--list", "--raw"], path),
        Some("opus") => says("opusinfo", &[], path),
        _ => panic!("who reads {}?", path.display()),
    };
    said.lines().map(|line| line.trim().to_owned()).collect()
}

/// The first value of a tag of a FLAC file.
fn tag(world: &World, path: &str, name: &str) -> String {
    let lines = tags(&world.output(path));
    let value = lines.iter().find_map(|line| line.strip_prefix(&format!("{name}=")));
    value.unwrap_or_default().to_owned()
}

/// A collection as mustup has it: an artist, an album with a manifest of two tracks, a file that is no track.
fn album() -> World {
    let world = World::new();
    world.write(
        "kelp/mustup-metadata.yaml",
        "---\n\ntags:\n   common:\n      artist: Kelp\n   Vorbis:\n      GENRE: [Krautrock, Rock]\n",
    );
    world.write(
        "kelp/tidal/mustup-metadata.yaml",
        "tags:\n   common: {album: Tidal Pool, disc number: 1}\n   Vorbis: {DATE: 1971, CATALOGNUMBER: 0x1F}\n\
         pictures:\n   APIC:\n      3: {path: cover-front.jpeg, description: Front “A”}\n",
    );
    world.write(
        "kelp/tidal/mustup-manifest.yaml",
        "01-limpet.wave:\n   metadata:\n      tags:\n         common: {title: Limpet}\n         Vorbis: \
         {ISRC: [A, B], VERSION: 1.10}\n\n02-anemone.wave:\n   metadata: {tags: {common: {title: yes}}}\n",
    );
    world.write("kelp/tidal/cover-front.jpeg", png(1, 200_000));
    for (seed, name) in (1..).zip(["01-limpet", "02-anemone", "03-bonus"]) {
        world.write(format!("kelp/tidal/{name}.wave"), tone(seed));
    }
    world
}

/// What was built by the build after a change.
fn built_after(world: &World, change: impl FnOnce()) -> Vec<String> {
    change();
    world.build_well().list("built")
}

#[test]
fn a_manifest_and_its_chain_are_in_every_format() {
    let world = album();
    world.profile("car", "CONFIG_ENCODER=lame\n");
    world.profile("phone", "CONFIG_ENCODER=opusenc\n");
    world.profile("radio", "CONFIG_ENCODER=oggenc\n");
    let built = world.build_well();
    assert_eq!(
        built.list("built").len(),
        8,
        "what the manifest does not name is no track"
    );
    assert_eq!(built.list("warnings"), [""; 0]);
    let expected = [
        "ALBUM=Tidal Pool",
        "ARTIST=Kelp",
        "CATALOGNUMBER=0x1F",
        "DATE=1971",
        "DISCNUMBER=1",
        "GENRE=Krautrock",
        "GENRE=Rock",
        "ISRC=A",
        "ISRC=B",
        "TITLE=Limpet",
        "TRACKNUMBER=1",
        "VERSION=1.10",
    ];
    let output = |path: &str| world.output(path.replace('@', "kelp/tidal/01-limpet"));
    for path in ["home/@.flac", "phone/@.opus", "radio/@.ogg"] {
        let lines = tags(&output(path));
        for tag in expected {
            assert!(lines.iter().any(|line| line == tag), "{tag} in {lines:?}");
        }
    }
    assert_eq!(tag(&world, "home/kelp/tidal/02-anemone.flac", "TITLE"), "yes");
    for path in ["home/@.flac", "phone/@.opus", "radio/@.ogg", "car/@.mp3"] {
        let picture = "stream=codec_name:stream_tags=title,comment";
        let said = says(
            "ffprobe",
            &["-v", "error", "-select_streams", "v", "-show_entries", picture],
            &output(path),
        );
        for line in ["codec_name=png", "TAG:title=Front “A”", "TAG:comment=Cover (front)"] {
            assert!(said.lines().any(|said| said == line), "{line} of {path} in {said}");
        }
    }
    let said = says(
        "ffprobe",
        &["-v", "error", "-show_entries", "format_tags"],
        &output("car/@.mp3"),
    );
    for line in [
        "TAG:title=Limpet",
        "TAG:artist=Kelp",
        "TAG:TSRC=A",
        "TAG:track=1",
        "TAG:VERSION=1.10",
    ] {
        assert!(said.lines().any(|said| said == line), "{line} in {said}");
    }
}

#[test]
fn a_trim_is_the_part_of_the_source_that_is_built() {
    let world = album();
    world.profile("car", "CONFIG_ENCODER=lame\n");
    world.build_well();
    let manifest = "kelp/tidal/mustup-manifest.yaml";
    let text = fs::read_to_string(world.source(manifest)).unwrap();
    let trim = "   transformations: {trim: {start: {second_fractions: 05}, duration: {second_fractions: 1}}}\n";
    let built = built_after(&world, || world.write(manifest, format!("{text}{trim}")));
    assert_eq!(
        built,
        ["car/kelp/tidal/02-anemone.mp3", "home/kelp/tidal/02-anemone.flac"]
    );
    let flac = world.output("home/kelp/tidal/02-anemone.flac");
    let (rate, frame) = (44_100, 4);
    let all = samples(2, 2, 16, 8820);
    assert!(decoded(&flac) == all[rate / 20 * frame..][..rate / 10 * frame]);
    assert_eq!(tag(&world, "home/kelp/tidal/02-anemone.flac", "TITLE"), "yes");
}

#[test]
fn a_changed_manifest_builds_the_tracks_that_it_changes() {
    let world = album();
    world.build_well();
    let manifest = "kelp/tidal/mustup-manifest.yaml";
    let old = fs::read_to_string(world.source(manifest)).unwrap();
    let built = built_after(&world, || world.write(manifest, old.replace("title: yes", "title: no")));
    assert_eq!(built, ["home/kelp/tidal/02-anemone.flac"]);
    let built = built_after(&world, || {
        world.write(manifest, format!("# reordered\n{old}03-bonus.wave:\n"))
    });
    assert_eq!(
        built,
        ["home/kelp/tidal/02-anemone.flac", "home/kelp/tidal/03-bonus.flac"]
    );
    world.write(manifest, old);
    let built = world.build_well();
    assert_eq!(built.list("removed"), ["home/kelp/tidal/03-bonus.flac"]);
    assert!(built.list("built").is_empty());
}

#[test]
fn a_manifest_that_comes_leaves_out_what_it_does_not_name_until_it_goes() {
    let world = World::new();
    for number in 1..=3 {
        world.write(format!("a/{number}.wave"), tone(number));
    }
    world.build_well();
    world.write("a/mustup-manifest.yaml", "1.wave:\n");
    let built = world.build_well();
    assert_eq!(built.list("removed"), ["home/a/2.flac", "home/a/3.flac"]);
    assert!(built.list("built").is_empty());
    let built = built_after(&world, || {
        fs::remove_file(world.source("a/mustup-manifest.yaml")).unwrap()
    });
    assert_eq!(built, ["home/a/2.flac", "home/a/3.flac"]);
}

#[test]
fn a_changed_chain_builds_what_is_below_it_where_it_makes_a_difference() {
    let world = album();
    world.write("neu/1/01-hallogallo.wave", tone(9));
    world.build_well();
    let (root, neu) = ("mustup-metadata.yaml", "neu/mustup-metadata.yaml");
    let text = "tags: {common: {artist: Someone}}\n";
    assert_eq!(
        built_after(&world, || world.write(root, text)),
        ["home/neu/1/01-hallogallo.flac"],
        "the nearer one already says it in the other folder"
    );
    assert_eq!(
        built_after(&world, || world.write(neu, "tags: {common: {artist: Neu!}}\n")),
        ["home/neu/1/01-hallogallo.flac"]
    );
    assert!(built_after(&world, || world.write(root, "# gone\n")).is_empty());
    assert_eq!(
        built_after(&world, || fs::remove_file(world.source(neu)).unwrap()),
        ["home/neu/1/01-hallogallo.flac"]
    );
    assert_eq!(tag(&world, "home/neu/1/01-hallogallo.flac", "ARTIST"), "neu");
    assert!(built_after(&world, || fs::remove_file(world.source(root)).unwrap()).is_empty());
}

#[test]
fn a_changed_description_builds_the_tracks_that_have_the_picture() {
    let world = album();
    world.write("neu/1/01-hallogallo.wave", tone(9));
    world.write("neu/1/cover.png", png(2, 10));
    world.build_well();
    let metadata = "kelp/tidal/mustup-metadata.yaml";
    let text = fs::read_to_string(world.source(metadata)).unwrap();
    let built = built_after(&world, || world.write(metadata, text.replace("Front “A”", "Front")));
    assert_eq!(
        built,
        ["home/kelp/tidal/01-limpet.flac", "home/kelp/tidal/02-anemone.flac"]
    );
    let picture = says(
        "metaflac",
        &["--list", "--block-type=PICTURE"],
        &world.output(&built[0]),
    );
    assert!(picture.contains("description: Front\n"), "{picture}");
    assert!(
        picture.contains("MIME type: image/png\n") && picture.contains("type: 3 ("),
        "{picture}"
    );
}

#[test]
fn what_a_manifest_names_in_vain_fails_alone() {
    let world = album();
    world.write("kelp/tidal/notes.txt", "");
    let manifest = "kelp/tidal/mustup-manifest.yaml";
    let text = fs::read_to_string(world.source(manifest)).unwrap();
    world.write(
        manifest,
        format!("{text}04-gone.wave:\nnotes.txt:\n03-bonus.wave: {{metadata: {{tags: 5}}}}\n"),
    );
    world.write("alone/mustup-manifest.yaml", "1.wave:\n");
    for _ in 0..2 {
        let built = world.build();
        let failures = built.failures();
        assert_eq!(failures.len(), 4, "{failures:?}");
        assert_eq!(
            failures["kelp/tidal/04-gone.wave"],
            "mustup-manifest.yaml names it, and there is no such file"
        );
        assert_eq!(
            failures["kelp/tidal/notes.txt"],
            "mustup-manifest.yaml names it, and it is no audio"
        );
        assert_eq!(
            failures["alone/1.wave"],
            "mustup-manifest.yaml names it, and there is no such file"
        );
        assert_eq!(
            failures["kelp/tidal/03-bonus.wave"],
            "kelp/tidal/mustup-manifest.yaml, line 11: \"tags\" is no map"
        );
        assert_eq!(built.report["outputs"]["home"], 2);
    }
    world.write("alone/1.wave", tone(1));
    let built = world.build();
    assert_eq!(built.list("built"), ["home/alone/1.flac"]);
    assert_eq!(built.failures().len(), 3);
}

#[test]
fn yaml_that_does_not_parse_fails_what_it_speaks_of_and_nothing_else() {
    let world = album();
    for number in 0..4 {
        world.write(format!("good/{number}.wave"), tone(number));
    }
    world.build_well();
    let before = world.outputs();
    world.write("kelp/tidal/mustup-metadata.yaml", "tags:\n   common: [\n");
    let failures = world.build().failures();
    assert_eq!(failures.len(), 2, "{failures:?}");
    let reason = &failures["kelp/tidal/01-limpet.wave"];
    assert!(reason.starts_with("kelp/tidal/mustup-metadata.yaml, line "), "{reason}");
    assert_eq!(world.outputs(), before);

    world.write("kelp/tidal/mustup-metadata.yaml", "");
    world.write(
        "kelp/tidal/mustup-manifest.yaml",
        [b"x: \xff".as_slice(), &[b' '; 100]].concat(),
    );
    let failures = world.build().failures();
    assert_eq!(failures.len(), 3, "whatever may be a track: {failures:?}");
    assert_eq!(
        failures["kelp/tidal/03-bonus.wave"],
        "kelp/tidal/mustup-manifest.yaml is not UTF-8"
    );

    let bomb = (1..30).map(|level| format!("a{level}: &a{level} [{}]\n", format!("*a{},", level - 1).repeat(9)));
    world.write(
        "kelp/tidal/mustup-manifest.yaml",
        format!("a0: &a0 x\n{}", bomb.collect::<String>()),
    );
    let failures = world.build().failures();
    let reason = &failures["kelp/tidal/03-bonus.wave"];
    assert_eq!(
        reason,
        "kelp/tidal/mustup-manifest.yaml, line 7: it stands for more than 4 MiB"
    );

    world.write("kelp/tidal/mustup-manifest.yaml", vec![b'\n'; 2 << 20]);
    let failures = world.build().failures();
    assert_eq!(
        failures["kelp/tidal/03-bonus.wave"],
        "kelp/tidal/mustup-manifest.yaml is larger than 1 MiB"
    );
}

#[test]
fn warnings_stay_until_their_reason_goes_and_encode_nothing() {
    let world = album();
    world.profile("phone", "CONFIG_ENCODER=opusenc\n");
    world.build_well();
    let (metadata, manifest) = ("kelp/mustup-metadata.yaml", "kelp/tidal/mustup-manifest.yaml");
    let texts = [metadata, manifest].map(|path| fs::read_to_string(world.source(path)).unwrap());
    world.write(metadata, format!("{}rating: 5\n", texts[0]));
    let warning =
        "kelp/mustup-metadata.yaml, line 8: the key \"rating\" means nothing here; known are tags and pictures";
    for _ in 0..2 {
        let built = world.build_well();
        assert_eq!(built.list("warnings"), [warning], "once, for all tracks and profiles");
        assert!(built.list("built").is_empty());
    }
    world.write(metadata, &texts[0]);
    let built = world.build_well();
    assert_eq!((built.list("warnings").len(), built.list("built").len()), (0, 0));

    world.write(
        manifest,
        texts[1].replace("title: Limpet", "title: Limpet, track number: 01"),
    );
    let built = world.build_well();
    assert_eq!(built.list("warnings"), [""; 0], "the same number is fine");
    world.write(
        manifest,
        texts[1].replace("title: Limpet", "title: Limpet, track number: 7"),
    );
    for _ in 0..2 {
        let warning = "kelp/tidal/mustup-manifest.yaml: the track number of 01-limpet is 7 there and 1 in its name";
        assert_eq!(world.build_well().list("warnings"), [warning]);
    }
    assert_eq!(tag(&world, "home/kelp/tidal/01-limpet.flac", "TRACKNUMBER"), "7");
}

#[test]
fn the_table_of_what_wins_is_what_happens() {
    let document = support::document("collections.md");
    let section = document.split("\n## What wins\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let rows: Vec<_> = rows.map(|line| line.split(" |").next().unwrap()).skip(1).collect();
    assert_eq!(rows.len(), 9, "{rows:?}");

    // Folder n has what stands in row n and below it.
    let world = World::new();
    for (number, first) in rows.iter().enumerate() {
        let (above, folder) = (format!("{number}"), format!("{number}/album"));
        let (name, base) = (format!("{folder}/01-names.flac"), format!("{folder}/01-names"));
        world.write("tmp.wav", tone(number as u32));
        let (from, to) = (world.source("tmp.wav"), world.source(&name));
        fs::create_dir_all(world.source(&folder)).unwrap();
        let inside = rows[number..].contains(&"inside the file");
        let title = if inside {
            "--tag=TITLE=inside the file"
        } else {
            "--tag=X=y"
        };
        says("flac", &["--silent", title, "-o", to.to_str().unwrap()], &from);
        fs::remove_file(from).unwrap();
        for row in &rows[number..] {
            let plain = row.trim_matches('`');
            let text = format!("TITLE={row}\n");
            let yaml = format!("tags: {{Vorbis: {{TITLE: \"{row}\"}}}}\n");
            match plain {
                "TRACK.tags.vc" => world.write(format!("{base}.tags.vc"), text),
                "TRACK.tags-album.vc" => world.write(format!("{base}.tags-album.vc"), text),
                "mustup-manifest.yaml" => {
                    world.write(
                        format!("{folder}/{plain}"),
                        format!("01-names.flac:\n  metadata:\n    {yaml}"),
                    );
                }
                "tags.vc" => world.write(format!("{folder}/{plain}"), text),
                "mustup-metadata.yaml" => world.write(format!("{folder}/{plain}"), yaml),
                "../tags.vc" => world.write(format!("{above}/tags.vc"), text),
                "../mustup-metadata.yaml" => world.write(format!("{above}/mustup-metadata.yaml"), yaml),
                "inside the file" | "names" => {}
                _ => panic!("nobody knows {first}"),
            }
        }
    }
    world.build_well();
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(
            tag(&world, &format!("home/{number}/album/01-names.flac"), "TITLE"),
            *row
        );
    }
}

#[test]
fn pictures_come_by_type_from_the_nearest() {
    let world = World::new();
    let apic = |kind, path: &str| format!("pictures: {{APIC: {{{kind}: {{path: {path}, description: {path}}}}}}}\n");
    for (seed, name) in (0..).zip([
        "far-3.png",
        "far-4.png",
        "near.png",
        "own.png",
        "cover.png",
        "picture-05.png",
    ]) {
        world.write(format!("a/b/{name}"), png(seed, 10));
    }
    world.write("a/mustup-metadata.yaml", "pictures:\n  APIC:\n    3: {path: b/far-3.png, description: far-3}\n    4: {path: b/far-4.png, description: far-4}\n");
    world.write("a/b/mustup-metadata.yaml", apic(4, "near.png"));
    world.write(
        "a/b/mustup-manifest.yaml",
        format!("1.wav:\n  metadata:\n    {}2.wav:\n3.wav:\n", apic(6, "own.png")),
    );
    world.write("a/b/3.vibes.txt", "apic=5:png\n");
    for number in 1..=3 {
        world.write(format!("a/b/{number}.wav"), tone(number));
    }
    world.write("c/mustup-metadata.yaml", apic(4, "back.png"));
    world.write("c/back.png", png(7, 10));
    world.write("c/cover.png", png(8, 10));
    world.write("c/4.wav", tone(4));
    world.build_well();
    let pictures = |path: &str| {
        let said = says("metaflac", &["--list", "--block-type=PICTURE"], &world.output(path));
        let field = |name: &str| -> Vec<String> {
            let lines = said.lines().filter_map(|line| line.trim_start().strip_prefix(name));
            lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
        };
        let kinds = said.lines().filter_map(|line| line.strip_prefix("  type: "));
        let kinds = kinds.filter(|line| !line.starts_with("6 (PICTURE)"));
        let kinds = kinds.map(|line| line.split(' ').next().unwrap().to_owned());
        kinds
            .zip(field("description: "))
            .map(|(kind, text)| format!("{kind} {text}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(pictures("home/a/b/1.flac"), ["6 own.png", "4 near.png", "3 far-3"]);
    assert_eq!(pictures("home/a/b/2.flac"), ["4 near.png", "3 far-3"]);
    assert_eq!(pictures("home/a/b/3.flac"), ["5 "]);
    assert_eq!(pictures("home/c/4.flac"), ["4 back.png", "3 "]);
}
