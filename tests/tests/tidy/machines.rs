//! No emulator checks a state machine as AWS does, so these tests do.

use std::collections::{BTreeMap, BTreeSet};

use contract::fault::Name;
use serde_json::Value;

use crate::machine::{Scope, State, catches_all, definition, list, scopes};
use crate::none;
use crate::template::load;

/// Errors of the Lambda service and of time: the same call may succeed later. There is no wildcard for them.
const SERVICE_ERRORS: [&str; 7] = [
    "Lambda.ServiceException",
    "Lambda.TooManyRequestsException",
    "Lambda.SdkClientException",
    "Lambda.AWSLambdaException",
    "Lambda.Unknown",
    "Sandbox.Timedout",
    "States.Timeout",
];

fn complaints(of: impl Fn(&State) -> Vec<String>) -> Vec<String> {
    let scopes = scopes();
    let states = scopes.iter().flat_map(Scope::iter);
    states
        .flat_map(|state| {
            of(&state)
                .into_iter()
                .map(move |what| format!("{}: {what}", state.path()))
        })
        .collect()
}

fn if_task(state: &State, what: &str, good: impl Fn(&State) -> bool) -> Vec<String> {
    if state.kind() != "Task" || good(state) {
        vec![]
    } else {
        vec![what.to_owned()]
    }
}

#[test]
fn every_next_state_exists() {
    none(complaints(|state| {
        let missing = state
            .next()
            .into_iter()
            .filter(|next| !state.scope.states.contains_key(*next));
        missing
            .map(|next| format!("goes to {next}, which does not exist here"))
            .collect()
    }));
}

#[test]
fn every_state_is_reached() {
    for scope in scopes() {
        let mut reached = BTreeSet::new();
        let mut open = vec![scope.start.as_str()];
        while let Some(name) = open.pop() {
            let Some((name, is)) = scope.states.get_key_value(name) else {
                panic!("{} begins with or goes to {name}, which does not exist", scope.path)
            };
            if reached.insert(name.as_str()) {
                open.extend(
                    State {
                        scope: &scope,
                        name,
                        is,
                    }
                    .next(),
                );
            }
        }
        let all: BTreeSet<&str> = scope.states.keys().map(String::as_str).collect();
        assert_eq!(all, reached, "states of {} that nothing leads to", scope.path);
    }
}

#[test]
fn every_state_goes_on_or_ends() {
    none(complaints(|state| {
        let ways = [state.is["Next"].is_string(), state.is["End"] == Value::Bool(true)];
        let good = match state.kind() {
            "Succeed" | "Fail" => ways == [false, false],
            "Choice" => ways == [false, false] && state.is["Default"].is_string(),
            "Pass" | "Task" | "Wait" | "Map" => ways[0] != ways[1],
            kind => return vec![format!("is of type {kind}, which does not behave alike everywhere")],
        };
        if good {
            vec![]
        } else {
            vec!["has no way on, or two".to_owned()]
        }
    }));
}

#[test]
fn a_state_name_is_used_once_in_a_machine() {
    let mut seen = BTreeMap::new();
    for scope in scopes() {
        let machine = scope.path.split('/').next().unwrap_or_default().to_owned();
        for state in scope.iter() {
            let before = seen.insert((machine.clone(), state.name.to_owned()), state.path());
            assert_eq!(before, None, "{} has its name a second time", state.path());
            assert!(
                state.name.len() <= 80,
                "{} is a longer name than AWS takes",
                state.path()
            );
        }
    }
}

#[test]
fn every_machine_says_what_it_is_for_and_ends_some_day() {
    for scope in scopes().iter().filter(|scope| !scope.path.contains('/')) {
        let machine = definition(&scope.path);
        assert!(
            machine["Comment"].as_str().is_some_and(|comment| comment.len() > 40),
            "{} has no Comment",
            scope.path
        );
        assert!(
            machine["TimeoutSeconds"].as_u64().is_some(),
            "{} has no TimeoutSeconds",
            scope.path
        );
        assert_ne!(
            machine["QueryLanguage"], "JSONata",
            "{}: moto knows JSONPath only",
            scope.path
        );
    }
}

#[test]
fn every_task_invokes_a_function_by_its_placeholder() {
    none(complaints(|state| {
        if_task(state, "is no lambda:invoke of a ${...Arn}", |state| {
            state.is["Resource"] == "arn:aws:states:::lambda:invoke" && !state.function().is_empty()
        })
    }));
}

