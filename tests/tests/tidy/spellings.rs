//! A function has one spelling everywhere: `launch_worker`, `launch-worker`, `LaunchWorker`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::machine::{Scope, scopes};
use crate::template::{load, strings};
use crate::{names, read};

/// The loop over the functions in the main template: their names, and what is made for each.
pub(crate) fn functions_loop() -> (Vec<String>, Value) {
    let main = load("main");
    let parts = &main["Resources"]["Fn::ForEach::Functions"];
    assert_eq!(parts[0], "Function", "the name of the loop's variable");
    (
        strings(&parts[1]).into_iter().map(str::to_owned).collect(),
        parts[2].clone(),
    )
}

/// What the main template makes for each function: the resource `${Function}Function`.
pub(crate) fn function_template() -> Value {
    functions_loop().1["${Function}Function"].clone()
}

/// `launch-worker` as `LaunchWorker`.
fn capitals(name: &str) -> String {
    let words = name.split('-');
    words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

#[test]
fn every_program_is_a_module_and_nothing_else() {
    let modules = read("functions/src/lib.rs");
    for name in names("functions/src/bin", ".rs") {
        let module = name.replace('-', "_");
        assert!(
            modules.contains(&format!("pub mod {module};")),
            "functions/src/lib.rs has no module {module}"
        );
        let program = read(&format!("functions/src/bin/{name}.rs"));
        assert!(
            program.contains(&format!("{module}::handle")),
            "the program {name} does not run {module}::handle"
        );
    }
}

#[test]
fn every_program_is_deployed_under_its_name() {
    let (deployed, resources) = functions_loop();
    let mappings = &load("main")["Mappings"]["Functions"];
    let expected: BTreeSet<(String, String)> = names("functions/src/bin", ".rs")
        .into_iter()
        .map(|name| (capitals(&name), name))
        .collect();
    let named = |logical: &String| {
        (
            logical.clone(),
            mappings[logical]["Name"].as_str().unwrap_or_default().to_owned(),
        )
    };
    assert_eq!(
        deployed.iter().map(named).collect::<BTreeSet<_>>(),
        expected,
        "left: cfn/main.yaml; right: programs"
    );
    assert_eq!(
        mappings.as_object().map(|all| all.len()),
        Some(expected.len()),
        "settings of functions that are not there"
    );

    let function = &resources["${Function}Function"]["Properties"];
    assert_eq!(function["FunctionName"]["Fn::Sub"][0], "${AWS::StackName}-${Name}");
    assert_eq!(
        function["Code"]["S3Key"]["Fn::Sub"][0],
        "functions/${CodeVersion}/${Name}.zip"
    );
}

#[test]
fn every_placeholder_stands_for_its_function() {
    let main = load("main");
    let scopes = scopes();
    for machine in names("statemachines", ".asl.json") {
        let scopes = scopes
            .iter()
            .filter(|scope| scope.path.split('/').next() == Some(&machine));
        let states = scopes.flat_map(Scope::iter).filter(|state| state.kind() == "Task");
        let used: BTreeSet<String> = states.map(|state| format!("{}Arn", state.function())).collect();
        let resource = &main["Resources"][format!("{}Machine", capitals(&machine))]["Properties"];
        assert_eq!(
            resource["StateMachineName"]["Fn::Sub"],
            format!("${{AWS::StackName}}-{machine}")
        );
        let key = format!("statemachines/${{CodeVersion}}/{machine}.asl.json");
        assert_eq!(resource["DefinitionS3Location"]["Key"]["Fn::Sub"], key);
        let substitutions = resource["DefinitionSubstitutions"].as_object().expect("substitutions");
        assert_eq!(
            substitutions.keys().cloned().collect::<BTreeSet<_>>(),
            used,
            "{machine}"
        );
        for (placeholder, value) in substitutions {
            let function = placeholder.strip_suffix("Arn").unwrap_or_default();
            assert_eq!(
                value["Fn::GetAtt"],
                format!("{function}Function.Arn"),
                "{machine}: {placeholder}"
            );
        }
    }
}

#[test]
fn a_task_is_called_like_its_function() {
    for scope in &scopes() {
        for state in scope.iter().filter(|state| state.kind() == "Task") {
            assert!(
                state.name.contains(state.function()),
                "{} invokes {}",
                state.path(),
                state.function()
            );
        }
    }
}
