//! What a build starts from: the newest pair of snapshots of each shard that still exists.

use std::collections::HashMap;

use anyhow::Result;
use aws_sdk_ec2::types::Snapshot;
use contract::objects;
use contract::release::{Checkpoint, Pair, Release};

use crate::{Aws, releases, snapshots, store};

/// What earlier builds left.
#[derive(Debug)]
pub(crate) struct Past {
    pub(crate) release: Option<Release>,
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Size in GiB of the volume behind each snapshot that can be used.
    pub(crate) gib: HashMap<String, u32>,
}

/// Looks at what earlier builds left.
pub(crate) async fn past(aws: &Aws) -> Result<Past> {
    let release = releases::current(aws).await?;
    let checkpoint = store::find(aws, objects::CHECKPOINT).await?;
    let size = |snapshot: &Snapshot| u32::try_from(snapshot.volume_size().unwrap_or(0)).unwrap_or(0);
    let usable = snapshots::usable(aws).await?;
    let gib = usable
        .iter()
        .map(|snapshot| (snapshots::id(snapshot).to_owned(), size(snapshot)))
        .collect();
    Ok(Past {
        release,
        checkpoint,
        gib,
    })
}

impl Past {
    /// No snapshots: both volumes are blank.
    pub(crate) const BLANK: Pair = Pair {
        sources: None,
        builds: None,
    };

    /// The pair that this shard starts from: of the checkpoint (it is newer than the release, publishing deletes it), else
    /// of the release, else none. A pair is used whole or not at all: its volumes agree on when each file changed.
    pub(crate) fn pair(&self, shard: u32, shards: u32) -> Pair {
        let index = shard as usize;
        let count = shards as usize;
        let checkpoint = self
            .checkpoint
            .as_ref()
            .filter(|checkpoint| checkpoint.shards.len() == count);
        let release = self.release.as_ref().filter(|release| release.shards.len() == count);
        let pairs = [
            checkpoint.and_then(|checkpoint| checkpoint.shards[index].as_ref()),
            release.map(|release| &release.shards[index]),
        ];
        let usable = |pair: &&Pair| pair.sources.is_some() && self.exists(pair);
        pairs.into_iter().flatten().find(usable).cloned().unwrap_or(Past::BLANK)
    }

    /// The release can still be served and continued.
    pub(crate) fn release_is_whole(&self, release: &Release) -> bool {
        release.shards.iter().all(|pair| self.exists(pair))
    }

    fn exists(&self, pair: &Pair) -> bool {
        [&pair.sources, &pair.builds]
            .into_iter()
            .flatten()
            .all(|snapshot| self.gib.contains_key(snapshot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(sources: &str, builds: &str) -> Pair {
        let some = |id: &str| (!id.is_empty()).then(|| id.to_owned());
        Pair {
            sources: some(sources),
            builds: some(builds),
        }
    }

    fn past(checkpoint: Option<Vec<Option<Pair>>>, release: Vec<Pair>, existing: &[&str]) -> Past {
        let release = Release {
            release: "b-00001".to_owned(),
            published: String::new(),
            fingerprint: String::new(),
            complete: true,
            tries: 1,
            manifest: String::new(),
            profiles: Vec::new(),
            shards: release,
            failed: Vec::new(),
        };
        Past {
            release: Some(release),
            checkpoint: checkpoint.map(|shards| Checkpoint {
                build: "b-00002".to_owned(),
                shards,
            }),
            gib: existing.iter().map(|id| ((*id).to_owned(), 2)).collect(),
        }
    }

    #[test]
    fn the_checkpoint_comes_before_the_release() {
        let past = past(
            Some(vec![Some(pair("cs", "cb"))]),
            vec![pair("rs", "rb")],
            &["cs", "cb", "rs", "rb"],
        );
        assert_eq!(past.pair(0, 1), pair("cs", "cb"));
    }

    #[test]
    fn half_a_pair_is_never_used() {
        let past = past(
            Some(vec![Some(pair("cs", "cb"))]),
            vec![pair("rs", "rb")],
            &["cs", "rs", "rb"],
        );
        assert_eq!(past.pair(0, 1), pair("rs", "rb"));
    }

    #[test]
    fn a_release_without_its_sources_is_not_started_from() {
        assert_eq!(past(None, vec![pair("", "rb")], &["rb"]).pair(0, 1), pair("", ""));
    }

    #[test]
    fn a_synced_collection_that_was_never_built_is_started_from() {
        assert_eq!(
            past(Some(vec![Some(pair("cs", ""))]), vec![], &["cs"]).pair(0, 1),
            pair("cs", "")
        );
    }

    #[test]
    fn another_number_of_shards_starts_blank() {
        assert_eq!(
            past(None, vec![pair("rs", "rb")], &["rs", "rb"]).pair(0, 2),
            pair("", "")
        );
    }

    #[test]
    fn a_shard_without_a_checkpoint_starts_from_the_release() {
        let release = vec![pair("r0", "b0"), pair("r1", "b1")];
        let past = past(
            Some(vec![None, Some(pair("c1", "d1"))]),
            release,
            &["r0", "b0", "r1", "b1", "c1", "d1"],
        );
        assert_eq!(past.pair(0, 2), pair("r0", "b0"));
        assert_eq!(past.pair(1, 2), pair("c1", "d1"));
    }
}
