//! The examples of `docs/collections.md` become what their tables say.

mod support;

use std::collections::BTreeSet;

use support::{World, png, says, tone};

#[test]
fn every_example_becomes_what_its_table_says() {
    let text = support::document("collections.md");
    let (_, rest) = text.split_once("\n## Where to start\n").unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let mut examples = 0;
    for example in section.split("\n### ").skip(1) {
        let title = example.lines().next().unwrap();
        let world = World::new();
        lay_out(&world, example);
        let built = world.build_well();
        let mut expected = BTreeSet::new();
        for row in example.lines().filter(|line| line.starts_with("| `home/")) {
            let output = row.split('`').nth(1).unwrap();
            expected.insert(output.to_owned());
            let file = world.output(output);
            let tags = says("metaflac", &["--export-tags-to=-"], &file);
            for tag in row.split('`').skip(3).step_by(2) {
                assert!(
                    tags.lines().any(|said| said == tag),
                    "{title}: {output}: no {tag} in {tags}"
                );
            }
            let pictures = says("metaflac", &["--list", "--block-type=PICTURE"], &file);
            assert!(
                pictures.contains("type: 3 (") || !row.contains("a cover"),
                "{title}: {output}"
            );
        }
        assert_eq!(BTreeSet::from_iter(built.list("built")), expected, "{title}");
        examples += 1;
    }
    assert_eq!(examples, 3);
}

/// Makes the files of an example: blocks that begin with `# PATH`, or `# PATH: what it is for`, are text files; all other
/// blocks are lists of paths.
fn lay_out(world: &World, example: &str) {
    for block in example.split("\n```").skip(1).step_by(2) {
        let (_, content) = block.split_once('\n').unwrap();
        if let Some(title) = content.strip_prefix("# ") {
            let path = title.lines().next().unwrap();
            world.write(path.split(':').next().unwrap(), content);
            continue;
        }
        for (seed, path) in (0..).zip(content.lines()) {
            match path.rsplit_once('.').unwrap().1 {
                "wav" | "wave" => world.write(path, tone(seed)),
                "flac" => {
                    world.write("source.wav", tone(seed));
                    let wave = world.source("source.wav");
                    let flac = support::run("flac", &["--silent".as_ref(), "--stdout".as_ref(), wave.as_os_str()]);
                    world.write(path, flac.stdout);
                    std::fs::remove_file(wave).unwrap();
                }
                "jpg" | "jpeg" => world.write(path, png(1, 10)),
                _ => world.write(path, "not music"),
            }
        }
    }
}
