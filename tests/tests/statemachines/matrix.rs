//! States x errors: every state that calls a function, and every error that the call can end in.

use contract::fault::Name;
use serde_json::{Value, json};

use crate::cases::Case;
use crate::interpreters::{definition, function_of};

/// Lambda's and Step Functions' own errors.
const NOT_OURS: [&str; 4] = [
    "Lambda.ServiceException",
    "Lambda.Unknown",
    "Sandbox.Timedout",
    "Runtime.ExitError",
];

/// One case for each state of the pipeline and each error: tried again, if the state says so, and then all is well; or
/// cleaned up after, and the execution has failed with that very error.
pub(crate) fn cases() -> Vec<Case> {
    let mut found = Vec::new();
    let pipeline = definition("pipeline").expect("the pipeline is JSON");
    collect(&pipeline["States"], &mut found);
    found
}

fn collect(states: &Value, found: &mut Vec<Case>) {
    for (name, state) in states.as_object().into_iter().flatten() {
        collect(&state["ItemProcessor"]["States"], found);
        if let Some(function) = state["Parameters"]["FunctionName"].as_str().and_then(function_of) {
            let ours = Name::ALL.iter().map(|name| name.as_str());
            let errors = ours.chain(NOT_OURS);
            // What serves is asked without the build's name, so its cases run one by one: those that differ to the state.
            let errors =
                errors.filter(|error| function != "serve" || ["Bug", "TryAgain", "Lambda.Unknown"].contains(error));
            found.extend(errors.map(|error| case(name, &function, state, error)));
        }
    }
}

fn case(name: &str, function: &str, state: &Value, error: &'static str) -> Case {
    let retriers = state["Retry"].as_array().into_iter().flatten();
    let mut retried = retriers
        .filter_map(|retrier| retrier["ErrorEquals"].as_array())
        .flatten();
    let again = retried.any(|retried| retried == error);
    let case = Case::any_way(&format!("{name} ends in {error}")).throws(function, error);
    let case = match function {
        "serve" => case.says("publish", json!({"serve": true})).alone(),
        _ => case,
    };
    match (again, function) {
        (true, _) => case,
        (false, "cleanup") => case.fails(error, "canned"),
        // A first round that finds something, and one that finds nothing.
        (false, _) => case.fails(error, "canned").calls("cleanup", 2),
    }
}
