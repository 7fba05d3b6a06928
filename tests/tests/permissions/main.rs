//! Every role has exactly the rights that it uses: judged over the calls that all worlds of a test run recorded.
//!
//! The twin judged each call when it came, by the policies that were deployed then, and noted which statements allowed
//! each need. A call that one statement alone allowed would have been refused without it; so a statement that is nowhere
//! the only one can be taken away without a test failing.
//!
//! These tests look at what others left in the directory that `VIBES_RECORDS` names, so `scripts/test` runs them last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use tests::rights::{Role, roles, unexercised};

/// A call as the twin recorded it.
#[derive(Deserialize)]
struct Call {
    service: String,
    action: String,
    caller: String,
    error: Option<String>,
    fault: Option<String>,
    needs: Option<Vec<Need>>,
}

/// One thing that it had to be allowed to do.
#[derive(Deserialize)]
struct Need {
    action: String,
    resource: String,
    allowed: Vec<String>,
}

/// The calls of functions and instances, each with its role's logical id.
fn calls(roles: &BTreeMap<String, Role>) -> Vec<(String, Call)> {
    let directory = std::env::var_os("VIBES_RECORDS").expect("VIBES_RECORDS names where the worlds left their records");
    let files = std::fs::read_dir(PathBuf::from(directory)).expect("the directory of the records");
    let mut calls = Vec::new();
    for file in files {
        let file = file.expect("a record").path();
        for line in std::fs::read_to_string(&file).expect("a record").lines() {
            let call: Call = serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            if let Some((role, _)) = call.caller.split_once('/') {
                calls.push((logical(role, roles), call));
            }
        }
    }
    assert!(
        !calls.is_empty(),
        "nothing was recorded: run the end-to-end tests before this"
    );
    calls
}

/// CloudFormation names a role `STACK-LOGICAL_ID-SUFFIX`.
fn logical(role: &str, roles: &BTreeMap<String, Role>) -> String {
    let mut named = roles.keys().filter(|name| role.split('-').any(|piece| piece == *name));
    let name = named
        .next()
        .unwrap_or_else(|| panic!("{role} is no role of cfn/permissions.yaml"));
    name.clone()
}

fn none(complaints: BTreeSet<String>) {
    let list: Vec<String> = complaints.into_iter().collect();
    assert!(list.is_empty(), "{} complaints:\n{}", list.len(), list.join("\n"));
}

#[test]
#[ignore = "looks at the records of all others: scripts/test runs it last"]
fn every_call_is_allowed_to_its_caller() {
    let mut complaints = BTreeSet::new();
    // A call that a test spoilt may never have been judged, or be refused because the test says so.
    let calls = calls(&roles()).into_iter().filter(|(_, call)| call.fault.is_none());
    for (role, call) in calls {
        let Some(needs) = call.needs else {
            let what = format!("{}:{}", call.service, call.action);
            complaints.insert(format!("{role}: what {what} needs is not known (twin/src/needs)"));
            continue;
        };
        for need in needs.iter().filter(|need| need.allowed.is_empty()) {
            complaints.insert(format!("{role} may not {} {}", need.action, need.resource));
        }
        if let Some(error) = call.error.filter(|error| is_refusal(error)) {
            complaints.insert(format!("{role}: {}:{} was refused: {error}", call.service, call.action));
        }
    }
    none(complaints);
}

fn is_refusal(error: &str) -> bool {
    error.starts_with("AccessDenied") || error == "UnauthorizedOperation" || error == "AuthFailure"
}

#[test]
#[ignore = "looks at the records of all others: scripts/test runs it last"]
fn every_right_is_used_and_no_statement_can_be_taken_away() {
    let roles = roles();
    let (mut used, mut alone) = (BTreeSet::new(), BTreeSet::new());
    for (role, call) in calls(&roles) {
        for need in call.needs.into_iter().flatten() {
            if let [only] = need.allowed.as_slice() {
                alone.insert((role.clone(), only.clone()));
            }
            let by = need.allowed.into_iter();
            used.extend(by.map(|sid| (role.clone(), sid, need.action.to_lowercase())));
        }
    }
    let reasons = unexercised();
    let mut complaints = BTreeSet::new();
    // State machines, rules and schedules call nothing through the endpoint: a tidy test reads what they name.
    let calling = roles
        .iter()
        .filter(|(_, role)| matches!(role.service.as_str(), "lambda" | "ec2"));
    for (name, role) in calling {
        for statement in &role.statements {
            let sid = &statement.sid;
            // Some are called for in some runs only.
            let is_excused = |action: &str| {
                let fits = |(of, which, what): &(String, String, String)| {
                    (of == name || of == "*") && which == sid && (what == action || what == "*")
                };
                reasons.iter().any(fits)
            };
            let mut is_called_for = false;
            for action in &statement.actions {
                let is_used = used.contains(&(name.clone(), sid.clone(), action.to_lowercase()));
                is_called_for |= is_used;
                if !is_used && !is_excused(action) {
                    complaints.insert(format!("{name}: {sid} allows {action}, which it never calls for"));
                }
            }
            if is_called_for && !alone.contains(&(name.clone(), sid.clone())) {
                complaints.insert(format!("{name}: {sid} can be taken away: others allow the same"));
            }
        }
    }
    none(complaints);
}
