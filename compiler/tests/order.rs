//! The order in which tracks are encoded: the end of a build must not be one long track and idle processors.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::{World, samples, wave};

#[test]
fn the_longest_track_that_waits_is_encoded_next() {
    let world = World::new();
    // The first waits until all others have asked for their turn.
    let encoder = world.folder("opusenc");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *silence*|--version) ;; *) ls {}/*.opus >/dev/null 2>&1 || sleep 10 ;; esac\n\
         exec opusenc \"$@\"\n",
        world.output("home").display()
    );
    fs::write(&encoder, script).unwrap();
    fs::set_permissions(&encoder, fs::Permissions::from_mode(0o755)).unwrap();
    let profile = format!("CONFIG_ENCODER=opusenc\nCONFIG_OPUSENC={}\n", encoder.display());
    world.profile("home", &profile);
    for (number, seconds) in [4, 1, 3, 2].into_iter().enumerate() {
        let sound = wave(&samples(1, 2, 16, 44_100 * seconds), 2, 16, 44_100);
        world.write(format!("{number}.wav"), sound);
    }
    assert!(world.command().args(["--jobs", "1"]).output().unwrap().status.success());
    let mut order: Vec<_> = world
        .outputs()
        .into_iter()
        .map(|(name, (_, made))| (made, name))
        .collect();
    order.sort();
    let order: Vec<_> = order.iter().map(|(_, name)| name.as_str()).collect();
    let mut expected = vec!["home/0.opus", "home/2.opus", "home/3.opus", "home/1.opus"];
    expected.retain(|name| *name != order[0]);
    assert_eq!(order[1..], expected);
}
