//! What AWS's schedules and rules do in a world, done at will.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::world::World;

impl World {
    /// Invokes a function as its trigger would, and gives what it answers; an error holds what it failed with.
    pub fn invoke(&self, function: &str, input: &Value) -> Result<Value> {
        let answer = self.dir().join("answer.json");
        let answer = answer.to_str().context("a path that is not UTF-8")?;
        let name = format!("vibes-{function}");
        let input = input.to_string();
        let told = self.aws(&[
            "lambda",
            "invoke",
            "--function-name",
            &name,
            "--payload",
            &input,
            answer,
        ])?;
        let said: Value = serde_json::from_slice(&std::fs::read(answer)?)?;
        ensure!(!told.contains("FunctionError"), "{name}: {said}");
        Ok(said)
    }

    /// The time in so many hours.
    pub fn later(&self, hours: u32) -> Result<String> {
        let mut date = self.command("date".as_ref());
        let out = date.args(["-u", "-d", &format!("{hours} hours"), "+%FT%TZ"]).output()?;
        Ok(String::from_utf8(out.stdout)?.trim().to_owned())
    }

    /// A sweep that takes it to be so many hours later.
    pub fn sweep(&self, hours: u32) -> Result<Value> {
        self.invoke("sweep", &json!({"time": self.later(hours)?}))
    }

    /// Disables a rule of the main stack.
    pub fn switch_off(&self, rule: &str) -> Result<()> {
        let query = format!("Rules[?contains(Name, '{rule}')].Name");
        let name = self.aws(&["events", "list-rules", "--query", &query, "--output", "text"])?;
        ensure!(name.split_whitespace().count() == 1, "one rule {rule}: {name:?}");
        self.aws(&["events", "disable-rule", "--name", name.trim()]).map(drop)
    }
}
