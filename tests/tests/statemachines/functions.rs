//! Pretended functions behind Lambda's Invoke: each does its part well, unless a case says otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};

use anyhow::Result;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use contract::status::{Bytes, Tracks};
use contract::steps::{
    AttemptState, CleanupInput, CleanupOutput, CreateVolumeInput, CreateVolumeOutput, Decision, LaunchWorkerInput,
    LaunchWorkerOutput, Outcome, PlanInput, PlanOutput, PollBuildInput, PollBuildOutput, PublishInput, PublishOutput,
    RetireWorkerInput, RetireWorkerOutput, ServeInput, ServeOutput, SnapshotInput, SnapshotOutput, TeardownInput,
    TeardownOutput,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cases::{MARKET, shards};

/// Attempts that a shard has.
const ATTEMPTS: u32 = 3;

/// The functions, listening.
pub(crate) struct Functions {
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
    /// Execution and function -> answers that differ.
    answers: Mutex<BTreeMap<(String, String), VecDeque<Value>>>,
    /// Function, execution, payload.
    calls: Mutex<Vec<(String, String, Value)>>,
    server: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Functions {
    fn drop(&mut self) {
        if let Ok(Some(server)) = self.server.lock().map(|mut server| server.take()) {
            server.abort();
        }
    }
}

impl Functions {
    /// Begins to listen.
    pub(crate) async fn listen() -> Result<Arc<Self>> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let functions = Arc::new(Functions {
            port,
            answers: Mutex::default(),
            calls: Mutex::default(),
            server: Mutex::default(),
        });
        let path = "/2015-03-31/functions/{name}/invocations";
        let router = Router::new()
            .route(path, post(invoke))
            .with_state(Arc::downgrade(&functions));
        let server = tokio::spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("the pretended functions listen");
        });
        *functions.server.lock().unwrap() = Some(server);
        Ok(functions)
    }

    /// Sets the answers for an execution; the empty name stands for calls that do not say whose they are.
    pub(crate) fn prepare(&self, execution: &str, answers: &[(String, Value)]) {
        let mut all = self.answers.lock().unwrap();
        for (function, answer) in answers {
            let key = (execution.to_owned(), function.clone());
            all.entry(key).or_default().push_back(answer.clone());
        }
    }

    /// Payloads of the calls of a function by an execution.
    pub(crate) fn calls(&self, function: &str, execution: &str) -> Vec<Value> {
        let calls = self.calls.lock().unwrap();
        let of = calls.iter().filter(|(name, by, _)| name == function && by == execution);
        of.map(|(_, _, payload)| payload.clone()).collect()
    }

    /// Number of answers that have not been given.
    pub(crate) fn left(&self, execution: &str) -> usize {
        let answers = self.answers.lock().unwrap();
        answers
            .iter()
            .filter(|((by, _), _)| by == execution)
            .map(|(_, left)| left.len())
            .sum()
    }

    fn answer(&self, function: &str, execution: &str, payload: &Value) -> Option<Value> {
        let mut answers = self.answers.lock().unwrap();
        let shard = payload["shard"].as_u64().unwrap_or_default();
        let names = [format!("{function}/{shard}"), function.to_owned()];
        let owners = [execution.to_owned(), String::new()];
        let keys = owners
            .iter()
            .flat_map(|owner| names.iter().map(move |name| (owner.clone(), name.clone())));
        keys.into_iter().find_map(|key| answers.get_mut(&key)?.pop_front())
    }
}

