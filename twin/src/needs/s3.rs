//! The needs of S3's calls: the API's names and IAM's differ more than elsewhere.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::request::Parts;

use crate::call::Call;
use crate::iam::Need;
use crate::xml::Element;

/// Headers and query parameters that are condition keys, with the key's name.
const KEYS: [(&str, &str); 6] = [
    ("if-match", "s3:if-match"),
    ("if-none-match", "s3:if-none-match"),
    ("delimiter", "s3:delimiter"),
    ("max-keys", "s3:max-keys"),
    ("prefix", "s3:prefix"),
    ("versionId", "s3:VersionId"),
];

pub(super) fn needs(call: &Call, parts: &Parts, body: &Bytes) -> Option<Vec<Need>> {
    let resource = format!("arn:aws:s3:::{}", call.resources.first()?);
    let query: BTreeMap<String, String> =
        serde_urlencoded::from_str(parts.uri.query().unwrap_or_default()).unwrap_or_default();
    let version = query.contains_key("versionId");
    let header = |name: &str| parts.headers.get(name)?.to_str().ok();
    let action = match call.action.as_str() {
        "GetObject" | "HeadObject" if version => "s3:GetObjectVersion",
        "GetObject" | "HeadObject" => "s3:GetObject",
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload" => "s3:PutObject",
        "AbortMultipartUpload" => "s3:AbortMultipartUpload",
        "ListParts" => "s3:ListMultipartUploadParts",
        "DeleteObject" if version => "s3:DeleteObjectVersion",
        "DeleteObject" => "s3:DeleteObject",
        "DeleteObjects" => return deletions(&resource, body),
        "ListObjects" | "ListObjectsV2" | "HeadBucket" => "s3:ListBucket",
        "ListObjectVersions" => "s3:ListBucketVersions",
        "ListMultipartUploads" => "s3:ListBucketMultipartUploads",
        _ => return None,
    };
    let mut need = Need::new(action, resource);
    // Reading under a condition is no condition key of its own.
    let conditional = action == "s3:PutObject";
    for (name, key) in KEYS {
        let value = query.get(name).map(String::as_str);
        if let Some(value) = value.or_else(|| header(name).filter(|_| conditional)) {
            need = need.with(key, value);
        }
    }
    let mut needs = vec![need];
    if let Some(source) = header("x-amz-copy-source") {
        let (path, version) = match source.split_once("?versionId=") {
            Some((path, version)) => (path, Some(version)),
            None => (source, None),
        };
        let (bucket, key) = crate::call::bucket_and_key(path);
        let action = match version {
            Some(_) => "s3:GetObjectVersion",
            None => "s3:GetObject",
        };
        needs.push(Need::new(action, format!("arn:aws:s3:::{bucket}/{key}")));
    }
    Some(needs)
}

/// DeleteObjects names its objects in the body.
fn deletions(bucket: &str, body: &Bytes) -> Option<Vec<Need>> {
    let root = Element::parse(std::str::from_utf8(body).ok()?).ok()?;
    let objects = root.children.iter().filter(|child| child.name == "Object");
    let need = |object: &Element| {
        let action = match object.text_at("VersionId") {
            Some(_) => "s3:DeleteObjectVersion",
            None => "s3:DeleteObject",
        };
        Some(Need::new(action, format!("{bucket}/{}", object.text_at("Key")?)))
    };
    objects.map(need).collect()
}
