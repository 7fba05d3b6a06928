//! IAM policies, evaluated as AWS documents it: whether a role may do something, and which of its statements say so.
//!
//! A closed list, as everywhere in the twin: identity-based policies of version 2012-10-17 with the operators of
//! `condition.rs`; a policy with anything else is refused when it is read, so that nothing is judged by half of it.
//! Resource policies, boundaries, session and organisation policies are the base's or not there at all.

mod condition;
mod pattern;
mod roles;
mod statement;

use std::collections::BTreeMap;

use serde::Serialize;

pub use roles::Roles;
pub use statement::{Statement, statements};

/// Condition keys of a request with their values, named as in the service authorization reference.
pub type Context = BTreeMap<String, Vec<String>>;

/// One thing that a call must be allowed to do. Most calls need one, RunInstances a dozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The action as IAM spells it: `s3:ListBucket` for ListObjectsV2.
    pub action: String,
    /// The ARN that it acts upon; `*` for actions without resources.
    pub resource: String,
    /// The condition keys that this action and resource have, and the caller's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub context: Context,
}

impl Need {
    /// Without condition keys.
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Need {
        Need {
            action: action.into(),
            resource: resource.into(),
            context: Context::new(),
        }
    }

    /// With one more condition key.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Need {
        self.context.entry(key.into()).or_default().push(value.into());
        self
    }

    /// With these condition keys too.
    #[must_use]
    pub fn and(mut self, context: &Context) -> Need {
        self.context.extend(context.clone());
        self
    }

    /// The values of a condition key; keys do not care for case.
    fn values(&self, key: &str) -> Option<&[String]> {
        let found = self.context.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, values)| values.as_slice())
    }
}

/// What the policies say to a need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// These statements allow it, and none denies it.
    Allowed(Vec<String>),
    /// This statement denies it, whatever others allow.
    Denied(String),
    /// No statement says anything.
    NotAllowed,
}

/// Judges a need by all statements of a role.
pub fn judge(statements: &[Statement], need: &Need) -> Verdict {
    let matching = || statements.iter().filter(|statement| statement.matches(need));
    if let Some(denying) = matching().find(|statement| !statement.allows) {
        return Verdict::Denied(denying.id.clone());
    }
    let allowing: Vec<String> = matching().map(|statement| statement.id.clone()).collect();
    match allowing.is_empty() {
        true => Verdict::NotAllowed,
        false => Verdict::Allowed(allowing),
    }
}

#[cfg(test)]
mod tests;
