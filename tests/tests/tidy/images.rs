//! Machine images fit what the templates launch from them.

use tests::template::{fields, load};

use crate::read;

/// The number that follows `before` in a file.
fn number(file: &str, before: &str) -> u64 {
    let text = read(file);
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("{file} says nothing of {before}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("{file}: no number after {before}"))
}

/// Graviton families have a `g` behind their generation: c7g, m6gd.
fn architecture(instance_type: &str) -> &'static str {
    let family = instance_type.split('.').next().unwrap_or_default();
    match family.trim_start_matches(char::is_alphabetic).contains('g') {
        true => "arm64",
        false => "x86_64",
    }
}

#[test]
fn images_have_the_processor_of_the_instance_types() {
    let template = read("packer/vibes.pkr.hcl");
    let (_, variable) = template.split_once("variable \"architecture\"").expect("the variable");
    let default = variable.split('"').nth(1).expect("its default");
    let main = load("main");
    let types: Vec<&str> = fields(&main["Parameters"])
        .filter(|(name, _)| name.ends_with("InstanceTypes"))
        .flat_map(|(_, parameter)| parameter["Default"].as_str().unwrap_or_default().split(','))
        .collect();
    assert!(types.len() > 3, "{types:?}");
    for instance_type in types {
        assert_eq!(architecture(instance_type), default, "{instance_type}");
    }
    assert_eq!(load("meta")["Parameters"]["ImageArchitecture"]["Default"], default);
    assert_eq!(architecture("m6gd.large"), "arm64");
}

#[test]
fn no_limit_of_a_plan_is_longer_than_a_machine_lives() {
    let timer = "packer/rootfs/etc/systemd/system/vibes-longest-run.timer";
    let most = load("main")["Parameters"]["MaxRunMinutes"]["MaxValue"]
        .as_u64()
        .expect("a limit");
    let kept = number("functions/src/asked.rs", "LONGEST_KEEP_MINUTES: u32 = ");
    assert!(number(timer, "OnBootSec=") * 60 > most + kept);
}
