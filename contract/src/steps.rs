//! Inputs and outputs of the functions, as the state machines pass them.
//!
//! Times are RFC 3339, UTC, and come from the state machine or the event: a function has no clock of its own.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::job::Kind;
use crate::status::{Bytes, Tracks};

/// Input of `plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanInput {
    /// The execution's name.
    pub build: String,
    /// When the execution started.
    pub started: String,
    /// Now.
    pub now: String,
    /// The execution's input, not yet checked ([`crate::input::Input`]).
    pub input: Value,
}

/// Output of `plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanOutput {
    /// What happens next.
    pub decision: Decision,
    /// Why, for people.
    pub reason: String,
    /// Seconds to wait when settling, else 0.
    pub wait_seconds: u32,
    /// Serve the current or coming release afterwards.
    pub serve: bool,
    /// One item a shard when building, else empty.
    pub shards: Vec<ShardItem>,
}

/// What `plan` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// There is something to build.
    Build,
    /// The release is what would be built.
    UpToDate,
    /// An upload is still going on.
    Settling,
    /// Another build runs; the wish is noted and built after it.
    Queued,
}

/// One item of the map over the shards: where each begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardItem {
    /// The build.
    pub build: String,
    /// Shard number, from 0.
    pub shard: u32,
    /// The first attempt's number: 1.
    pub attempt: u32,
    /// The kinds of volumes that it has.
    pub kinds: Vec<Kind>,
}

/// Input of `launch-worker`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaunchWorkerInput {
    /// The build.
    pub build: String,
    /// Shard number, from 0.
    pub shard: u32,
    /// Attempt number, from 1.
    pub attempt: u32,
}

/// Output of `launch-worker`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaunchWorkerOutput {
    /// Instance id.
    pub instance: String,
    /// Availability zone: where the volumes must be.
    pub zone: String,
    /// Instance type.
    pub instance_type: String,
    /// `spot` or `on-demand`.
    pub market: crate::input::Market,
}

/// Input of `create-volume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateVolumeInput {
    /// The build.
    pub build: String,
    /// Shard number, from 0.
    pub shard: u32,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Which volume.
    pub kind: Kind,
    /// The instance to attach it to.
    pub instance: String,
    /// The instance's availability zone.
    pub zone: String,
}

/// Output of `create-volume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateVolumeOutput {
    /// Which volume.
    pub kind: Kind,
    /// Volume id.
    pub volume: String,
}

/// Input of `poll-build`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollBuildInput {
    /// The build.
    pub build: String,
    /// Shard number, from 0.
    pub shard: u32,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// The instance.
    pub instance: String,
    /// Now, RFC 3339.
    pub now: String,
    /// The last output's `sequence`; 0 at first.
    pub sequence: u64,
    /// The last output's `silentSeconds`; 0 at first.
    pub silent_seconds: u32,
    /// The last output's `waitSeconds`; 0 at first.
    pub wait_seconds: u32,
}

/// Output of `poll-build`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollBuildOutput {
    /// How the attempt is doing.
    pub state: AttemptState,
    /// The last sequence number seen.
    pub sequence: u64,
    /// Seconds waited since it last grew.
    pub silent_seconds: u32,
    /// Seconds to wait before the next poll.
    pub wait_seconds: u32,
    /// What the worker is doing, for people.
    pub step: String,
    /// Tracks over all profiles.
    pub tracks: Tracks,
    /// Bytes of the sync.
    pub bytes: Bytes,
    /// Why it failed, was interrupted or was lost; none while it runs and when it is done.
    pub failure: Option<StepFailure>,
}

/// How an attempt is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AttemptState {
    /// It works.
    Running,
    /// It is done, its volumes are clean.
    Done,
    /// Another attempt would fail alike.
    Failed,
    /// It was told to stop; another attempt continues.
    Interrupted,
    /// It is gone or silent; another attempt continues.
    Lost,
}

/// An error as the state machines carry it (`Error` and `Cause`, as `Catch` writes them).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailure {
    /// The error's name.
    #[serde(rename = "Error")]
    pub error: String,
    /// What happened, for people.
    #[serde(rename = "Cause")]
    pub cause: String,
}

/// Input of `retire-worker`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetireWorkerInput {
    /// The build.
    pub build: String,
    /// Shard number, from 0.
    pub shard: u32,
    /// Attempt number, from 1.
    pub attempt: u32,
}

/// Output of `retire-worker`: the instance is terminated, the volumes are available.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetireWorkerOutput {
    /// The number that another attempt would have.
    pub next_attempt: u32,
    /// Another attempt is allowed.
    pub again: bool,
}

