//! Instances: launched by a template, described, ended in every way.

use serde_json::json;

use crate::world::{IDLE, World, until};

const TRUST: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
    "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}"#;
const READ_PARAMETERS: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
    "Action": "ssm:GetParameter", "Resource": "arn:aws:ssm:us-east-1:123456789012:parameter/allowed"}]}"#;

#[test]
fn a_template_makes_an_instance_that_acts_by_its_role() {
    let agent = format!(
        "token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
        get() {{ curl -sf -H \"X-aws-ec2-metadata-token: $token\" http://169.254.169.254/latest/$1; }}
        echo \"user data: $(get user-data)\"
        get meta-data/iam/security-credentials/worker > /tmp/credentials
        field() {{ sed -n \"s/.*\\\"$1\\\" *: *\\\"\\([^\\\"]*\\)\\\".*/\\1/p\" /tmp/credentials; }}
        parameter() {{ curl -s --aws-sigv4 aws:amz:us-east-1:ssm --user \"$(field AccessKeyId):$(field SecretAccessKey)\" \\
            -H \"X-Amz-Security-Token: $(field Token)\" -H 'X-Amz-Target: AmazonSSM.GetParameter' \\
            -H 'Content-Type: application/x-amz-json-1.1' -d \"{{\\\"Name\\\": \\\"$1\\\"}}\" $AWS_ENDPOINT_URL/; echo; }}
        parameter /allowed; parameter /forbidden
        {IDLE}"
    );
    let world = World::start(&agent);
    for name in ["/allowed", "/forbidden"] {
        world.aws(&[
            "ssm",
            "put-parameter",
            "--type",
            "String",
            "--name",
            name,
            "--value",
            "ami-twin-7",
        ]);
    }
    world.aws(&[
        "iam",
        "create-role",
        "--role-name",
        "worker",
        "--assume-role-policy-document",
        TRUST,
    ]);
    world.aws(&[
        "iam",
        "put-role-policy",
        "--role-name",
        "worker",
        "--policy-name",
        "p",
        "--policy-document",
        READ_PARAMETERS,
    ]);
    world.aws(&["iam", "create-instance-profile", "--instance-profile-name", "worker"]);
    world.aws(&[
        "iam",
        "add-role-to-instance-profile",
        "--instance-profile-name",
        "worker",
        "--role-name",
        "worker",
    ]);
    let data = json!({
        "ImageId": "resolve:ssm:/allowed", "InstanceType": "c7i.large", "IamInstanceProfile": {"Name": "worker"},
        "MetadataOptions": {"HttpTokens": "required"}, "InstanceInitiatedShutdownBehavior": "terminate",
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "from", "Value": "template"}]}],
    });
    let template = [
        "ec2",
        "create-launch-template",
        "--launch-template-name",
        "t",
        "--launch-template-data",
    ];
    world.aws(&[&template[..], &[&data.to_string()]].concat());

    let run = [
        "ec2",
        "run-instances",
        "--launch-template",
        "LaunchTemplateName=t",
        "--user-data",
        "from the call",
        "--instance-type",
        "m7i.xlarge",
        "--instance-market-options",
        "MarketType=spot",
        "--client-token",
        "once",
        "--tag-specifications",
        "ResourceType=instance,Tags=[{Key=vibes:stack,Value=v}]",
    ];
    let made = world.aws(&run);
    let id = made["Instances"][0]["InstanceId"].as_str().unwrap();
    assert_eq!(made["Instances"][0]["State"]["Name"], "pending");
    assert_eq!(
        world.aws(&run)["Instances"][0]["InstanceId"],
        id,
        "the same token makes nothing new"
    );

    let console = world.until_console(id, "idle");
    assert!(
        console.contains("user data: from the call") && console.contains("\"ami-twin-7\""),
        "{console}"
    );
    assert!(console.contains("AccessDenied"), "{console}");
    let calls = world.recorded("GetParameter");
    let mine: Vec<_> = calls
        .iter()
        .filter(|call| call["caller"] == format!("worker/{id}"))
        .collect();
    assert_eq!((&mine[0]["status"], &mine[0]["error"]), (&json!(200), &json!(null)));
    assert_eq!(mine[1]["error"], "AccessDeniedException");

    let described = world.aws(&[
        "ec2",
        "describe-instances",
        "--filters",
        "Name=tag:vibes:stack,Values=v",
    ]);
    let instance = &described["Reservations"][0]["Instances"][0];
    assert_eq!(
        (&instance["ImageId"], &instance["InstanceType"]),
        (&json!("ami-twin-7"), &json!("m7i.xlarge"))
    );
    assert_eq!(
        (&instance["InstanceLifecycle"], &instance["ClientToken"]),
        (&json!("spot"), &json!("once"))
    );
    let tags = json!([{"Key": "from", "Value": "template"}, {"Key": "vibes:stack", "Value": "v"}]);
    assert_eq!(instance["Tags"], tags);
    assert!(instance["PublicIpAddress"].as_str().unwrap().starts_with("127."));

    world.aws(&["ec2", "terminate-instances", "--instance-ids", id]);
    world.until_field(id, "instanceState/name", "terminated");
    assert_eq!(
        world.field(id, "stateReason/code").unwrap(),
        "Client.UserInitiatedShutdown"
    );
    let output = world.aws(&["ec2", "get-console-output", "--instance-id", id]);
    assert!(output["Output"].as_str().unwrap().ends_with("stopping\n"), "{output}");
}

#[test]
fn wishes_that_aws_refuses_are_refused() {
    let world = World::start(IDLE);
    let code = |parameters: &[(&str, &str)]| {
        let mut all = vec![("InstanceType", "c7i.large"), ("ImageId", "ami-twin-1")];
        all.retain(|(name, _)| parameters.iter().all(|(given, _)| given != name));
        all.extend_from_slice(parameters);
        world.ec2("RunInstances", &all).unwrap_err()
    };
    let refused = |code: &str| (400, code.to_owned());
    assert_eq!(code(&[("ImageId", "ami-0123")]), refused("InvalidAMIID.NotFound"));
    assert_eq!(code(&[("InstanceType", "large")]), refused("InvalidParameterValue"));
    assert_eq!(code(&[("SubnetId", "subnet-0")]), refused("InvalidSubnetID.NotFound"));
    assert_eq!(code(&[("LaunchTemplate.LaunchTemplateName", "none")]).0, 400);
    assert_eq!(
        code(&[("IamInstanceProfile.Name", "none")]),
        refused("InvalidParameterValue")
    );
    assert_eq!(code(&[("UserData", "not base64!")]), refused("InvalidParameterValue"));
    assert_eq!(code(&[("DryRun", "true")]), (412, "DryRunOperation".to_owned()));
    assert_eq!(
        world
            .ec2("DescribeInstances", &[])
            .unwrap()
            .items("reservationSet")
            .len(),
        0
    );

    let run = |image: &str| {
        let parameters = [("InstanceType", "c7i.large"), ("ImageId", image), ("ClientToken", "t")];
        world.ec2("RunInstances", &parameters)
    };
    run("ami-twin-1").unwrap();
    assert_eq!(run("ami-twin-2").unwrap_err().1, "IdempotentParameterMismatch");
    let gone = world
        .ec2("TerminateInstances", &[("InstanceId.1", "i-0123456789")])
        .unwrap_err();
    assert_eq!(gone, refused("InvalidInstanceID.NotFound"));
    assert_eq!(
        world.ec2("StartInstances", &[("InstanceId.1", "i-0")]).unwrap_err(),
        refused("InvalidAction")
    );
}

#[test]
fn an_instance_ends_by_powering_off_by_vanishing_and_by_interruption() {
    let world = World::start(&format!(
        "token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
        get() {{ curl -sf -H \"X-aws-ec2-metadata-token: $token\" http://169.254.169.254/latest/$1; }}
        [ \"$(get user-data)\" != stop ] || {{ sleep 0.5; exit 0; }}
        [ \"$(get user-data)\" != watch ] || {{ until get meta-data/spot/instance-action; do sleep 0.1; done; }}
        {IDLE}"
    ));
    // Base64 of `stop` and `watch`.
    let stopping = world.instance(&[
        ("UserData", "c3RvcA=="),
        ("InstanceInitiatedShutdownBehavior", "terminate"),
    ]);
    world.until_field(&stopping, "instanceState/name", "terminated");
    assert_eq!(
        world.field(&stopping, "stateReason/code").unwrap(),
        "Client.InstanceInitiatedShutdown"
    );
    let stopped = world.instance(&[("UserData", "c3RvcA==")]);
    world.until_field(&stopped, "instanceState/name", "stopped");

    let vanishing = world.instance(&[]);
    let volume = world.volume(&[]);
    let attach = [
        ("VolumeId", volume.as_str()),
        ("InstanceId", &vanishing),
        ("Device", "/dev/sdf"),
    ];
    world.ec2("AttachVolume", &attach).unwrap();
    world.until_field(&volume, "attachmentSet/item/status", "attached");
    world.control("POST", &format!("instances/{vanishing}/vanish"), "");
    world.until_field(&vanishing, "instanceState/name", "terminated");
    assert_eq!(
        world.field(&vanishing, "stateReason/code").unwrap(),
        "Server.InternalError"
    );
    world.until_field(&volume, "status", "available");

    let spot = world.instance(&[("UserData", "d2F0Y2g="), ("InstanceMarketOptions.MarketType", "spot")]);
    world.control("POST", &format!("instances/{spot}/spot-notice"), r#"{"seconds": 1}"#);
    world.until_console(&spot, "\"action\"");
    world.until_field(&spot, "instanceState/name", "terminated");
    assert_eq!(
        world.field(&spot, "stateReason/code").unwrap(),
        "Server.SpotInstanceTermination"
    );
}

#[test]
fn filters_and_pages_find_what_they_say() {
    let world = World::start(IDLE);
    let tag = |value: &'static str| {
        [
            ("TagSpecification.1.ResourceType", "volume"),
            ("TagSpecification.1.Tag.1.Key", "n"),
            ("TagSpecification.1.Tag.1.Value", value),
        ]
    };
    for value in ["a1", "a2", "b1", "b2", "b3", "b4", "b5"] {
        world.volume(&tag(value));
    }
    let found = |filters: &[(&str, &str)]| {
        world
            .ec2("DescribeVolumes", filters)
            .map(|it| it.items("volumeSet").len())
    };
    assert_eq!(
        found(&[
            ("Filter.1.Name", "tag:n"),
            ("Filter.1.Value.1", "a*"),
            ("Filter.1.Value.2", "b1")
        ]),
        Ok(3)
    );
    assert_eq!(found(&[("Filter.1.Name", "tag-key"), ("Filter.1.Value.1", "n")]), Ok(7));
    assert_eq!(
        found(&[("Filter.1.Name", "status"), ("Filter.1.Value.1", "in-use")]),
        Ok(0)
    );
    assert_eq!(
        found(&[("Filter.1.Name", "nonsense"), ("Filter.1.Value.1", "x")])
            .unwrap_err()
            .1,
        "InvalidParameterValue"
    );
    let first = world.ec2("DescribeVolumes", &[("MaxResults", "5")]).unwrap();
    let token = first.text_at("nextToken").unwrap();
    let second = world
        .ec2("DescribeVolumes", &[("MaxResults", "5"), ("NextToken", &token)])
        .unwrap();
    assert_eq!(
        (first.items("volumeSet").len(), second.items("volumeSet").len()),
        (5, 2)
    );
    assert_eq!(second.text_at("nextToken"), None);

    let all = world.aws(&[
        "ec2",
        "describe-volumes",
        "--page-size",
        "5",
        "--query",
        "Volumes[].VolumeId",
    ]);
    let id = all[0].as_str().unwrap();
    assert_eq!(all.as_array().unwrap().len(), 7);
    world.aws(&["ec2", "create-tags", "--resources", id, "--tags", "Key=more,Value=x"]);
    let tags = world.aws(&["ec2", "describe-tags", "--filters", "Name=key,Values=more"]);
    assert_eq!(tags["Tags"][0]["ResourceId"], id);
    world.aws(&["ec2", "delete-tags", "--resources", id, "--tags", "Key=more"]);
    until("the tag is gone", || {
        found(&[("Filter.1.Name", "tag-key"), ("Filter.1.Value.1", "more")]) == Ok(0)
    });
}
