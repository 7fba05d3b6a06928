//! What holds for any name and any sidecar, tried with many: names on their way through tup, portable names, rules.
//!
//! `PROPTEST_CASES` says with how many; `make fuzz` tries until its time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::command::Job;
use crate::names::{self, Apart, Naming, decode, encode};
use crate::resolve::Folder;
use crate::rules::{LONGEST_COMMAND, NAME_PREFIX, PROGRAM, Settings, of_folder};
use crate::source;

#[path = "../tests/support/hostile_names.rs"]
mod hostile_names;

use hostile_names::PARTS;

/// So many cases if the environment does not say another number. Nothing is written beside the sources; a finding is
/// printed in full.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Any name that a file system can hold.
fn name() -> impl Strategy<Value = OsString> {
    hostile_names::name(255)
}

fn folder() -> impl Strategy<Value = PathBuf> {
    vec(name(), 0..4).prop_map(|names| names.into_iter().collect())
}

/// Names in one folder, many of which others take for the same.
fn siblings() -> impl Strategy<Value = BTreeSet<OsString>> {
    let twin = |(name, way): (OsString, u8)| {
        let text = name.to_string_lossy().into_owned();
        let twin = match way {
            0 => text.to_uppercase(),
            1 => text.to_lowercase(),
            2 => text.nfd().collect(),
            3 => text.nfc().collect(),
            4 => portable(&BTreeSet::from([name.clone()]), None).remove(&name).unwrap(),
            5 => {
                let rival = OsString::from(text.to_uppercase());
                let pair = portable(&BTreeSet::from([name.clone(), rival]), None);
                pair.into_values().next_back().unwrap()
            }
            _ => text,
        };
        let fits = (1..=255).contains(&twin.len()) && twin != "." && twin != "..";
        std::iter::once(name).chain(fits.then(|| twin.into()))
    };
    vec((name(), 0..12_u8), 1..6).prop_map(move |names| names.into_iter().flat_map(twin).collect())
}

/// The portable names of siblings: folders, or files with this extension.
fn portable(siblings: &BTreeSet<OsString>, extension: Option<&str>) -> BTreeMap<OsString, String> {
    let audio = siblings.iter().map(|name| match extension {
        None => Path::new(name).join("1.wav"),
        Some(_) => {
            let mut name = name.clone();
            name.push(".wav");
            name.into()
        }
    });
    let apart = Apart::of(&audio.collect::<Vec<_>>());
    let lines = apart.to_lines();
    assert!(lines.chars().all(|c| c == '\n' || is_plain(c)), "{lines}");
    assert_eq!(Apart::from_lines(&lines).unwrap(), apart);
    let naming = Naming::Portable(apart);
    let named = siblings.iter().map(|name| {
        let path = match extension {
            None => naming.folder(Path::new(name)),
            Some(extension) => naming.output(Path::new(""), name, extension),
        };
        (name.clone(), path.into_os_string().into_string().unwrap())
    });
    named.collect()
}

/// As a player or another system compares names, in several ways.
fn as_others_compare(name: &str) -> [String; 3] {
    [
        name.nfc().collect::<String>().to_lowercase(),
        name.nfd().collect::<String>().to_uppercase(),
        // exFAT: each unit for itself.
        name.chars()
            .map(|c| {
                let mut upper = c.to_uppercase();
                upper.next().filter(|_| upper.next().is_none()).unwrap_or(c)
            })
            .collect(),
    ]
}

/// FAT and exFAT accept the name.
fn fits_fat(name: &str) -> bool {
    let device = |word: &str| {
        let stem = name.split('.').next().unwrap().trim_end_matches(' ');
        stem.eq_ignore_ascii_case(word)
    };
    let numbered = |word| (0..=9).any(|number| device(&format!("{word}{number}")));
    !name.is_empty()
        && name != "."
        && name != ".."
        && !name
            .chars()
            .any(|c| c.is_control() || "\"*/:<>?\\|\u{ffff}".contains(c))
        && !name.starts_with(' ')
        && !name.ends_with(['.', ' '])
        && !["CON", "PRN", "AUX", "NUL"].iter().any(|word| device(word))
        && !numbered("COM")
        && !numbered("LPT")
        && is_nfc(name)
        && name.encode_utf16().count() <= 255
        && name.len() <= 255
}

