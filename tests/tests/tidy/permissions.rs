//! Who may do what agrees with what the docs say, with the state machines, and with the rule that nothing is touched
//! which does not carry the installation's tag.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tests::rights::{Role, Statement, roles, table, unexercised};
use tests::template::{fields, load, strings};

use crate::machine::definition;
use crate::{names, none};

/// Statements of EC2 that no tag limits; docs/permissions.md says why.
const WITHOUT_A_TAG: [&str; 5] = [
    "LookAtEc2",
    "LaunchIntoNetworks",
    "LaunchInTheirGroups",
    "FreeFromInstances",
    "ReadImageOfTemplates",
];

#[test]
fn the_docs_say_what_every_statement_is_for_and_no_other() {
    let rows = table("What each may do");
    let mut said = BTreeSet::new();
    for row in &rows {
        assert!(
            row.len() == 3 && !row[2].is_empty(),
            "role or policy, statement, what for: {row:?}"
        );
        for owner in row[0].split(", ") {
            assert!(said.insert((owner.to_owned(), row[1].clone())), "twice: {row:?}");
        }
    }
    let roles = roles();
    let there: BTreeSet<(String, String)> = roles
        .values()
        .flat_map(|role| &role.statements)
        .map(|statement| (statement.owner.clone(), statement.sid.clone()))
        .collect();
    let missing = there
        .difference(&said)
        .map(|it| format!("not in docs/permissions.md: {it:?}"));
    let gone = said
        .difference(&there)
        .map(|it| format!("not in cfn/permissions.yaml: {it:?}"));
    none(missing.chain(gone).collect());
    for (name, role) in &roles {
        let sids: BTreeSet<&str> = role.statements.iter().map(|statement| statement.sid.as_str()).collect();
        assert_eq!(
            sids.len(),
            role.statements.len(),
            "{name} has two statements of one name"
        );
    }
}

#[test]
fn the_docs_say_what_the_roles_of_other_templates_are_for() {
    let mut there = BTreeSet::new();
    for template in names("cfn", ".yaml").into_iter().filter(|name| name != "permissions") {
        let mut found = BTreeSet::new();
        named(&load(&template), &mut found);
        there.extend(found.into_iter().map(|name| (format!("{template}.yaml"), name)));
    }
    let rows = table("Roles of other templates").into_iter();
    let said: BTreeSet<(String, String)> = rows.map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(said, there, "left: docs/permissions.md; right: cfn/");
}

/// Logical ids of roles and policies, wherever they are.
fn named(value: &Value, found: &mut BTreeSet<String>) {
    for (name, is) in fields(value) {
        let kind = is["Type"].as_str().unwrap_or_default();
        if matches!(kind, "AWS::IAM::Role" | "AWS::IAM::ManagedPolicy" | "AWS::IAM::Policy") {
            found.insert(name.clone());
        }
        named(is, found);
    }
    value
        .as_array()
        .into_iter()
        .flatten()
        .for_each(|value| named(value, found));
}

#[test]
fn what_is_excused_is_there() {
    let roles = roles();
    for (role, sid, action) in unexercised() {
        let having = roles.iter().filter(|(name, _)| role == "*" || **name == role);
        let mut statements = having.flat_map(|(_, role)| &role.statements);
        let is_it =
            |statement: &Statement| statement.sid == sid && (action == "*" || statement.actions.contains(&action));
        assert!(statements.any(is_it), "{role} {sid} {action}");
    }
}

/// The functions that a role may invoke, by the last part of their names.
fn invoked(role: &Role) -> BTreeSet<String> {
    let [statement] = role.statements.as_slice() else {
        panic!("one statement: {role:?}")
    };
    assert_eq!(statement.actions, ["lambda:InvokeFunction"]);
    let name = |resource: &String| {
        resource
            .rsplit_once("function:${Stack}-")
            .expect("a function")
            .1
            .to_owned()
    };
    statement.resources.iter().map(name).collect()
}

#[test]
fn a_state_machine_may_invoke_the_functions_that_it_names_and_nothing_else() {
    let roles = roles();
    let machines = names("statemachines", ".asl.json");
    assert!(!machines.is_empty());
    for machine in machines {
        let definition = definition(&machine);
        let named: BTreeSet<String> = strings(&definition)
            .into_iter()
            .filter_map(|text| text.strip_prefix("${")?.strip_suffix("Arn}"))
            .map(kebab)
            .collect();
        let role = format!("{}{}MachineRole", machine[..1].to_uppercase(), &machine[1..]);
        let role = roles.get(&role).unwrap_or_else(|| panic!("there is no {role}"));
        assert_eq!(role.service, "states");
        assert_eq!(
            invoked(role),
            named,
            "left: cfn/permissions.yaml; right: {machine}.asl.json"
        );
    }
    assert_eq!(invoked(&roles["SchedulerRole"]), BTreeSet::from(["trigger".to_owned()]));
}

/// `LaunchWorker` is `launch-worker`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

#[test]
fn a_function_writes_its_own_log_only() {
    for (name, role) in roles().iter().filter(|(_, role)| role.service == "lambda") {
        let of_logs = |statement: &&Statement| statement.actions.iter().any(|action| action.starts_with("logs:"));
        let logs: Vec<_> = role
            .statements
            .iter()
            .filter(of_logs)
            .flat_map(|it| &it.resources)
            .collect();
        let function = kebab(name.strip_suffix("Role").expect("a role"));
        let [log] = logs.as_slice() else {
            panic!("{name} writes {logs:?}")
        };
        assert!(
            log.ends_with(&format!(":log-group:/aws/lambda/${{Stack}}-{function}:*")),
            "{name}: {log}"
        );
    }
}

#[test]
fn nothing_of_ec2_is_made_or_changed_without_our_tag() {
    let template = load("permissions");
    let mut conditions: BTreeMap<(String, String), &Value> = BTreeMap::new();
    collect(&template, &mut conditions);
    let mut seen = 0;
    for ((sid, actions), statement) in conditions {
        if !actions.contains("ec2:") || WITHOUT_A_TAG.contains(&sid.as_str()) {
            continue;
        }
        seen += 1;
        let equals = &statement["Condition"]["StringEquals"];
        let tag = ["aws:ResourceTag/vibes:stack", "aws:RequestTag/vibes:stack"].map(|key| &equals[key]["Ref"]);
        assert!(
            tag.iter().any(|tag| **tag == "Stack"),
            "{sid} ({actions}) asks for no tag"
        );
    }
    assert!(seen > 10, "{seen} statements");
}

/// Every object with a `Sid`, by that and its actions.
fn collect<'a>(value: &'a Value, found: &mut BTreeMap<(String, String), &'a Value>) {
    match value {
        Value::Object(fields) => {
            if let Some(sid) = fields.get("Sid").and_then(Value::as_str) {
                found.insert((sid.to_owned(), strings(&fields["Action"]).join(" ")), value);
            }
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}
