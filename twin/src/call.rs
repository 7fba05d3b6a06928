//! A request recognised as an AWS call: service, action, parameters, and how its errors are spelled.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, header};
use serde_json::Value;

use crate::iam::Need;
use crate::needs;

/// A recognised call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The service as in a credential scope: `ec2`, `s3`, `ssm`, `states` ...; `unknown` without one.
    pub service: String,
    /// The API's action name; for REST services that are not told apart, method and path.
    pub action: String,
    /// Access key id of the caller; empty without one.
    pub access_key: String,
    /// How errors are spelled.
    pub protocol: Protocol,
    /// Parameters of the Query protocol; empty for others.
    pub parameters: BTreeMap<String, String>,
    /// What the request names: ids, `bucket/key`, names of functions, parameters, machines.
    pub resources: Vec<String>,
    /// What the caller must be allowed to do, if that is known; EC2 works out its own.
    pub needs: Option<Vec<Need>>,
}

/// A service's wire protocol, as far as errors differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// EC2's dialect of Query.
    Ec2,
    /// Query: IAM, STS, CloudFormation.
    Query,
    /// S3's XML.
    S3,
    /// JSON, with the action in `X-Amz-Target`.
    Json,
    /// JSON, with the action in method and path: Lambda.
    Rest,
}

/// Whether the body must be read to recognise the call. Everything else streams.
pub fn is_told_by_its_body(parts: &Parts) -> bool {
    let form = header(parts, header::CONTENT_TYPE.as_str()).starts_with("application/x-www-form-urlencoded");
    form || parts.headers.contains_key("x-amz-target") || names_many_objects(parts)
}

/// S3's DeleteObjects.
fn names_many_objects(parts: &Parts) -> bool {
    let mut names = parts.uri.query().unwrap_or_default().split('&');
    parts.method == Method::POST && names.any(|name| name == "delete" || name == "delete=")
}

impl Call {
    /// The invocation of a function by AWS itself.
    pub fn invocation(function: &str) -> Call {
        Call {
            service: "lambda".to_owned(),
            action: "Invoke".to_owned(),
            access_key: String::new(),
            protocol: Protocol::Rest,
            parameters: BTreeMap::new(),
            resources: vec![function.to_owned()],
            needs: None,
        }
    }

    /// Recognises a call; `body` is empty if it was not read.
    pub fn recognise(parts: &Parts, body: &Bytes) -> Call {
        let (access_key, scope) = credential(parts);
        let target = header(parts, "x-amz-target");
        let form = header(parts, header::CONTENT_TYPE.as_str()).starts_with("application/x-www-form-urlencoded");
        let query: BTreeMap<String, String> = parts
            .uri
            .query()
            .map(|query| serde_urlencoded::from_str(query).unwrap_or_default())
            .unwrap_or_default();
        let mut call = Call {
            service: scope.unwrap_or_else(|| "unknown".to_owned()),
            action: String::new(),
            access_key,
            protocol: Protocol::Rest,
            parameters: BTreeMap::new(),
            resources: Vec::new(),
            needs: None,
        };
        if !target.is_empty() {
            call.protocol = Protocol::Json;
            call.action = target.rsplit('.').next().unwrap_or_default().to_owned();
            call.resources = json_resources(body);
        } else if form || query.contains_key("Action") {
            call.protocol = if call.service == "ec2" {
                Protocol::Ec2
            } else {
                Protocol::Query
            };
            call.parameters = query;
            call.parameters
                .extend(serde_urlencoded::from_bytes::<BTreeMap<String, String>>(body).unwrap_or_default());
            call.action = call.parameters.get("Action").cloned().unwrap_or_default();
            call.resources = query_resources(&call.parameters);
        } else if call.service == "s3" || (call.service == "unknown" && call.access_key.is_empty()) {
            call.service = "s3".to_owned();
            call.protocol = Protocol::S3;
            let (bucket, key) = bucket_and_key(parts.uri.path());
            call.action = s3_action(parts, &query, !bucket.is_empty(), !key.is_empty()).to_owned();
            let resource = if key.is_empty() {
                bucket
            } else {
                format!("{bucket}/{key}")
            };
            call.resources
                .extend(Some(resource).filter(|resource| !resource.is_empty()));
        } else {
            (call.action, call.resources) = rest_action(&parts.method, parts.uri.path());
        }
        call.needs = needs::of(&call, parts, body);
        call
    }
}

