//! Playlists of both sources, in every kind and profile, read by programs that did not write them.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{World, run, says, tone};

/// The files that a playlist leads to, as its kind's reader finds them; all of them exist.
fn read(playlist: &Path) -> Vec<PathBuf> {
    let folder = playlist.parent().unwrap();
    let entries: Vec<String> = if playlist.extension() == Some(OsStr::new("m3u")) {
        let text = fs::read_to_string(playlist).unwrap();
        assert!(text.starts_with("#EXTM3U\n"), "{text}");
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    } else {
        let program = "import sys, urllib.parse, xml.etree.ElementTree as tree\n\
             for location in tree.parse(sys.argv[1]).getroot().iter('{http://xspf.org/ns/0/}location'):\n\
             \tprint(urllib.parse.unquote(location.text))\n";
        says("python3", &["-c", program], playlist)
            .lines()
            .map(str::to_owned)
            .collect()
    };
    entries
        .iter()
        .map(|entry| {
            let path = folder.join(entry);
            fs::canonicalize(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .collect()
}

/// A playlist in its own folder, one at the root by options, and what is wrong with them.
fn world() -> World {
    let world = World::new();
    world.profile("home", "CONFIG_ENCODER=flac\nCONFIG_PLAYLISTS=m3u,xspf\n");
    world.profile("car", "CONFIG_ENCODER=lame\nCONFIG_PLAYLISTS=m3u\n");
    world.profile("phone", "CONFIG_ENCODER=opusenc\n");
    for (seed, track) in (0..).zip(["a/1/01-x<3 & é.wav", "a/1/02-y.wav", "b/#1 100%.wav", "root.wav"]) {
        world.write(track, tone(seed));
    }
    world.write(
        "lists/night.pl.yaml",
        "title: Night & \"Day\"\ntracks:\n  - b/#1 100%\n  - a/1/01-x<3 & é\n  - root\n  - b/#1 100%\n",
    );
    world.write("a/vibes.txt", "playlists=road:2\n");
    world.write("a/1/02-y.vibes.txt", "playlists=road:1,other:1\n");
    world.write("root.vibes.txt", "playlists=road:-1\n");
    world
}

#[test]
fn playlists_lead_to_the_outputs_of_their_profile() {
    let world = world();
    let built = world.build_well();
    let lists: Vec<_> = built
        .list("built")
        .into_iter()
        .filter(|path| path.contains(".m3u") || path.contains(".xspf"))
        .collect();
    let expected = [
        "car/lists/night.m3u",
        "car/other.m3u",
        "car/road.m3u",
        "home/lists/night.m3u",
        "home/lists/night.xspf",
        "home/other.m3u",
        "home/other.xspf",
        "home/road.m3u",
        "home/road.xspf",
    ];
    assert_eq!(lists, expected);
    assert_eq!(built.list("warnings"), [""; 0]);
    assert_eq!(built.report["outputs"]["home"], 4, "playlists are no tracks");
    for list in expected {
        let (profile, name) = list.split_once('/').unwrap();
        let tracks = match name.split('.').next().unwrap() {
            "lists/night" => vec!["b/#1 100%", "a/1/01-x<3 & é", "root", "b/#1 100%"],
            "road" => vec!["root", "a/1/02-y", "a/1/01-x<3 & é"],
            _ => vec!["a/1/02-y"],
        };
        let extension = if profile == "home" { "flac" } else { "mp3" };
        let root = fs::canonicalize(world.output(profile)).unwrap();
        let tracks: Vec<_> = tracks
            .iter()
            .map(|track| root.join(format!("{track}.{extension}")))
            .collect();
        assert_eq!(read(&world.output(list)), tracks, "{list}");
    }
    let xspf = "home/lists/night.xspf";
    let program = "import sys, xml.etree.ElementTree as tree\n\
         print(tree.parse(sys.argv[1]).getroot().find('{http://xspf.org/ns/0/}title').text)";
    assert_eq!(
        says("python3", &["-c", program], &world.output(xspf)),
        "Night & \"Day\"\n"
    );
    let m3u = fs::read_to_string(world.output("car/lists/night.m3u")).unwrap();
    assert!(m3u.contains("#PLAYLIST:Night & \"Day\"\n"), "{m3u}");
    // A player decodes all of it.
    let list = world.output("car/lists/night.m3u");
    let played = Command::new("mpg123")
        .args(["--test", "--list"])
        .arg(&list)
        .current_dir(world.output("car"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&played.stderr).into_owned();
    assert!(played.status.success(), "{said}");
    assert_eq!(said.matches("Playing MPEG stream").count(), 4, "{said}");
    assert!(!said.contains("rror"), "{said}");
}

#[test]
fn a_changed_playlist_encodes_nothing_and_an_equal_one_is_not_written() {
    let world = world();
    world.build_well();
    let before = world.outputs();
    assert!(world.build_well().list("built").is_empty());
    assert!(world.outputs() == before, "nothing is written again");

    world.write("lists/night.pl.yaml", "# short\ntitle: Night\ntracks: [root]\n");
    let built = world.build_well();
    assert_eq!(
        built.list("built"),
        ["car/lists/night.m3u", "home/lists/night.m3u", "home/lists/night.xspf"]
    );
    assert_eq!(read(&world.output("car/lists/night.m3u")).len(), 1);

    fs::rename(world.source("lists/night.pl.yaml"), world.source("day.pl.yaml")).unwrap();
    fs::remove_file(world.source("a/1/02-y.vibes.txt")).unwrap();
    let built = world.build_well();
    let expected = [
        "car/day.m3u",
        "car/road.m3u",
        "home/day.m3u",
        "home/day.xspf",
        "home/road.m3u",
        "home/road.xspf",
    ];
    assert_eq!(built.list("built"), expected);
    let removed = built.list("removed");
    let expected = [
        "car/lists/night.m3u",
        "car/other.m3u",
        "home/lists/night.m3u",
        "home/lists/night.xspf",
    ];
    assert_eq!(removed[..4], expected);
    assert!(!world.output("car/lists").exists());

    world.profile("home", "CONFIG_ENCODER=flac\nCONFIG_PLAYLISTS=xspf\n");
    let built = world.build_well();
    assert!(built.list("built").is_empty());
    assert_eq!(built.list("removed"), ["home/day.m3u", "home/road.m3u"]);
    fs::remove_file(world.output("home/day.xspf")).unwrap();
    assert_eq!(world.build_well().list("built"), ["home/day.xspf"]);
}

#[test]
fn what_is_wrong_with_a_playlist_is_a_warning_and_the_rest_of_it_is_made() {
    let world = world();
    world.write("lists/night.pl.yaml", "tracks:\n  - root\n  - a/1/gone\n  - root.wav\n");
    world.write("road.pl.yaml", "title: Mine\ntracks: [root]\n");
    world.write("lists/broken.pl.yaml", "tracks: [root\n");
    world.write("b/#1 100%.vibes.txt", "playlists=road\n");
    let built = world.build_well();
    let warnings = built.list("warnings");
    let expected = [
        "b/#1 100%.vibes.txt: line 1: \"road\" is no list of playlists and positions; write NAME:POSITION,..., such as road:3",
        "lists/night.pl.yaml: line 3: there is no track \"a/1/gone\"; write its path from the collection's root, without extension",
        "lists/night.pl.yaml: line 4: there is no track \"root.wav\"; write its path from the collection's root, without extension",
        "road.pl.yaml: playlists=road would become road.m3u too, and does not; rename one",
        "road.pl.yaml: playlists=road would become road.xspf too, and does not; rename one",
    ];
    let broken: Vec<_> = warnings
        .iter()
        .filter(|warning| !expected.contains(&warning.as_str()))
        .collect();
    assert_eq!(warnings.len(), 6, "{warnings:#?}");
    assert!(broken[0].starts_with("lists/broken.pl.yaml: line "), "{broken:?}");
    assert_eq!(read(&world.output("home/lists/night.xspf")).len(), 1);
    assert_eq!(read(&world.output("home/road.xspf")).len(), 1);
    let check = says(env!("CARGO_BIN_EXE_vibes-compile"), &["check"], &world.source(""));
    for said in [
        "line 3: there is no track \"a/1/gone\"",
        "line 1: \"road\" is no list",
        "lists/broken.pl.yaml",
    ] {
        assert!(check.contains(said), "{said} in {check}");
    }
    assert!(!world.output("home/lists/broken.m3u").exists());

    world.write("lists/broken.pl.yaml", "tracks: [root]\n");
    world.build_well();
    world.write("lists/broken.pl.yaml", "tracks: root\n");
    world.build_well();
    assert_eq!(
        read(&world.output("home/lists/broken.m3u")).len(),
        1,
        "an older one stays"
    );
}

#[test]
fn a_playlist_leads_to_the_older_output_of_a_failing_track_and_not_to_one_that_never_was() {
    let world = world();
    world.write("a/1/03-bad.wav", "no sound");
    world.write("lists/night.pl.yaml", "tracks: [root, a/1/03-bad]\n");
    let built = world.build();
    assert_eq!(built.failures().len(), 1);
    let warning = "lists/night.pl.yaml: a/1/03-bad has no output in profile car and is left out there; see why it is not built, or take it out";
    assert!(
        built.list("warnings").contains(&warning.to_owned()),
        "{built:?}",
        built = built.list("warnings")
    );
    assert_eq!(read(&world.output("car/lists/night.m3u")).len(), 1);

    world.write("a/1/03-bad.wav", tone(7));
    assert!(
        world
            .build_well()
            .list("built")
            .contains(&"car/lists/night.m3u".to_owned())
    );
    assert_eq!(read(&world.output("car/lists/night.m3u")).len(), 2);

    world.write("a/1/03-bad.wav", "no sound again");
    let built = world.build();
    assert_eq!(built.failures().len(), 1);
    assert_eq!((built.list("built").len(), built.list("removed").len()), (0, 0));
    assert_eq!(read(&world.output("car/lists/night.m3u")).len(), 2);
}

#[test]
fn portable_names_are_in_playlists_too() {
    let world = world();
    world.profile(
        "car",
        "CONFIG_ENCODER=lame\nCONFIG_NAMES=portable\nCONFIG_PLAYLISTS=m3u,xspf\n",
    );
    world.write("a/what?.pl.yaml", "tracks: [a/1/01-x<3 & é, root]\n");
    world.write("a/WHAT？.pl.yaml", "tracks: [root]\n");
    let built = world.build_well();
    assert_eq!(built.list("warnings").len(), 2, "{:?}", built.list("warnings"));
    let list = world.output("car/a/WHAT？.m3u");
    let names: Vec<_> = read(&list)
        .iter()
        .map(|path| path.file_name().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["root.mp3"]);
    let names: Vec<_> = read(&world.output("car/road.xspf"))
        .iter()
        .map(|path| path.file_name().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["root.mp3", "02-y.mp3", "01-x＜3 & é.mp3"]);
}

#[test]
fn the_first_shard_makes_all_playlists_and_the_others_none() {
    // A build within this process looks for the program beside it.
    let beside = std::env::current_exe().unwrap().with_file_name("vibes-compile");
    if !beside.exists() {
        symlink(env!("CARGO_BIN_EXE_vibes-compile"), beside).unwrap();
    }
    let shard_of = |path: &str| contract::shard::of_audio(path, 2);
    let folders: Vec<String> = (0..20).map(|number| format!("f{number}")).collect();
    let of = |shard| {
        folders
            .iter()
            .find(|folder| shard_of(&format!("{folder}/x")) == shard)
            .unwrap()
            .as_str()
    };
    let audio: Vec<PathBuf> = [0, 1].map(|shard| format!("{}/1.wav", of(shard)).into()).to_vec();
    let profile = "CONFIG_ENCODER=flac\nCONFIG_PLAYLISTS=m3u\nCONFIG_NAMES=portable\n";
    for number in [0, 1] {
        let builds = tempfile::tempdir().unwrap();
        let collection = builds.path().join("work/collection");
        let write = |path: &str, content: &[u8]| {
            let path = collection.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write(&format!("{}/1.wav", of(number)), &tone(number));
        write(
            "all.pl.yaml",
            format!("tracks: [{}/1, {}/1, nobody/1]\n", of(0), of(1)).as_bytes(),
        );
        write(&format!("{}/vibes.txt", of(1)), b"playlists=one:1\n");
        write(&format!("{}/mustup-manifest.yaml", of(1)), b"1.wav:\n");
        let build = compiler::Build {
            collection,
            builds: builds.path().to_owned(),
            profiles: [("home".to_owned(), profile.to_owned())].into(),
            user: None,
            jobs: None,
            shard: Some(compiler::Shard {
                number,
                of: 2,
                audio: audio.clone(),
            }),
            program: env!("CARGO_BIN_EXE_vibes-compile").into(),
        };
        let report = compiler::build(&build, &mut |_| {}, &false.into()).unwrap();
        assert_eq!(
            report.failed,
            [],
            "another shard's manifest names another shard's files"
        );
        let track = format!("home/{}/1.flac", of(number));
        if number == 1 {
            assert_eq!(report.built, [track]);
            assert_eq!(report.warnings, [""; 0]);
            continue;
        }
        assert_eq!(
            report.built,
            ["home/all.m3u".to_owned(), track, "home/one.m3u".to_owned()]
        );
        assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
        assert!(report.warnings[0].starts_with("all.pl.yaml: line 1: there is no track \"nobody/1\""));
        let m3u = run("cat", &[builds.path().join("out/home/all.m3u").as_os_str()]).stdout;
        let lines = format!("#EXTM3U\n#PLAYLIST:all\n{}/1.flac\n{}/1.flac\n", of(0), of(1));
        assert_eq!(String::from_utf8(m3u).unwrap(), lines);
        let one = fs::read_to_string(builds.path().join("out/home/one.m3u")).unwrap();
        assert!(one.ends_with(&format!("\n{}/1.flac\n", of(1))), "{one}");
    }
}
