//! Releases and the checkpoint: which is current, which are kept, and which snapshots they need.

use std::collections::HashSet;

use anyhow::{Context, Result};
use aws_sdk_ssm::types::ParameterType;
use contract::release::{Checkpoint, Release};
use contract::{objects, parameters};

use crate::fault::{Refusal, unless_absent};
use crate::{Aws, store};

/// The value of an SSM parameter; none if there is no such parameter.
pub(crate) async fn parameter(aws: &Aws, name: &str) -> Result<Option<String>> {
    // What is not a SecureString is not encrypted, and read the same.
    let request = aws.ssm.get_parameter().name(name).with_decryption(true).send().await;
    let found = unless_absent(request.map_err(Refusal::from)).with_context(|| format!("reading parameter {name}"))?;
    Ok(found
        .and_then(|found| found.parameter)
        .and_then(|parameter| parameter.value))
}

/// The current release's name; none before the first.
pub(crate) async fn current_name(aws: &Aws) -> Result<Option<String>> {
    parameter(aws, &parameters::release(&aws.settings.prefix)).await
}

/// The current release; none before the first, and none when the parameter is from an installation of this name that
/// was deleted: its state bucket was another one.
pub(crate) async fn current(aws: &Aws) -> Result<Option<Release>> {
    let Some(name) = current_name(aws).await? else {
        return Ok(None);
    };
    let release = store::find(aws, &objects::release(&name)).await?;
    if release.is_none() {
        tracing::warn!(
            release = name,
            "the current release has no object: as if there were none"
        );
    }
    Ok(release)
}

/// Makes a release the current one.
pub(crate) async fn make_current(aws: &Aws, release: &str) -> Result<()> {
    let name = parameters::release(&aws.settings.prefix);
    let request = aws
        .ssm
        .put_parameter()
        .name(&name)
        .value(release)
        .r#type(ParameterType::String)
        .overwrite(true);
    request
        .send()
        .await
        .map_err(Refusal::from)
        .with_context(|| format!("writing parameter {name}"))?;
    Ok(())
}

/// Forgets which release is the current one. That of another installation is not ours to forget.
pub(crate) async fn forget_current(aws: &Aws) -> Result<()> {
    if current(aws).await?.is_none() {
        return Ok(());
    }
    let name = parameters::release(&aws.settings.prefix);
    let request = aws.ssm.delete_parameter().name(&name).send().await;
    unless_absent(request.map_err(Refusal::from)).with_context(|| format!("deleting parameter {name}"))?;
    Ok(())
}

/// All releases that are kept, newest first.
pub(crate) async fn all(aws: &Aws) -> Result<Vec<Release>> {
    let mut releases = Vec::new();
    for key in store::list(aws, RELEASES).await? {
        // One that was pruned since it was listed is not kept.
        releases.extend(store::find::<Release>(aws, &key).await?);
    }
    releases.sort_by(|a, b| (&b.published, &b.release).cmp(&(&a.published, &a.release)));
    Ok(releases)
}

/// There is a release of this build, or the checkpoint is of it.
pub(crate) async fn names(aws: &Aws, build: &str) -> Result<bool> {
    if store::find::<Release>(aws, &objects::release(build)).await?.is_some() {
        return Ok(true);
    }
    let checkpoint: Option<Checkpoint> = store::find(aws, objects::CHECKPOINT).await?;
    Ok(checkpoint.is_some_and(|checkpoint| checkpoint.build == build))
}

const RELEASES: &str = "releases/";

/// Ids of the snapshots that a kept release or the checkpoint names.
pub(crate) async fn needed_snapshots(aws: &Aws) -> Result<HashSet<String>> {
    let releases = all(aws).await?;
    let checkpoint: Option<Checkpoint> = store::find(aws, objects::CHECKPOINT).await?;
    let of_releases = releases.into_iter().flat_map(|release| release.shards);
    let of_checkpoint = checkpoint
        .into_iter()
        .flat_map(|checkpoint| checkpoint.shards)
        .flatten();
    Ok(of_releases
        .chain(of_checkpoint)
        .flat_map(|pair| [pair.sources, pair.builds])
        .flatten()
        .collect())
}
