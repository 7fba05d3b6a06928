//! What the docs say is there, and what is there is in the docs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use contract::fault::Name;
use contract::input::Input;
use contract::serve::Wish;
use tests::project::path;

use crate::template::{fields, load};
use crate::{names, none, read};

#[test]
fn the_table_of_errors_has_every_name_and_no_other() {
    let table = read("docs/errors.md");
    let rows = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: Vec<&str> = rows.filter(|name| !name.contains('.')).collect();
    let ours: Vec<&str> = Name::ALL.iter().map(|name| name.as_str()).collect();
    assert_eq!(rows, ours, "left: docs/errors.md; right: contract::fault::Name");
}

/// What stands in backticks at the beginning of the rows of the table below this heading.
fn rows_below<'a>(page: &'a str, heading: &str) -> Vec<&'a str> {
    let (_, below) = page.split_once(&format!("## {heading}\n")).expect(heading);
    let table = below.split("\n## ").next().unwrap_or_default().lines();
    table
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect()
}

#[test]
fn the_runbook_has_every_error_and_every_alarm() {
    let page = read("docs/runbook.md");
    let names: Vec<&str> = Name::ALL.iter().map(|name| name.as_str()).collect();
    assert_eq!(
        rows_below(&page, "By name"),
        names,
        "left: docs/runbook.md; right: contract::fault::Name"
    );
    let watch = load("watch");
    let alarms = fields(&watch["Resources"]).filter(|(_, is)| is["Type"] == "AWS::CloudWatch::Alarm");
    let alarms = alarms.map(|(_, is)| is["Properties"]["AlarmName"].to_string());
    let alarms: BTreeSet<String> = alarms.collect();
    let rows = rows_below(&page, "By alarm");
    let unknown: Vec<&&str> = rows
        .iter()
        .filter(|row| !alarms.iter().any(|name| name.contains(&format!("${{Stack}}-{row}\""))))
        .collect();
    assert!(
        unknown.is_empty() && rows.len() == alarms.len(),
        "left: {rows:?}; right: {alarms:?}"
    );
}

#[test]
fn the_tables_of_tags_and_of_objects_have_each_and_no_other() {
    let page = read("docs/design.md");
    let table =
        |heading: &str| -> BTreeSet<String> { rows_below(&page, heading).into_iter().map(str::to_owned).collect() };
    let literals = |file: &str| -> BTreeSet<String> {
        let code = read(file);
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let texts = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
        texts.map(str::to_owned).collect()
    };
    let mut tags = literals("contract/src/tags.rs");
    tags.retain(|text| text.starts_with("vibes:"));
    assert_eq!(table("Tags"), tags, "left: docs/design.md; right: contract::tags");
    let mut objects = literals("contract/src/objects.rs");
    // What ends in a slash is a folder.
    objects.retain(|key| !key.ends_with('/'));
    assert_eq!(
        table("Objects in the state bucket"),
        objects,
        "left: docs/design.md; right: contract::objects"
    );
}

#[test]
fn every_make_command_of_the_docs_exists() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(target, _)| target)
        .filter(|target| target.chars().all(|char| char.is_ascii_lowercase() || char == '-'))
        .collect();
    let docs = names("docs", ".md").into_iter().map(|name| format!("docs/{name}.md"));
    let mut complaints = vec![];
    for file in docs.chain(["README.md".to_owned(), "CHANGELOG.md".to_owned()]) {
        let text = read(&file);
        let unknown = commands(&text)
            .into_iter()
            .filter(|target| !targets.contains(target.as_str()));
        complaints.extend(unknown.map(|target| format!("{file}: make {target}")));
    }
    none(complaints);
}

#[test]
fn every_test_that_the_docs_name_exists() {
    let tests = test_names(&path(""));
    let mut complaints = vec![];
    let mut named = 0;
    for (file, text) in pages() {
        let spans = spans(&text);
        // No other name of ours is that long.
        let names = spans.iter().filter(|span| {
            let plain = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
            span.chars().all(plain) && span.split('_').filter(|word| !word.is_empty()).count() > 3
        });
        for name in names {
            named += 1;
            if !tests.contains(*name) {
                complaints.push(format!("{file}: there is no test {name}"));
            }
        }
    }
    none(complaints);
    assert!(named > 10, "the docs name the tests that hold them");
}

/// Names of all functions in the Rust files below a folder.
fn test_names(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("an entry of it").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            found.extend(test_names(&path));
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("a text");
            let names = text.lines().filter_map(|line| {
                let (_, name) = line.trim().split_once("fn ")?;
                Some(name.split(['(', '<']).next()?.to_owned())
            });
            found.extend(names);
        }
    }
    found
}

#[test]
fn every_documented_input_is_understood() {
    let mut understood = 0;
    let mut complaints = vec![];
    for (file, text) in pages() {
        for input in spans(&text).iter().filter(|span| span.starts_with("{\"")) {
            let build = serde_json::from_str::<Input>(input).map(drop);
            let wish = serde_json::from_str::<Wish>(input).map(drop);
            match build.or_else(|error| wish.map_err(|_| error)) {
                Err(error) => complaints.push(format!("{file}: {input}: {error}")),
                Ok(()) => understood += 1,
            }
        }
    }
    none(complaints);
    assert!(understood > 10, "the docs have inputs for the console");
}

/// The README and the pages of `docs/`, with their names.
fn pages() -> Vec<(String, String)> {
    let docs = names("docs", ".md").into_iter().map(|name| format!("docs/{name}.md"));
    let files = docs.chain(["README.md".to_owned()]);
    files.map(|file| (file.clone(), read(&file))).collect()
}

/// What stands in backticks.
fn spans(text: &str) -> Vec<&str> {
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect()
}

/// The targets of all commands `make ...` in a text's code: in backticks, or at the beginning of a line of a block.
fn commands(text: &str) -> Vec<String> {
    let mut found = vec![];
    let mut block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            block = !block;
        }
        let spans: Vec<&str> = match block {
            true => line.trim_start().trim_start_matches("$ ").split("$(").collect(),
            false => line.split('`').skip(1).step_by(2).collect(),
        };
        let arguments = spans.into_iter().filter_map(|span| span.strip_prefix("make "));
        let target = |arguments: &str| {
            let mut words = arguments.split(|char: char| char.is_whitespace() || char == ')');
            words
                .find(|word| !word.is_empty() && !word.starts_with('-') && !word.contains('='))
                .map(str::to_owned)
        };
        found.extend(arguments.filter_map(target));
    }
    found
}

#[test]
fn commands_are_found_in_code_only() {
    let text =
        "make sure that `make run` is\n```\n$ make -s env\nmake sample OUT=x\nmake X=1 test\n```\nand `make check`";
    assert_eq!(commands(text), ["run", "env", "sample", "test", "check"]);
}

#[test]
fn the_changes_name_this_version() {
    let workspace = read("Cargo.toml");
    let line = workspace.lines().find_map(|line| line.strip_prefix("version = "));
    let version = line.expect("the workspace has a version").trim_matches('"');
    let changes = read("CHANGELOG.md");
    let heading = format!("## {version}");
    assert!(
        changes
            .lines()
            .any(|line| line.split(',').next() == Some(heading.as_str())),
        "CHANGELOG.md has no heading `{heading}`"
    );
}
