//! What stays of an installation: named in `teardown.json`, and tagged so that no later installation takes it for its own.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_sdk_ec2::types::Tag;
use contract::teardown::{Kept, Teardown};
use contract::{objects, tags};

use crate::fault::Refusal;
use crate::tagging::Tags;
use crate::{Aws, releases, snapshots, store, tagging, volumes};

/// Things that are tagged in one call; EC2 takes a thousand.
const TOGETHER: usize = 500;

/// Writes down what is left, takes it out of the installation, and forgets which release is the current one.
///
/// Asked again, it adds what is left to what it wrote down before.
pub(super) async fn keep(aws: &Aws, now: &str) -> Result<()> {
    let everything = Tags::stack(aws);
    let mut left = Vec::new();
    for snapshot in snapshots::find(aws, &everything).await? {
        left.push(kept(snapshots::id(&snapshot), snapshot.volume_size(), snapshot.tags()));
    }
    for volume in volumes::find(aws, &everything).await? {
        left.push(kept(volumes::id(&volume), volume.size(), volume.tags()));
    }
    let before: Option<Teardown> = store::find(aws, objects::TEARDOWN).await?;
    let before = before.map(|before| before.kept).unwrap_or_default();
    let all = before.iter().chain(&left).map(|kept| (&kept.id, kept));
    let settings = &aws.settings;
    let teardown = Teardown {
        stack: settings.stack.clone(),
        region: settings.region.clone(),
        time: now.to_owned(),
        sources_bucket: settings.sources_bucket.clone(),
        state_bucket: settings.state_bucket.clone(),
        kept: all.collect::<BTreeMap<_, _>>().into_values().cloned().collect(),
    };
    store::put(aws, objects::TEARDOWN, &teardown).await?;
    tracing::info!(?teardown, "this stays");
    retag(aws, &left).await?;
    // The buckets stay, but no password in them.
    store::delete(aws, objects::SERVE_ACCESS).await?;
    releases::forget_current(aws).await
}

fn kept(id: &str, gib: Option<i32>, tags: &[Tag]) -> Kept {
    Kept {
        id: id.to_owned(),
        gib: u32::try_from(gib.unwrap_or(0)).unwrap_or(0),
        name: tagging::value(tags, "Name").unwrap_or_default().to_owned(),
    }
}

/// The tag that permission hangs on goes last.
async fn retag(aws: &Aws, things: &[Kept]) -> Result<()> {
    for things in things.chunks(TOGETHER) {
        let ids: Vec<String> = things.iter().map(|thing| thing.id.clone()).collect();
        let retained = Tag::builder().key(tags::RETAINED).value(&aws.settings.stack).build();
        let request = aws.ec2.create_tags().set_resources(Some(ids.clone())).tags(retained);
        let tagged = request.send().await.map_err(Refusal::from);
        tagged.with_context(|| format!("tagging {}", ids.join(", ")))?;
        let stack = Tag::builder().key(tags::STACK).build();
        let request = aws.ec2.delete_tags().set_resources(Some(ids.clone())).tags(stack);
        let untagged = request.send().await.map_err(Refusal::from);
        untagged.with_context(|| format!("untagging {}", ids.join(", ")))?;
    }
    Ok(())
}
