//! Calls of an AWS API as JSON, signed by nobody: the interpreters read only who is meant to be called.

use anyhow::{Context, Result, ensure};
use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Calls a path of a service on this port; `target` names the action where the path does not.
pub(crate) async fn call(port: u16, service: &str, path: &str, target: &str, body: &Value) -> Result<Value> {
    let credential = format!("test/20260101/us-east-1/{service}/aws4_request");
    let request = Request::post(format!("http://127.0.0.1:{port}{path}"))
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", target)
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=none"),
        )
        .body(Full::new(Bytes::from(body.to_string())))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client
        .request(request)
        .await
        .with_context(|| format!("calling {service} {target}{path}"))?;
    let status = response.status();
    let answer = response.into_body().collect().await?.to_bytes();
    ensure!(
        status.is_success(),
        "{service} {target}{path}: {status}: {}",
        String::from_utf8_lossy(&answer)
    );
    Ok(serde_json::from_slice(&answer).unwrap_or_default())
}
