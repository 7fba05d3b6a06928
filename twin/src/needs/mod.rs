//! What a call must be allowed to do, as IAM spells it: actions, resource ARNs and condition keys, by the service
//! authorization reference. EC2's are in `ec2/needs.rs`, because they are made of what EC2 knows of the things named.
//!
//! A call that is not here has no needs that are known: it is passed on, and the record says so.

mod s3;

use bytes::Bytes;
use http::request::Parts;
use serde_json::Value;

use crate::call::{Call, Protocol};
use crate::iam::Need;
use crate::{ACCOUNT, REGION};

/// The needs of a call of any service but EC2; none if they are not known.
pub fn of(call: &Call, parts: &Parts, body: &Bytes) -> Option<Vec<Need>> {
    if call.service == "s3" {
        return s3::needs(call, parts, body);
    }
    match call.protocol {
        Protocol::Json => by_json(call, &serde_json::from_slice(body).ok()?),
        Protocol::Query => by_query(call),
        Protocol::Rest => by_rest(call, parts),
        Protocol::Ec2 | Protocol::S3 => None,
    }
}

/// An ARN of the twin's account and region.
pub(crate) fn arn(service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}")
}

/// A parameter's ARN: its name always begins with one slash there.
pub(crate) fn parameter(name: &str) -> String {
    arn("ssm", &format!("parameter/{}", name.trim_start_matches('/')))
}

fn by_json(call: &Call, body: &Value) -> Option<Vec<Need>> {
    let text = |name: &str| body[name].as_str();
    let (service, action) = (call.service.as_str(), call.action.as_str());
    let one = |resource: String| Some(vec![Need::new(format!("{service}:{action}"), resource)]);
    match (service, action) {
        ("ssm", "GetParameters" | "DeleteParameters") => {
            let names = body["Names"].as_array()?.iter().map(Value::as_str);
            let need = |name: Option<&str>| Some(Need::new(format!("ssm:{action}"), parameter(name?)));
            names.map(need).collect()
        }
        ("ssm", "GetParametersByPath") => {
            let recursive = body["Recursive"].as_bool().unwrap_or(false).to_string();
            let need = Need::new(
                "ssm:GetParametersByPath",
                parameter(text("Path")?.trim_end_matches('/')),
            );
            Some(vec![need.with("ssm:Recursive", recursive)])
        }
        ("ssm", "PutParameter") => {
            let overwrite = body["Overwrite"].as_bool().unwrap_or(false).to_string();
            let need = Need::new("ssm:PutParameter", parameter(text("Name")?));
            Some(vec![need.with("ssm:Overwrite", overwrite)])
        }
        ("ssm", "GetParameter" | "DeleteParameter") => one(parameter(text("Name")?)),
        ("ssm", "DescribeParameters") => one("*".to_owned()),
        ("states", "StartExecution" | "ListExecutions" | "DescribeStateMachine") => {
            one(text("stateMachineArn")?.to_owned())
        }
        ("states", "DescribeExecution" | "StopExecution" | "GetExecutionHistory") => {
            one(text("executionArn")?.to_owned())
        }
        ("sqs", _) => one(arn("sqs", text("QueueUrl")?.rsplit('/').next()?)),
        ("events", "DisableRule" | "EnableRule" | "DescribeRule") => {
            one(arn("events", &format!("rule/{}", text("Name")?)))
        }
        ("logs", "CreateLogStream") => one(arn("logs", &format!("log-group:{}", text("logGroupName")?))),
        ("logs", "PutLogEvents") => {
            let (group, stream) = (text("logGroupName")?, text("logStreamName")?);
            one(arn("logs", &format!("log-group:{group}:log-stream:{stream}")))
        }
        _ => None,
    }
}

