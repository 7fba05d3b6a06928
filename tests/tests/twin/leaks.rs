//! Whatever happens to the twin, no process, mount, loop device or namespace of its remains.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result};
use tests::sample;
use tests::world::World;

use crate::builds::Bench;

/// Lines about this world in what the machine has of processes, mounts and loop devices.
fn traces(world: &str) -> Result<BTreeSet<String>> {
    let mut traces = BTreeSet::new();
    for (program, arguments) in [
        ("ps", &["-eww", "-o", "args="][..]),
        ("losetup", &["--list", "--noheadings", "-O", "BACK-FILE"]),
    ] {
        let out = Command::new(program).args(arguments).output()?;
        traces.extend(
            String::from_utf8_lossy(&out.stdout)
                .lines()
                .filter(|line| line.contains(world))
                .map(str::to_owned),
        );
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    traces.extend(mounts.lines().filter(|line| line.contains(world)).map(str::to_owned));
    Ok(traces)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_remains_of_a_twin_that_ends_in_the_middle_of_a_build() -> Result<()> {
    let bench = Bench::new()?;
    sample::tiny(&bench.sources, 10)?;
    let mut world = World::start(&bench.profiles, 1).await?;
    world.vibes(&["upload", bench.sources.to_str().context("UTF-8")?])?;
    let build = world.building().await?;
    world.encoded(&build, 1).await?;
    let name = world.dir().to_str().context("UTF-8")?.to_owned();
    assert!(
        !traces(&name)?.is_empty(),
        "while it runs there are traces, so that this test can see them"
    );

    world.stop()?;

    assert_eq!(traces(&name)?, BTreeSet::new());
    world.done()
}
