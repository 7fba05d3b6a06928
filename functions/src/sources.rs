//! The sources bucket: what it holds now, and how old the newest of it is.

use anyhow::{Context, Result};
use contract::manifest::Entry;

use crate::fault::Refusal;
use crate::settings::Settings;
use crate::{Aws, times};

/// What the sources bucket holds.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Every object, sorted by key.
    pub(crate) entries: Vec<Entry>,
    /// When the newest was written, seconds since 1970; 0 if there is none.
    pub(crate) newest: i64,
}

/// Lists the whole bucket.
pub(crate) async fn list(aws: &Aws) -> Result<Listing> {
    let bucket = &aws.settings.sources_bucket;
    let pages = aws
        .s3
        .list_objects_v2()
        .bucket(bucket)
        .into_paginator()
        .send()
        .try_collect()
        .await;
    let pages = pages
        .map_err(Refusal::from)
        .with_context(|| format!("listing s3://{bucket}"))?;
    let mut listing = Listing {
        entries: Vec::new(),
        newest: 0,
    };
    for object in pages.iter().flat_map(|page| page.contents()) {
        let key = object
            .key()
            .with_context(|| format!("an object of s3://{bucket} has no key"))?;
        listing.entries.push(Entry {
            key: key.to_owned(),
            size: u64::try_from(object.size().unwrap_or(0))?,
            etag: object
                .e_tag()
                .with_context(|| format!("s3://{bucket}/{key} has no ETag"))?
                .to_owned(),
            // A listing has no versions: the agent asks for the ETag instead.
            version: None,
        });
        listing.newest = listing
            .newest
            .max(object.last_modified().map_or(0, aws_smithy_types::DateTime::secs));
    }
    listing.entries.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(listing)
}

impl Listing {
    /// Seconds to wait because an upload seems to be going on; none if it has settled.
    pub(crate) fn settling(&self, settings: &Settings, started: &str, now: &str) -> Result<Option<u32>> {
        let Settings {
            settle_seconds,
            settle_max_seconds,
            ..
        } = *settings;
        let (started, now) = (times::seconds(started)?, times::seconds(now)?);
        Ok(settling(self.newest, started, now, settle_seconds, settle_max_seconds))
    }
}

/// An upload has settled when its newest object is `settle` seconds old, or when the build has waited `settle_max` seconds.
fn settling(newest: i64, started: i64, now: i64, settle: u32, settle_max: u32) -> Option<u32> {
    let left_to_settle = i64::from(settle) - (now - newest);
    let left_to_wait = i64::from(settle_max) - (now - started);
    let left = left_to_settle.min(left_to_wait);
    // A clock ahead of ours must not make us wait longer than a whole period.
    (left > 0).then(|| u32::try_from(left).unwrap_or(settle).min(settle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_upload_is_waited_for() {
        assert_eq!(settling(1000, 990, 1010, 300, 7200), Some(290));
    }

    #[test]
    fn an_old_upload_is_not_waited_for() {
        assert_eq!(settling(1000, 1290, 1300, 300, 7200), None);
    }

    #[test]
    fn an_endless_upload_is_waited_for_no_longer_than_the_cap() {
        assert_eq!(settling(8000, 1000, 8010, 300, 7200), Some(190));
        assert_eq!(settling(8200, 1000, 8200, 300, 7200), None);
    }

    #[test]
    fn an_empty_bucket_has_settled() {
        assert_eq!(settling(0, 1000, 1000, 300, 7200), None);
    }
}
