//! One object: fetched exactly as the manifest names it, checked, and put in its place unless it is there already.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::ServerSideEncryption;
use contract::manifest::Entry;
use md5::Md5;
use sha2::{Digest, Sha256};
use tokio::fs::OpenOptions;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::ledger::Record;
use super::tree;
use crate::store::{Source, Store};

/// Attempts at one object's body: connections break, and the SDK repeats requests but not bodies.
const ATTEMPTS: u32 = 5;
/// Pause after the first broken body; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Bytes read from a file at a time.
const CHUNK: usize = 1 << 20;

/// An object whose file may be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetch {
    /// The object as the manifest names it.
    pub(super) entry: Entry,
    /// Size of its file; none when there is no file.
    pub(super) size: Option<u64>,
    /// What is known of that file.
    pub(super) record: Option<Record>,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Fetched {
    /// The file has new content.
    Written(Record),
    /// The file had the object's content already and was not touched.
    Same(Record),
    /// The object was not to be had. The file was not touched; this is what is known of it.
    Missed {
        key: String,
        why: Missed,
        older: Option<Record>,
    },
    /// Told to stop; nothing was touched.
    Halted,
}

/// Why an object was not to be had.
#[derive(Debug)]
pub(super) enum Missed {
    /// It is no longer the manifest's.
    Changed,
    /// S3 does not hand it out: what it says, and what to do.
    Forbidden(String),
    /// A halt came.
    Halted,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missed::Changed => f.write_str("it changed while it was fetched; the next build takes it as it is then"),
            // That it can be read again is no change that a build would see by itself.
            Missed::Forbidden(why) => write!(f, r#"{why}, then start a build with {{"force": true}}"#),
            Missed::Halted => f.write_str("the sync was told to stop"),
        }
    }
}

/// Digests of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Digests {
    sha256: String,
    md5: String,
}

/// Fetches objects.
pub(super) struct Fetcher<'a, C> {
    pub(super) store: &'a Store,
    pub(super) bucket: &'a str,
    pub(super) collection: &'a Path,
    pub(super) incoming: &'a Path,
    pub(super) halt: &'a CancellationToken,
    /// Called with each number of bytes that need not be fetched any more; a broken body takes its bytes back.
    pub(super) count: &'a C,
}

