//! What is passed to the base: S3 as it streams, CloudFormation, functions.

use serde_json::json;

use crate::world::{IDLE, World, root, until, venv};

#[test]
fn objects_stream_through_unchanged() {
    let world = World::start(IDLE);
    let source = world.path().join("big");
    let bytes: Vec<u8> = (0..64 << 20)
        .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    std::fs::write(&source, &bytes).unwrap();
    let (path, back) = (source.to_str().unwrap(), world.path().join("back"));
    world.aws(&["s3", "mb", "s3://sources"]);
    world.aws(&["s3", "cp", path, "s3://sources/a b/ü+%.wav"]);
    world.aws(&["s3", "cp", "s3://sources/a b/ü+%.wav", back.to_str().unwrap()]);
    assert!(std::fs::read(&back).unwrap() == bytes);
    let put = world.recorded("UploadPart");
    assert!(put.len() > 1 && put.iter().all(|call| call["resources"][0] == "sources/a b/ü+%.wav"));

    // As the Rust SDK sends it: chunks with a trailing checksum, which only the base understands.
    let authorization = root("s3");
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Encoding", "aws-chunked"),
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("x-amz-decoded-content-length", "5"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ];
    let (status, text) = world
        .http(
            "PUT",
            "/sources/chunked",
            &headers,
            b"5\r\nmusic\r\n0\r\nx-amz-checksum-crc32:zVIiSg==\r\n\r\n",
        )
        .unwrap();
    assert_eq!(status, 200, "{text}");
    let (_, text) = world
        .http("GET", "/sources/chunked", &[("Authorization", &authorization)], b"")
        .unwrap();
    assert_eq!(text, "music");
    let none = [("Authorization", authorization.as_str()), ("If-Match", "\"other\"")];
    assert_eq!(world.http("PUT", "/sources/chunked", &none, b"x").unwrap().0, 412);
}

#[test]
fn a_template_deploys_and_its_function_calls_back_through_the_endpoint() {
    let world = World::start(IDLE);
    let bootstrap = world.path().join("bootstrap");
    let script = format!(
        "#!/bin/sh
        api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
        while :; do
            id=$(curl -sf -D - -o /dev/null $api/next | tr -d '\\r' | sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: //p')
            curl -sf -d \"$({} ssm get-parameter --name /greeting)\" $api/$id/response
        done\n",
        venv("aws").display()
    );
    std::fs::write(&bootstrap, script).unwrap();
    let zip = world.path().join("code.zip");
    let pack = "import sys, zipfile, os\nz = zipfile.ZipFile(sys.argv[1], 'w')\ni = zipfile.ZipInfo('bootstrap')\n\
                i.external_attr = 0o100755 << 16\nz.writestr(i, open(sys.argv[2]).read())\nz.close()";
    let python = std::process::Command::new(venv("python"))
        .args(["-c", pack])
        .arg(&zip)
        .arg(&bootstrap)
        .status();
    assert!(python.unwrap().success());
    world.aws(&["s3", "mb", "s3://code"]);
    world.aws(&["s3", "cp", zip.to_str().unwrap(), "s3://code/code.zip"]);

    let trust = |service: &str| json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]});
    let template = json!({"Resources": {
        "Greeting": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/greeting", "Type": "String", "Value": "hello"}},
        "Role": {"Type": "AWS::IAM::Role", "Properties": {
            "RoleName": "greeter", "AssumeRolePolicyDocument": trust("lambda.amazonaws.com"),
            "Policies": [{"PolicyName": "p", "PolicyDocument": {"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": "*"}]}}]}},
        "Function": {"Type": "AWS::Lambda::Function", "Properties": {
            "FunctionName": "greet", "Runtime": "provided.al2023", "Handler": "bootstrap", "Timeout": 30,
            "Role": {"Fn::GetAtt": ["Role", "Arn"]}, "Code": {"S3Bucket": "code", "S3Key": "code.zip"}}},
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.9.0.0/16"}},
        "Subnet": {"Type": "AWS::EC2::Subnet", "Properties": {
            "VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.9.1.0/24", "AvailabilityZone": "us-east-1c"}},
        "Template": {"Type": "AWS::EC2::LaunchTemplate", "Properties": {"LaunchTemplateName": "deployed", "LaunchTemplateData": {
            "ImageId": "ami-twin-9", "InstanceType": "c7i.large", "MetadataOptions": {"HttpTokens": "required"}}}},
    }, "Outputs": {"Subnet": {"Value": {"Ref": "Subnet"}}}});
    let file = world.path().join("template.json");
    std::fs::write(&file, template.to_string()).unwrap();
    let deploy = [
        "cloudformation",
        "deploy",
        "--stack-name",
        "s",
        "--capabilities",
        "CAPABILITY_NAMED_IAM",
        "--template-file",
    ];
    world.aws(&[&deploy[..], &[file.to_str().unwrap()]].concat());

    let stack = world.aws(&["cloudformation", "describe-stacks", "--stack-name", "s"]);
    let subnet = stack["Stacks"][0]["Outputs"][0]["OutputValue"].as_str().unwrap();
    let run = [("LaunchTemplate.LaunchTemplateName", "deployed"), ("SubnetId", subnet)];
    let made = world.ec2("RunInstances", &run).unwrap();
    let id = made.text_at("instancesSet/item/instanceId").unwrap();
    until("it runs", || {
        world.field(&id, "instanceState/name").as_deref() == Some("running")
    });
    assert_eq!(world.field(&id, "placement/availabilityZone").unwrap(), "us-east-1c");
    assert_eq!(
        world.field(&id, "ipAddress"),
        None,
        "the subnet gives no public address"
    );

    let out = world.path().join("out.json");
    world.aws(&["lambda", "invoke", "--function-name", "greet", out.to_str().unwrap()]);
    let answer = std::fs::read_to_string(&out).unwrap();
    assert!(answer.contains("hello"), "{answer}");
    assert!(
        world
            .recorded("GetParameter")
            .iter()
            .any(|call| call["caller"] == "greeter/greet" && call["status"] == 200)
    );
}