/// The character means nothing to tup or a shell.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "=_/+,@.-".contains(character)
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn a_name_survives_its_way_through_tup(path in folder(), name in name()) {
        let path = path.join(name);
        let encoded = encode(&path);
        prop_assert!(encoded.chars().all(is_plain), "{encoded}");
        prop_assert!(!encoded.starts_with(['.', '-']));
        prop_assert_eq!(decode(&encoded).unwrap(), path);
    }

    #[test]
    fn what_is_decoded_was_encoded_or_is_an_error(text in "[=A-Fa-f0-9/.]{0,12}") {
        if let Ok(name) = decode(&text) {
            prop_assert_eq!(decode(&encode(&name)).unwrap(), name);
        }
    }

    #[test]
    fn stamps_are_names_and_differ(names in btree_set(name(), 1..6)) {
        let stamps: BTreeSet<String> = names.iter().map(|name| names::stamp(name)).collect();
        prop_assert_eq!(stamps.len(), names.len());
        for stamp in stamps {
            prop_assert!(stamp.len() <= 255 && stamp.chars().all(is_plain) && !stamp.contains('/'), "{stamp}");
            prop_assert!(names::special(OsStr::new(&stamp)).is_some());
        }
    }

    #[test]
    fn outputs_stay_below_their_profile(folder in folder(), base in name(), portable in any::<bool>()) {
        let naming = if portable { Naming::Portable(Apart::default()) } else { Naming::Exact };
        let output = naming.output(&folder, &base, "opus");
        prop_assert!(output.components().all(|part| matches!(part, Component::Normal(_))), "{output:?}");
        prop_assert_eq!(output.components().count(), folder.components().count() + 1);
        if !portable {
            prop_assert_eq!(output.parent(), Some(folder.as_path()));
            let name = output.file_name().unwrap().as_bytes();
            prop_assert_eq!(name.strip_suffix(b".opus"), Some(base.as_bytes()));
        }
    }

    #[test]
    fn portable_names_fit_and_differ(siblings in siblings(), file in any::<bool>()) {
        let named = portable(&siblings, file.then_some("opus"));
        for name in named.values() {
            prop_assert!(fits_fat(name), "{name:?}");
        }
        for way in 0..3 {
            let compared: BTreeSet<_> = named.values().map(|name| as_others_compare(name)[way].clone()).collect();
            prop_assert_eq!(compared.len(), named.len(), "{:?}", named);
        }
    }

    #[test]
    fn what_is_portable_stays(siblings in siblings()) {
        let once: BTreeSet<OsString> = portable(&siblings, None).into_values().map(OsString::from).collect();
        for (given, name) in portable(&once, None) {
            prop_assert_eq!(given, OsString::from(name));
        }
    }

    #[test]
    fn an_unrelated_name_renames_nothing(siblings in siblings(), other in name()) {
        let before = portable(&siblings, Some("mp3"));
        let alone = portable(&BTreeSet::from([other.clone()]), Some("mp3"));
        let compare = |name: &String| Naming::Portable(Apart::default()).compared(Path::new(name));
        let natural = siblings.iter().flat_map(|name| portable(&BTreeSet::from([name.clone()]), Some("mp3")).into_values());
        let taken: BTreeSet<_> = natural.chain(before.values().cloned()).map(|name| compare(&name)).collect();
        prop_assume!(!taken.contains(&compare(&alone[&other])));
        let mut after = portable(&siblings.iter().cloned().chain([other.clone()]).collect(), Some("mp3"));
        after.remove(&other);
        prop_assert_eq!(before, after);
    }

}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn accepted_keys_become_files_side_by_side(
        keys in btree_set(vec(prop_oneof![9 => name().prop_map(|name| name.to_string_lossy().into_owned()),
            1 => select(&["", ".", "..", "\0", "a", "b"][..]).prop_map(str::to_owned)], 1..4), 1..8)
    ) {
        let keys: BTreeSet<String> = keys.into_iter().map(|names| names.join("/")).filter(|key| key.len() <= 1024).collect();
        let refused: BTreeMap<_, _> = names::refusals(keys.iter().map(String::as_str)).into_iter().collect();
        prop_assert!(refused.values().all(|reason| reason.contains("; rename")), "{refused:?}");
        let root = tempfile::tempdir().unwrap();
        let accepted: Vec<_> = keys.iter().filter(|key| !refused.contains_key(key.as_str())).collect();
        for key in &accepted {
            let path = root.path().join(key);
            prop_assert!(path.starts_with(root.path()));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, key).unwrap();
        }
        for key in accepted {
            prop_assert_eq!(&fs::read_to_string(root.path().join(key)).unwrap(), key);
        }
    }

    #[test]
    fn no_sidecar_and_no_name_breaks_a_rule(
        folder in folder(),
        tracks in vec((name(), select(&["wav", "flac", "WAVE", "aif", "oga", "txt", "tags.vc"][..])), 1..6),
        folders in btree_set(name(), 0..3),
        above in sidecar(),
        own in sidecar(),
        options in options(),
        flags in vec(".{0,12}", 0..3),
        portable in any::<bool>(),
    ) {
        let root = tempfile::tempdir().unwrap();
        // What is longer than a path may be is not there for any program.
        let there = root.path().join(&folder);
        let there = fs::create_dir_all(&there).is_ok().then_some(there);
        let mut names = BTreeSet::new();
        for (mut name, extension) in tracks {
            name.push(".");
            name.push(extension);
            names.insert(name);
        }
        if let Some(there) = there {
            fs::write(root.path().join("tags.vc"), above).unwrap();
            fs::write(there.join("vibes.txt"), options).unwrap();
            for name in names.iter().filter(|name| name.as_bytes().ends_with(b".tags.vc")) {
                // A name may be too long for a file.
                let _ = fs::write(there.join(name), &own);
            }
        }
        let settings = Settings {
            encoder: "flac".to_owned(),
            version: "flac 1.4.2".to_owned(),
            program: None,
            flags,
            format: "flac".to_owned(),
            extension: "flac".to_owned(),
            replay_gain: None,
            portable,
            shard: None,
            raw: None,
        };
        prop_assert!(settings.to_argument().unwrap().chars().all(is_plain));
        let naming = if portable { Naming::Portable(Apart::default()) } else { Naming::Exact };
        let reader = Folder {
            collection: root.path(),
            path: &folder,
            names: &names,
            folders: &folders,
            names_above: &BTreeSet::new(),
            whole: true,
            raw: None,
        };
        let rules = of_folder(&reader, "home", &settings, &naming);

        let (mut commands, mut stamps, mut sources) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for rule in rules.lines() {
            prop_assert!(rule.len() < 100 << 10, "one argument holds at most 128 KiB: {}", rule.len());
            let parts: Vec<_> = rule.split("|>").collect();
            prop_assert_eq!(parts.len(), 3, "{}", rule);
            let begin = format!(" ^ {NAME_PREFIX}");
            let (name, command) = parts[1].strip_prefix(begin.as_str()).unwrap().split_once("^ ").unwrap();
            let command = command.strip_prefix(PROGRAM).unwrap();
            let stamp = parts[2].trim_start();
            prop_assert_eq!(parts[0], ": ");
            prop_assert!(name.chars().all(is_plain) && stamp.chars().all(is_plain), "{rule}");
            prop_assert!(command.chars().all(|c| c == ' ' || is_plain(c)), "{rule}");

            let below = PathBuf::from(decode(name).unwrap());
            let source = below.file_name().unwrap().to_owned();
            prop_assert_eq!(below, Path::new("home").join(&folder).join(&source));
            prop_assert!(names.contains(&source) && source::of(&source).is_some(), "{source:?}");
            prop_assert_eq!(stamp, names::stamp(&source));
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            match words[0].as_str() {
                "encode" => {
                    let job = Job::from_arguments(&words[1..]).unwrap();
                    prop_assert_eq!(&job.source, &source);
                    prop_assert_eq!(&job.flags, &settings.flags);
                    let arguments = job.to_arguments();
                    prop_assert!(arguments.join(" ").len() <= LONGEST_COMMAND);
                    prop_assert_eq!(arguments, &words[1..]);
                    let output = naming.of_source(&folder, &source, "flac");
                    prop_assert_eq!(job.output, portable.then_some(output));
                }
                "refuse" => prop_assert_eq!(words.len(), 4, "{}", command),
                other => prop_assert!(false, "{other}"),
            }
            prop_assert!(commands.insert(command) && stamps.insert(stamp) && sources.insert(source));
        }
    }
}

