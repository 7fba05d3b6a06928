//! Faults: calls and invocations of functions that are made to fail, to be slow, to lie or to happen twice, on demand.

use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::Call;

/// One rule. Patterns may hold `*`; an absent pattern matches everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Pattern of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Pattern of the action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Pattern of the caller, such as `*/vibes-launch-worker`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Pattern that one of the named resources matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The first matching call that is hit, from 1 (the default).
    #[serde(default = "first")]
    pub nth: u32,
    /// How many matching calls are hit from then on; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What happens.
    pub kind: Kind,
    /// `delay`, `stale`, `slow`: seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Error code instead of the kind's usual one; with `after`, an error answer instead of a cut connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// HTTP status that goes with `code`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `capacity`: pattern of the instance type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// `capacity`: pattern of the zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// `capacity`: `spot` or `on-demand`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub market: Option<String>,
    /// Matching calls so far.
    #[serde(default, skip_deserializing)]
    pub seen: u32,
    /// Calls hit so far.
    #[serde(default, skip_deserializing)]
    pub hit: u32,
}

fn first() -> u32 {
    1
}

/// What a fault does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// An error without effect.
    #[default]
    Before,
    /// The effect, and then no answer: the connection is cut.
    After,
    /// The service's throttling error.
    Throttle,
    /// Waits, then goes on.
    Delay,
    /// The effect twice; the second answer is the answer.
    Twice,
    /// RunInstances finds no capacity for the type, zone and market.
    Capacity,
    /// A description of EC2 without what was made in the last seconds: eventual consistency.
    Stale,
    /// A volume, an attachment or a snapshot takes the seconds to get ready.
    Slow,
    /// The call is answered, and what it makes does not work: a volume or a snapshot ends in error, an attachment stays
    /// `attaching`, an instance fails to boot.
    Broken,
}

impl Kind {
    /// The kind as the control API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Before => "before",
            Kind::After => "after",
            Kind::Throttle => "throttle",
            Kind::Delay => "delay",
            Kind::Twice => "twice",
            Kind::Capacity => "capacity",
            Kind::Stale => "stale",
            Kind::Slow => "slow",
            Kind::Broken => "broken",
        }
    }
}

/// What RunInstances is about to take from the market.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Instance type.
    pub instance_type: &'a str,
    /// Availability zone.
    pub zone: &'a str,
    /// `spot` or `on-demand`.
    pub market: &'a str,
}

/// How EC2 is spoiled in answering one call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spoilt {
    /// A description shows nothing that is younger.
    pub stale: Option<Duration>,
    /// What the call makes gets ready so much later.
    pub slow: Duration,
    /// What the call makes does not work.
    pub broken: bool,
}

impl Spoilt {
    /// What these faults mean to EC2.
    pub fn by(faults: &[Fault]) -> Spoilt {
        let hit = |kind: Kind| faults.iter().find(|fault| fault.kind == kind);
        Spoilt {
            stale: hit(Kind::Stale).map(Fault::duration),
            slow: hit(Kind::Slow).map(Fault::duration).unwrap_or_default(),
            broken: hit(Kind::Broken).is_some(),
        }
    }
}

/// The rules in force.
#[derive(Default)]
pub struct Faults {
    rules: Mutex<Vec<Fault>>,
}

impl Faults {
    /// Adds rules.
    pub fn add(&self, faults: Vec<Fault>) {
        self.rules.lock().expect("no panic inside").extend(faults);
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.rules.lock().expect("no panic inside").clear();
    }

    /// The rules with their counts.
    pub fn list(&self) -> Vec<Fault> {
        self.rules.lock().expect("no panic inside").clone()
    }

    /// The faults that hit this call; counts it.
    pub fn take(&self, call: &Call, caller: &str) -> Vec<Fault> {
        self.hit(|fault| fault.kind != Kind::Capacity && fault.matches(call, caller))
    }

    /// The capacity fault that hits this wish; counts it.
    pub fn take_capacity(&self, call: &Call, caller: &str, wish: Wish) -> Option<Fault> {
        let hit = self.hit(|fault| {
            fault.kind == Kind::Capacity
                && fault.matches(call, caller)
                && fits(&fault.instance_type, wish.instance_type)
                && fits(&fault.zone, wish.zone)
                && fits(&fault.market, wish.market)
        });
        hit.into_iter().next()
    }

