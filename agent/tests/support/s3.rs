//! A local S3: the emulator that the twin stands on, one process per test, in memory.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agent::store::Store;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use contract::manifest::Entry;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The sources bucket.
pub const SOURCES: &str = "sources";
/// The state bucket.
pub const STATE: &str = "state";

/// A running S3 with two empty buckets.
pub struct S3 {
    /// A client of it.
    pub client: Client,
    /// Where it listens.
    pub endpoint: String,
    process: Child,
    _scratch: tempfile::TempDir,
}

/// `VIBES_BASE` or the emulator that the Makefile installs.
fn program() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says what it tests");
    let installed = Path::new(&package).join("../.venv/bin/ministack");
    let program = std::env::var_os("VIBES_BASE").map_or(installed, PathBuf::from);
    assert!(
        program.exists(),
        "{} does not exist: run `make setup`, or set VIBES_BASE",
        program.display()
    );
    program
}

impl S3 {
    /// Starts it.
    pub async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let scratch = super::scratch();
        // setpriv ends it also when this test is killed.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", scratch.path())
            .env("TMPDIR", scratch.path())
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let endpoint = format!("http://127.0.0.1:{port}");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::for_tests())
            .endpoint_url(&endpoint)
            .force_path_style(true)
            .build();
        let s3 = Self {
            client: Client::from_conf(config),
            endpoint,
            process,
            _scratch: scratch,
        };
        for attempt in 0.. {
            match s3.client.create_bucket().bucket(SOURCES).send().await {
                Ok(_) => break,
                Err(error) if attempt == 60 => panic!("S3 did not start: {error:?}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
            }
        }
        s3.client.create_bucket().bucket(STATE).send().await.unwrap();
        s3
    }

    /// The agent's view of it.
    pub fn store(&self) -> Store {
        Store::new(self.client.clone(), STATE)
    }

    /// Uploads an object into the sources bucket.
    pub async fn upload(&self, key: &str, content: &[u8]) {
        let body = content.to_vec().into();
        self.client
            .put_object()
            .bucket(SOURCES)
            .key(key)
            .body(body)
            .send()
            .await
            .unwrap();
    }

    /// Uploads an object as one part of a multipart upload: its ETag is no digest of its content.
    pub async fn upload_as_parts(&self, key: &str, content: &[u8]) {
        let begun = self
            .client
            .create_multipart_upload()
            .bucket(SOURCES)
            .key(key)
            .send()
            .await
            .unwrap();
        let id = begun.upload_id.unwrap();
        let part = self
            .client
            .upload_part()
            .bucket(SOURCES)
            .key(key)
            .upload_id(&id)
            .part_number(1);
        let part = part.body(content.to_vec().into()).send().await.unwrap();
        let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let complete = self
            .client
            .complete_multipart_upload()
            .bucket(SOURCES)
            .key(key)
            .upload_id(id);
        complete.multipart_upload(parts).send().await.unwrap();
    }

    /// Deletes an object of the sources bucket.
    pub async fn delete(&self, key: &str) {
        self.client
            .delete_object()
            .bucket(SOURCES)
            .key(key)
            .send()
            .await
            .unwrap();
    }

    /// What the sources bucket holds.
    pub async fn manifest(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut pages = self.client.list_objects_v2().bucket(SOURCES).into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.unwrap().contents.unwrap_or_default() {
                let (key, etag) = (object.key.unwrap(), object.e_tag.unwrap());
                entries.push(Entry {
                    key,
                    size: object.size.unwrap() as u64,
                    etag,
                    version: None,
                });
            }
        }
        entries
    }

    /// Writes an object of the state bucket.
    pub async fn put<T: Serialize>(&self, key: &str, value: &T) {
        self.store().put_json(key, value).await.unwrap();
    }

    /// Reads an object of the state bucket; none when it does not exist.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.store().json(key).await.unwrap()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
