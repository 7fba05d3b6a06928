//! A state machine as its file says it: scopes (the machine itself, and the inside of every Map) of states.

use serde_json::{Map, Value};

use crate::{names, read};

/// The states that can follow each other.
pub(crate) struct Scope {
    /// Where it is, for complaints: `pipeline`, `pipeline/Shards`.
    pub(crate) path: String,
    /// The state that it begins with.
    pub(crate) start: String,
    /// Name and definition, in the order of the file.
    pub(crate) states: Map<String, Value>,
    /// A Map around it catches every error that a state of it does not.
    pub(crate) caught: bool,
}

/// One state of a scope.
pub(crate) struct State<'a> {
    /// The scope.
    pub(crate) scope: &'a Scope,
    /// Its name.
    pub(crate) name: &'a str,
    /// Its definition.
    pub(crate) is: &'a Value,
}

/// All scopes of all state machines.
pub(crate) fn scopes() -> Vec<Scope> {
    let machines = names("statemachines", ".asl.json");
    machines
        .iter()
        .flat_map(|name| scopes_of(name.clone(), &definition(name), false))
        .collect()
}

/// A state machine's definition.
pub(crate) fn definition(name: &str) -> Value {
    let file = format!("statemachines/{name}.asl.json");
    serde_json::from_str(&read(&file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn scopes_of(path: String, machine: &Value, caught: bool) -> Vec<Scope> {
    let states = machine["States"]
        .as_object()
        .unwrap_or_else(|| panic!("{path} has no states"))
        .clone();
    let start = machine["StartAt"].as_str().unwrap_or_default().to_owned();
    let mut scopes = vec![];
    for (name, state) in &states {
        let inside = &state["ItemProcessor"];
        if !inside.is_null() {
            scopes.extend(scopes_of(
                format!("{path}/{name}"),
                inside,
                caught || catches_all(state),
            ));
        }
    }
    scopes.insert(
        0,
        Scope {
            path,
            start,
            states,
            caught,
        },
    );
    scopes
}

impl Scope {
    /// The states of this scope.
    pub(crate) fn iter(&self) -> impl Iterator<Item = State<'_>> {
        self.states
            .iter()
            .map(move |(name, is)| State { scope: self, name, is })
    }
}

impl<'a> State<'a> {
    /// Where it is, for complaints.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.scope.path, self.name)
    }

    /// Its type.
    pub(crate) fn kind(&self) -> &str {
        self.is["Type"].as_str().unwrap_or_default()
    }

    /// The states that may come after it.
    pub(crate) fn next(&self) -> Vec<&'a str> {
        let choices = list(self.is, "Choices").iter().map(|choice| &choice["Next"]);
        let catches = list(self.is, "Catch").iter().map(|catch| &catch["Next"]);
        let own = [&self.is["Next"], &self.is["Default"]];
        choices.chain(catches).chain(own).filter_map(Value::as_str).collect()
    }

    /// For a Task, the placeholder of its function without `Arn`: `LaunchWorker`.
    pub(crate) fn function(&self) -> &str {
        let placeholder = self.is["Parameters"]["FunctionName"].as_str().unwrap_or_default();
        placeholder
            .strip_prefix("${")
            .and_then(|name| name.strip_suffix("Arn}"))
            .unwrap_or_default()
    }
}

/// The state catches every error that can be caught.
pub(crate) fn catches_all(state: &Value) -> bool {
    list(state, "Catch")
        .last()
        .is_some_and(|last| last["ErrorEquals"] == serde_json::json!(["States.ALL"]))
}

/// A list in a definition; empty if it is absent.
pub(crate) fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of[key].as_array().map_or(&[], Vec::as_slice)
}
