//! Forgets old releases, and deletes the snapshots that nothing refers to any more.

use anyhow::Result;
use aws_sdk_ec2::types::Snapshot;
use contract::objects;
use contract::release::Release;
use contract::serve::Desired;
use contract::tags;

use crate::tagging::Tags;
use crate::{Aws, ownership, releases, snapshots, store};

/// Keeps the current release, the one that is served and the newest others; deletes what none of them needs.
///
/// Objects first, snapshots after: a release never names what is gone. `build` is the owner of control.
pub(crate) async fn prune(aws: &Aws, build: &str) -> Result<()> {
    let all = releases::all(aws).await?;
    let current = releases::current_name(aws).await?;
    let desired: Option<Desired> = store::find(aws, objects::SERVE_DESIRED).await?;
    let needed = [current.clone(), desired.and_then(|desired| desired.release)];
    for (release, fate) in fates(all, aws.settings.keep_releases, current.as_deref(), &needed) {
        let key = objects::release(&release.release);
        match fate {
            Fate::Keep => {}
            Fate::OnlyServe => store::put(aws, &key, &without_sources(release)).await?,
            Fate::Forget => store::delete(aws, &key).await?,
        }
    }
    unneeded_snapshots(aws, build).await?;
    Ok(())
}

/// Deletes the snapshots that no kept release and no checkpoint names: of all builds if this one owns control, else only
/// its own. Gives their ids.
pub(crate) async fn unneeded_snapshots(aws: &Aws, build: &str) -> Result<Vec<String>> {
    let found = snapshots::find(aws, &Tags::stack(aws)).await?;
    // Asked after looking: what was found under this owner belongs to no later one, which has yet to name its own.
    let owner = ownership::look(aws).await?.owner;
    let ours = |of: &str| of == build || owner.as_deref() == Some(build);
    delete_unneeded(aws, found, ours).await
}

/// The same for all builds, when there will be no other.
pub(crate) async fn unneeded_snapshots_of_all(aws: &Aws) -> Result<Vec<String>> {
    delete_unneeded(aws, snapshots::find(aws, &Tags::stack(aws)).await?, |_| true).await
}

async fn delete_unneeded(aws: &Aws, mut found: Vec<Snapshot>, ours: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    found.retain(|snapshot| snapshots::tag(snapshot, tags::BUILD).is_some_and(&ours));
    let needed = releases::needed_snapshots(aws).await?;
    snapshots::delete_unneeded(aws, &found, &needed).await
}

/// What becomes of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays as it is.
    Keep,
    /// It can be served again, but nothing is built from it any more: sources snapshots are dear.
    OnlyServe,
    /// It goes.
    Forget,
}

/// The fate of each release; `all` is sorted, newest first.
fn fates(all: Vec<Release>, keep: u32, current: Option<&str>, needed: &[Option<String>]) -> Vec<(Release, Fate)> {
    let fate = |(index, release): (usize, Release)| {
        let is_current = current == Some(release.release.as_str());
        let is_kept = index < keep as usize || needed.iter().flatten().any(|needed| *needed == release.release);
        let has_sources = release.shards.iter().any(|pair| pair.sources.is_some());
        let fate = match (is_current, is_kept, has_sources) {
            (true, _, _) | (_, true, false) => Fate::Keep,
            (_, true, true) => Fate::OnlyServe,
            (_, false, _) => Fate::Forget,
        };
        (release, fate)
    };
    all.into_iter().enumerate().map(fate).collect()
}

fn without_sources(mut release: Release) -> Release {
    for pair in &mut release.shards {
        pair.sources = None;
    }
    release
}

#[cfg(test)]
mod tests {
    use contract::release::Pair;

    use super::*;
    use crate::testing;

    fn release(name: &str, sources: bool) -> Release {
        let pair = Pair {
            sources: sources.then(|| "snap-s".to_owned()),
            builds: Some("snap-b".to_owned()),
        };
        Release {
            shards: vec![pair],
            ..testing::release(name)
        }
    }

    fn fates_of(keep: u32, current: &str, served: &str) -> Vec<Fate> {
        let all = vec![
            release("r4", true),
            release("r3", true),
            release("r2", false),
            release("r1", false),
        ];
        let needed = [Some(current.to_owned()), Some(served.to_owned())];
        fates(all, keep, Some(current), &needed)
            .into_iter()
            .map(|(_, fate)| fate)
            .collect()
    }

    #[test]
    fn only_the_current_release_keeps_its_sources() {
        assert_eq!(
            fates_of(3, "r4", "r4"),
            [Fate::Keep, Fate::OnlyServe, Fate::Keep, Fate::Forget]
        );
    }

    #[test]
    fn the_current_and_the_served_release_stay_however_old() {
        assert_eq!(
            fates_of(1, "r3", "r1"),
            [Fate::OnlyServe, Fate::Keep, Fate::Forget, Fate::Keep]
        );
    }

    #[test]
    fn a_release_keeps_what_is_served_of_it() {
        assert_eq!(
            without_sources(release("r", true)).shards[0].builds.as_deref(),
            Some("snap-b")
        );
    }
}
