//! The templates are easy to fill in, and the main one says everything that the functions ask for.

use std::collections::BTreeSet;

use contract::profile::{ENCODERS, Encoder};
use serde_json::Value;

use crate::spellings::{function_template, functions_loop};
use crate::template::{fields, load, strings};
use crate::{names, none, read};

/// CloudFormation takes a longer template only from a bucket.
const LONGEST_TEMPLATE: usize = 51_200;

#[test]
fn every_parameter_has_a_label_a_group_and_a_description() {
    let mut complaints = vec![];
    for name in names("cfn", ".yaml") {
        let template = load(&name);
        let interface = &template["Metadata"]["AWS::CloudFormation::Interface"];
        let grouped: Vec<&str> = interface["ParameterGroups"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|group| strings(&group["Parameters"]))
            .collect();
        let labels = &interface["ParameterLabels"];
        for (parameter, is) in fields(&template["Parameters"]) {
            let times = grouped.iter().filter(|grouped| *grouped == parameter).count();
            if times != 1 || !labels[parameter]["default"].is_string() || !is["Description"].is_string() {
                complaints.push(format!(
                    "{name}: {parameter} lacks a label, a description, or one place in the groups"
                ));
            }
        }
        let unknown = grouped
            .iter()
            .copied()
            .chain(fields(labels).map(|(key, _)| key.as_str()));
        let unknown = unknown.filter(|parameter| template["Parameters"][parameter].is_null());
        complaints.extend(unknown.map(|parameter| format!("{name}: {parameter} is shown, but is no parameter")));
    }
    none(complaints);
}

#[test]
fn every_template_fits_into_a_call() {
    for name in names("cfn", ".yaml") {
        let size = read(&format!("cfn/{name}.yaml")).len();
        assert!(size <= LONGEST_TEMPLATE, "{name} has {size} bytes");
    }
}

#[test]
fn every_output_says_what_it_is() {
    for name in names("cfn", ".yaml") {
        for (output, is) in fields(&load(&name)["Outputs"]) {
            assert!(is["Description"].is_string(), "{name}: {output}");
        }
    }
}

#[test]
fn whoever_may_pull_must_be_named() {
    assert!(load("main")["Parameters"]["AllowedCidr"]["Default"].is_null());
}

// What a resource must have by itself is said by cfn/rules; here is what it must have beside it.

#[test]
fn every_bucket_has_a_policy() {
    let mut complaints = vec![];
    for template in names("cfn", ".yaml") {
        let resources = &load(&template)["Resources"];
        let of_type = |kind: &'static str| fields(resources).filter(move |(_, is)| is["Type"] == kind);
        let policies: BTreeSet<&str> = of_type("AWS::S3::BucketPolicy")
            .filter_map(|(_, is)| is["Properties"]["Bucket"]["Ref"].as_str())
            .collect();
        let open = of_type("AWS::S3::Bucket").filter(|(name, _)| !policies.contains(name.as_str()));
        complaints.extend(open.map(|(name, _)| format!("{template}: {name} has none, which would demand TLS")));
    }
    none(complaints);
}

#[test]
fn the_networks_endpoint_lets_through_what_instances_do() {
    let statements = |template: &str, resource: &str| {
        let resource = load(template)["Resources"][resource].clone();
        let actions: BTreeSet<String> = strings(&resource)
            .into_iter()
            .filter(|text| text.starts_with("s3:"))
            .map(str::to_owned)
            .collect();
        assert!(!actions.is_empty(), "{resource}");
        actions
    };
    let through = statements("vpc", "S3Endpoint");
    let done: BTreeSet<String> = ["WorkerInstanceRole", "ServerInstanceRole"]
        .into_iter()
        .flat_map(|role| statements("permissions", role))
        .collect();
    assert_eq!(through, done, "left: cfn/vpc.yaml; right: cfn/permissions.yaml");
}

