//! The bucket that code is put into, and buckets that are not needed any more.

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, Delete, ObjectIdentifier, Tag, Tagging};
use contract::tags;
use serde_json::json;

use crate::account::Account;
use crate::cloud::Cloud;
use crate::{destroy, retained};

/// The name of the bucket that code is put into.
pub(crate) fn of_code(cloud: &Cloud, account: &Account) -> String {
    format!("{}-code-{}-{}", cloud.stack, account.id, cloud.region)
}

/// The bucket is there, and ours to use.
pub(crate) async fn exists(cloud: &Cloud, bucket: &str) -> Result<bool> {
    match cloud.s3.head_bucket().bucket(bucket).send().await {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("looking for the bucket {bucket}")),
    }
}

/// Makes the bucket if it is not there: by us and not by a stack, because the stacks are made from what it holds.
pub(crate) async fn make(cloud: &Cloud, bucket: &str) -> Result<()> {
    if exists(cloud, bucket).await? {
        return Ok(());
    }
    // The oldest region is the one that must not be named.
    let place = (cloud.region != "us-east-1").then(|| {
        let region = BucketLocationConstraint::from(cloud.region.as_str());
        CreateBucketConfiguration::builder().location_constraint(region).build()
    });
    let create = cloud
        .s3
        .create_bucket()
        .bucket(bucket)
        .set_create_bucket_configuration(place);
    create
        .send()
        .await
        .with_context(|| format!("creating the bucket {bucket}"))?;
    // The next time it would be there, and nobody would look.
    if let Err(error) = protect(cloud, bucket).await {
        delete(cloud, bucket).await?;
        return Err(error);
    }
    Ok(())
}

/// As the templates have it for theirs; AWS encrypts every bucket and lets nobody else in by itself.
async fn protect(cloud: &Cloud, bucket: &str) -> Result<()> {
    let arn = format!("arn:{}:s3:::{bucket}", cloud.partition());
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "OnlyEncryptedConnections",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, format!("{arn}/*")],
            "Condition": { "Bool": { "aws:SecureTransport": "false" } },
        }],
    });
    let policy = cloud.s3.put_bucket_policy().bucket(bucket).policy(policy.to_string());
    policy
        .send()
        .await
        .with_context(|| format!("setting the policy of the bucket {bucket}"))?;
    let tag = Tag::builder().key(tags::STACK).value(&cloud.stack).build()?;
    let tags = Tagging::builder().tag_set(tag).build()?;
    let tagging = cloud.s3.put_bucket_tagging().bucket(bucket).tagging(tags);
    tagging
        .send()
        .await
        .with_context(|| format!("tagging the bucket {bucket}"))
        .map(drop)
}

/// `vibes erase`: deletes a bucket that stayed when its installation was deleted, once that is confirmed.
pub(crate) async fn erase(cloud: &Cloud, bucket: &str, yes: Option<&str>) -> Result<()> {
    let stays = retained::buckets(cloud).await?;
    ensure!(
        stays.iter().any(|name| name == bucket),
        "{bucket} is no bucket that stayed of an installation {}: there {}",
        cloud.stack,
        if stays.is_empty() {
            "is none".to_owned()
        } else {
            format!("are {}", stays.join(", "))
        }
    );
    println!("This deletes the bucket {bucket} with all that was ever in it.");
    destroy::confirm(bucket, yes)?;
    delete(cloud, bucket).await
}

/// Deletes every object in every version, and then the bucket.
pub(crate) async fn delete(cloud: &Cloud, bucket: &str) -> Result<()> {
    loop {
        // Always the first page: what was on it is gone the next time.
        let page = cloud.s3.list_object_versions().bucket(bucket).send().await;
        let page = page.with_context(|| format!("listing the bucket {bucket}"))?;
        let versions = page
            .versions()
            .iter()
            .map(|version| (version.key(), version.version_id()));
        let markers = page
            .delete_markers()
            .iter()
            .map(|marker| (marker.key(), marker.version_id()));
        let objects = versions
            .chain(markers)
            .map(|(key, version)| {
                let object = ObjectIdentifier::builder().key(key.unwrap_or_default());
                object.set_version_id(version.map(str::to_owned)).build()
            })
            .collect::<Result<Vec<_>, _>>()?;
        if objects.is_empty() {
            break;
        }
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build()?;
        let answer = cloud.s3.delete_objects().bucket(bucket).delete(delete).send().await;
        let answer = answer.with_context(|| format!("emptying the bucket {bucket}"))?;
        if let Some(error) = answer.errors().first() {
            let (key, why) = (error.key().unwrap_or_default(), error.message().unwrap_or_default());
            bail!("s3://{bucket}/{key} could not be deleted: {why}");
        }
    }
    let delete = cloud.s3.delete_bucket().bucket(bucket);
    delete
        .send()
        .await
        .with_context(|| format!("deleting the bucket {bucket}"))
        .map(drop)
}
