//! What was deployed last, so that a stack that would not change costs no time.
//!
//! An object in the code bucket remembers for each stack what it was made from and which state of the stack that was.
//! Only if both are still so is it left alone: a stack that somebody changed, deleted or left half-made in the meantime
//! has another id, time or status, and is deployed again.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cloud::Cloud;
use crate::stacks::Stack;

const KEY: &str = "deployed.json";

/// Stack name -> what it was made from, and its state after that.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory(BTreeMap<String, Made>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Made {
    from: String,
    id: String,
    at: String,
}

impl Memory {
    /// What the code bucket remembers; nothing at first.
    pub(crate) async fn read(cloud: &Cloud, bucket: &str) -> Result<Self> {
        Ok(cloud.json(bucket, KEY).await?.unwrap_or_default())
    }

    /// Writes it back.
    pub(crate) async fn write(&self, cloud: &Cloud, bucket: &str) -> Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        let put = cloud.s3.put_object().bucket(bucket).key(KEY).body(text.into());
        put.send()
            .await
            .with_context(|| format!("writing s3://{bucket}/{KEY}"))
            .map(drop)
    }

    /// The stack is what these would make of it.
    pub(crate) fn holds(&self, from: &str, stack: &Stack) -> bool {
        stack.is_settled() && self.0.get(&stack.name) == Some(&Made::of(from, stack))
    }

    /// The stack was made from these.
    pub(crate) fn made(&mut self, from: &str, stack: &Stack) {
        self.0.insert(stack.name.clone(), Made::of(from, stack));
    }

    /// The stack is gone.
    pub(crate) fn gone(&mut self, name: &str) {
        self.0.remove(name);
    }
}

impl Made {
    fn of(from: &str, stack: &Stack) -> Self {
        Self {
            from: from.to_owned(),
            id: stack.id.clone(),
            at: stack.changed.clone(),
        }
    }
}

/// Hash of a template's text and parameters.
pub(crate) fn made_from(template: &[u8], parameters: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    hash.update((template.len() as u64).to_be_bytes());
    hash.update(template);
    for (key, value) in parameters {
        hash.update(key);
        hash.update([0]);
        hash.update(value);
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(status: &str, changed: &str) -> Stack {
        Stack {
            name: "vibes".to_owned(),
            id: "1".to_owned(),
            status: status.to_owned(),
            changed: changed.to_owned(),
            ..Stack::default()
        }
    }

    #[test]
    fn a_stack_that_was_changed_since_is_deployed_again() {
        let mut memory = Memory::default();
        let made = stack("CREATE_COMPLETE", "2026-01-01");
        assert!(!memory.holds("a", &made));
        memory.made("a", &made);
        assert!(memory.holds("a", &made));
        assert!(!memory.holds("b", &made));
        assert!(!memory.holds("a", &stack("UPDATE_COMPLETE", "2026-01-02")));
        assert!(!memory.holds("a", &stack("UPDATE_ROLLBACK_COMPLETE", "2026-01-01")));
    }

    #[test]
    fn parameters_are_told_apart() {
        let from = |key: &str, value: &str| made_from(b"t", &BTreeMap::from([(key.to_owned(), value.to_owned())]));
        assert_ne!(from("a", "bc"), from("ab", "c"));
    }
}
