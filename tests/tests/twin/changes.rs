//! A change has exactly the consequences that follow from it, and nothing else is touched.

use std::collections::BTreeSet;

use anyhow::Result;
use tests::sample;
use tests::tree::{self, Difference};
use tests::world::World;

use crate::builds::{Bench, report_of_release};

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_has_its_consequence_and_no_other() -> Result<()> {
    let bench = Bench::new()?;
    sample::tiny(&bench.sources, 12)?;
    let world = World::start(&bench.profiles, 1).await?;
    bench.run(&world)?;
    let first = bench.pulled()?;
    assert_eq!(first.len(), 24, "12 tracks in 2 profiles");

    let title = bench.sources.join("Tiny & Co/Album 1/01-Track 1.tags.vc");
    std::fs::write(title, "TITLE=Another\n")?;
    bench.run(&world)?;
    let retitled = bench.pulled()?;
    let both = names([
        "home/Tiny & Co/Album 1/01-Track 1.flac",
        "phone/Tiny & Co/Album 1/01-Track 1.opus",
    ]);
    assert_eq!(
        tree::difference(&first, &retitled),
        Difference {
            changed: both.clone(),
            ..Difference::default()
        },
        "one title: that track, once per profile"
    );
    assert_eq!(report_of_release(&world).await?.built, Vec::from_iter(both.clone()));

    std::fs::remove_file(bench.sources.join("Tiny & Co/Album 1/01-Track 1.wav"))?;
    bench.run(&world)?;
    let deleted = bench.pulled()?;
    assert_eq!(
        tree::difference(&retitled, &deleted),
        Difference {
            removed: both.clone(),
            ..Difference::default()
        },
        "a deleted track: its outputs go"
    );
    let report = report_of_release(&world).await?;
    assert_eq!((report.built, report.removed), (vec![], Vec::from_iter(both)));

    std::fs::rename(
        bench.sources.join("Tiny & Co/Album 2"),
        bench.sources.join("Tiny & Co/Renamed"),
    )?;
    bench.run(&world)?;
    let renamed = bench.pulled()?;
    let found = tree::difference(&deleted, &renamed);
    assert_eq!(
        found.changed,
        names([]),
        "a renamed album: the other album is not touched"
    );
    let moved: BTreeSet<_> = found
        .removed
        .iter()
        .map(|name| name.replace("Album 2", "Renamed"))
        .collect();
    assert_eq!((found.added.len(), found.added), (4, moved), "its tracks have moved");

    bench.profile("car", "CONFIG_ENCODER=lame\n")?;
    bench.run(&world)?;
    let added = bench.pulled()?;
    let found = tree::difference(&renamed, &added);
    assert_eq!(
        (found.changed, found.removed),
        (names([]), names([])),
        "a new profile: the others are not touched"
    );
    assert_eq!(found.added.len(), 11);
    assert!(
        found
            .added
            .iter()
            .all(|name| name.starts_with("car/") && name.ends_with(".mp3"))
    );

    std::fs::remove_file(bench.profiles.join("phone.config"))?;
    bench.run(&world)?;
    let removed = bench.pulled()?;
    let found = tree::difference(&added, &removed);
    assert_eq!(
        (found.changed, found.added),
        (names([]), names([])),
        "a removed profile: the others are not touched"
    );
    assert_eq!(found.removed.len(), 11);
    assert!(found.removed.iter().all(|name| name.starts_with("phone/")));
    assert_eq!(
        report_of_release(&world).await?.built,
        Vec::<String>::new(),
        "and nothing is encoded"
    );
    world.done()
}