fn header<'a>(parts: &'a Parts, name: &str) -> &'a str {
    parts
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Access key id and service from the SigV4 credential `KEY/DATE/REGION/SERVICE/aws4_request`, in the header or in a
/// presigned query.
fn credential(parts: &Parts) -> (String, Option<String>) {
    let authorization = header(parts, header::AUTHORIZATION.as_str());
    let presigned: Option<String> = parts.uri.query().and_then(|query| {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).ok()?;
        pairs
            .into_iter()
            .find(|(name, _)| name == "X-Amz-Credential")
            .map(|(_, value)| value)
    });
    let credential = match authorization.split_once("Credential=") {
        Some((_, rest)) => rest.split([',', ' ']).next().unwrap_or_default().to_owned(),
        None => presigned.unwrap_or_default(),
    };
    let mut pieces = credential.split('/');
    let key = pieces.next().unwrap_or_default().to_owned();
    (key, pieces.nth(2).map(str::to_owned))
}

/// Fields in which JSON services name what a call is about.
const NAMES: [&str; 10] = [
    "Name",
    "Names",
    "Path",
    "FunctionName",
    "stateMachineArn",
    "executionArn",
    "name",
    "QueueUrl",
    "RoleName",
    "StackName",
];

fn json_resources(body: &Bytes) -> Vec<String> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return Vec::new();
    };
    let named = NAMES.iter().filter_map(|name| fields.get(*name));
    named
        .flat_map(|value| match value {
            Value::String(text) => vec![text.clone()],
            Value::Array(list) => list
                .iter()
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect(),
            _ => Vec::new(),
        })
        .collect()
}

fn query_resources(parameters: &BTreeMap<String, String>) -> Vec<String> {
    let named = parameters.iter().filter(|(name, _)| {
        let name = name.split('.').next().unwrap_or_default();
        name.ends_with("Id") || matches!(name, "StackName" | "RoleName" | "LaunchTemplateName")
    });
    named.map(|(_, value)| value.clone()).collect()
}

/// Bucket and key of a path, decoded.
pub(crate) fn bucket_and_key(path: &str) -> (String, String) {
    let decode = |text: &str| {
        // Only `+` differs between a path and a form.
        let pairs: Result<Vec<(String, String)>, _> =
            serde_urlencoded::from_str(&format!("k={}", text.replace('+', "%2B")));
        pairs
            .ok()
            .and_then(|pairs| pairs.into_iter().next())
            .map(|(_, value)| value)
            .unwrap_or_else(|| text.to_owned())
    };
    let path = path.trim_start_matches('/').replace('&', "%26");
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    (decode(bucket), decode(key))
}

/// Sub-resources of a bucket or an object, as the query names them, with what the API calls them.
const S3_PARTS: [(&str, &str); 13] = [
    ("acl", "Acl"),
    ("cors", "BucketCors"),
    ("encryption", "BucketEncryption"),
    ("lifecycle", "BucketLifecycleConfiguration"),
    ("location", "BucketLocation"),
    ("notification", "BucketNotificationConfiguration"),
    ("ownershipControls", "BucketOwnershipControls"),
    ("policy", "BucketPolicy"),
    ("publicAccessBlock", "PublicAccessBlock"),
    ("tagging", "Tagging"),
    ("versioning", "BucketVersioning"),
    ("website", "BucketWebsite"),
    ("attributes", "ObjectAttributes"),
];

fn s3_action(parts: &Parts, query: &BTreeMap<String, String>, bucket: bool, key: bool) -> String {
    let has = |name: &str| query.contains_key(name);
    let verb = match parts.method {
        Method::GET => "Get",
        Method::PUT => "Put",
        Method::DELETE => "Delete",
        Method::HEAD => "Head",
        _ => "Post",
    };
    if let Some((_, name)) = S3_PARTS.iter().find(|(part, _)| has(part)) {
        return format!("{verb}{name}");
    }
    let name = match (verb, bucket, key) {
        ("Get", false, _) => "ListBuckets",
        ("Get", true, false) if has("uploads") => "ListMultipartUploads",
        ("Get", true, false) if has("versions") => "ListObjectVersions",
        ("Get", true, false) if query.get("list-type").is_some_and(|kind| kind == "2") => "ListObjectsV2",
        ("Get", true, false) => "ListObjects",
        ("Put", true, false) => "CreateBucket",
        ("Delete", true, false) => "DeleteBucket",
        ("Head", true, false) => "HeadBucket",
        ("Post", true, false) if has("delete") => "DeleteObjects",
        ("Get", true, true) if has("uploadId") => "ListParts",
        ("Get", true, true) => "GetObject",
        ("Head", true, true) => "HeadObject",
        ("Put", true, true) if has("partNumber") && parts.headers.contains_key("x-amz-copy-source") => "UploadPartCopy",
        ("Put", true, true) if has("partNumber") => "UploadPart",
        ("Put", true, true) if parts.headers.contains_key("x-amz-copy-source") => "CopyObject",
        ("Put", true, true) => "PutObject",
        ("Delete", true, true) if has("uploadId") => "AbortMultipartUpload",
        ("Delete", true, true) => "DeleteObject",
        ("Post", true, true) if has("uploads") => "CreateMultipartUpload",
        ("Post", true, true) if has("uploadId") => "CompleteMultipartUpload",
        _ => return format!("{} {}", parts.method, parts.uri.path()),
    };
    name.to_owned()
}

