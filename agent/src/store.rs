//! S3: the state bucket, and the objects of the sources bucket.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use contract::job::UserData;
use contract::manifest::Entry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::stop::Stop;

/// Attempts at one request. With the SDK's doubling waits (1 s, at most 20 s) that is about two minutes of patience.
const ATTEMPTS: u32 = 10;
/// Pause between two looks for an object that somebody else will write.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What there is of an object of the manifest.
#[derive(Debug)]
pub enum Source {
    /// The object, whose body is still to be read.
    Object(Box<GetObjectOutput>),
    /// Another object, or none.
    Changed,
    /// S3 does not hand it out: why, and what to do.
    Forbidden(String),
}

/// The state bucket. Clones share connections.
#[derive(Debug, Clone)]
pub struct Store {
    client: aws_sdk_s3::Client,
    bucket: String,
}

impl Store {
    /// Connects with the instance's role. `AWS_ENDPOINT_URL` names another S3 than AWS's; it is spoken to in path style.
    pub async fn open(user_data: &UserData) -> Self {
        let shared = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new(user_data.region.clone()))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .load()
            .await;
        let config = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(shared.endpoint_url().is_some())
            .build();
        Self::new(aws_sdk_s3::Client::from_conf(config), &user_data.state_bucket)
    }

    /// The state bucket behind a client that is connected already.
    pub fn new(client: aws_sdk_s3::Client, bucket: &str) -> Self {
        Self {
            client,
            bucket: bucket.to_owned(),
        }
    }

    /// The text of an object of the state bucket; none when it does not exist.
    pub async fn text(&self, key: &str) -> Result<Option<String>> {
        let doing = || format!("reading s3://{}/{key}", self.bucket);
        let output = match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(output) => output,
            Err(error) if status_of(&error) == Some(404) && error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(error).with_context(doing),
        };
        let bytes = output.body.collect().await.with_context(doing)?.to_vec();
        String::from_utf8(bytes).map(Some).with_context(doing)
    }

    /// An object of the state bucket; none when it does not exist.
    pub async fn json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some(text) = self.text(key).await? else {
            return Ok(None);
        };
        let value =
            serde_json::from_str(&text).with_context(|| format!("s3://{}/{key} is not understood", self.bucket))?;
        Ok(Some(value))
    }

    /// An object of the state bucket that must exist.
    pub async fn needed<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        self.json(key)
            .await?
            .with_context(|| format!("s3://{}/{key} does not exist", self.bucket))
    }

    /// An object of the state bucket that somebody else writes: waits for it.
    pub async fn wait_for<T: DeserializeOwned>(&self, key: &str, within: Duration, stop: &Stop) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(value) = self.json(key).await? {
                return Ok(value);
            }
            if Instant::now() >= deadline {
                bail!(
                    "s3://{}/{key} did not appear within {} s",
                    self.bucket,
                    within.as_secs()
                );
            }
            stop.sleep(LOOK_AGAIN).await?;
        }
    }

    /// Writes an object of the state bucket as JSON.
    pub async fn put_json<T: Serialize>(&self, key: &str, value: &T) -> Result<()> {
        let body = serde_json::to_vec(value).with_context(|| format!("writing {key}"))?;
        self.put(key, "application/json", body).await
    }

    /// Writes an object of the state bucket as plain text.
    pub async fn put_text(&self, key: &str, text: String) -> Result<()> {
        self.put(key, "text/plain; charset=utf-8", text.into_bytes()).await
    }

    async fn put(&self, key: &str, content_type: &str, body: Vec<u8>) -> Result<()> {
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type);
        request
            .body(ByteStream::from(body))
            .send()
            .await
            .with_context(|| format!("writing s3://{}/{key}", self.bucket))?;
        Ok(())
    }

    /// Begins to read exactly the object of the manifest's entry.
    pub async fn source(&self, bucket: &str, entry: &Entry) -> Result<Source> {
        let request = self
            .client
            .get_object()
            .bucket(bucket)
            .key(&entry.key)
            .if_match(&entry.etag);
        match request.set_version_id(entry.version.clone()).send().await {
            Ok(output) => Ok(Source::Object(Box::new(output))),
            Err(error) if matches!(status_of(&error), Some(404 | 412)) && error.code() != Some("NoSuchBucket") => {
                Ok(Source::Changed)
            }
            Err(error) if error.code() == Some("InvalidObjectState") => Ok(Source::Forbidden(
                "it is archived: restore it from the archive".to_owned(),
            )),
            Err(error) if error.code() == Some("AccessDenied") => {
                let said = error.message().unwrap_or("access denied");
                Ok(Source::Forbidden(format!(
                    "S3 does not hand it out ({said}): let the workers' role read it"
                )))
            }
            Err(error) => Err(error).with_context(|| format!("reading s3://{bucket}/{}", entry.key)),
        }
    }
}

fn status_of<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}