/// Input of `snapshot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotInput {
    /// The build.
    pub build: String,
    /// Shard number, from 0.
    pub shard: u32,
    /// The attempt that ended `done`.
    pub attempt: u32,
    /// Which volume.
    pub kind: Kind,
}

/// Output of `snapshot`: it is completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotOutput {
    /// Which volume.
    pub kind: Kind,
    /// Snapshot id.
    pub snapshot: String,
}

/// How a shard ended; one item of the map's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardOutcome {
    /// Shard number, from 0.
    pub shard: u32,
    /// Its snapshots; empty when it failed.
    pub snapshots: Vec<SnapshotOutput>,
    /// Why it failed; none when it did not.
    pub failure: Option<StepFailure>,
}

/// Input of `publish`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishInput {
    /// The build.
    pub build: String,
    /// Now.
    pub now: String,
    /// How each shard ended.
    pub shards: Vec<ShardOutcome>,
}

/// Output of `publish`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishOutput {
    /// The release that was published; none after `only: sync`, or when a shard failed.
    pub release: Option<String>,
    /// How the release came out; none without one.
    pub outcome: Option<Outcome>,
    /// What was built and what was not, in one line ([`crate::report::Report::summary`]); none if no shard reported.
    pub summary: Option<String>,
    /// The first shard's failure; none when all are done.
    pub failure: Option<StepFailure>,
    /// Serve the release now.
    pub serve: bool,
}

/// How a release came out. `cfn/watch.yaml` looks for these words in the output of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Every track of every profile is what its source is.
    Complete,
    /// Tracks failed, or sources changed while they were fetched: the release says which.
    WithProblems,
}

/// Input of `serve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "action")]
pub enum ServeInput {
    /// Wish for the current release to be served, and see to it that a serve execution runs.
    #[serde(rename_all = "camelCase")]
    Request {
        /// A server shall run; none keeps what is wished for.
        up: Option<bool>,
        /// It shall end at this time; none means never.
        until: Option<String>,
    },
    /// One bounded step towards what is wished for.
    #[serde(rename_all = "camelCase")]
    Converge {
        /// The serve execution's name.
        execution: String,
        /// Now.
        now: String,
        /// The last output's `round`; 0 at first.
        round: u32,
        /// The execution's input, not yet checked ([`crate::serve::Wish`]).
        wish: Value,
    },
    /// Tell the server, if there is one, who may pull now.
    Access {},
}

/// Output of `serve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServeOutput {
    /// Nothing is left to do.
    pub converged: bool,
    /// Seconds to wait before the next step.
    pub wait_seconds: u32,
    /// Number of steps so far.
    pub round: u32,
    /// What is being waited for, for people.
    pub step: String,
    /// The server's public address; none while there is none.
    pub address: Option<String>,
}

/// Input of `cleanup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CleanupInput {
    /// The build to end.
    pub build: String,
    /// Now.
    pub now: String,
    /// The last output's `round`; 0 at first.
    pub round: u32,
}

/// Output of `cleanup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CleanupOutput {
    /// How many things are left to end; control is released when it is 0.
    pub remaining: u32,
    /// Number of steps so far.
    pub round: u32,
    /// Seconds to wait before the next step.
    pub wait_seconds: u32,
    /// Ids of what this step ended or kept.
    pub removed: Vec<String>,
}

/// Input of `teardown`, besides CloudFormation's own request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "action")]
pub enum TeardownInput {
    /// One bounded step of ending everything of the installation.
    #[serde(rename_all = "camelCase")]
    Step {
        /// When the execution started.
        started: String,
        /// Now.
        now: String,
        /// The last output's `round`; 0 at first.
        round: u32,
    },
    /// Answer CloudFormation.
    #[serde(rename_all = "camelCase")]
    Answer {
        /// CloudFormation's request.
        request: Value,
        /// Why it did not work; none when it did.
        failure: Option<StepFailure>,
    },
}

/// Output of `teardown`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TeardownOutput {
    /// How many things are left to end; 0 when only data is left.
    pub remaining: u32,
    /// Number of steps so far.
    pub round: u32,
    /// Seconds to wait before the next step.
    pub wait_seconds: u32,
    /// Ids of what this step ended.
    pub removed: Vec<String>,
}

/// Output of `sweep`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepOutput {
    /// Ids that it marked: they end next time, unless they are needed by then.
    pub marked: Vec<String>,
    /// Ids that it ended.
    pub ended: Vec<String>,
    /// Executions that it started.
    pub started: Vec<String>,
}

/// Output of `trigger`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerOutput {
    /// The build that it started; none when one runs already.
    pub started: Option<String>,
    /// The wish is noted for after the running build.
    pub pending: bool,
}