/// Lambda is the only REST service whose calls matter here.
fn rest_action(method: &Method, path: &str) -> (String, Vec<String>) {
    let pieces: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (method, pieces.as_slice()) {
        (&Method::POST, [_, "functions", name, "invocations"]) => ("Invoke".to_owned(), vec![(*name).to_owned()]),
        (_, [_, "functions", name, ..]) => (format!("{method} function"), vec![(*name).to_owned()]),
        _ => (format!("{method} {path}"), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Call {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Call::recognise(&parts, &Bytes::copy_from_slice(body.as_bytes()))
    }

    fn signed(service: &str) -> (&'static str, String) {
        (
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIA1/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=ab"
            ),
        )
    }

    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");

    #[test]
    fn an_ec2_call_is_told_by_its_form() {
        let (name, value) = signed("ec2");
        let call = call(
            "POST",
            "/",
            &[(name, &value), FORM],
            "Action=TerminateInstances&InstanceId.1=i-1",
        );
        assert_eq!(
            (call.service.as_str(), call.action.as_str()),
            ("ec2", "TerminateInstances")
        );
        assert_eq!((call.access_key.as_str(), call.protocol), ("AKIA1", Protocol::Ec2));
        assert_eq!(call.resources, ["i-1"]);
    }

    #[test]
    fn a_json_call_is_told_by_its_target() {
        let (name, value) = signed("ssm");
        let headers = [(name, value.as_str()), ("x-amz-target", "AmazonSSM.GetParameter")];
        let call = call("POST", "/", &headers, r#"{"Name": "/vibes/release"}"#);
        assert_eq!((call.service.as_str(), call.action.as_str()), ("ssm", "GetParameter"));
        assert_eq!(call.resources, ["/vibes/release"]);
    }

    #[test]
    fn s3_calls_are_told_by_method_path_and_query() {
        let (name, value) = signed("s3");
        let told = |method, uri| call(method, uri, &[(name, &value)], "").action;
        assert_eq!(told("GET", "/"), "ListBuckets");
        assert_eq!(told("GET", "/b?list-type=2&prefix=x"), "ListObjectsV2");
        assert_eq!(told("PUT", "/b/k?partNumber=1&uploadId=u"), "UploadPart");
        assert_eq!(told("POST", "/b/k?uploads"), "CreateMultipartUpload");
        assert_eq!(told("PUT", "/b?versioning"), "PutBucketVersioning");
        let object = call("GET", "/b/a%20b/c+%26.wav?x-id=GetObject", &[(name, &value)], "");
        assert_eq!(
            (object.action.as_str(), object.resources),
            ("GetObject", vec!["b/a b/c+&.wav".to_owned()])
        );
    }

    #[test]
    fn a_presigned_query_names_service_and_key() {
        let call = call(
            "GET",
            "/b/k?X-Amz-Credential=AKIA2%2F20260101%2Fus-east-1%2Fs3%2Faws4_request",
            &[],
            "",
        );
        assert_eq!(
            (call.service.as_str(), call.access_key.as_str(), call.action.as_str()),
            ("s3", "AKIA2", "GetObject")
        );
    }

    #[test]
    fn an_invocation_names_its_function() {
        let (name, value) = signed("lambda");
        let call = call(
            "POST",
            "/2015-03-31/functions/vibes-plan/invocations",
            &[(name, &value)],
            "{}",
        );
        assert_eq!(
            (call.action.as_str(), call.resources),
            ("Invoke", vec!["vibes-plan".to_owned()])
        );
    }
}
