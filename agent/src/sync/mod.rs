//! The sync: the sources volume becomes a mirror of the manifest, and an unchanged file keeps its inode.
//!
//! The compiler compares times of inode changes, so a file that is written again although its content is the same
//! would be encoded again. Nothing touches a file whose content is right: neither a new ETag for equal bytes (an
//! upload in other parts), nor a run that was cut short before.
//!
//! The ledger is the memory of what the files hold. Before anything changes, everything about to change is struck out
//! of it; a file without a record is compared with its object. So a power cut at any moment costs at most a second
//! look at some files.

mod fetch;
pub mod ledger;
pub mod names;
pub mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use contract::manifest::Entry;
use contract::report::Refusal;
use contract::shard::is_audio;
use contract::status::Bytes;
use futures::StreamExt;
use tokio::time::Instant;
use tracing::info;

use crate::stop::Stop;
use crate::store::Store;
use fetch::{Fetch, Fetched, Missed};
use ledger::{Ledger, Record};

/// Objects in flight at a time: enough to hide S3's latency for small ones, few enough for a small machine's memory.
const IN_FLIGHT: usize = 16;
/// A ledger is written this often while objects are fetched, so that a lost instance loses little.
const SAVE_EVERY: Duration = Duration::from_secs(30);

/// What is to be mirrored, and where.
#[derive(Debug)]
pub struct Mirror<'a> {
    /// Access to S3.
    pub store: &'a Store,
    /// The sources bucket.
    pub bucket: &'a str,
    /// Where the sources volume is mounted.
    pub root: &'a Path,
    /// Ends the sync early; what was fetched until then stays.
    pub stop: &'a Stop,
}

/// What a sync did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Objects that did not become files.
    pub refused: Vec<Refusal>,
    /// Nothing changed in the bucket while it was read.
    pub complete: bool,
    /// Number of files that were written.
    pub written: usize,
    /// Number of files that were removed.
    pub removed: usize,
}

/// The folder of a sources volume that mirrors the bucket.
pub fn collection(root: &Path) -> PathBuf {
    root.join("collection")
}

impl Mirror<'_> {
    /// Mirrors these entries. `progress` is called with the bytes fetched so far.
    pub async fn run(&self, entries: Vec<Entry>, progress: &dyn Fn(Bytes)) -> Result<Outcome> {
        let (collection, incoming) = (collection(self.root), self.root.join("incoming"));
        for folder in [&collection, &incoming] {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        for rest in tree::list(&incoming)?.keys() {
            tree::remove(&incoming.join(rest))?;
        }
        let (entries, mut refused) = names::accept(entries);
        let ledger_path = self.root.join("manifest.jsonl");
        let known = ledger::load(&ledger_path)?;
        let Work {
            mut keep,
            fetch,
            remove,
        } = compare(entries, &known, &tree::list(&collection)?);
        info!(
            "sync: {} files are right, {} to look at or fetch, {} to remove",
            keep.len(),
            fetch.len(),
            remove.len()
        );
        if keep != known {
            ledger::save(&ledger_path, &keep)?;
        }
        for key in &remove {
            tree::remove(&collection.join(key))?;
        }
        tree::prune(&collection)?;
        if fetch.is_empty() {
            return Ok(Outcome {
                refused,
                complete: true,
                written: 0,
                removed: remove.len(),
            });
        }

        let total = fetch.iter().map(|fetch| fetch.entry.size).sum();
        let done = AtomicI64::new(0);
        let count = |bytes: i64| {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            progress(Bytes {
                done: done.unsigned_abs(),
                total,
            });
        };
        count(0);
        // After the first error nothing new begins, but what is under way ends before the volume is let go.
        let halt = self.stop.token().child_token();
        let fetcher = fetch::Fetcher {
            store: self.store,
            bucket: self.bucket,
            collection: &collection,
            incoming: &incoming,
            halt: &halt,
            count: &count,
        };
        let numbered = fetch.into_iter().enumerate();
        let mut results = futures::stream::iter(numbered.map(|(number, fetch)| fetcher.run(number, fetch)))
            .buffer_unordered(IN_FLIGHT);
        let (mut complete, mut written, mut first_error, mut saved) = (true, 0, None, Instant::now());
        let mut forbidden = None;
        while let Some(result) = results.next().await {
            match result {
                Ok(Fetched::Written(record)) => {
                    written += 1;
                    keep.insert(record.key.clone(), record);
                }
                Ok(Fetched::Same(record)) => {
                    keep.insert(record.key.clone(), record);
                }
                Ok(Fetched::Missed { key, why, older }) => {
                    complete = false;
                    keep.extend(older.map(|record| (record.key.clone(), record)));
                    let refusal = Refusal {
                        key,
                        reason: why.to_string(),
                    };
                    if matches!(why, Missed::Forbidden(_)) && is_audio(&refusal.key) {
                        forbidden.get_or_insert_with(|| refusal.to_string());
                    }
                    refused.push(refusal);
                }
                Ok(Fetched::Halted) => {}
                Err(error) => {
                    halt.cancel();
                    first_error.get_or_insert(error);
                }
            }
            if saved.elapsed() >= SAVE_EVERY {
                ledger::save(&ledger_path, &keep)?;
                saved = Instant::now();
            }
        }
        ledger::save(&ledger_path, &keep)?;
        if let Some(error) = first_error {
            return Err(error);
        }
        self.stop.check()?;
        // A release without any music would replace one that has some.
        if let Some(first) = forbidden
            && !keep.keys().any(|key| is_audio(key))
        {
            bail!("s3://{} gives none of its audio: {first}", self.bucket);
        }
        Ok(Outcome {
            refused,
            complete,
            written,
            removed: remove.len(),
        })
    }
}

