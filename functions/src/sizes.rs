//! How big the volumes of a shard must be.

use anyhow::{Result, bail};
use contract::fault::Name;
use contract::manifest::Entry;
use contract::profile::Profile;
use contract::shard;

use crate::fault::named;

const GIB: u64 = 1 << 30;

/// The largest gp3 volume, in GiB.
const LARGEST: u64 = 16 * 1024;

/// What a file costs beyond its bytes: half a block lost at its end, an inode, directory entries; generously.
const PER_FILE: u64 = 8 << 10;

/// What a track's output may hold beyond its sound: tags and an embedded cover. Covers of a few hundred KB are common.
const PER_TRACK: u64 = 256 << 10;

/// Size of a shard's sources volume in GiB: its objects, a fifth more for the file system and downloads in progress,
/// and 1 GiB for the rest.
pub(crate) fn sources(entries: &[Entry], shard: u32, shards: u32) -> Result<u32> {
    let bytes = entries
        .iter()
        .filter(|entry| shard::holds(entry, shard, shards))
        .map(|entry| entry.size + PER_FILE)
        .sum();
    gib("sources", shard, bytes)
}

/// Size of a shard's builds volume in GiB, with the same reserve.
///
/// A lossless output is at most a little larger than a well-compressed source (another encoder, weaker flags): 1.1. A
/// lossy one at its highest bit rate is 0.23 of CD sound and under half of what FLAC makes of it: 0.5.
pub(crate) fn builds(entries: &[Entry], profiles: &[Profile], shard: u32, shards: u32) -> Result<u32> {
    let is_mine = |entry: &&Entry| shard::is_audio(&entry.key) && shard::of_audio(&entry.key, shards) == shard;
    let (mut tracks, mut sound) = (0, 0);
    for entry in entries.iter().filter(is_mine) {
        tracks += 1;
        sound += entry.size;
    }
    let tenths = |profile: &Profile| if profile.format.lossless { 11 } else { 5 };
    let outputs = profiles
        .iter()
        .map(|profile| sound / 10 * tenths(profile) + tracks * (PER_TRACK + PER_FILE));
    gib("builds", shard, outputs.sum())
}

fn gib(kind: &str, shard: u32, bytes: u64) -> Result<u32> {
    let gib = (bytes + bytes / 5).div_ceil(GIB) + 1;
    if gib > LARGEST {
        bail!(named(
            Name::TooLarge,
            format!(
                "shard {shard} needs a {kind} volume of {gib} GiB, the largest has {LARGEST}: raise the stack's Shards"
            )
        ));
    }
    Ok(u32::try_from(gib)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    fn entry(key: &str, size: u64) -> Entry {
        Entry {
            key: key.to_owned(),
            size,
            etag: String::new(),
            version: None,
        }
    }

    fn profile(encoder: &str) -> Profile {
        Profile::parse("p", &format!("CONFIG_ENCODER={encoder}")).unwrap()
    }

    #[test]
    fn a_small_collection_gets_two_gib() {
        let entries = [entry("a/01.wave", 1_000_000)];
        assert_eq!(sources(&entries, 0, 1).unwrap(), 2);
        assert_eq!(builds(&entries, &[profile("flac")], 0, 1).unwrap(), 2);
    }

    #[test]
    fn lossy_outputs_are_smaller() {
        let entries = [entry("a/01.wave", 100 * GIB)];
        assert_eq!(sources(&entries, 0, 1).unwrap(), 122);
        assert_eq!(builds(&entries, &[profile("flac")], 0, 1).unwrap(), 134);
        assert_eq!(builds(&entries, &[profile("opusenc")], 0, 1).unwrap(), 62);
    }

    #[test]
    fn every_shard_holds_the_covers() {
        let entries = [entry("a/cover.jpeg", 10 * GIB)];
        assert_eq!(sources(&entries, 0, 2).unwrap(), sources(&entries, 1, 2).unwrap());
    }

    #[test]
    fn what_fits_no_volume_has_a_name_and_a_remedy() {
        let fault = Fault::from(sources(&[entry("a/01.wave", 20_000 * GIB)], 0, 1).unwrap_err());
        assert_eq!(fault.name, Name::TooLarge);
        assert!(fault.to_string().contains("raise the stack's Shards"));
    }
}
