//! The page of costs is what `scripts/cost` computes; what an estimate says is what it understands, and its sums are those of the price table.

use std::io::Write;
use std::process::{Command, Stdio};

use contract::estimate::{Estimate, InstanceUse, SnapshotUse, VolumeUse};
use contract::input::Market;
use contract::job::Kind;

use crate::path;

#[test]
fn the_page_of_costs_has_the_tables_that_the_script_prints() {
    let check = Command::new(path("scripts/cost"))
        .arg("--check")
        .output()
        .expect("scripts/cost runs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn an_estimate_is_priced_by_the_table() {
    let instance = |attempt, market, seconds| InstanceUse {
        shard: 0,
        attempt,
        instance_type: "c7i.4xlarge".to_owned(),
        market,
        seconds,
        last: None,
    };
    let estimate = Estimate {
        build: "b-00001".to_owned(),
        instances: vec![
            instance(1, Market::Spot, 7_200),
            instance(2, Market::OnDemand, 3_600),
            // EC2 charges a minute at least.
            instance(3, Market::OnDemand, 0),
        ],
        // 730 GB for an hour are a GB-month.
        volumes: vec![VolumeUse {
            shard: 0,
            kind: Kind::Sources,
            gib: 730,
            seconds: 3_600,
        }],
        snapshots: vec![SnapshotUse {
            snapshot: "snap-1".to_owned(),
            gib: 100,
        }],
    };
    let said = priced(&serde_json::to_string(&estimate).unwrap());
    // 2 x 0.267 + 61/60 x 0.714 + 1 x 0.08, and 100 x 0.05 a month.
    assert!(said.contains("$1.34 once"), "{said}");
    assert!(said.contains("at most $5.00 a month"), "{said}");
}

fn priced(estimate: &str) -> String {
    let mut script = Command::new(path("scripts/cost"))
        .args(["--build", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("scripts/cost runs");
    let mut input = script.stdin.take().expect("it is piped");
    input.write_all(estimate.as_bytes()).expect("it reads");
    drop(input);
    let out = script.wait_with_output().expect("it ends");
    assert!(out.status.success(), "scripts/cost ended with {}", out.status);
    String::from_utf8(out.stdout).expect("it prints UTF-8")
}
