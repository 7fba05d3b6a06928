//! The real state machines with pretended functions: every way through them, in two interpreters that must agree.
//!
//! The functions' answers are made from `contract::steps`, and what the machines hand to them is read with it.

mod cases;
mod functions;
mod http;
mod interpreters;
mod matrix;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use contract::steps::PublishInput;
use serde_json::{Value, json};

use crate::cases::{Case, cases};
use crate::functions::Functions;
use crate::interpreters::Interpreter;

/// No case takes longer, also on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn every_way_through_the_machines_ends_as_it_should_in_moto() -> Result<()> {
    all_cases(cases(), Interpreter::moto).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_through_the_machines_ends_as_it_should_in_ministack() -> Result<()> {
    all_cases(cases(), Interpreter::ministack).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_that_fails_in_any_way_is_tried_again_or_cleaned_up_after_in_moto() -> Result<()> {
    let cases = matrix::cases();
    let runs = cases.len();
    all_cases(cases, Interpreter::moto).await?;
    tests::total("states x errors, in moto", runs, 0);
    Ok(())
}

/// Runs all cases at once, but those whose calls cannot be told from others' one after another.
async fn all_cases(cases: Vec<Case>, start: impl AsyncFnOnce(Arc<Functions>) -> Result<Interpreter>) -> Result<()> {
    let functions = Functions::listen().await?;
    let interpreter = start(Arc::clone(&functions)).await?;
    let (alone, together): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| case.alone);
    let mut complaints: Vec<String> =
        futures::future::try_join_all(together.iter().map(|case| run(case, &interpreter, &functions)))
            .await?
            .into_iter()
            .flatten()
            .collect();
    for case in &alone {
        complaints.extend(run(case, &interpreter, &functions).await?);
    }
    interpreter.stop().await?;
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
    Ok(())
}

/// Runs one case; what is not as expected is returned.
async fn run(case: &Case, interpreter: &Interpreter, functions: &Functions) -> Result<Vec<String>> {
    let name = case.execution();
    functions.prepare(if case.alone { "" } else { &name }, &case.answers);
    let execution = interpreter.start(case.machine, &name, &case.input).await?;
    let begin = Instant::now();
    let end = loop {
        let end = interpreter.describe(&execution).await?;
        if end["status"] != "RUNNING" {
            break end;
        }
        if begin.elapsed() > PATIENCE {
            bail!(
                "{name} does not end; it went {}",
                interpreter.path(case.machine, &execution).await?
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut complaints = vec![];
    let mut expect = |what: &str, expected: Value, found: Value| {
        if expected != found {
            complaints.push(format!("{name}: {what} should be\n    {expected}\nand is\n    {found}"));
        }
    };
    expect(
        "status",
        json!(if case.error.is_some() { "FAILED" } else { "SUCCEEDED" }),
        end["status"].clone(),
    );
    expect("error", json!(case.error), end["error"].clone());
    if let Some(path) = case.path {
        expect(
            "path",
            json!(path),
            json!(interpreter.path(case.machine, &execution).await?),
        );
    }
    for (function, times) in &case.calls {
        expect(
            &format!("number of calls of {function}"),
            json!(times),
            json!(functions.calls(function, &name).len()),
        );
    }
    for payload in functions.calls("publish", &name) {
        // Read as the function reads it: every shard says how it went.
        let input: PublishInput = serde_json::from_value(payload)?;
        let good = input
            .shards
            .iter()
            .all(|shard| shard.failure.is_some() != (shard.snapshots.len() == 2));
        expect("snapshots or a failure of every shard", json!(true), json!(good));
    }
    if let Some(cause) = case.cause {
        let found = end["cause"].as_str().unwrap_or_default();
        expect(
            "cause",
            json!(cause),
            json!(if found.contains(cause) { cause } else { found }),
        );
    }
    expect(
        "answers that nobody asked for",
        json!(0),
        json!(functions.left(if case.alone { "" } else { &name })),
    );
    Ok(complaints)
}
