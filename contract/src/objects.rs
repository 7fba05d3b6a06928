//! Keys of the objects in the state bucket.

use crate::job::Kind;

/// The control object.
pub const CONTROL: &str = "control.json";
/// What shall be served ([`crate::serve::Desired`]).
pub const SERVE_DESIRED: &str = "serve/desired.json";
/// The volumes that the server has or gets ([`crate::serve::Volumes`]).
pub const SERVE_VOLUMES: &str = "serve/volumes.json";
/// Who may pull ([`crate::serve::Access`]).
pub const SERVE_ACCESS: &str = "serve/access.json";
/// The server's private SSH key, as text: every server has the same one.
pub const SERVE_HOST_KEY: &str = "serve/host-key";
/// The server's certificates, as Caddy stores them: every server has the same ones.
pub const SERVE_CERTIFICATES: &str = "serve/certificates";
/// What the server serves ([`crate::serve::ServerStatus`]).
pub const SERVE_STATUS: &str = "serve/status.json";

/// The plan ([`crate::plan::Plan`]).
pub fn plan(build: &str) -> String {
    format!("builds/{build}/plan.json")
}

/// The manifest ([`crate::manifest`]) of the plan with this fingerprint: a plan that comes too late overwrites none.
pub fn manifest(build: &str, fingerprint: &str) -> String {
    format!("builds/{build}/manifest-{fingerprint}.jsonl")
}

/// The profiles of the plan with this fingerprint: a JSON object from name to text.
pub fn profiles(build: &str, fingerprint: &str) -> String {
    format!("builds/{build}/profiles-{fingerprint}.json")
}

/// The volume of one kind that an attempt's instance waits for ([`crate::job::VolumeJob`]).
pub fn volume_job(build: &str, shard: u32, attempt: u32, kind: Kind) -> String {
    format!(
        "builds/{build}/shard-{shard}/job/attempt-{attempt}/{}.json",
        kind.as_str()
    )
}

/// An attempt's status object ([`crate::status::Status`]).
pub fn status(build: &str, shard: u32, attempt: u32) -> String {
    format!("builds/{build}/shard-{shard}/attempt-{attempt}/status.json")
}

/// An attempt's journal: plain text, for people.
pub fn journal(build: &str, shard: u32, attempt: u32) -> String {
    format!("builds/{build}/shard-{shard}/attempt-{attempt}/journal.txt")
}

/// What an attempt that ended `done` reports ([`crate::report::Report`]).
pub fn report(build: &str, shard: u32) -> String {
    format!("builds/{build}/shard-{shard}/report.json")
}

/// What all shards of a build reported, as text for people ([`crate::report::Report::text`]).
pub fn report_text(build: &str) -> String {
    format!("builds/{build}/report.txt")
}

/// What EC2 gave an attempt ([`crate::estimate::Launch`]).
pub fn launch(build: &str, shard: u32, attempt: u32) -> String {
    format!("builds/{build}/shard-{shard}/attempt-{attempt}/launch.json")
}

/// What a build used ([`crate::estimate::Estimate`]).
pub fn estimate(build: &str) -> String {
    format!("builds/{build}/estimate.json")
}

/// What builds have used since the last release ([`crate::estimate::Unreleased`]).
pub const UNRELEASED: &str = "builds/unreleased.json";

/// A release ([`crate::release::Release`]).
pub fn release(release: &str) -> String {
    format!("releases/{release}.json")
}

/// The newest checkpoint of unpublished work ([`crate::release::Checkpoint`]).
pub const CHECKPOINT: &str = "checkpoint.json";
/// What stayed when the installation was deleted ([`crate::teardown::Teardown`]).
pub const TEARDOWN: &str = "teardown.json";
