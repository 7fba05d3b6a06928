//! The order in which tracks are encoded: the end of a build must not be one long track and idle processors.

mod support;

use support::{World, samples, wave};

#[test]
fn the_longest_track_that_waits_is_encoded_next() {
    let world = World::new();
    world.profile("home", "CONFIG_ENCODER=opusenc\n");
    // While the longest is encoded, others wait; one may have come before it.
    for (number, seconds) in [60, 1, 3, 2].into_iter().enumerate() {
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
    let longest = order.iter().position(|name| *name == "home/0.opus").unwrap();
    let waited = &order[longest + 1..];
    assert!(waited.len() >= 2, "{order:?}");
    let mut expected = vec!["home/2.opus", "home/3.opus", "home/1.opus"];
    expected.retain(|name| waited.contains(name));
    assert_eq!(waited, expected);
}
