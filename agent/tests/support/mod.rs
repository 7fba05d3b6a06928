//! What the agent's tests stand on: a local S3, block devices, a metadata service. All of it ends with the test.

// Every test binary uses another part of this.
#![allow(dead_code, unreachable_pub)]

pub mod agent;
pub mod devices;
pub mod metadata;
pub mod s3;
