//! The templates are easy to fill in, and the main one says everything that the functions ask for.

use std::collections::BTreeSet;

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

#[test]
fn buckets_are_kept_private_and_encrypted() {
    let template = load("main");
    let mut buckets = 0;
    for (name, is) in fields(&template["Resources"]).filter(|(_, is)| is["Type"] == "AWS::S3::Bucket") {
        buckets += 1;
        assert_eq!(
            [&is["DeletionPolicy"], &is["UpdateReplacePolicy"]],
            ["Retain", "Retain"],
            "{name}"
        );
        assert!(
            !is["Properties"]["BucketEncryption"].is_null(),
            "{name} is not encrypted"
        );
        let private = fields(&is["Properties"]["PublicAccessBlockConfiguration"]);
        assert_eq!(
            private.filter(|(_, on)| **on == Value::Bool(true)).count(),
            4,
            "{name} may become public"
        );
        let only_encrypted = fields(&template["Resources"]).any(|(_, policy)| {
            policy["Type"] == "AWS::S3::BucketPolicy"
                && policy["Properties"]["Bucket"]["Ref"] == name.as_str()
                && strings(&policy["Properties"]["PolicyDocument"]).contains(&"aws:SecureTransport")
        });
        assert!(only_encrypted, "{name} takes connections that are not encrypted");
    }
    assert!(buckets >= 2);
}

#[test]
fn instances_ask_for_tokens_and_end_when_they_shut_down() {
    let template = load("instances");
    let templates: Vec<_> = fields(&template["Resources"])
        .filter(|(_, is)| is["Type"] == "AWS::EC2::LaunchTemplate")
        .collect();
    assert_eq!(templates.len(), 3);
    for (name, is) in templates {
        let data = &is["Properties"]["LaunchTemplateData"];
        assert_eq!(data["MetadataOptions"]["HttpTokens"], "required", "{name}");
        assert_eq!(data["InstanceInitiatedShutdownBehavior"], "terminate", "{name}");
        let volumes = data["BlockDeviceMappings"].as_array().expect("volumes");
        assert!(
            volumes
                .iter()
                .all(|volume| volume["Ebs"]["Encrypted"] == Value::Bool(true)),
            "{name}"
        );
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