#[test]
fn a_profile_offers_the_encoders_that_there_are() {
    let template = load("profile");
    let allowed = |parameter: &str| -> BTreeSet<String> {
        let values = strings(&template["Parameters"][parameter]["AllowedValues"]).into_iter();
        values.filter(|value| !value.is_empty()).map(str::to_owned).collect()
    };
    let encoders = ENCODERS.iter().map(|encoder| encoder.name.to_owned()).collect();
    assert_eq!(allowed("Encoder"), encoders);
    let formats = |encoder: &Encoder| encoder.formats.iter().map(|format| format.name.to_owned());
    assert_eq!(allowed("Format"), ENCODERS.iter().flat_map(formats).collect());
    for encoder in ENCODERS {
        let mut rules = fields(&template["Rules"])
            .filter(|(_, rule)| rule["RuleCondition"]["Fn::Equals"][1] == encoder.name)
            .map(|(_, rule)| strings(&rule["Assertions"][0]["Assert"]["Fn::Contains"][0]));
        let offered = rules.next().expect("a rule for each encoder");
        assert_eq!(offered[1..], formats(encoder).collect::<Vec<_>>(), "{}", encoder.name);
    }
}

#[test]
fn functions_get_the_settings_that_they_read() {
    let source = read("functions/src/settings.rs");
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    // `VIBES_X`, or `VIBES_X_{role}` for one variable a role.
    let read: BTreeSet<String> = source
        .split('"')
        .filter(|literal| literal.starts_with("VIBES_") && !literal.contains(' '))
        .flat_map(|literal| match literal.strip_suffix("{role}") {
            Some(stem) => ["WORKER", "VOLMGR", "SERVER"]
                .map(|role| format!("{stem}{role}"))
                .to_vec(),
            None => vec![literal.to_owned()],
        })
        .collect();
    let set: BTreeSet<String> = fields(&function_template()["Properties"]["Environment"]["Variables"])
        .map(|(name, _)| name.clone())
        .collect();
    assert_eq!(
        set, read,
        "left: set by cfn/main.yaml; right: read by functions/src/settings.rs"
    );
}

/// Logical ids that a resource names, in whatever way.
fn needs(resources: &Value, of: &Value) -> BTreeSet<String> {
    let named = strings(of)
        .into_iter()
        .flat_map(|text| text.split(['.', '$', '{', '}']));
    named
        .filter(|name| !resources[name].is_null())
        .map(str::to_owned)
        .collect()
}

/// A resource and everything that it needs, directly or not.
fn all_needs(resources: &Value, of: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![of.to_owned()];
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(needs(resources, &resources[name]));
        }
    }
    found
}

#[test]
fn deleting_the_stack_ends_first_what_starts_work_then_all_work_then_the_rest() {
    let mut resources = load("main")["Resources"].clone();
    let (names, made) = functions_loop();
    let functions = resources.as_object_mut().expect("resources");
    functions.remove("Fn::ForEach::Functions");
    for function in names {
        for (name, is) in fields(&made) {
            let text = is.to_string().replace("${Function}", &function);
            let is = serde_json::from_str(&text).expect("JSON");
            functions.insert(name.replace("${Function}", &function), is);
        }
    }
    let before = all_needs(&resources, "Teardown");
    let mut complaints = vec![];
    for (name, is) in fields(&resources) {
        let after = all_needs(&resources, name).contains("Teardown");
        let starts = [
            "AWS::Events::Rule",
            "AWS::Scheduler::Schedule",
            "AWS::Lambda::EventSourceMapping",
        ]
        .contains(&is["Type"].as_str().unwrap_or_default());
        if starts && !after {
            complaints.push(format!(
                "{name} may start something while Teardown ends it: let it depend on Teardown"
            ));
        } else if !after && !before.contains(name) {
            complaints.push(format!(
                "{name} may go before Teardown has ended what needs it: let Teardown depend on it"
            ));
        }
    }
    none(complaints);
}
