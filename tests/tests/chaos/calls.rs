//! Calls x faults: every call of an undisturbed build, spoilt in every way that its kind allows.

use std::collections::BTreeMap;

use anyhow::Result;
use contract::fault::Name;
use serde_json::{Value, json};
use tests::world::Call;

use crate::lane::Lane;
use crate::matrix::{Case, MOST_OF_ONE};

/// A place in the code that calls, as far as the record tells it: caller, call, and what is named, with `*` for what
/// differs between builds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    caller: String,
    service: String,
    action: String,
    resource: Option<String>,
}

impl Place {
    fn of(call: &Call) -> Place {
        // Roles are called otherwise in each world.
        let caller = match call.caller.split_once('/') {
            Some((role, who)) if who.starts_with("i-") => {
                let kind = if role.contains("Worker") { "Worker" } else { "Server" };
                format!("*{kind}*/i-*")
            }
            Some((_, who)) => format!("*/{who}"),
            None => call.caller.clone(),
        };
        // Ids are other ones in each build; names of objects and parameters are not.
        let named = call.resources.first().filter(|_| call.service != "ec2");
        Place {
            caller,
            service: call.service.clone(),
            action: call.action.clone(),
            resource: named.map(|name| general(name)),
        }
    }

    /// Who calls, for people: the function or the kind of instance.
    fn who(&self) -> &str {
        match self.caller.as_str() {
            "*Worker*/i-*" => "worker",
            "*Server*/i-*" => "server",
            caller => caller.trim_start_matches("*/"),
        }
    }

    fn rule(&self, nth: u32) -> Value {
        let mut rule = json!({"caller": self.caller, "service": self.service, "action": self.action, "nth": nth});
        if let Some(resource) = &self.resource {
            rule["resource"] = json!(resource);
        }
        rule
    }
}

/// The text with `*` for what looks like an id, a digest or a build's number.
fn general(text: &str) -> String {
    let piece = |piece: &str| {
        let id = piece.len() >= 5 && piece.bytes().all(|byte| byte.is_ascii_hexdigit());
        if id { "*".to_owned() } else { piece.to_owned() }
    };
    // Each piece keeps the character after it.
    let pieces = text.split_inclusive(|char: char| !char.is_ascii_alphanumeric());
    pieces
        .map(|part| {
            let word = part.trim_end_matches(|char: char| !char.is_ascii_alphanumeric());
            piece(word) + &part[word.len()..]
        })
        .collect()
}

/// The cases of a build that this lane has just run undisturbed.
pub(crate) async fn cases(lane: &mut Lane) -> Result<Vec<Case>> {
    let before = lane.last_call()?;
    lane.undisturbed().await?;
    let mut places: BTreeMap<Place, u32> = BTreeMap::new();
    for call in lane.world.calls(before)?.iter().filter(|call| call.caller != "root") {
        *places.entry(Place::of(call)).or_default() += 1;
    }
    let mut cases = Vec::new();
    for (place, times) in &places {
        for nth in 1..=(*times).min(MOST_OF_ONE) {
            for (kind, spoilt) in faults(place, nth) {
                let mut rule = place.rule(nth);
                for (key, value) in spoilt.as_object().into_iter().flatten() {
                    rule[key] = value.clone();
                }
                cases.push(Case {
                    row: place.who().to_owned(),
                    column: kind.clone(),
                    name: format!(
                        "{} {} {} {} #{nth}: {kind}",
                        place.who(),
                        place.service,
                        place.action,
                        place.resource.as_deref().unwrap_or("")
                    ),
                    faults: json!([rule]),
                    act: None,
                });
            }
        }
    }
    Ok(cases)
}

/// What can go wrong with a call.
fn faults(place: &Place, nth: u32) -> Vec<(String, Value)> {
    let mut faults = Vec::new();
    let mut add = |kind: &str, rule: Value| faults.push((kind.to_owned(), rule));
    if place.caller == "base" {
        add("crash", json!({"kind": "before", "times": 1}));
        add("crash for long", json!({"kind": "before", "times": 12}));
        add("time-out", json!({"kind": "after", "times": 1}));
        add("time-out for long", json!({"kind": "after", "times": 12}));
        add(
            "out of memory",
            json!({"kind": "before", "times": 1, "code": "Runtime.OutOfMemory"}),
        );
        add("twice", json!({"kind": "twice", "times": 1}));
        // Whichever invocation fails by name, the machine treats the name alike.
        for name in Name::ALL.iter().filter(|_| nth == 1) {
            add(
                "a named error",
                json!({"kind": "before", "times": 1, "code": name.as_str()}),
            );
        }
        return faults;
    }
    // An instance's S3 client is patient: ten attempts, up to 20 s apart. A function's tries three times.
    let outage = if place.caller.ends_with("/i-*") { 3 } else { 5 };
    let reads = ["Get", "List", "Describe", "Head"]
        .iter()
        .any(|verb| place.action.starts_with(verb));
    add("error", json!({"kind": "before", "times": 1}));
    add("outage", json!({"kind": "before", "times": outage}));
    add("throttled", json!({"kind": "throttle", "times": outage}));
    add("no answer", json!({"kind": "after", "times": 1}));
    add("late", json!({"kind": "delay", "seconds": 8, "times": 1}));
    add(
        "refused",
        json!({"kind": "before", "code": "AccessDenied", "status": 403}),
    );
    if !reads {
        add("no answer for long", json!({"kind": "after", "times": outage}));
        add("twice", json!({"kind": "twice", "times": 1}));
    }
    if place.service == "ec2" {
        match place.action.as_str() {
            "RunInstances" => {
                add("no capacity", json!({"kind": "capacity", "times": 1}));
                add("no spot capacity", json!({"kind": "capacity", "market": "spot"}));
                add("no capacity at all", json!({"kind": "capacity"}));
                add(
                    "over the quota",
                    json!({"kind": "capacity", "code": "VcpuLimitExceeded"}),
                );
                add("does not work", json!({"kind": "broken", "times": 1}));
                add("never works", json!({"kind": "broken"}));
            }
            "CreateVolume" | "AttachVolume" | "CreateSnapshot" => {
                add("slow", json!({"kind": "slow", "seconds": 4, "times": 1}));
                add("does not work", json!({"kind": "broken", "times": 1}));
            }
            _ if reads => add("sees nothing new", json!({"kind": "stale", "seconds": 4, "times": 4})),
            _ => {}
        }
    }
    faults
}