    fn hit(&self, matches: impl Fn(&Fault) -> bool) -> Vec<Fault> {
        let mut rules = self.rules.lock().expect("no panic inside");
        let mut hit = Vec::new();
        for fault in rules.iter_mut().filter(|fault| matches(fault)) {
            fault.seen += 1;
            if fault.seen >= fault.nth && fault.times.is_none_or(|times| fault.hit < times) {
                fault.hit += 1;
                hit.push(fault.clone());
            }
        }
        hit
    }
}

impl Fault {
    /// The seconds, an hour at most; one second if none are given.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.unwrap_or(1.0).clamp(0.0, 3600.0))
    }

    fn matches(&self, call: &Call, caller: &str) -> bool {
        fits(&self.service, &call.service)
            && fits(&self.action, &call.action)
            && fits(&self.caller, caller)
            && (self.resource.is_none() || call.resources.iter().any(|resource| fits(&self.resource, resource)))
    }
}

fn fits(pattern: &Option<String>, text: &str) -> bool {
    pattern.as_deref().is_none_or(|pattern| glob(pattern, text))
}

/// Whether `text` matches `pattern`, in which `*` stands for any characters and `?` for one, as in EC2's filters.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // matched[j]: the pattern read so far matches the first j characters.
    let mut matched = vec![false; text.len() + 1];
    matched[0] = true;
    for symbol in pattern {
        let mut next = vec![false; text.len() + 1];
        next[0] = symbol == '*' && matched[0];
        for at in 1..=text.len() {
            next[at] = match symbol {
                '*' => matched[at] || next[at - 1],
                '?' => matched[at - 1],
                symbol => matched[at - 1] && text[at - 1] == symbol,
            };
        }
        matched = next;
    }
    matched[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Protocol;

    fn call(action: &str) -> Call {
        Call {
            service: "ec2".into(),
            action: action.into(),
            access_key: String::new(),
            protocol: Protocol::Ec2,
            parameters: Default::default(),
            resources: vec!["vol-1".into()],
            needs: None,
        }
    }

    #[test]
    fn a_fault_hits_from_the_nth_call_as_often_as_it_says() {
        let faults = Faults::default();
        let rule = r#"[{"action": "Create*", "nth": 2, "times": 2, "kind": "before", "resource": "vol-?"}]"#;
        faults.add(serde_json::from_str(rule).unwrap());
        let hits: Vec<_> = (0..5)
            .map(|_| faults.take(&call("CreateVolume"), "root").len())
            .collect();
        assert_eq!(hits, [0, 1, 1, 0, 0]);
        assert!(faults.take(&call("DeleteVolume"), "root").is_empty());
    }

    #[test]
    fn capacity_is_by_type_zone_and_market() {
        let faults = Faults::default();
        let rule = r#"[{"kind": "capacity", "instanceType": "c7*", "zone": "us-east-1a", "market": "spot"}]"#;
        faults.add(serde_json::from_str(rule).unwrap());
        let take = |instance_type, zone, market| {
            faults
                .take_capacity(
                    &call("RunInstances"),
                    "root",
                    Wish {
                        instance_type,
                        zone,
                        market,
                    },
                )
                .is_some()
        };
        assert!(take("c7g.large", "us-east-1a", "spot"));
        assert!(!take("c7g.large", "us-east-1a", "on-demand"));
        assert!(!take("m7g.large", "us-east-1a", "spot"));
        assert!(faults.take(&call("RunInstances"), "root").is_empty());
    }

    #[test]
    fn stars_and_question_marks_are_wild() {
        assert!(glob("*", "") && glob("a*c", "abbc") && glob("?b", "ab") && glob("*/x", "role/x"));
        assert!(!glob("a*c", "ab") && !glob("?", "") && !glob("", "a"));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        assert!(serde_json::from_str::<Fault>(r#"{"kind": "before", "tiems": 1}"#).is_err());
    }
}
