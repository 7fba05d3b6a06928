//! The inventory: what lives now, and what of the host it holds.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Ec2;
use super::state::Phase;

impl Ec2 {
    /// Instances that are not terminated, volumes, snapshots, and mounts and loop devices below the state directory.
    pub fn inventory(&self) -> Result<Value> {
        let dir = self.file.parent().context("the state has a directory")?;
        let mut state = self.state.lock().expect("no panic inside");
        state.forget_old();
        let living = state
            .instances
            .values()
            .filter(|instance| instance.phase != Phase::Terminated);
        let mounts = mounts(dir)?;
        Ok(json!({
            "instances": living.collect::<Vec<_>>(),
            "volumes": state.volumes.values().collect::<Vec<_>>(),
            "snapshots": state.snapshots.values().collect::<Vec<_>>(),
            "mounts": mounts,
            "loops": loops(dir)?,
        }))
    }
}

/// Mount points below `dir` in the twin's mount namespace; instances have their own.
fn mounts(dir: &Path) -> Result<Vec<String>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    Ok(points.filter(|point| Path::new(point).starts_with(dir)).collect())
}

/// mountinfo writes blanks and the like as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
}

/// Loop devices whose files lie below `dir`.
fn loops(dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/sys/block").context("no /sys/block")? {
        let entry = entry?;
        // Only a bound loop device has the file.
        let Ok(backing) = std::fs::read_to_string(entry.path().join("loop/backing_file")) else {
            continue;
        };
        if Path::new(backing.trim_end()).starts_with(dir) {
            found.push(format!("/dev/{}", entry.file_name().to_string_lossy()));
        }
    }
    found.sort();
    Ok(found)
}
