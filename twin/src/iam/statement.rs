//! Policy documents: read whole or refused, and each statement matched against a need.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value};

use super::Need;
use super::condition::Condition;
use super::pattern::Pattern;

/// One statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Its `Sid`; without one the policy's name and its position in it.
    pub id: String,
    /// `Allow`, or else `Deny`.
    pub allows: bool,
    actions: Listed,
    resources: Listed,
    conditions: Vec<Condition>,
}

/// `Action` or `NotAction`, `Resource` or `NotResource`.
#[derive(Debug, Clone)]
enum Listed {
    These(Vec<String>),
    AllBut(Vec<String>),
}

impl Listed {
    fn read(statement: &Map<String, Value>, name: &str) -> Result<Listed> {
        let but = format!("Not{name}");
        match (statement.get(name), statement.get(&but)) {
            (Some(these), None) => Ok(Listed::These(texts(these)?)),
            (None, Some(these)) => Ok(Listed::AllBut(texts(these)?)),
            _ => bail!("a statement has either {name} or {but}"),
        }
    }

    fn has(&self, matches: impl Fn(&String) -> bool) -> bool {
        match self {
            Listed::These(these) => these.iter().any(matches),
            Listed::AllBut(these) => !these.iter().any(matches),
        }
    }
}

impl Statement {
    /// Whether it speaks of this need.
    pub(super) fn matches(&self, need: &Need) -> bool {
        let action = need.action.to_lowercase();
        let is_action = |text: &String| Pattern::new(&text.to_lowercase(), need).is_some_and(|it| it.matches(&action));
        let is_resource = |text: &String| Pattern::new(text, need).is_some_and(|it| it.matches_arn(&need.resource));
        self.actions.has(is_action)
            && self.resources.has(is_resource)
            && self.conditions.iter().all(|condition| condition.holds(need))
    }

    fn read(policy: &str, position: usize, statement: &Value) -> Result<Statement> {
        let statement = statement.as_object().context("a statement is an object")?;
        const KNOWN: [&str; 7] = [
            "Sid",
            "Effect",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ];
        if let Some(unknown) = statement.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            bail!("a role's statement has no {unknown}");
        }
        let allows = match statement.get("Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => bail!("Effect is Allow or Deny"),
        };
        let mut conditions = Vec::new();
        for (operator, keys) in objects(statement.get("Condition"))? {
            for (key, values) in objects(Some(keys))? {
                conditions.push(Condition::new(operator, key, texts(values)?)?);
            }
        }
        Ok(Statement {
            id: match statement.get("Sid").and_then(Value::as_str) {
                Some(sid) => sid.to_owned(),
                None => format!("{policy}[{position}]"),
            },
            allows,
            actions: Listed::read(statement, "Action")?,
            resources: Listed::read(statement, "Resource")?,
            conditions,
        })
    }
}

/// The statements of the policy called `name`.
pub fn statements(name: &str, document: &str) -> Result<Vec<Statement>> {
    let read = || -> Result<Vec<Statement>> {
        let document: Value = serde_json::from_str(document)?;
        // An older version has no policy variables.
        ensure!(
            document["Version"] == "2012-10-17",
            "its version is {}",
            document["Version"]
        );
        let statements = match &document["Statement"] {
            Value::Array(statements) => statements.iter().collect(),
            statement => vec![statement],
        };
        let read = statements.into_iter().enumerate();
        read.map(|(position, statement)| Statement::read(name, position, statement))
            .collect()
    };
    read().with_context(|| format!("the policy {name}"))
}

fn objects(value: Option<&Value>) -> Result<impl Iterator<Item = (&String, &Value)>> {
    match value {
        None => Ok(None.into_iter().flatten()),
        Some(Value::Object(fields)) => Ok(Some(fields).into_iter().flatten()),
        Some(other) => bail!("{other} is no object"),
    }
}

/// One value or a list of them; truth values and numbers are as good as texts.
fn texts(value: &Value) -> Result<Vec<String>> {
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => Ok(vec![text(value)?]),
    }
}

fn text(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        other => bail!("{other} is no text"),
    }
}