/// A tag file, most of it well written.
fn sidecar() -> impl Strategy<Value = Vec<u8>> {
    let name = select(&["TITLE", "ARTIST", "album", "MY OWN", "TRACKNUMBER", "\u{fc}", ""][..]);
    let value = prop_oneof![
        4 => vec(select(PARTS), 0..6).prop_map(|parts| parts.concat()),
        2 => ".{0,40}",
        1 => (select(PARTS), 1000..9000_usize).prop_map(|(part, times)| part.repeat(times)),
    ];
    let line = prop_oneof![
        9 => (name, value).prop_map(|(name, value)| format!("{name}={value}\n").into_bytes()),
        1 => vec(any::<u8>(), 0..20),
    ];
    vec(line, 0..5).prop_map(|lines| lines.concat())
}

/// An option file, most of it well written.
fn options() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => select(&["encode+", "encode-", "apic=3:png:..", "apic=3:jpeg:.;4:png:a b/../..", "playlists=a:1", "apic=", "encode"][..])
            .prop_map(str::to_owned),
        1 => ".{0,20}",
        1 => (0..30_u8, vec(select(PARTS), 0..4)).prop_map(|(kind, parts)| format!("apic={kind}:png:{}", parts.concat())),
    ];
    vec(line, 0..3).prop_map(|lines| lines.join("\n").into_bytes())
}
