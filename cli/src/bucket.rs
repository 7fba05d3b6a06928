//! Buckets that are not needed any more.

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use crate::cloud::Cloud;
use crate::{destroy, retained};

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
