//! The ways through the state machines: what the functions answer, and how the execution goes and ends.

use contract::input::Market;
use contract::job::Kind;
use contract::steps::ShardItem;
use serde_json::{Value, json};

/// One way through a state machine.
pub(crate) struct Case {
    /// A sentence.
    pub(crate) name: String,
    /// The state machine.
    pub(crate) machine: &'static str,
    /// The execution's input.
    pub(crate) input: Value,
    /// Function (`poll-build`, or `poll-build/1` for the second shard) and what it answers instead of all being well:
    /// fields that differ, or `throw`. In order; then all is well again.
    pub(crate) answers: Vec<(String, Value)>,
    /// The states passed through, without those inside a Map; none if any way will do.
    pub(crate) path: Option<&'static str>,
    /// The error's name, if it fails.
    pub(crate) error: Option<&'static str>,
    /// What the error's cause says.
    pub(crate) cause: Option<&'static str>,
    /// How often these functions are called.
    pub(crate) calls: Vec<(&'static str, usize)>,
    /// A call of it does not say whose it is, so nothing else may run.
    pub(crate) alone: bool,
}

impl Case {
    /// The execution's name, by which a function's calls and answers are told apart.
    pub(crate) fn execution(&self) -> String {
        self.name.replace(' ', "-")
    }

    fn new(name: &str, path: &'static str) -> Self {
        Case {
            path: Some(path),
            ..Case::any_way(name)
        }
    }

    /// A case that may take any way to its end.
    pub(crate) fn any_way(name: &str) -> Self {
        let (answers, calls) = (vec![], vec![]);
        Case {
            name: name.to_owned(),
            machine: "pipeline",
            input: json!({}),
            answers,
            path: None,
            error: None,
            cause: None,
            calls,
            alone: false,
        }
    }

    pub(crate) fn says(mut self, function: &str, answer: Value) -> Self {
        self.answers.push((function.to_owned(), answer));
        self
    }

    pub(crate) fn throws(self, function: &str, error: &str) -> Self {
        self.says(function, json!({"throw": error}))
    }

    pub(crate) fn fails(mut self, error: &'static str, cause: &'static str) -> Self {
        (self.error, self.cause) = (Some(error), Some(cause));
        self
    }

    pub(crate) fn calls(mut self, function: &'static str, times: usize) -> Self {
        self.calls.push((function, times));
        self
    }

    pub(crate) fn alone(self) -> Self {
        Case { alone: true, ..self }
    }

