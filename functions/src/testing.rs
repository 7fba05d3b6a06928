//! Values and clients that the tests of several modules use.

use aws_smithy_mocks::{Rule, RuleMode, mock_client};
use contract::input::{Input, Market};
use contract::job::{Kind, Role};
use contract::plan::{Plan, Polls, ShardPlan, VolumePlan};
use contract::release::Release;

use crate::Aws;
use crate::settings::Settings;
use crate::settings::tests::variable;

/// Clients that answer by these rules, EC2 by any that matches, S3 by one after the other; anything else panics.
pub(crate) fn aws(ec2: &[&Rule], s3: &[&Rule]) -> Aws {
    let none: &[&Rule] = &[];
    Aws {
        ec2: mock_client!(aws_sdk_ec2, RuleMode::MatchAny, ec2),
        s3: mock_client!(aws_sdk_s3, RuleMode::Sequential, s3),
        sfn: mock_client!(aws_sdk_sfn, none),
        ssm: mock_client!(aws_sdk_ssm, none),
        settings: Settings::read(variable).unwrap(),
    }
}

/// A plan of `b-00002` with this many shards, each starting from `snap-old-sources` and `snap-old-builds`.
pub(crate) fn plan(shards: u32, kinds: &[Kind]) -> Plan {
    let volume = |kind: &str| VolumePlan {
        snapshot: Some(format!("snap-old-{kind}")),
        gib: 2,
    };
    let shard = |shard| ShardPlan {
        shard,
        sources: volume("sources"),
        builds: volume("builds"),
    };
    Plan {
        build: "b-00002".to_owned(),
        input: Input::default(),
        fingerprint: "f".to_owned(),
        sources_bucket: "sources".to_owned(),
        role: Role::Worker,
        image: "ami-1".to_owned(),
        markets: vec![Market::Spot, Market::OnDemand],
        attempts: 3,
        profiles: vec!["home".to_owned()],
        kinds: kinds.to_vec(),
        shards: (0..shards).map(shard).collect(),
        polls: Polls {
            first_seconds: 5,
            max_seconds: 60,
            silent_seconds: 120,
            boot_seconds: 600,
        },
        serve: false,
        max_run_minutes: 60,
    }
}

/// A complete release without shards.
pub(crate) fn release(name: &str) -> Release {
    Release {
        release: name.to_owned(),
        published: "2026-11-21T03:00:00Z".to_owned(),
        fingerprint: "f".to_owned(),
        complete: true,
        tries: 1,
        manifest: String::new(),
        profiles: Vec::new(),
        shards: Vec::new(),
        failed: Vec::new(),
    }
}
