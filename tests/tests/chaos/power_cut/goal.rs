//! What is built: sources and profiles, and what a build that nobody disturbs makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{readback, sample, tree};

use super::disk::{Device, Disk, Mounted};
use super::trial::BUILDS;

/// Output, beginning with its profile -> SHA-256 in hexadecimal digits.
pub(crate) type Outputs = BTreeMap<String, String>;

const ALBUM: &str = "Tiny & Co/Album 1";

/// Sources and profiles.
pub(crate) struct Goal {
    sources: PathBuf,
    profiles: PathBuf,
    /// What an undisturbed build makes of them.
    pub(crate) outputs: Outputs,
    /// How long that takes.
    pub(crate) took: Duration,
}

impl Goal {
    /// A light collection: ten short tracks and two long ones, a playlist, and three profiles.
    pub(crate) fn new(root: &Path) -> Result<Goal> {
        let goal = Goal {
            sources: root.join("sources"),
            profiles: root.join("profiles"),
            outputs: Outputs::new(),
            took: Duration::ZERO,
        };
        fs::create_dir_all(&goal.profiles)?;
        sample::tiny(&goal.sources, 10)?;
        for seed in [100, 101] {
            sample::long_track(&goal.sources.join(format!("Long/{seed}.wav")), seed, 8_000)?;
        }
        let playlist = format!("title: Road\ntracks:\n- {ALBUM}/01-Track 1\n- Long/100\n");
        fs::write(goal.sources.join("Road.pl.yaml"), playlist)?;
        goal.profile(
            "home",
            "CONFIG_ENCODER=flac\nCONFIG_REPLAYGAIN=album\nCONFIG_PLAYLISTS=m3u\n",
        )?;
        goal.profile("phone", "CONFIG_ENCODER=opusenc\n")?;
        goal.profile("radio", "CONFIG_ENCODER=oggenc\n")?;
        Ok(goal)
    }

    /// A title and a cover change, a source comes and one goes; so do profiles.
    pub(crate) fn change(&self) -> Result<()> {
        let album = self.sources.join(ALBUM);
        fs::write(album.join("02-Track 2.tags.vc"), "TITLE=Other\n")?;
        fs::write(album.join("tags.vc"), "ARTIST=Tiny & Co\nALBUM=Other\n")?;
        fs::remove_file(album.join("03-Track 3.wav"))?;
        fs::remove_file(album.join("03-Track 3.tags.vc"))?;
        sample::long_track(&self.sources.join("New/1.wav"), 200, 4_000)?;
        fs::remove_file(self.profiles.join("radio.config"))?;
        self.profile(
            "car",
            "CONFIG_ENCODER=lame\nCONFIG_NAMES=portable\nCONFIG_PLAYLISTS=xspf\n",
        )
    }

    fn profile(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.profiles.join(format!("{name}.config")), text)?)
    }

    /// Builds on a volume without disturbance, and remembers what became of it.
    pub(crate) fn build_undisturbed(&mut self, image: &Path, blank: bool) -> Result<()> {
        let at = Path::new(BUILDS);
        let volume = Mounted::open(Device::attach(image, Disk::WrittenThrough)?, blank, at)?;
        let began = Instant::now();
        self.build(at)?;
        self.took = began.elapsed();
        self.outputs = outputs(at)?;
        let audio = |name: &&String| !name.contains("Road.");
        for name in self.outputs.keys().filter(audio) {
            readback::samples(&at.join("out").join(name))?;
        }
        volume.close()
    }

    /// Runs a build, all of which has to go well, as the worker's user. Returns its report.
    pub(crate) fn build(&self, builds: &Path) -> Result<Value> {
        let output = Command::new("/mnt/vibes-compile")
            .args(["build", "--json", "--user", "nobody", "--sources"])
            .arg(&self.sources)
            .arg("--profiles")
            .arg(&self.profiles)
            .arg("--builds")
            .arg(builds)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "the build ended with {}: {said} {}",
            output.status,
            String::from_utf8_lossy(&output.stdout)
        );
        serde_json::from_slice(&output.stdout).with_context(|| format!("no report: {said}"))
    }
}

/// What lies in the outputs' folder of a mounted volume, unfinished things included; nothing before there is one.
pub(crate) fn outputs(builds: &Path) -> Result<Outputs> {
    let out = builds.join("out");
    if !out.exists() {
        return Ok(Outputs::new());
    }
    let hex = |digest: Vec<u8>| digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let files = tree::read(&out)?.into_iter();
    Ok(files.map(|(name, file)| (name, hex(file.digest))).collect())
}
