//! The verdict on a case: what the release holds, how the execution ended, and what is left.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use contract::fault::Name;
use contract::objects;
use contract::release::Release;
use contract::serve::ServerStatus;
use tests::tree::{self, Tree};

use super::{Lane, TITLES};

impl Lane {
    /// Whether the current release has the title of the sources; an error if it is neither that nor the one before.
    pub(super) async fn is_released(&self) -> Result<bool> {
        if self.references.len() < TITLES.len() {
            return Ok(false);
        }
        let content = self.content(&self.world.release().await?)?;
        let is = |title: usize| tree::contents(&content) == tree::contents(&self.references[title]);
        ensure!(
            (0..TITLES.len()).any(is),
            "the release holds {:?}",
            tree::contents(&content)
        );
        Ok(is(self.title))
    }

    /// The newest execution that tried to build has failed, and says why in a way that the runbook knows.
    pub(super) async fn last_failed_by_name(&self) -> Result<()> {
        let last = self.last_execution().await?.context("an execution")?;
        let last = self.world.ended(&last).await?;
        let (status, error) = (last.status.as_str(), last.error.unwrap_or_default());
        if status == "ABORTED" || status == "TIMED_OUT" {
            return Ok(());
        }
        let known = Name::ALL.iter().any(|name| name.as_str() == error) || error.contains('.');
        ensure!(
            status == "FAILED" && known && last.cause.is_some_and(|cause| !cause.is_empty()),
            "there is no new release, and the last execution ended {status} with the error {error:?}"
        );
        Ok(())
    }

    pub(super) async fn nothing_is_left(&self) -> Result<()> {
        let left = self.leftovers().await?;
        ensure!(left.is_empty(), "something is left: {left:?}");
        let release = self.world.release().await?;
        ensure!(
            release.complete && release.failed.is_empty(),
            "a half release: {release:?}"
        );
        Ok(())
    }

    /// Instances, volumes, and snapshots that no release and no checkpoint names; snapshots that are named and are not
    /// there; and what is wrong with the server, if there shall be one.
    pub(super) async fn leftovers(&self) -> Result<BTreeSet<String>> {
        let inventory = self.world.twin("GET", "inventory")?;
        let ids = |kind: &str, of_server: bool| -> Result<BTreeSet<String>> {
            let all = inventory[kind].as_array().context("an inventory")?.iter();
            let wanted = all.filter(|thing| (thing["tags"]["vibes:role"] == "server") == of_server);
            Ok(wanted
                .filter_map(|thing| Some(thing["id"].as_str()?.to_owned()))
                .collect())
        };
        let mut left = ids("instances", false)?;
        left.extend(ids("volumes", false)?);
        let named = self.world.named_snapshots().await?;
        left.extend(ids("snapshots", false)?.symmetric_difference(&named).cloned());
        let (servers, mounted) = (ids("instances", true)?, ids("volumes", true)?);
        let wished = usize::from(self.serves);
        if servers.len() != wished || mounted.len() != wished {
            left.insert(format!("servers {servers:?} with volumes {mounted:?}"));
        }
        if self.serves {
            let status: Option<ServerStatus> = self.world.object(objects::SERVE_STATUS).await?;
            let serving = status
                .filter(|status| servers.contains(&status.instance))
                .and_then(|status| status.current);
            let release = self.world.release().await?.release;
            if serving.as_ref() != Some(&release) {
                left.insert(format!("{serving:?} is served, not {release}"));
            }
        }
        Ok(left)
    }

    /// The outputs in a release's snapshot.
    pub(super) fn content(&self, release: &Release) -> Result<Tree> {
        tree::read(self.unpack(release)?.path())
    }

    /// The outputs in a release's snapshot, copied out of it by a program that did not write them.
    pub(crate) fn unpack(&self, release: &Release) -> Result<tempfile::TempDir> {
        let snapshot = release.shards[0].builds.as_deref().context("a builds snapshot")?;
        let out = tempfile::tempdir()?;
        let request = format!("rdump /out {}", out.path().display());
        let disk = self.world.disk(snapshot)?;
        let dumped = Command::new("debugfs").arg("-R").arg(request).arg(&disk).output()?;
        let copied = out.path().join("out").is_dir();
        ensure!(
            dumped.status.success() && copied,
            "debugfs {}: {}",
            disk.display(),
            String::from_utf8_lossy(&dumped.stderr)
        );
        Ok(out)
    }
}
