//! What the scenarios share: a collection on disk beside its profiles, brought into a world and pulled out of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use contract::estimate::Estimate;
use contract::report::Report;
use tests::tree::{self, Tree};
use tests::world::World;

/// A collection, its profiles and what was pulled, in a directory of their own.
pub(crate) struct Bench {
    _dir: tempfile::TempDir,
    /// The sources.
    pub(crate) sources: PathBuf,
    /// The profiles, one `NAME.config` each.
    pub(crate) profiles: PathBuf,
    /// Where the result is pulled to.
    pub(crate) out: PathBuf,
}

impl Bench {
    /// An empty collection with two quick profiles: `home` (FLAC) and `phone` (Opus).
    pub(crate) fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let bench = Self {
            sources: dir.path().join("sources"),
            profiles: dir.path().join("profiles"),
            out: dir.path().join("out"),
            _dir: dir,
        };
        std::fs::create_dir_all(&bench.sources)?;
        std::fs::create_dir_all(&bench.profiles)?;
        bench.profile("home", "CONFIG_ENCODER=flac\n")?;
        bench.profile("phone", "CONFIG_ENCODER=opusenc\n")?;
        Ok(bench)
    }

    /// Adds or changes a profile.
    pub(crate) fn profile(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.profiles.join(format!("{name}.config")), text).context("write a profile")
    }

    /// Does what `make run` does, and returns what it printed.
    pub(crate) fn run(&self, world: &World) -> Result<String> {
        let path = |path: &PathBuf| path.to_str().map(str::to_owned).context("a path that is not UTF-8");
        let (sources, profiles, out) = (path(&self.sources)?, path(&self.profiles)?, path(&self.out)?);
        world.vibes(&[
            "run",
            "--twin",
            world.state()?,
            "--sources",
            &sources,
            "--profiles",
            &profiles,
            "--out",
            &out,
        ])
    }

    /// What was pulled.
    pub(crate) fn pulled(&self) -> Result<Tree> {
        pulled_into(&self.out)
    }
}

/// What was pulled into a directory, without the note that `vibes pull` keeps there.
pub(crate) fn pulled_into(out: &Path) -> Result<Tree> {
    let mut pulled = tree::read(out)?;
    pulled
        .remove(".vibes.json")
        .context("`vibes pull` leaves a note of what it pulled")?;
    Ok(pulled)
}

/// What a build used; an error if its clean-up has not written it.
pub(crate) async fn estimate(world: &World, build: &str) -> Result<Estimate> {
    let key = contract::objects::estimate(build);
    world.object(&key).await?.with_context(|| format!("there is no {key}"))
}

/// What the current release's build did, over all shards.
pub(crate) async fn report_of_release(world: &World) -> Result<Report> {
    let release = world.release().await?;
    let mut shards = Vec::new();
    for shard in 0..release.shards.len() as u32 {
        shards.push(world.report(&release.release, shard).await?);
    }
    let mut whole = Report::of_shards(shards);
    whole.built.sort();
    whole.removed.sort();
    Ok(whole)
}
