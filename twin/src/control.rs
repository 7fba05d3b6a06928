//! The control API under `/_twin/`: health, the record, faults, instances, the inventory; and what the base asks.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::proxy::{Body, Twin, whole};

/// Answers a request of the control API; what went wrong is in the body of an error.
pub async fn answer(twin: &Twin, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return text(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let path = parts.uri.path().trim_start_matches("/_twin/").to_owned();
    let pieces: Vec<&str> = path.split('/').collect();
    let result = match (&parts.method, pieces.as_slice()) {
        (&Method::GET, ["health"]) => Ok(json!({"status": "ready"}).to_string()),
        (&Method::GET, ["record"]) => since(parts.uri.query()).map(|since| twin.record.lines(since)),
        (&Method::GET, ["faults"]) => Ok(json!(twin.faults.list()).to_string()),
        (&Method::POST, ["faults"]) => add_faults(twin, &body),
        (&Method::DELETE, ["faults"]) => {
            twin.faults.clear();
            Ok(json!({}).to_string())
        }
        (&Method::POST, ["instances", id, "vanish"]) => twin.ec2.vanish(id).await.map(|()| json!({}).to_string()),
        (&Method::POST, ["instances", id, "hang"]) => twin.ec2.hang(id).await.map(|()| json!({}).to_string()),
        (&Method::POST, ["instances", id, "spot-notice"]) => spot_notice(twin, id, &body).await,
        (_, ["instances", id, "console"]) => twin.ec2.console(id).await,
        (&Method::POST, ["invocations", function]) => Ok(json!(twin.invoked(function)).to_string()),
        (&Method::GET, ["inventory"]) => twin.ec2.inventory().map(|inventory| inventory.to_string()),
        _ => {
            return text(
                StatusCode::NOT_FOUND,
                format!("the control API has no {} {}", parts.method, parts.uri.path()),
            );
        }
    };
    match result {
        Ok(body) => text(StatusCode::OK, body),
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error:#}")),
    }
}

fn since(query: Option<&str>) -> Result<u64> {
    let Some(query) = query else { return Ok(0) };
    let number = query
        .strip_prefix("since=")
        .with_context(|| format!("?{query}: only ?since=N is known"))?;
    number
        .parse()
        .with_context(|| format!("since={number} is not a number"))
}

/// One fault or a list of them.
fn add_faults(twin: &Twin, body: &Bytes) -> Result<String> {
    let value: Value = serde_json::from_slice(body).context("faults are JSON")?;
    let list = if value.is_array() { value } else { json!([value]) };
    let faults: Vec<Fault> = serde_json::from_value(list).context("not a list of faults")?;
    twin.faults.add(faults);
    Ok(json!(twin.faults.list()).to_string())
}

/// `{"seconds": N}` instead of AWS's two minutes.
async fn spot_notice(twin: &Twin, id: &str, body: &Bytes) -> Result<String> {
    let body: Value = if body.is_empty() {
        json!({})
    } else {
        serde_json::from_slice(body).context("the body is JSON")?
    };
    let seconds = body
        .get("seconds")
        .map(|seconds| seconds.as_f64().context("seconds is a number"))
        .transpose()?;
    ensure!(
        seconds.is_none_or(|seconds| (0.0..=3600.0).contains(&seconds)),
        "seconds is from 0 to 3600"
    );
    twin.ec2.spot_notice(id, seconds).await?;
    Ok(json!({}).to_string())
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let kind = if body.starts_with(['{', '[']) {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    };
    let mut response = Response::new(whole(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, kind.parse().expect("a fixed value"));
    response
}
