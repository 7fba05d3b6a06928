//! Who may do what, as `cfn/permissions.yaml` says it: every role with its statements, its own and those of shared
//! policies; and what `docs/permissions.md` says of each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::project::read;
use crate::template::{fields, load};

/// A statement that a role has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statement {
    /// The role, or the policy that several roles have.
    pub owner: String,
    /// What it is called.
    pub sid: String,
    /// What it allows.
    pub actions: Vec<String>,
    /// To what: the texts inside `!Sub`, names inside `!GetAtt` and `!Ref`.
    pub resources: Vec<String>,
}

/// A role.
#[derive(Debug, Clone)]
pub struct Role {
    /// Who may have it: `lambda`, `ec2`, `states` ...
    pub service: String,
    /// What it may do.
    pub statements: Vec<Statement>,
}

/// The roles by their logical ids, which end in `Role`.
pub fn roles() -> BTreeMap<String, Role> {
    let template = load("permissions");
    let of_type = |wanted: &'static str| {
        let resources = fields(&template["Resources"]);
        resources.filter(move |(_, is)| is["Type"] == wanted)
    };
    let mut roles = BTreeMap::new();
    for (name, is) in of_type("AWS::IAM::Role") {
        let trusted = &is["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"];
        let service = trusted
            .as_str()
            .unwrap_or_default()
            .split('.')
            .next()
            .unwrap_or_default();
        let policies = is["Properties"]["Policies"].as_array().into_iter().flatten();
        let role = Role {
            service: service.to_owned(),
            statements: policies
                .flat_map(|policy| statements(name, &policy["PolicyDocument"]))
                .collect(),
        };
        roles.insert(name.clone(), role);
    }
    for (name, is) in of_type("AWS::IAM::ManagedPolicy") {
        for role in is["Properties"]["Roles"].as_array().into_iter().flatten() {
            let role = role["Ref"].as_str().unwrap_or_default();
            let role = roles
                .get_mut(role)
                .unwrap_or_else(|| panic!("{name} names no role: {role}"));
            role.statements
                .extend(statements(name, &is["Properties"]["PolicyDocument"]));
        }
    }
    roles
}

fn statements(owner: &str, document: &Value) -> Vec<Statement> {
    let statements = document["Statement"].as_array().into_iter().flatten();
    let read = |statement: &Value| Statement {
        owner: owner.to_owned(),
        sid: statement["Sid"].as_str().unwrap_or_default().to_owned(),
        actions: texts(&statement["Action"]),
        resources: texts(&statement["Resource"]),
    };
    statements.map(read).collect()
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(function) => function.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The rows of the table below a heading of `docs/permissions.md`, cell by cell, without backticks.
pub fn table(heading: &str) -> Vec<Vec<String>> {
    let text = read("docs/permissions.md");
    let section = text
        .split("\n## ")
        .find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("docs/permissions.md has no heading {heading}"));
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| {
        row.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().replace('`', ""))
            .collect()
    };
    rows.map(cells).collect()
}

/// What `docs/permissions.md` says that no test calls for: role, statement, action. `*` stands for every one.
pub fn unexercised() -> BTreeSet<(String, String, String)> {
    let rows = table("What no test calls for").into_iter();
    let excused = rows.flat_map(|row| match row.as_slice() {
        [roles, sid, action, reason] if !reason.is_empty() => {
            let roles = roles.split(", ").map(str::to_owned).collect::<Vec<_>>();
            let (sid, action) = (sid.clone(), action.clone());
            roles.into_iter().map(move |role| (role, sid.clone(), action.clone()))
        }
        other => panic!("role, statement, action, reason: {other:?}"),
    });
    excused.collect()
}
