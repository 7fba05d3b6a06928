//! What stays of installations that were deleted, and how to delete that too.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use aws_sdk_ec2::types::Filter;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::Tag;
use contract::teardown::Teardown;
use contract::{objects, tags};

use crate::cloud::Cloud;
use crate::stacks;

/// What of this name is left without a stack.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    buckets: Vec<String>,
    /// Id and name.
    images: Vec<(String, String)>,
    /// Id, GiB, name.
    snapshots: Vec<(String, i32, String)>,
    volumes: Vec<(String, i32, String)>,
    parameters: Vec<String>,
}

impl Retained {
    /// Looks for it: by tag, and parameters by their prefix.
    pub(crate) async fn find(cloud: &Cloud) -> Result<Self> {
        let mut found = Self {
            buckets: buckets(cloud).await?,
            images: images(cloud).await?,
            parameters: parameters(cloud).await?,
            ..Self::default()
        };
        for tag in [tags::RETAINED, tags::STACK] {
            let filter = Filter::builder()
                .name(format!("tag:{tag}"))
                .values(&cloud.stack)
                .build();
            let snapshots = cloud.ec2.describe_snapshots().owner_ids("self").filters(filter.clone());
            let mut snapshots = snapshots.into_paginator().items().send();
            while let Some(snapshot) = snapshots.next().await {
                let snapshot = snapshot.context("looking for snapshots that stay")?;
                let gib = snapshot.volume_size().unwrap_or_default();
                let name = name(snapshot.tags());
                found
                    .snapshots
                    .push((snapshot.snapshot_id.unwrap_or_default(), gib, name));
            }
            let mut volumes = cloud
                .ec2
                .describe_volumes()
                .filters(filter)
                .into_paginator()
                .items()
                .send();
            while let Some(volume) = volumes.next().await {
                let volume = volume.context("looking for volumes that stay")?;
                let gib = volume.size().unwrap_or_default();
                let name = name(volume.tags());
                found.volumes.push((volume.volume_id.unwrap_or_default(), gib, name));
            }
        }
        Ok(found)
    }

    /// Says what it is, and the commands that delete it for good.
    pub(crate) fn print(&self, cloud: &Cloud) -> Result<()> {
        let region = &cloud.region;
        let mut commands = Vec::new();
        let mut lines = Vec::new();
        for bucket in &self.buckets {
            lines.push(format!("s3://{bucket}"));
            commands.push(format!("{} erase --stack {} {bucket}", program(), cloud.stack));
        }
        // Before the snapshots, of which an image's cannot be deleted while there is the image.
        for (id, name) in &self.images {
            lines.push(format!("{id}  {name}"));
            commands.push(format!("aws ec2 deregister-image --region {region} --image-id {id}"));
        }
        for (id, gib, name) in &self.snapshots {
            lines.push(format!("{id}  {gib} GiB  {name}"));
            commands.push(format!("aws ec2 delete-snapshot --region {region} --snapshot-id {id}"));
        }
        for (id, gib, name) in &self.volumes {
            lines.push(format!("{id}  {gib} GiB  {name}"));
            commands.push(format!("aws ec2 delete-volume --region {region} --volume-id {id}"));
        }
        // One call takes ten names.
        for names in self.parameters.chunks(10) {
            lines.extend(names.iter().map(|name| format!("parameter {name}")));
            commands.push(format!(
                "aws ssm delete-parameters --region {region} --names {}",
                names.join(" ")
            ));
        }
        if lines.is_empty() {
            println!("Nothing of {} is left.", cloud.stack);
            return Ok(());
        }
        println!("This stays, and what is stored costs money:\n  {}", lines.join("\n  "));
        println!("To delete it for good:\n  {}", commands.join("\n  "));
        Ok(())
    }
}

/// What this program is called by.
pub(crate) fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "vibes".to_owned())
}

fn name(tags: &[aws_sdk_ec2::types::Tag]) -> String {
    let name = tags.iter().find(|tag| tag.key() == Some("Name"));
    name.and_then(|tag| tag.value()).unwrap_or_default().to_owned()
}

/// Buckets that no stack has any more: by tag, and those that the teardown of an installation of this name has noted.
pub(crate) async fn buckets(cloud: &Cloud) -> Result<Vec<String>> {
    let list = cloud.s3.list_buckets().bucket_region(&cloud.region);
    let mut pages = list.into_paginator().send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.context("listing the buckets")?;
        names.extend(page.buckets.into_iter().flatten().filter_map(|bucket| bucket.name));
    }
    // CloudFormation begins their names with the stack's.
    let begin = format!("{}-", cloud.stack.to_lowercase());
    names.retain(|name| name.starts_with(&begin));

    let mut ours = BTreeSet::new();
    for name in &names {
        if tagged(cloud, name).await? {
            ours.insert(name.clone());
        }
        let teardown: Option<Teardown> = cloud.json(name, objects::TEARDOWN).await?;
        if let Some(teardown) = teardown.filter(|teardown| teardown.stack == cloud.stack) {
            ours.extend([teardown.sources_bucket, teardown.state_bucket]);
        }
    }
    let stacks = stacks::list(cloud).await?;
    let outputs = stacks.values().flat_map(|stack| stack.outputs.values());
    let in_use: BTreeSet<_> = outputs.map(|output| output.value.as_str()).collect();
    names.retain(|name| ours.contains(name) && !in_use.contains(name.as_str()));
    Ok(names)
}

/// Machine images: no stack has them.
async fn images(cloud: &Cloud) -> Result<Vec<(String, String)>> {
    let ours = Filter::builder()
        .name(format!("tag:{}", tags::STACK))
        .values(&cloud.stack)
        .build();
    let found = cloud
        .ec2
        .describe_images()
        .owners("self")
        .filters(ours)
        .into_paginator();
    let found: Vec<_> = found
        .items()
        .send()
        .try_collect()
        .await
        .context("looking for images that stay")?;
    let told = |image: aws_sdk_ec2::types::Image| (image.image_id.unwrap_or_default(), image.name.unwrap_or_default());
    Ok(found.into_iter().map(told).collect())
}

async fn tagged(cloud: &Cloud, bucket: &str) -> Result<bool> {
    let tagging = match cloud.s3.get_bucket_tagging().bucket(bucket).send().await {
        Err(error) if error.code() == Some("NoSuchTagSet") => return Ok(false),
        tagging => tagging.with_context(|| format!("reading the tags of the bucket {bucket}"))?,
    };
    let stack = |tag: &Tag| tag.key == tags::STACK && tag.value == cloud.stack;
    Ok(tagging.tag_set.iter().any(stack))
}

async fn parameters(cloud: &Cloud) -> Result<Vec<String>> {
    let below = cloud.ssm.get_parameters_by_path().path(&cloud.prefix).recursive(true);
    let mut pages = below.into_paginator().send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.context("looking for parameters that stay")?;
        names.extend(
            page.parameters
                .into_iter()
                .flatten()
                .filter_map(|parameter| parameter.name),
        );
    }
    Ok(names)
}
