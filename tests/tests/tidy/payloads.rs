//! What the state machines hand to a function, and take from it, is what `contract::steps` says.

use std::collections::{BTreeMap, BTreeSet};

use contract::input::Market;
use contract::job::Kind;
use contract::status::{Bytes, Tracks};
use contract::steps::{
    AttemptState, CleanupInput, CleanupOutput, CreateVolumeInput, CreateVolumeOutput, Decision, LaunchWorkerInput,
    LaunchWorkerOutput, PlanInput, PlanOutput, PollBuildInput, PollBuildOutput, PublishInput, PublishOutput,
    RetireWorkerInput, RetireWorkerOutput, ServeInput, ServeOutput, ShardItem, ShardOutcome, SnapshotInput,
    SnapshotOutput, StepFailure, TeardownInput, TeardownOutput,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::machine::{Scope, scopes};

/// Input (one or several kinds of it) and output of every function that a state machine calls.
fn contract() -> BTreeMap<&'static str, (Vec<Value>, Value)> {
    let text = String::new;
    let (build, now, instance, shard, attempt, kind) = (text(), text(), text(), 0, 1, Kind::Builds);
    let failure = StepFailure {
        error: text(),
        cause: text(),
    };
    let plan = PlanInput {
        build: build.clone(),
        started: text(),
        now: now.clone(),
        input: json!({}),
    };
    let planned = PlanOutput {
        decision: Decision::Build,
        reason: text(),
        wait_seconds: 0,
        serve: false,
        shards: vec![],
    };
    let launch = LaunchWorkerInput {
        build: build.clone(),
        shard,
        attempt,
    };
    let launched = LaunchWorkerOutput {
        instance: text(),
        zone: text(),
        instance_type: text(),
        market: Market::Spot,
    };
    let create = CreateVolumeInput {
        build: build.clone(),
        shard,
        attempt,
        kind,
        instance: text(),
        zone: text(),
    };
    let created = CreateVolumeOutput { kind, volume: text() };
    let poll = PollBuildInput {
        build: build.clone(),
        shard,
        attempt,
        instance,
        now: now.clone(),
        sequence: 0,
        silent_seconds: 0,
        wait_seconds: 0,
    };
    let polled = PollBuildOutput {
        state: AttemptState::Running,
        sequence: 0,
        silent_seconds: 0,
        wait_seconds: 0,
        step: text(),
        tracks: Tracks::default(),
        bytes: Bytes::default(),
        failure: Some(failure.clone()),
    };
    let retire = RetireWorkerInput {
        build: build.clone(),
        shard,
        attempt,
    };
    let retired = RetireWorkerOutput {
        next_attempt: 2,
        again: true,
    };
    let snapshot = SnapshotInput {
        build: build.clone(),
        shard,
        attempt,
        kind,
    };
    let snapshotted = SnapshotOutput { kind, snapshot: text() };
    let publish = PublishInput {
        build: build.clone(),
        now: now.clone(),
        shards: vec![],
    };
    let published = PublishOutput {
        release: None,
        outcome: None,
        summary: None,
        failure: Some(failure),
        serve: false,
    };
    let serve = [
        ServeInput::Request { up: None, until: None },
        ServeInput::Converge {
            execution: text(),
            now: now.clone(),
            round: 0,
            wish: json!({}),
        },
    ];
    let served = ServeOutput {
        converged: true,
        wait_seconds: 0,
        round: 0,
        step: text(),
        address: None,
    };
    let teardown = [
        TeardownInput::Step {
            started: text(),
            now: now.clone(),
            round: 0,
        },
        TeardownInput::Answer {
            request: json!({}),
            failure: None,
        },
    ];
    let cleanup = CleanupInput { build, now, round: 0 };
    let cleaned = CleanupOutput {
        remaining: 0,
        round: 0,
        wait_seconds: 0,
        removed: vec![],
    };
    BTreeMap::from([
        ("Plan", (vec![value(plan)], value(planned))),
        ("LaunchWorker", (vec![value(launch)], value(launched))),
        ("CreateVolume", (vec![value(create)], value(created))),
        ("PollBuild", (vec![value(poll)], value(polled))),
        ("RetireWorker", (vec![value(retire)], value(retired))),
        ("Snapshot", (vec![value(snapshot)], value(snapshotted))),
        ("Publish", (vec![value(publish)], value(published))),
        ("Serve", (serve.map(value).to_vec(), value(served))),
        ("Cleanup", (vec![value(cleanup)], value(cleaned))),
        (
            "Teardown",
            (teardown.map(value).to_vec(), value(TeardownOutput::default())),
        ),
    ])
}

fn value(of: impl Serialize) -> Value {
    serde_json::to_value(of).expect("the contract is JSON")
}

/// Names of the fields, without the mark of a path.
fn fields(of: &Value) -> BTreeSet<String> {
    let fields = of.as_object().into_iter().flatten();
    fields
        .map(|(key, _)| key.strip_suffix(".$").unwrap_or(key).to_owned())
        .collect()
}

#[test]
fn a_function_gets_the_fields_of_its_input() {
    let contract = contract();
    for scope in &scopes() {
        for state in scope.iter().filter(|state| state.kind() == "Task") {
            let payload = &state.is["Parameters"]["Payload"];
            let (inputs, _) = &contract[state.function()];
            // An input of several kinds is told by its action.
            let input = inputs.iter().find(|input| input["action"] == payload["action"]);
            let input = input.unwrap_or_else(|| panic!("{} asks for an unknown action", state.path()));
            assert_eq!(fields(payload), fields(input), "{}", state.path());
        }
    }
}

#[test]
fn a_state_takes_fields_that_the_output_has() {
    let contract = contract();
    for scope in &scopes() {
        for state in scope.iter().filter(|state| state.kind() == "Task") {
            let (_, output) = &contract[state.function()];
            for (key, path) in state.is["ResultSelector"].as_object().into_iter().flatten() {
                let field = key.strip_suffix(".$").unwrap_or(key);
                assert_eq!(path, &json!(format!("$.Payload.{field}")), "{}", state.path());
                assert!(
                    fields(output).contains(field),
                    "{} takes {field}, which is never there",
                    state.path()
                );
            }
        }
    }
}

#[test]
fn a_shard_goes_from_item_to_outcome() {
    let item = ShardItem {
        build: String::new(),
        shard: 0,
        attempt: 1,
        kinds: vec![],
    };
    let outcome = ShardOutcome {
        shard: 0,
        snapshots: vec![],
        failure: None,
    };
    let scopes = scopes();
    let shards: &Scope = scopes
        .iter()
        .find(|scope| scope.path == "pipeline/Shards")
        .expect("a Map over the shards");
    assert_eq!(
        fields(&shards.states["NextAttempt"]["Parameters"]),
        fields(&value(item))
    );
    for state in shards.iter().filter(|state| state.is["End"] == json!(true)) {
        assert_eq!(
            fields(&state.is["Parameters"]),
            fields(&value(&outcome)),
            "{}",
            state.path()
        );
    }
}