#[test]
fn a_task_outlasts_its_function() {
    let functions = load("main")["Mappings"]["Functions"].clone();
    none(complaints(|state| {
        if_task(state, "has no TimeoutSeconds above its function's Timeout", |state| {
            let function = functions[state.function()]["Timeout"].as_u64();
            function.is_some_and(|seconds| state.is["TimeoutSeconds"].as_u64().is_some_and(|task| task > seconds))
        })
    }));
}

#[test]
fn every_task_retries_what_another_try_may_cure() {
    let shared = scopes()
        .iter()
        .flat_map(Scope::iter)
        .find(|state| state.kind() == "Task")
        .map(|state| {
            let retry = list(state.is, "Retry");
            assert_eq!(retry[0]["ErrorEquals"], serde_json::json!(SERVICE_ERRORS));
            assert_eq!(retry[1]["ErrorEquals"], serde_json::json!([Name::TryAgain.as_str()]));
            retry[..2].to_vec()
        });
    none(complaints(|state| {
        if_task(state, "does not begin its Retry with the shared block", |state| {
            list(state.is, "Retry").starts_with(shared.as_deref().unwrap_or_default())
        })
    }));
}

#[test]
fn try_again_is_tried_for_an_hour() {
    none(complaints(|state| {
        let retry = list(state.is, "Retry")
            .iter()
            .find(|retry| retry["ErrorEquals"][0] == Name::TryAgain.as_str());
        let Some(retry) = retry else { return vec![] };
        let number = |key: &str| retry[key].as_f64().unwrap_or_default();
        let attempts = number("MaxAttempts") as i32;
        let wait =
            |attempt| (number("IntervalSeconds") * number("BackoffRate").powi(attempt)).min(number("MaxDelaySeconds"));
        let seconds: f64 = (0..attempts).map(wait).sum();
        if seconds >= 3600.0 {
            vec![]
        } else {
            vec![format!("gives up after {seconds} seconds")]
        }
    }));
}

#[test]
fn every_retry_is_bounded() {
    none(complaints(|state| {
        let fields = ["IntervalSeconds", "BackoffRate", "MaxDelaySeconds", "MaxAttempts"];
        let open = list(state.is, "Retry")
            .iter()
            .filter(|retry| fields.iter().any(|field| !retry[field].is_number()));
        open.map(|retry| format!("retries {} without saying how often and how long", retry["ErrorEquals"]))
            .collect()
    }));
}

#[test]
fn every_error_is_caught() {
    none(complaints(|state| {
        let can_fail = ["Task", "Map"].contains(&state.kind());
        let caught = catches_all(state.is) || state.scope.caught;
        if can_fail && !caught {
            vec!["has no Catch for States.ALL, nor has a Map around it".to_owned()]
        } else {
            vec![]
        }
    }));
}

#[test]
fn a_catch_keeps_what_is_known() {
    none(complaints(|state| {
        let replaced = list(state.is, "Catch")
            .iter()
            .filter(|catch| catch["ResultPath"].as_str().unwrap_or("$") == "$");
        replaced
            .map(|catch| format!("loses its input when it catches {}", catch["ErrorEquals"]))
            .collect()
    }));
}

#[test]
fn every_error_name_is_ours_or_has_a_dot() {
    let ours: BTreeSet<&str> = Name::ALL.iter().map(|name| name.as_str()).collect();
    none(complaints(|state| {
        let lists = list(state.is, "Retry")
            .iter()
            .chain(list(state.is, "Catch"))
            .flat_map(|one| list(one, "ErrorEquals"));
        let names = lists.filter_map(Value::as_str);
        let unknown = names.filter(|name| !ours.contains(name) && !name.contains('.'));
        unknown
            .map(|name| format!("names the error {name}, which nobody raises"))
            .collect()
    }));
}

#[test]
fn paths_are_definite() {
    none(complaints(|state| {
        let mut found = vec![];
        collect_paths(state.is, &mut found);
        let definite = |path: &str| {
            let fields = path.strip_prefix("$$").or_else(|| path.strip_prefix('$'));
            fields.is_some_and(|fields| fields.chars().all(|char| char.is_ascii_alphanumeric() || char == '.'))
        };
        found
            .into_iter()
            .filter(|path| !definite(path))
            .map(|path| format!("uses the path {path}"))
            .collect()
    }));
}

/// Paths of a state, without those of the states inside it.
fn collect_paths(value: &Value, found: &mut Vec<String>) {
    let Some(fields) = value.as_object() else {
        value
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|item| collect_paths(item, found));
        return;
    };
    for (key, value) in fields.iter().filter(|(key, _)| *key != "ItemProcessor") {
        match value.as_str() {
            Some(path) if key.ends_with(".$") || key.ends_with("Path") || key == "Variable" => {
                found.push(path.to_owned())
            }
            _ => collect_paths(value, found),
        }
    }
}
