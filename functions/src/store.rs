//! Objects of the state bucket: JSON in, JSON out, and writes that fail when somebody else was faster.

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Aws;
use crate::fault::{Meaning, Refusal, unless_absent};

/// An object as it was read.
#[derive(Debug)]
pub(crate) struct Stored<T> {
    pub(crate) value: T,
    /// For writing it only if it is still the same.
    pub(crate) etag: String,
    /// When it was written, seconds since 1970.
    pub(crate) modified: i64,
}

/// The object; none if it does not exist.
pub(crate) async fn get<T: DeserializeOwned>(aws: &Aws, key: &str) -> Result<Option<Stored<T>>> {
    let doing = || format!("reading s3://{}/{key}", aws.settings.state_bucket);
    let request = aws
        .s3
        .get_object()
        .bucket(&aws.settings.state_bucket)
        .key(key)
        .send()
        .await;
    let Some(object) = unless_absent(request.map_err(Refusal::from)).with_context(doing)? else {
        return Ok(None);
    };
    let etag = object.e_tag().map(str::to_owned).unwrap_or_default();
    let modified = object.last_modified().map_or(0, aws_smithy_types::DateTime::secs);
    // A body that breaks off is an answer that was lost.
    let body = object
        .body
        .collect()
        .await
        .map_err(|error| Refusal::unclear(&error))
        .with_context(doing)?;
    let value = serde_json::from_slice(&body.into_bytes()).with_context(doing)?;
    Ok(Some(Stored { value, etag, modified }))
}

/// The object's value; none if it does not exist.
pub(crate) async fn find<T: DeserializeOwned>(aws: &Aws, key: &str) -> Result<Option<T>> {
    Ok(get(aws, key).await?.map(|stored| stored.value))
}

/// The value of an object that must exist by now.
pub(crate) async fn read<T: DeserializeOwned>(aws: &Aws, key: &str) -> Result<T> {
    find(aws, key)
        .await?
        .ok_or_else(|| anyhow!("s3://{}/{key} does not exist", aws.settings.state_bucket))
}

/// Writes the object.
pub(crate) async fn put<T: Serialize>(aws: &Aws, key: &str, value: &T) -> Result<()> {
    put_text(aws, key, serde_json::to_string_pretty(value)?).await
}

/// Writes text.
pub(crate) async fn put_text(aws: &Aws, key: &str, text: String) -> Result<()> {
    let request = aws
        .s3
        .put_object()
        .bucket(&aws.settings.state_bucket)
        .key(key)
        .body(text.into_bytes().into());
    request
        .send()
        .await
        .map_err(Refusal::from)
        .with_context(|| format!("writing s3://{}/{key}", aws.settings.state_bucket))?;
    Ok(())
}

/// Writes the object only if it still has this ETag, or only if it does not exist (none). False if it was not written.
///
/// After a lost answer the client asks again and is told false although it was written: read again and look.
pub(crate) async fn put_if<T: Serialize>(aws: &Aws, key: &str, value: &T, etag: Option<&str>) -> Result<bool> {
    let body = serde_json::to_string_pretty(value)?.into_bytes();
    let request = aws
        .s3
        .put_object()
        .bucket(&aws.settings.state_bucket)
        .key(key)
        .body(body.into());
    let request = match etag {
        Some(etag) => request.if_match(etag),
        None => request.if_none_match("*"),
    };
    match request.send().await.map_err(Refusal::from) {
        Ok(_) => Ok(true),
        // Deleted meanwhile is changed meanwhile.
        Err(refusal) if matches!(refusal.meaning, Meaning::Conflict | Meaning::NotFound) => Ok(false),
        Err(refusal) => Err(refusal).with_context(|| format!("changing s3://{}/{key}", aws.settings.state_bucket)),
    }
}

/// Deletes the object, if it exists.
pub(crate) async fn delete(aws: &Aws, key: &str) -> Result<()> {
    let request = aws.s3.delete_object().bucket(&aws.settings.state_bucket).key(key);
    unless_absent(request.send().await.map_err(Refusal::from))
        .with_context(|| format!("deleting s3://{}/{key}", aws.settings.state_bucket))?;
    Ok(())
}

/// Keys that begin with `prefix`.
pub(crate) async fn list(aws: &Aws, prefix: &str) -> Result<Vec<String>> {
    let pages = aws
        .s3
        .list_objects_v2()
        .bucket(&aws.settings.state_bucket)
        .prefix(prefix)
        .into_paginator()
        .send();
    let pages = pages
        .try_collect()
        .await
        .map_err(Refusal::from)
        .with_context(|| format!("listing s3://{}/{prefix}", aws.settings.state_bucket))?;
    let objects = pages.iter().flat_map(|page| page.contents());
    Ok(objects.filter_map(|object| object.key()).map(str::to_owned).collect())
}
