//! What cannot be built fails alone: the rest of the collection is built, and the report says what to do.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::sample;
use tests::world::World;

use crate::builds::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn broken_files_fail_alone_and_are_reported_with_reason_and_remedy() -> Result<()> {
    let bench = Bench::new()?;
    sample::tiny(&bench.sources, 8)?;
    let good = bench.sources.join("Tiny & Co/Album 1");
    let write = |path: &str, bytes: &[u8]| -> Result<()> {
        let path = bench.sources.join(path);
        std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        Ok(std::fs::write(path, bytes)?)
    };
    let wave = std::fs::read(good.join("01-Track 1.wav"))?;
    write("broken/01-empty.wav", b"")?;
    write("broken/02-text.wav", b"This is no music, whatever its name says.")?;
    write("broken/03-cut.flac", &cut(&flac(&good.join("02-Track 2.wav"))?))?;
    write("no cover/01-a.wav", &wave)?;
    write("no cover/vibes.txt", b"apic=3:jpeg\n")?;
    write("no cover/picture-03.jpeg", b"no picture")?;
    write("no tags/01-a.wav", &wave)?;
    write("no tags/tags.vc", b"nonsense")?;
    let world = World::start(&bench.profiles, 1).await?;

    let said = bench.run(&world)?;

    let first = bench.pulled()?;
    assert_eq!(first.len(), 16, "the good tracks are there: {first:?}");
    let release = world.release().await?;
    assert!(!release.complete);
    let report = world.aws(&[
        "s3",
        "cp",
        &format!("s3://{}/builds/{}/report.txt", world.state_bucket, release.release),
        "-",
    ])?;
    let expected = [
        (
            "broken/01-empty.wav",
            "its content is not what its extension says; replace the file",
        ),
        (
            "broken/02-text.wav",
            "its content is not what its extension says; replace the file",
        ),
        ("broken/03-cut.flac", "; "),
        ("no cover/01-a.wav", "no cover/picture-03.jpeg is no picture: "),
        (
            "no tags/01-a.wav",
            "no tags/tags.vc, line 1: \"nonsense\" has no '='; write NAME=value",
        ),
    ];
    for (source, words) in expected {
        for profile in ["home", "phone"] {
            let line = report
                .lines()
                .find(|line| line.starts_with(&format!("  {source} for {profile}: ")));
            let line = line.with_context(|| format!("{source} for {profile} is not in {report}"))?;
            ensure!(line.contains(words), "{line:?} does not say {words:?}");
        }
        ensure!(said.contains(source), "{source} is not in {said}");
    }
    let ended = world.ended(&world.execution(&release.release)).await?;
    let output: Value = serde_json::from_str(ended.output().context("it has an output")?)?;
    let summary = output["publish"]["summary"].as_str().context("a summary")?;
    ensure!(summary.starts_with("16 built, 0 removed, 10 failed, "), "{summary}");

    // A track that was good and is broken now keeps its older outputs.
    std::fs::write(good.join("03-Track 3.wav"), b"broken")?;
    bench.run(&world)?;
    assert_eq!(bench.pulled()?, first);
    world.done()
}

/// The file as FLAC.
fn flac(wave: &std::path::Path) -> Result<Vec<u8>> {
    let flac = Command::new("flac").args(["--silent", "--stdout"]).arg(wave).output()?;
    ensure!(flac.status.success(), "flac: {}", String::from_utf8_lossy(&flac.stderr));
    Ok(flac.stdout)
}

/// The first half of a file.
fn cut(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() / 2].to_vec()
}
