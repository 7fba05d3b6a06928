//! Which shard compiles which object.

use crate::manifest::Entry;

/// File name extensions of source audio, lower case.
pub const AUDIO_EXTENSIONS: &[&str] = &["wave", "wav", "aiff", "aif", "flac", "oga", "raw"];

/// The key names source audio (by its extension, any case).
pub fn is_audio(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.rsplit_once('.').is_some_and(|(base, extension)| {
        !base.is_empty() && AUDIO_EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
    })
}

/// The shard that gets this audio file: by its top-level folder; audio at the root goes to shard 0.
///
/// The hash is FNV-1a (64 bit), so that the answer is the same on every machine and in every version.
pub fn of_audio(key: &str, shards: u32) -> u32 {
    let Some((folder, _)) = key.split_once('/') else {
        return 0;
    };
    let hash = folder.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    (hash % u64::from(shards.max(1))) as u32
}

/// The object belongs on this shard: its own audio, and everything that is not audio.
pub fn holds(entry: &Entry, shard: u32, shards: u32) -> bool {
    !is_audio(&entry.key) || of_audio(&entry.key, shards) == shard
}