impl<C: Fn(i64)> Fetcher<'_, C> {
    /// Sees to it that the object's file holds what the object holds. `number` is this object's own in this sync.
    pub(super) async fn run(&self, number: usize, mut fetch: Fetch) -> Result<Fetched> {
        if self.halt.is_cancelled() {
            return Ok(Fetched::Halted);
        }
        let key = fetch.entry.key.clone();
        let file = self.collection.join(&key);
        if let (Some(size), None) = (fetch.size, &fetch.record) {
            let found = digest_of(file.clone()).await?;
            let same = size == fetch.entry.size && single_part(&fetch.entry.etag) == Some(&*found.md5);
            let etag = if same { fetch.entry.etag.clone() } else { String::new() };
            let record = Record {
                key: key.clone(),
                size,
                etag,
                sha256: found.sha256,
            };
            if same {
                (self.count)(size as i64);
                return Ok(Fetched::Same(record));
            }
            fetch.record = Some(record);
        }
        let temporary = self.incoming.join(number.to_string());
        let object = match self.download(&fetch.entry, &temporary).await? {
            Ok(object) => object,
            Err(why) => {
                tree::remove(&temporary)?;
                // A record without an ETag is a note of this run, not knowledge.
                let older = fetch.record.filter(|record| !record.etag.is_empty());
                return Ok(if self.halt.is_cancelled() {
                    Fetched::Halted
                } else {
                    Fetched::Missed { key, why, older }
                });
            }
        };
        let record = Record {
            key,
            size: fetch.entry.size,
            etag: fetch.entry.etag,
            sha256: object.sha256,
        };
        if fetch
            .record
            .is_some_and(|older| older.size == record.size && older.sha256 == record.sha256)
        {
            tree::remove(&temporary)?;
            return Ok(Fetched::Same(record));
        }
        spawn_blocking(move || place(&temporary, &file)).await??;
        Ok(Fetched::Written(record))
    }

    async fn download(&self, entry: &Entry, to: &Path) -> Result<Result<Digests, Missed>> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let output = match self.store.source(self.bucket, entry).await? {
                Source::Object(output) => *output,
                Source::Changed => return Ok(Err(Missed::Changed)),
                Source::Forbidden(why) => return Ok(Err(Missed::Forbidden(why))),
            };
            let mut counted = 0;
            match self.save(entry, output, to, &mut counted).await {
                Ok(done) => return Ok(done.ok_or(Missed::Halted)),
                Err(error) if attempt == ATTEMPTS => {
                    return Err(error).with_context(|| format!("fetching s3://{}/{}", self.bucket, entry.key));
                }
                Err(error) => warn!("fetching {} again: {error:#}", entry.key),
            }
            (self.count)(-counted);
            tokio::select! {
                () = tokio::time::sleep(pause) => pause *= 2,
                () = self.halt.cancelled() => break,
            }
        }
        Ok(Err(Missed::Halted))
    }

    /// Writes the body to a file and checks it; none when a halt came. `counted` grows by the bytes counted.
    async fn save(
        &self,
        entry: &Entry,
        object: GetObjectOutput,
        to: &Path,
        counted: &mut i64,
    ) -> Result<Option<Digests>> {
        // With keys of KMS an ETag is no digest of the content.
        let kms = [ServerSideEncryption::AwsKms, ServerSideEncryption::AwsKmsDsse];
        let is_digest = !object.server_side_encryption.is_some_and(|used| kms.contains(&used));
        let doing = || format!("writing {}", to.display());
        // Readable by the user that compiles, from the start: changing the mode later would be a change of the inode.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(to)
            .await
            .with_context(doing)?;
        let mut file = BufWriter::with_capacity(CHUNK, file);
        let (mut sha256, mut md5, mut size) = (Sha256::new(), Md5::new(), 0);
        let mut body = object.body;
        loop {
            let chunk = tokio::select! {
                chunk = body.try_next() => chunk.context("the connection broke")?,
                () = self.halt.cancelled() => return Ok(None),
            };
            let Some(chunk) = chunk else { break };
            file.write_all(&chunk).await.with_context(doing)?;
            sha256.update(&chunk);
            md5.update(&chunk);
            size += chunk.len() as u64;
            *counted += chunk.len() as i64;
            (self.count)(chunk.len() as i64);
        }
        file.flush().await.with_context(doing)?;
        let digests = Digests {
            sha256: hex::encode(sha256.finalize()),
            md5: hex::encode(md5.finalize()),
        };
        ensure!(size == entry.size, "{size} bytes came instead of {}", entry.size);
        if let Some(expected) = single_part(&entry.etag).filter(|_| is_digest) {
            ensure!(
                digests.md5 == expected,
                "the content has MD5 {} and the ETag says {expected}",
                digests.md5
            );
        }
        Ok(Some(digests))
    }
}

/// The MD5 of the content, if this is the ETag of an object that was uploaded in one part.
fn single_part(etag: &str) -> Option<&str> {
    let digest = etag.strip_prefix('"')?.strip_suffix('"')?;
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (digest.len() == 32 && digest.bytes().all(hex)).then_some(digest)
}

async fn digest_of(path: PathBuf) -> Result<Digests> {
    spawn_blocking(move || {
        let doing = || format!("reading {}", path.display());
        let mut file = File::open(&path).with_context(doing)?;
        let (mut sha256, mut md5, mut chunk) = (Sha256::new(), Md5::new(), vec![0; CHUNK]);
        loop {
            match file.read(&mut chunk).with_context(doing)? {
                0 => break,
                read => {
                    sha256.update(&chunk[..read]);
                    md5.update(&chunk[..read]);
                }
            }
        }
        Ok(Digests {
            sha256: hex::encode(sha256.finalize()),
            md5: hex::encode(md5.finalize()),
        })
    })
    .await?
}

/// Moves a complete file to its place, durable before it is visible.
fn place(temporary: &Path, file: &Path) -> Result<()> {
    let doing = || format!("putting {} in its place", file.display());
    File::open(temporary)
        .and_then(|file| file.sync_all())
        .with_context(doing)?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(doing)?;
    }
    fs::rename(temporary, file).with_context(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_etag_of_a_single_part_is_a_digest() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        assert_eq!(single_part(&format!("\"{md5}\"")), Some(md5));
        assert_eq!(single_part(&format!("\"{md5}-2\"")), None);
        assert_eq!(single_part(md5), None);
        assert_eq!(single_part("\"\""), None);
    }

    #[tokio::test]
    async fn a_file_has_the_digests_of_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty");
        fs::write(&path, "").unwrap();
        let digests = digest_of(path).await.unwrap();
        assert_eq!(digests.md5, "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(
            digests.sha256,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