fn by_query(call: &Call) -> Option<Vec<Need>> {
    let parameter = |name: &str| call.parameters.get(name);
    let resource = match (call.service.as_str(), call.action.as_str()) {
        // Nobody can be denied this.
        ("sts", "GetCallerIdentity") => return Some(Vec::new()),
        ("sns", "Publish") => parameter("TopicArn")?.clone(),
        ("cloudformation", "DescribeStacks" | "DescribeStackResources" | "ListStackResources") => {
            match parameter("StackName")? {
                arn if arn.starts_with("arn:") => arn.clone(),
                name => arn("cloudformation", &format!("stack/{name}/*")),
            }
        }
        _ => return None,
    };
    Some(vec![Need::new(format!("{}:{}", call.service, call.action), resource)])
}

/// REST services name the action by method and path.
fn by_rest(call: &Call, parts: &Parts) -> Option<Vec<Need>> {
    let path = parts
        .uri
        .path()
        .trim_matches('/')
        .replace("%3A", ":")
        .replace("%3a", ":");
    let pieces: Vec<&str> = path.split('/').collect();
    let (action, resource) = match (call.service.as_str(), parts.method.as_str(), pieces.as_slice()) {
        ("lambda", "POST", [_, "functions", name, "invocations"]) => ("InvokeFunction", function(name)),
        ("lambda", "GET", [_, "functions", name]) => ("GetFunction", function(name)),
        ("lambda", "GET", [_, "event-source-mappings"]) => ("ListEventSourceMappings", "*".to_owned()),
        ("lambda", method @ ("GET" | "PUT" | "DELETE"), [_, "event-source-mappings", id]) => {
            let action = match method {
                "GET" => "GetEventSourceMapping",
                "PUT" => "UpdateEventSourceMapping",
                _ => "DeleteEventSourceMapping",
            };
            (action, arn("lambda", &format!("event-source-mapping:{id}")))
        }
        ("scheduler", method @ ("GET" | "PUT" | "DELETE"), ["schedules", name]) => {
            let action = match method {
                "GET" => "GetSchedule",
                "PUT" => "UpdateSchedule",
                _ => "DeleteSchedule",
            };
            (action, arn("scheduler", &format!("schedule/default/{name}")))
        }
        _ => return None,
    };
    Some(vec![Need::new(format!("{}:{action}", call.service), resource)])
}

