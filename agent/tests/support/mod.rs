//! What the agent's tests stand on: a local S3, block devices, a metadata service, the agent. All of it ends with the test.

// Every test binary uses another part of this.
#![allow(dead_code, unreachable_pub)]

pub mod agent;
pub mod devices;
pub mod metadata;
pub mod s3;
pub mod server;

/// A temporary folder in the target directory.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}