    fn of(self, machine: &'static str, input: Value) -> Self {
        Case { machine, input, ..self }
    }
}

const BUILT: &str =
    "Begin Plan Decision Shards Publish Published Cleanup Remaining WaitForCleanup Cleanup Remaining Succeeded";
const SERVED: &str =
    "Begin Plan Decision Shards Publish Published Serve Cleanup Remaining WaitForCleanup Cleanup Remaining Succeeded";
const SHARD_FAILED: &str = "Begin Plan Decision Shards Publish Published ShardsFailed Cleanup Remaining WaitForCleanup Cleanup Remaining Failed";

/// Each of them runs in every interpreter.
pub(crate) fn cases() -> Vec<Case> {
    let failed = || json!({"state": "failed", "failure": {"Error": "BuildFailed", "Cause": "most tracks failed"}});
    let lost = || json!({"state": "lost", "failure": {"Error": "WorkerLost", "Cause": "it is gone"}});
    let interrupted =
        || json!({"state": "interrupted", "failure": {"Error": "WorkerLost", "Cause": "EC2 took it back"}});
    let running = || json!({"state": "running"});
    vec![
        Case::new("all is well", BUILT).calls("launch-worker", 1).calls("create-volume", 2).calls("snapshot", 2),
        Case::new("two shards", BUILT)
            .says("plan", json!({"shards": shards("two-shards", 2)}))
            .calls("launch-worker", 2)
            .calls("snapshot", 4)
            .calls("publish", 1),
        Case::new("nothing has changed", "Begin Plan Decision Cleanup Remaining WaitForCleanup Cleanup Remaining UpToDate")
            .says("plan", json!({"decision": "upToDate", "shards": []}))
            .calls("launch-worker", 0),
        Case::new(
            "nothing has changed and it is served",
            "Begin Plan Decision Serve Cleanup Remaining WaitForCleanup Cleanup Remaining UpToDate",
        )
        .says("plan", json!({"decision": "upToDate", "serve": true, "shards": []})),
        Case::new(
            "an upload is waited for",
            "Begin Plan Decision WaitForUpload Plan Decision WaitForUpload Plan Decision Shards Publish Published \
             Cleanup Remaining WaitForCleanup Cleanup Remaining Succeeded",
        )
        .says("plan", json!({"decision": "settling", "waitSeconds": 1, "shards": []}))
        .says("plan", json!({"decision": "settling", "waitSeconds": 1, "shards": []})),
        Case::new("another build runs", "Begin Plan Decision Queued")
            .says("plan", json!({"decision": "queued", "shards": []}))
            .calls("cleanup", 0),
        Case::new("bad input", "Begin Plan Cleanup Remaining WaitForCleanup Cleanup Remaining Failed")
            .says("plan", json!({"throw": "InvalidInput", "message": "unknown field `profile`"}))
            .fails("InvalidInput", "unknown field `profile`"),
        Case::new("what may pass is tried again", BUILT)
            .throws("plan", "TryAgain")
            .throws("plan", "Lambda.Unknown")
            .throws("poll-build", "TryAgain")
            .throws("cleanup", "TryAgain")
            .calls("plan", 3),
        Case::new("no capacity", SHARD_FAILED).throws("launch-worker", "NoCapacity").fails("NoCapacity", "canned"),
        Case::new("things take their time", BUILT)
            .throws("create-volume", "NotReady")
            .throws("create-volume", "NotReady")
            .throws("retire-worker", "NotReady")
            .throws("snapshot", "NotReady")
            .calls("create-volume", 4)
            .calls("retire-worker", 2)
            .calls("snapshot", 3),
        Case::new("a volume cannot be made", SHARD_FAILED).throws("create-volume", "Bug").fails("Bug", "canned"),
        Case::new("a worker is lost", BUILT)
            .says("poll-build", running())
            .says("poll-build", running())
            .says("poll-build", lost())
            .calls("launch-worker", 2)
            .calls("poll-build", 4),
        Case::new("every worker is lost", SHARD_FAILED)
            .says("poll-build", lost())
            .says("poll-build", interrupted())
            .says("poll-build", lost())
            .calls("launch-worker", 3)
            .fails("WorkerLost", "it is gone"),
        Case::new("the last worker is interrupted", SHARD_FAILED)
            .says("poll-build", lost())
            .says("poll-build", lost())
            .says("poll-build", interrupted())
            .fails("WorkerLost", "EC2 took it back"),
        Case::new("the build fails", SHARD_FAILED)
            .says("poll-build", failed())
            .calls("launch-worker", 1)
            .calls("retire-worker", 1)
            .calls("snapshot", 0)
            .fails("BuildFailed", "most tracks failed"),
        Case::new("the build fails and its worker stays", SHARD_FAILED)
            .says("poll-build", failed())
            .throws("retire-worker", "Bug")
            .fails("BuildFailed", "most tracks failed"),
        Case::new("the build is done and its worker stays", SHARD_FAILED)
            .throws("retire-worker", "Bug")
            .fails("Bug", "canned"),
        Case::new("a poll fails", SHARD_FAILED).throws("poll-build", "BuildIsOver").fails("BuildIsOver", "canned"),
        Case::new("a snapshot fails", SHARD_FAILED)
            .throws("snapshot", "SnapshotFailed")
            .fails("SnapshotFailed", "canned"),
        Case::new("one of two shards fails", SHARD_FAILED)
            .says("plan", json!({"shards": shards("one-of-two-shards-fails", 2)}))
            .says("poll-build/1", failed())
            .says("poll-build/0", running())
            .says("poll-build/0", running())
            .calls("snapshot", 2)
            .fails("BuildFailed", "most tracks failed"),
        Case::new(
            "publishing fails",
            "Begin Plan Decision Shards Publish Cleanup Remaining WaitForCleanup Cleanup Remaining Failed",
        )
        .throws("publish", "BuildIsOver")
        .fails("BuildIsOver", "canned"),
        Case::new("the release is served", SERVED).says("publish", json!({"serve": true})),
        Case::new(
            "serving fails",
            "Begin Plan Decision Shards Publish Published Serve Cleanup Remaining WaitForCleanup Cleanup Remaining Failed",
        )
        .says("publish", json!({"serve": true}))
        .throws("serve", "Bug")
        .fails("Bug", "canned")
        .alone(),
        Case::new(
            "only the clean-up fails",
            "Begin Plan Decision Shards Publish Published Cleanup FirstFailure CleanupFailed Failed",
        )
        .throws("cleanup", "CleanupStuck")
        .fails("CleanupStuck", "canned"),
        Case::new("the clean-up fails too", "Begin Plan Cleanup FirstFailure Failed")
            .throws("plan", "NoSources")
            .throws("cleanup", "CleanupStuck")
            .fails("NoSources", "canned"),
        Case::new("cleanup is done in steps", "Begin Cleanup Remaining WaitForCleanup Cleanup Remaining Succeeded")
            .of("cleanup", json!({"build": "cleanup-is-done-in-steps"}))
            .calls("cleanup", 2),
        Case::new("cleanup is stuck", "Begin Cleanup Failed")
            .of("cleanup", json!({"build": "cleanup-is-stuck"}))
            .throws("cleanup", "CleanupStuck")
            .fails("CleanupStuck", "canned"),
        Case::new("the server is reached in steps", "Begin Serve Reached WaitForServer Serve Reached Succeeded")
            .of("serve", json!({}))
            .says("serve", json!({"converged": false}))
            .calls("serve", 2),
        Case::new("the server is not reached", "Begin Serve Failed")
            .of("serve", json!({}))
            .throws("serve", "NoCapacity")
            .fails("NoCapacity", "canned"),
        Case::new(
            "the stack is deleted",
            "Begin Teardown Remaining WaitForTeardown Teardown Remaining AnswerTeardown Answered Succeeded",
        )
        .of("teardown", json!({"RequestType": "Delete"})),
        Case::new("the teardown is stuck", "Begin Teardown AnswerTeardown Answered Failed")
            .of("teardown", json!({"RequestType": "Delete"}))
            .throws("teardown", "CleanupStuck")
            .fails("CleanupStuck", "canned")
            .alone(),
        Case::new("nobody can be answered", "Begin Teardown Remaining AnswerTeardown Failed")
            .of("teardown", json!({"RequestType": "Delete"}))
            .says("teardown", json!({"remaining": 0}))
            .throws("teardown", "Bug")
            .fails("Bug", "canned")
            .alone(),
    ]
}

/// Items of the Map over the shards.
pub(crate) fn shards(build: &str, number: u32) -> Vec<ShardItem> {
    let kinds = vec![Kind::Sources, Kind::Builds];
    (0..number)
        .map(|shard| ShardItem {
            build: build.to_owned(),
            shard,
            attempt: 1,
            kinds: kinds.clone(),
        })
        .collect()
}

/// The market of a worker that is there at once.
pub(crate) const MARKET: Market = Market::Spot;