/// A function is named by its name, its ARN, or either with a qualifier.
fn function(name: &str) -> String {
    match name.starts_with("arn:") {
        true => name.to_owned(),
        false => arn("lambda", &format!("function:{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(service: &str, method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Option<Vec<Need>> {
        let scope = format!("Credential=AKIA/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host");
        let mut request = http::Request::builder().method(method).uri(uri);
        request = request.header("authorization", format!("AWS4-HMAC-SHA256 {scope}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Call::recognise(&parts, &Bytes::copy_from_slice(body.as_bytes())).needs
    }

    fn said(needs: Option<Vec<Need>>) -> Vec<String> {
        let said = |need: Need| format!("{} {}", need.action, need.resource);
        needs.expect("needs are known").into_iter().map(said).collect()
    }

    fn json(service: &str, target: &str, body: &str) -> Vec<String> {
        said(needs(service, "POST", "/", &[("x-amz-target", target)], body))
    }

    #[test]
    fn objects_are_read_by_version_or_not() {
        let s3 = |method, uri| said(needs("s3", method, uri, &[], ""));
        assert_eq!(s3("GET", "/b/a%20b/k"), ["s3:GetObject arn:aws:s3:::b/a b/k"]);
        assert_eq!(s3("HEAD", "/b/k"), ["s3:GetObject arn:aws:s3:::b/k"]);
        assert_eq!(s3("GET", "/b/k?versionId=3"), ["s3:GetObjectVersion arn:aws:s3:::b/k"]);
        assert_eq!(
            s3("DELETE", "/b/k?versionId=3"),
            ["s3:DeleteObjectVersion arn:aws:s3:::b/k"]
        );
        assert_eq!(s3("GET", "/b?versions"), ["s3:ListBucketVersions arn:aws:s3:::b"]);
        assert_eq!(s3("POST", "/b/k?uploads"), ["s3:PutObject arn:aws:s3:::b/k"]);
        assert_eq!(needs("s3", "PUT", "/b?versioning", &[], ""), None);
    }

    #[test]
    fn listing_says_its_prefix() {
        let list = needs("s3", "GET", "/b?list-type=2&prefix=builds%2F&max-keys=7", &[], "").unwrap();
        let expected = Need::new("s3:ListBucket", "arn:aws:s3:::b")
            .with("s3:max-keys", "7")
            .with("s3:prefix", "builds/");
        assert_eq!(list, [expected]);
    }

    #[test]
    fn writing_says_its_condition_and_copying_reads() {
        let put = needs("s3", "PUT", "/b/k", &[("if-none-match", "*")], "").unwrap();
        assert_eq!(
            put,
            [Need::new("s3:PutObject", "arn:aws:s3:::b/k").with("s3:if-none-match", "*")]
        );
        let copy = needs(
            "s3",
            "PUT",
            "/b/k",
            &[("x-amz-copy-source", "/c/a%20b?versionId=1")],
            "",
        );
        assert_eq!(
            said(copy),
            [
                "s3:PutObject arn:aws:s3:::b/k",
                "s3:GetObjectVersion arn:aws:s3:::c/a b"
            ]
        );
    }

    #[test]
    fn many_deletions_are_one_need_each() {
        let body = "<Delete><Object><Key>a &amp; b</Key></Object><Object><Key>c</Key><VersionId>1</VersionId></Object></Delete>";
        let expected = [
            "s3:DeleteObject arn:aws:s3:::b/a & b",
            "s3:DeleteObjectVersion arn:aws:s3:::b/c",
        ];
        assert_eq!(said(needs("s3", "POST", "/b?delete", &[], body)), expected);
    }

    #[test]
    fn json_calls_name_what_they_are_about() {
        assert_eq!(
            json("ssm", "AmazonSSM.GetParameters", r#"{"Names": ["/a/b", "c"]}"#),
            [
                "ssm:GetParameters arn:aws:ssm:us-east-1:123456789012:parameter/a/b",
                "ssm:GetParameters arn:aws:ssm:us-east-1:123456789012:parameter/c"
            ]
        );
        assert_eq!(
            json("ssm", "AmazonSSM.GetParametersByPath", r#"{"Path": "/a/b/"}"#),
            ["ssm:GetParametersByPath arn:aws:ssm:us-east-1:123456789012:parameter/a/b"]
        );
        assert_eq!(
            json(
                "states",
                "AWSStepFunctions.StartExecution",
                r#"{"stateMachineArn": "arn:m"}"#
            ),
            ["states:StartExecution arn:m"]
        );
        let queue = r#"{"QueueUrl": "http://127.0.0.1:1/123456789012/q"}"#;
        assert_eq!(
            json("sqs", "AmazonSQS.GetQueueAttributes", queue),
            ["sqs:GetQueueAttributes arn:aws:sqs:us-east-1:123456789012:q"]
        );
    }

    #[test]
    fn a_function_is_invoked_by_name_or_arn() {
        let invoke = |name: &str| {
            said(needs(
                "lambda",
                "POST",
                &format!("/2015-03-31/functions/{name}/invocations"),
                &[],
                "",
            ))
        };
        let expected = ["lambda:InvokeFunction arn:aws:lambda:us-east-1:123456789012:function:f"];
        assert_eq!(invoke("f"), expected);
        assert_eq!(
            invoke("arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af"),
            expected
        );
    }

    #[test]
    fn what_is_not_known_has_no_needs() {
        assert_eq!(
            needs("kms", "POST", "/", &[("x-amz-target", "TrentService.Decrypt")], "{}"),
            None
        );
    }
}
