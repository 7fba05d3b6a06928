//! The ledger: what is known of the files on the sources volume, kept beside them as `manifest.jsonl`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use nix::unistd::syncfs;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// What is known of one file. A file without a record may hold anything, e.g. after a power cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Object key, which is the path below the collection's root.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// ETag of the object that it was fetched from, or whose content it was found to equal.
    pub etag: String,
    /// SHA-256 of its content, hex.
    pub sha256: String,
}

/// Records by key.
pub type Ledger = BTreeMap<String, Record>;

/// Reads the ledger. One that is not there or damaged is empty: then every file is compared with its object anew.
pub fn load(path: &Path) -> Result<Ledger> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => String::new(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let records: serde_json::Result<Vec<Record>> = text.lines().map(serde_json::from_str).collect();
    let records = records.unwrap_or_else(|error| {
        warn!("{} is damaged, every file is looked at anew: {error}", path.display());
        Vec::new()
    });
    Ok(records.into_iter().map(|record| (record.key.clone(), record)).collect())
}

/// Replaces the ledger. All that was written to its filesystem before is made durable first (files, renames and
/// folders alike), so that a ledger never speaks of a file that a power cut could still take back.
pub fn save(path: &Path, ledger: &Ledger) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    let mut text = String::new();
    for record in ledger.values() {
        text += &serde_json::to_string(record).with_context(doing)?;
        text.push('\n');
    }
    let folder = File::open(path.parent().unwrap_or(Path::new("."))).with_context(doing)?;
    let new = path.with_extension("new");
    fs::write(&new, text).with_context(doing)?;
    syncfs(&folder).with_context(doing)?;
    fs::rename(&new, path).with_context(doing)?;
    folder.sync_all().with_context(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_reads_back_and_a_damaged_one_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.jsonl");
        assert_eq!(load(&path).unwrap(), Ledger::new());
        let record = Record {
            key: "a\nb".into(),
            size: 1,
            etag: "\"e\"".into(),
            sha256: "00".into(),
        };
        let ledger = Ledger::from([(record.key.clone(), record)]);
        save(&path, &ledger).unwrap();
        assert_eq!(load(&path).unwrap(), ledger);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file remains"
        );
        fs::write(&path, "{\"key\":").unwrap();
        assert_eq!(load(&path).unwrap(), Ledger::new());
    }
}
