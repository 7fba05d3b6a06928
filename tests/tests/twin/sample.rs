//! The sample collection, built once with all four encoders: every track is there, exact, tagged and illustrated.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tests::world::World;
use tests::{readback, sample, tree};

use crate::builds::Bench;

/// The sample's playlist, in the profile that asks for it.
const PLAYLIST: &str = "Late & Loud.m3u";

const EXTENSIONS: &[(&str, &str)] = &[("home", "flac"), ("phone", "opus"), ("car", "mp3"), ("radio", "ogg")];

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_is_built_whole_and_a_second_run_has_nothing_to_do() -> Result<()> {
    let mut bench = Bench::new()?;
    let root = bench.sources.parent().context("a bench has a directory")?.to_owned();
    (bench.sources, bench.profiles) = (root.join("sample"), root.join("sample-profiles"));
    sample::write(&bench.sources, &bench.profiles)?;
    let world = World::start(&bench.profiles, 1).await?;

    bench.run(&world)?;

    every_track_has_an_output_of_the_same_name(&bench)?;
    flac_has_the_exact_samples_of_its_source(&bench)?;
    tags_and_covers_are_in_all_four_formats(&bench)?;
    the_playlist_leads_to_tracks(&bench)?;
    let release = world.release().await?;
    assert!(release.complete, "the release is whole");
    assert_eq!(release.failed, []);

    let before = bench.pulled()?;
    let last = world.calls(0)?.last().context("the first run made calls")?.seq;
    let said = bench.run(&world)?;

    assert!(said.contains("up to date"), "a second run says so: {said}");
    assert_eq!(bench.pulled()?, before, "and changes nothing");
    let since: BTreeSet<String> = world.calls(last)?.into_iter().map(|call| call.action).collect();
    assert!(since.contains("GetObject"), "the record saw the second run: {since:?}");
    assert!(
        !since.contains("RunInstances") && !since.contains("CreateVolume"),
        "and it created nothing: {since:?}"
    );
    world.done()
}

/// Relative paths of the sample's audio, without extension.
fn tracks(sources: &Path) -> Result<Vec<(String, String)>> {
    let names = tree::read(sources)?
        .into_keys()
        .filter(|name| contract::shard::is_audio(name));
    names
        .map(|name| {
            let base = name.rsplit_once('.').context("audio has an extension")?.0.to_owned();
            Ok((name, base))
        })
        .collect()
}

fn every_track_has_an_output_of_the_same_name(bench: &Bench) -> Result<()> {
    for (profile, extension) in EXTENSIONS {
        let expected: BTreeSet<String> = tracks(&bench.sources)?
            .into_iter()
            .map(|(_, base)| format!("{base}.{extension}"))
            .collect();
        let mut found: BTreeSet<String> = tree::read(&bench.out.join(profile))?.into_keys().collect();
        assert_eq!(
            found.remove(PLAYLIST),
            *profile == "car",
            "{profile}: the playlist is where it is asked for"
        );
        assert_eq!(found, expected, "profile {profile}");
    }
    Ok(())
}

fn flac_has_the_exact_samples_of_its_source(bench: &Bench) -> Result<()> {
    for (name, base) in tracks(&bench.sources)? {
        let output = bench.out.join("home").join(format!("{base}.flac"));
        assert!(
            readback::samples(&bench.sources.join(&name))? == readback::samples(&output)?,
            "{name} and its FLAC hold the same samples"
        );
    }
    Ok(())
}

fn the_playlist_leads_to_tracks(bench: &Bench) -> Result<()> {
    let folder = bench.out.join("car");
    let text = std::fs::read_to_string(folder.join(PLAYLIST))?;
    let entries: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(entries.len(), 3, "{text}");
    for entry in entries {
        assert!(folder.join(entry).is_file(), "{entry} is there");
    }
    Ok(())
}

fn tags_and_covers_are_in_all_four_formats(bench: &Bench) -> Result<()> {
    let album = "Mick \"The Hammer\" O'Toole/Songs for $5 & Less";
    let cover = std::fs::read(bench.sources.join(album).join("picture-03.jpeg"))?;
    let digest: String = Sha256::digest(cover).iter().map(|byte| format!("{byte:02x}")).collect();
    for (profile, extension) in EXTENSIONS {
        let found = readback::tracks(&bench.out.join(profile))?;
        let track = &found[&format!("{album}/2/03-What?.{extension}")];
        let value = |key: &str| track.tags.get(key).cloned().unwrap_or_default();
        assert_eq!(value("ARTIST"), ["Mick \"The Hammer\" O'Toole"], "{profile}");
        assert_eq!(value("ALBUM"), ["Songs for $5 & Less"], "{profile}");
        assert_eq!(value("GENRE"), ["Blues", "Pub Rock"], "{profile}: both values");
        assert_eq!(value("TITLE"), ["What?"], "{profile}: from the file name");
        assert!(
            value("TRACKNUMBER")[0].starts_with('3'),
            "{profile}: {:?}",
            value("TRACKNUMBER")
        );
        assert!(
            value("DISCNUMBER")[0].starts_with('2'),
            "{profile}: {:?}",
            value("DISCNUMBER")
        );
        let pictures: Vec<_> = track
            .pictures
            .iter()
            .map(|p| (p.kind, p.mime.as_str(), p.sha256.as_str()))
            .collect();
        assert_eq!(pictures, [(3, "image/jpeg", digest.as_str())], "{profile}");

        for (name, track) in &found {
            let base = name.rsplit(['/', '.']).nth(1).context("a name and an extension")?;
            let only_a_number = base.bytes().all(|byte| byte.is_ascii_digit());
            assert!(
                only_a_number || track.tags.contains_key("TITLE"),
                "{profile}: {name} has a title"
            );
        }
        let by_manifest = &found[&format!("Null Pointer/Stack Overflow/02-Off by One.{extension}")].tags;
        assert_eq!(by_manifest["TITLE"], ["Off by Two"], "{profile}: from the manifest");
        assert_eq!(by_manifest["ALBUM"], ["Stack Overflow"], "{profile}: from the metadata");
        let japanese = found
            .iter()
            .find(|(name, _)| name.starts_with("山田花火/"))
            .context("the CJK album")?
            .1;
        assert_eq!(japanese.tags["ARTIST"], ["山田花火"], "{profile}");
        assert!(
            found.values().all(|track| (1.9..4.1).contains(&track.seconds)),
            "{profile}: lengths are kept"
        );
    }
    Ok(())
}