/// What a sync has to do.
#[derive(Debug, Default, PartialEq, Eq)]
struct Work {
    /// Records of files that are right.
    keep: Ledger,
    /// Objects to fetch or to compare with their file.
    fetch: Vec<Fetch>,
    /// Files that have no object.
    remove: BTreeSet<String>,
}

fn compare(entries: Vec<Entry>, known: &Ledger, files: &BTreeMap<String, u64>) -> Work {
    let mut work = Work {
        remove: files.keys().cloned().collect(),
        ..Work::default()
    };
    for entry in entries {
        work.remove.remove(&entry.key);
        let size = files.get(&entry.key).copied();
        let record: Option<&Record> = known.get(&entry.key).filter(|record| Some(record.size) == size);
        match record {
            Some(record) if record.size == entry.size && record.etag == entry.etag => {
                work.keep.insert(entry.key, record.clone());
            }
            _ => work.fetch.push(Fetch {
                entry,
                size,
                record: record.cloned(),
            }),
        }
    }
    work
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, size: u64, etag: &str) -> Entry {
        Entry {
            key: key.into(),
            size,
            etag: etag.into(),
            version: None,
        }
    }

    fn record(key: &str, size: u64, etag: &str) -> (String, Record) {
        (
            key.into(),
            Record {
                key: key.into(),
                size,
                etag: etag.into(),
                sha256: "00".into(),
            },
        )
    }

    #[test]
    fn only_a_file_with_a_fitting_record_is_right() {
        let entries = ["same", "changed", "new", "unknown", "truncated"].map(|key| entry(key, 3, "e"));
        let known = Ledger::from([
            record("same", 3, "e"),
            record("changed", 3, "older"),
            record("truncated", 3, "e"),
            record("vanished", 3, "e"),
        ]);
        let files = [
            ("same", 3),
            ("changed", 3),
            ("unknown", 3),
            ("truncated", 1),
            ("over", 1),
        ];
        let files = files.into_iter().map(|(key, size)| (key.to_owned(), size)).collect();
        let work = compare(entries.into(), &known, &files);
        assert_eq!(work.keep, Ledger::from([record("same", 3, "e")]));
        assert_eq!(work.remove, BTreeSet::from(["over".to_owned()]));
        let fetch: Vec<_> = work
            .fetch
            .iter()
            .map(|f| (&*f.entry.key, f.size, f.record.is_some()))
            .collect();
        let expected = [
            ("changed", Some(3), true),
            ("new", None, false),
            ("unknown", Some(3), false),
            ("truncated", Some(1), false),
        ];
        assert_eq!(fetch, expected);
    }
}