async fn invoke(
    State(functions): State<Weak<Functions>>,
    Path(name): Path<String>,
    body: String,
) -> (HeaderMap, String) {
    let functions = functions.upgrade().expect("the test goes on");
    let payload: Value = serde_json::from_str(&body).expect("a payload is JSON");
    let function = name.rsplit(':').next().unwrap_or_default().to_owned();
    let execution = ["build", "execution"]
        .iter()
        .find_map(|key| payload[key].as_str())
        .unwrap_or_default()
        .to_owned();
    functions
        .calls
        .lock()
        .unwrap()
        .push((function.clone(), execution.clone(), payload.clone()));
    let differs = functions.answer(&function, &execution, &payload).unwrap_or_default();
    let mut headers = HeaderMap::new();
    headers.insert("x-amzn-requestid", "pretended".parse().unwrap());
    let answer = match (&differs["throw"], all_is_well(&function, payload)) {
        (Value::String(error), _) => {
            headers.insert("x-amz-function-error", "Unhandled".parse().unwrap());
            json!({"errorType": error, "errorMessage": differs["message"].as_str().unwrap_or("canned")})
        }
        (_, Ok(Value::Object(mut answer))) => {
            answer.extend(differs.as_object().cloned().unwrap_or_default());
            Value::Object(answer)
        }
        (_, unexpected) => {
            headers.insert("x-amz-function-error", "Unhandled".parse().unwrap());
            json!({"errorType": "NotOfTheContract", "errorMessage": format!("{function}: {unexpected:?}")})
        }
    };
    (headers, answer.to_string())
}

/// What a function answers when all is well; its input is read as the real function reads it.
fn all_is_well(function: &str, payload: Value) -> Result<Value> {
    fn of<I: DeserializeOwned, O: Serialize>(payload: Value, answer: impl FnOnce(I) -> O) -> Result<Value> {
        Ok(serde_json::to_value(answer(serde_json::from_value(payload)?))?)
    }
    match function {
        "plan" => of(payload, |input: PlanInput| PlanOutput {
            decision: Decision::Build,
            reason: "something has changed".to_owned(),
            wait_seconds: 0,
            serve: false,
            shards: shards(&input.build, 1),
        }),
        "launch-worker" => of(payload, |input: LaunchWorkerInput| LaunchWorkerOutput {
            instance: format!("i-{}-{}", input.shard, input.attempt),
            zone: "us-east-1a".to_owned(),
            instance_type: "c7i.large".to_owned(),
            market: MARKET,
        }),
        "create-volume" => of(payload, |input: CreateVolumeInput| CreateVolumeOutput {
            kind: input.kind,
            volume: format!("vol-{}", input.shard),
        }),
        "poll-build" => of(payload, |input: PollBuildInput| PollBuildOutput {
            state: AttemptState::Done,
            sequence: input.sequence + 1,
            silent_seconds: 0,
            wait_seconds: 1,
            step: "build".to_owned(),
            tracks: Tracks::default(),
            bytes: Bytes::default(),
            failure: None,
        }),
        "retire-worker" => of(payload, |input: RetireWorkerInput| RetireWorkerOutput {
            next_attempt: input.attempt + 1,
            again: input.attempt < ATTEMPTS,
        }),
        "snapshot" => of(payload, |input: SnapshotInput| SnapshotOutput {
            kind: input.kind,
            snapshot: format!("snap-{}", input.shard),
        }),
        "publish" => of(payload, |input: PublishInput| {
            let failure = input.shards.iter().find_map(|shard| shard.failure.clone());
            PublishOutput {
                release: failure.is_none().then_some(input.build),
                outcome: failure.is_none().then_some(Outcome::Complete),
                summary: None,
                failure,
                serve: false,
            }
        }),
        "serve" => of(payload, |input: ServeInput| ServeOutput {
            converged: true,
            wait_seconds: 1,
            round: if let ServeInput::Converge { round, .. } = input {
                round + 1
            } else {
                0
            },
            step: "up".to_owned(),
            address: None,
        }),
        "cleanup" => of(payload, |input: CleanupInput| CleanupOutput {
            remaining: if input.round == 0 { 2 } else { 0 },
            round: input.round + 1,
            wait_seconds: 1,
            removed: vec![],
        }),
        "teardown" => of(payload, |input: TeardownInput| match input {
            TeardownInput::Step { round, .. } => TeardownOutput {
                remaining: if round == 0 { 2 } else { 0 },
                round: round + 1,
                wait_seconds: 1,
                removed: vec![],
            },
            TeardownInput::Answer { .. } => TeardownOutput::default(),
        }),
        unknown => anyhow::bail!("there is no function {unknown}"),
    }
}
