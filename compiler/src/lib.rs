//! Music knowledge without a cloud: a folder of sources and a few profiles become folders of tagged, encoded tracks.
//!
//! ```text
//! sources, sidecars, covers ──rules──> one command per track and profile ──tup──> encode ──> out/PROFILE/same/path.ext
//! ```
//!
//! tup decides what has to run; `rules` says what could run; `encode` runs one track; [`build()`] drives all of it. What is
//! read and what is refused stands at the head of each module.

mod build;
pub mod check;
mod command;
mod cover;
mod embedded;
mod encode;
mod encoder;
mod file_name;
mod header;
mod index;
pub mod job;
mod layout;
mod loudness;
mod machine;
mod made_from;
mod mounts;
pub mod names;
mod ogg_flac;
mod picture;
mod playlist;
pub mod profile;
#[cfg(test)]
mod properties;
mod reconcile;
mod refused;
mod regular;
mod replay_gain;
mod report;
mod resolve;
mod rules;
mod sidecar;
mod source;
mod stamp;
pub mod standalone;
mod survey;
mod tags;
mod terminal;
mod trim;
mod tup;
mod turns;
pub mod view;
mod write_tags;

pub use build::{Build, Shard, build, program};
pub use encoder::versions;
pub use report::{Counts, Failure, Outcome, Phase, Progress, Report, Versions};
