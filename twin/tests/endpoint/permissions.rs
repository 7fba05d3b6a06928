//! What a role may do with EC2: by tag, by launch template, by the role that is passed on, and by nothing else.

use serde_json::{Value, json};

use crate::world::{IDLE, World, root};

const REFUSED: Result<(), (u16, &str)> = Err((403, "UnauthorizedOperation"));

/// An installation called `ours`: everything that it makes is tagged so, and nothing else is touched.
fn policy() -> Value {
    let arn = |resource: &str| format!("arn:aws:ec2:us-east-1:123456789012:{resource}");
    let shared = |resource: &str| format!("arn:aws:ec2:us-east-1::{resource}");
    let tagged = |key: &str| json!({"StringEquals": {format!("aws:{key}Tag/stack"): "ours"}});
    let allow = |sid: &str, actions: Value, resources: Value, condition: Value| json!({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources, "Condition": condition});
    let of_template = json!({
        "StringEquals": {"aws:RequestTag/stack": "ours"},
        "ArnLike": {"ec2:LaunchTemplate": arn("launch-template/*")},
    });
    json!({"Version": "2012-10-17", "Statement": [
        allow("Made", json!("ec2:RunInstances"), json!([arn("instance/*"), arn("volume/*")]), of_template),
        allow("Used", json!("ec2:RunInstances"), json!([arn("subnet/*"), arn("network-interface/*"), shared("image/*")]), json!({})),
        allow("Template", json!("ec2:RunInstances"), json!(arn("launch-template/*")), tagged("Resource")),
        allow("Pass", json!("iam:PassRole"), json!("arn:aws:iam::123456789012:role/worker"),
            json!({"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}})),
        allow("Tag", json!("ec2:CreateTags"), json!([arn("*"), shared("*")]),
            json!({"StringEquals": {"ec2:CreateAction": ["RunInstances", "CreateVolume", "CreateSnapshot"]}})),
        allow("Volume", json!("ec2:CreateVolume"), json!(arn("volume/*")), tagged("Request")),
        allow("OldSnapshot", json!("ec2:CreateVolume"), json!(shared("snapshot/*")), tagged("Resource")),
        allow("NewSnapshot", json!("ec2:CreateSnapshot"), json!(shared("snapshot/*")), tagged("Request")),
        allow("Change", json!(["ec2:CreateSnapshot", "ec2:AttachVolume", "ec2:DetachVolume", "ec2:DeleteVolume",
            "ec2:DeleteSnapshot", "ec2:TerminateInstances"]), json!("*"), tagged("Resource")),
        allow("Look", json!("ec2:DescribeInstances"), json!("*"), json!({})),
    ]})
}

/// A world with the roles `caller` (which has the policy), `worker` and `other`, and a launch template for each
/// combination that matters.
struct Permissions {
    world: World,
    /// Access key of a session of `caller`.
    key: String,
}

impl Permissions {
    fn start() -> Permissions {
        let agent = format!(
            "token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
            curl -sf -H \"X-aws-ec2-metadata-token: $token\" \\
                http://169.254.169.254/latest/meta-data/iam/security-credentials/caller
            {IDLE}"
        );
        let world = World::start(&agent);
        let trust = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}"#;
        for role in ["caller", "worker", "other"] {
            iam(
                &world,
                "CreateRole",
                &[("RoleName", role), ("AssumeRolePolicyDocument", trust)],
            );
            iam(&world, "CreateInstanceProfile", &[("InstanceProfileName", role)]);
            let both = [("InstanceProfileName", role), ("RoleName", role)];
            iam(&world, "AddRoleToInstanceProfile", &both);
        }
        for (name, stack, role) in [
            ("ours", "ours", "worker"),
            ("theirs", "theirs", "worker"),
            ("wrong", "ours", "other"),
        ] {
            let tags = tags("1", "launch-template", stack);
            let mut parameters = vec![
                ("LaunchTemplateName", name),
                ("LaunchTemplateData.ImageId", "ami-twin-1"),
                ("LaunchTemplateData.InstanceType", "t3.small"),
                ("LaunchTemplateData.IamInstanceProfile.Name", role),
            ];
            parameters.extend(tags.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            world.ec2("CreateLaunchTemplate", &parameters).unwrap();
        }
        let id = world.instance(&[("IamInstanceProfile.Name", "caller")]);
        let console = world.until_console(&id, "\"Token\"");
        let key = console
            .split("\"AccessKeyId\"")
            .nth(1)
            .and_then(|rest| rest.split('"').nth(1));
        let key = key.expect("credentials").to_owned();
        let permissions = Permissions { world, key };
        permissions.allow(&policy());
        permissions
    }

    fn allow(&self, policy: &Value) {
        let document = policy.to_string();
        let parameters = [
            ("RoleName", "caller"),
            ("PolicyName", "p"),
            ("PolicyDocument", document.as_str()),
        ];
        iam(&self.world, "PutRolePolicy", &parameters);
    }

    /// What the caller's call comes to.
    fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Result<(), (u16, String)> {
        self.world
            .ec2_by(&self.key, action, parameters)
            .expect("an answer")
            .map(drop)
    }

    fn launch(&self, template: Option<&str>, stack: &str) -> Result<(), (u16, String)> {
        let mut parameters = vec![("ImageId", "ami-twin-1"), ("InstanceType", "t3.small")];
        parameters.extend(template.map(|name| ("LaunchTemplate.LaunchTemplateName", name)));
        let instance = tags("1", "instance", stack);
        let volume = tags("2", "volume", stack);
        parameters.extend(
            instance
                .iter()
                .chain(&volume)
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        self.call("RunInstances", &parameters)
    }

    /// A volume that the root made.
    fn volume(&self, stack: &str) -> String {
        let tags = tags("1", "volume", stack);
        let tags: Vec<(&str, &str)> = tags
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.world.volume(&tags)
    }
}

fn tags(number: &str, resource_type: &str, stack: &str) -> [(String, String); 3] {
    let field = |name: &str| format!("TagSpecification.{number}.{name}");
    [
        (field("ResourceType"), resource_type.to_owned()),
        (field("Tag.1.Key"), "stack".to_owned()),
        (field("Tag.1.Value"), stack.to_owned()),
    ]
}

/// A call of IAM by the root; the command-line client would take a second for each.
fn iam(world: &World, action: &str, parameters: &[(&str, &str)]) {
    let mut form = vec![("Action", action), ("Version", "2010-05-08")];
    form.extend_from_slice(parameters);
    let authorization = root("iam");
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let body = serde_urlencoded::to_string(form).unwrap();
    let (status, text) = world.http("POST", "/", &headers, body.as_bytes()).unwrap();
    assert_eq!(status, 200, "{text}");
}

fn told(result: Result<(), (u16, String)>) -> Result<(), (u16, &'static str)> {
    result.map_err(|(status, code)| (status, &*code.leak()))
}

#[test]
fn instances_come_from_our_templates_with_our_tag_and_the_worker_role_only() {
    let it = Permissions::start();
    assert_eq!(told(it.launch(Some("ours"), "ours")), Ok(()));
    assert_eq!(told(it.launch(Some("ours"), "theirs")), REFUSED, "a foreign tag");
    assert_eq!(told(it.launch(Some("theirs"), "ours")), REFUSED, "a foreign template");
    assert_eq!(told(it.launch(None, "ours")), REFUSED, "no template");
    assert_eq!(told(it.launch(Some("wrong"), "ours")), REFUSED, "another role");
    let own = [("LaunchTemplate.LaunchTemplateName", "ours")];
    assert_eq!(told(it.call("RunInstances", &own)), REFUSED, "no tag");

    let calls = it.world.recorded("RunInstances");
    let calls: Vec<&Value> = calls.iter().filter(|call| call["caller"] != "root").collect();
    let needs = calls[0]["needs"].as_array().unwrap();
    let said = |need: &Value| {
        format!(
            "{} {}",
            need["action"].as_str().unwrap(),
            need["resource"].as_str().unwrap()
        )
    };
    let resources: Vec<String> = needs.iter().map(said).collect();
    let template = resources
        .iter()
        .find(|resource| resource.contains("launch-template/lt-"));
    assert!(template.is_some(), "{resources:?}");
    for expected in [
        "ec2:RunInstances arn:aws:ec2:us-east-1:123456789012:instance/*",
        "iam:PassRole arn:aws:iam::123456789012:role/worker",
    ] {
        assert!(resources.contains(&expected.to_owned()), "{expected}: {resources:?}");
    }
    assert!(
        needs.iter().all(|need| need["allowed"].as_array().unwrap().len() == 1),
        "{needs:#?}"
    );
    let refused = |call: &&&Value, resource: &str| {
        let needs = call["needs"].as_array().unwrap().iter();
        let refused: Vec<String> = needs.filter(|need| need["allowed"] == json!([])).map(said).collect();
        assert!(
            refused.iter().any(|refused| refused.contains(resource)),
            "{resource}: {refused:?}"
        );
    };
    for (call, resource) in
        calls[1..]
            .iter()
            .zip(["instance/*", "launch-template/", "instance/*", "role/other", "volume/*"])
    {
        refused(&call, resource);
    }
}

#[test]
fn only_what_carries_our_tag_is_changed_or_ended() {
    let it = Permissions::start();
    let (ours, theirs) = (it.volume("ours"), it.volume("theirs"));
    let of = |id: &str| told(it.call("DeleteVolume", &[("VolumeId", id)]));
    assert_eq!(of(&theirs), REFUSED);
    it.world.until_field(&theirs, "status", "available");

    let snapshot = |volume: &str, stack: &str| {
        let tags = tags("1", "snapshot", stack);
        let mut parameters = vec![("VolumeId", volume)];
        parameters.extend(tags.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        told(it.call("CreateSnapshot", &parameters))
    };
    assert_eq!(snapshot(&ours, "ours"), Ok(()));
    assert_eq!(snapshot(&ours, "theirs"), REFUSED);
    assert_eq!(snapshot(&theirs, "ours"), REFUSED);
    let foreign = it.world.ec2("CreateSnapshot", &[("VolumeId", &theirs)]).unwrap();
    let foreign = foreign.text_at("snapshotId").unwrap();
    it.world.until_field(&foreign, "status", "completed");
    let tags = tags("1", "volume", "ours");
    let mut parameters = vec![("AvailabilityZone", "us-east-1a"), ("SnapshotId", foreign.as_str())];
    parameters.extend(tags.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    assert_eq!(
        told(it.call("CreateVolume", &parameters)),
        REFUSED,
        "a foreign snapshot"
    );
    parameters[1] = ("Size", "1");
    assert_eq!(told(it.call("CreateVolume", &parameters)), Ok(()));
    assert_eq!(told(it.call("CreateVolume", &parameters[..2])), REFUSED, "no tag");

    let stranger = it.world.instance(&[]);
    assert_eq!(
        told(it.call("TerminateInstances", &[("InstanceId.1", &stranger)])),
        REFUSED
    );
    let attach = [
        ("VolumeId", ours.as_str()),
        ("InstanceId", stranger.as_str()),
        ("Device", "/dev/sdf"),
    ];
    assert_eq!(told(it.call("AttachVolume", &attach)), REFUSED, "a foreign instance");
    let retag = [
        ("ResourceId.1", theirs.as_str()),
        ("Tag.1.Key", "stack"),
        ("Tag.1.Value", "ours"),
    ];
    assert_eq!(
        told(it.call("CreateTags", &retag)),
        REFUSED,
        "what is there is not taken over by a tag"
    );
    assert_eq!(told(it.call("DescribeVolumes", &[])), REFUSED);
    assert_eq!(told(it.call("DescribeInstances", &[])), Ok(()));
    assert_eq!(of("vol-00000000000000000"), Err((400, "InvalidVolume.NotFound")));
    assert_eq!(of(&ours), Ok(()));
}

#[test]
fn a_changed_policy_counts_from_the_next_call_on() {
    let it = Permissions::start();
    assert_eq!(told(it.call("DescribeInstances", &[])), Ok(()));
    let nothing = json!({"Effect": "Deny", "Action": "ec2:*", "Resource": "*"});
    it.allow(&json!({"Version": "2012-10-17", "Statement": nothing}));
    assert_eq!(told(it.call("DescribeInstances", &[])), REFUSED);
    it.allow(&policy());
    assert_eq!(told(it.call("DescribeInstances", &[])), Ok(()));
    let stranger = it.world.ec2_by("ASIAUNKNOWN", "DescribeInstances", &[]).unwrap();
    assert_eq!(told(stranger.map(drop)), Err((401, "AuthFailure")));
}
