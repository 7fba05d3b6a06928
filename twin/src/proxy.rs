//! The endpoint: names every call, lets faults spoil it, has it answered, and records it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::base::{Client, root};
use crate::call::{Call, Protocol, is_told_by_its_body};
use crate::callers::Callers;
use crate::control;
use crate::ec2::{self, Ec2};
use crate::faults::{Fault, Faults, Kind, Spoilt};
use crate::iam::Roles;
use crate::machine::Machines;
use crate::permission;
use crate::record::{Outcome, Record};
use crate::xml::{Element, leaf, node};

/// A body that is passed on as it comes.
pub type Body = UnsyncBoxBody<Bytes, anyhow::Error>;

/// The caller of functions: state machines, queues and rules are in the base.
const BASE: &str = "base";

/// A call that is told by its body, or shall happen twice, is read into memory up to this size.
const LARGEST_READ: usize = 64 << 20;

/// Everything that answers.
pub struct Twin {
    /// The closed list.
    pub ec2: Arc<Ec2>,
    /// Everything else.
    pub base: Client,
    /// What goes wrong on demand.
    pub faults: Arc<Faults>,
    /// What was called.
    pub record: Record,
    /// Who calls.
    pub callers: Arc<Callers>,
    /// What they may do.
    pub roles: Roles,
}

impl Twin {
    /// Opens the twin kept in `state`.
    pub fn open(state: &Path, base: Client, machines: Machines, wait_scale: f64) -> Result<Arc<Twin>> {
        let faults = Arc::new(Faults::default());
        let callers = Arc::new(Callers::new(base.clone()));
        let ec2 = Ec2::open(
            &state.join("ec2.json"),
            machines,
            base.clone(),
            faults.clone(),
            callers.clone(),
            wait_scale,
        )?;
        Ok(Arc::new(Twin {
            ec2,
            base: base.clone(),
            faults,
            record: Record::create(&state.join("record.jsonl"))?,
            callers,
            roles: Roles::new(base),
        }))
    }

    /// Notes that the base is about to invoke a function, and says which faults hit that; see `sitecustomize.py`.
    pub fn invoked(&self, function: &str) -> Vec<Fault> {
        let call = Call::invocation(function);
        let faults = self.faults.take(&call, BASE);
        let fault = faults.first().map(|fault| fault.kind.as_str().to_owned());
        self.record.add(
            &call,
            BASE,
            0,
            Outcome {
                fault,
                ..Outcome::default()
            },
        );
        faults
    }
}

/// Accepts connections until the process ends.
pub async fn accept(listener: TcpListener, twin: Arc<Twin>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors: some connection must end first.
                tracing::warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let twin = Arc::clone(&twin);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&twin), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }
}

/// The answer to one request; an error cuts the connection without one.
async fn answer(twin: Arc<Twin>, request: Request<Incoming>) -> Result<Response<Body>> {
    if request.uri().path().starts_with("/_twin/") {
        return Ok(control::answer(&twin, request).await);
    }
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let mut body = Held::Streamed(body.map_err(Into::into).boxed_unsync());
    if is_told_by_its_body(&parts) {
        body = body.read().await?;
    }
    let call = Call::recognise(&parts, &body.bytes());
    let caller = twin.callers.name(&call.access_key).await;
    let faults = twin.faults.take(&call, &caller);
    let late = faults.iter().any(|fault| fault.kind == Kind::Delay);
    if late {
        body = body.read().await?;
    }
    let answered = answered(twin, call, caller, parts, body, faults, started);
    match late {
        // It takes its effect, although the caller may have given up by then.
        true => tokio::spawn(answered).await?,
        false => answered.await,
    }
}

/// Answers a call, and records that.
async fn answered(
    twin: Arc<Twin>,
    call: Call,
    caller: String,
    parts: Parts,
    body: Held,
    faults: Vec<Fault>,
    started: Instant,
) -> Result<Response<Body>> {
    let mut outcome = Outcome {
        fault: faults.first().map(|fault| fault.kind.as_str().to_owned()),
        ..Outcome::default()
    };
    let result = spoiled(&twin, &call, &caller, parts, body, &faults, &mut outcome).await;
    if let Ok(response) = &result {
        outcome.status = Some(response.status().as_u16());
    }
    twin.record
        .add(&call, &caller, started.elapsed().as_millis() as u64, outcome);
    result
}

/// Answers a call, spoiled by the faults that hit it.
async fn spoiled(
    twin: &Twin,
    call: &Call,
    caller: &str,
    parts: Parts,
    mut body: Held,
    faults: &[Fault],
    outcome: &mut Outcome,
) -> Result<Response<Body>> {
    let hit = |kind: Kind| faults.iter().find(|fault| fault.kind == kind);
    let broken = StatusCode::INTERNAL_SERVER_ERROR;
    let spoilt = Spoilt::by(faults);
    if let Some(fault) = hit(Kind::Delay) {
        tokio::time::sleep(fault.duration()).await;
    }
    if let Some(fault) = hit(Kind::Throttle) {
        let (status, code) = throttling(call.protocol);
        return Ok(injected(call, fault, status, code, outcome));
    }
    if let Some(fault) = hit(Kind::Before) {
        return Ok(injected(call, fault, broken, "InternalError", outcome));
    }
    if hit(Kind::Twice).is_some() {
        body = body.read().await?;
        let first = performed(
            twin,
            call,
            caller,
            parts.clone(),
            Held::Read(body.bytes()),
            spoilt,
            outcome,
        )
        .await?;
        first.into_body().collect().await?;
        *outcome = Outcome {
            fault: outcome.fault.take(),
            made: std::mem::take(&mut outcome.made),
            needs: outcome.needs.take(),
            ..Outcome::default()
        };
    }
    let response = performed(twin, call, caller, parts, body, spoilt, outcome).await?;
    if let Some(fault) = hit(Kind::After) {
        response.into_body().collect().await?;
        anyhow::ensure!(fault.code.is_some(), "the answer to {} is lost on demand", call.action);
        return Ok(injected(call, fault, broken, "InternalError", outcome));
    }
    Ok(response)
}

fn injected(call: &Call, fault: &Fault, status: StatusCode, code: &str, outcome: &mut Outcome) -> Response<Body> {
    let code = fault.code.as_deref().unwrap_or(code);
    let status = fault
        .status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(status);
    outcome.error = Some(code.to_owned());
    refusal(
        call.protocol,
        status,
        code,
        &format!("The twin was told to fail this call ({}).", fault.kind.as_str()),
    )
}

/// Has the call answered by the one who answers it.
async fn performed(
    twin: &Twin,
    call: &Call,
    caller: &str,
    mut parts: Parts,
    body: Held,
    spoilt: Spoilt,
    outcome: &mut Outcome,
) -> Result<Response<Body>> {
    match permission::refused(twin, call, caller, outcome).await {
        Ok(None) => {}
        Ok(Some(refused)) => return Ok(refused),
        Err(error) => return Ok(unavailable(call, &error, outcome)),
    }
    if call.service == "ec2"
        && let Some(answer) = simulated(twin, call, caller, spoilt).await?
    {
        outcome.error = answer.error;
        outcome.made = answer.made;
        return Ok(xml_response(answer.status, answer.xml));
    }
    parts.headers.remove(CONNECTION);
    // Answered by us already when the body was asked for.
    parts.headers.remove(EXPECT);
    // Buckets take encrypted connections only; on one machine ours counts as one.
    parts
        .headers
        .insert("x-forwarded-proto", HeaderValue::from_static("https"));
    if outcome.needs.is_some() && permission::is_asked_wrongly(call) {
        parts.headers.insert(AUTHORIZATION, root(&call.service).parse()?);
    }
    match twin.base.send(Request::from_parts(parts, body.stream())).await {
        Ok(response) => {
            if matches!(call.service.as_str(), "iam" | "cloudformation") {
                twin.roles.forget();
            }
            if response.status() == StatusCode::NOT_FOUND
                && let Some(refused) = permission::hidden(twin, call, caller, outcome).await?
            {
                return Ok(refused);
            }
            passed_back(response, outcome).await
        }
        Err(error) => Ok(unavailable(call, &error, outcome)),
    }
}

/// The base does not answer: it is ending.
fn unavailable(call: &Call, error: &anyhow::Error, outcome: &mut Outcome) -> Response<Body> {
    tracing::warn!("{} {}: {error:#}", call.service, call.action);
    let code = "ServiceUnavailable";
    outcome.error = Some(code.to_owned());
    refusal(
        call.protocol,
        StatusCode::SERVICE_UNAVAILABLE,
        code,
        &format!("{error:#}"),
    )
}

/// The simulator's answer. A caller who hangs up meanwhile must not leave half of it done.
async fn simulated(twin: &Twin, call: &Call, caller: &str, spoilt: Spoilt) -> Result<Option<ec2::Answer>> {
    let (ec2, call, caller) = (Arc::clone(&twin.ec2), call.clone(), caller.to_owned());
    Ok(tokio::spawn(async move { ec2.answer(&call, &caller, spoilt).await }).await?)
}

/// The base's answer, streaming; an error is read for its code.
async fn passed_back(response: Response<Incoming>, outcome: &mut Outcome) -> Result<Response<Body>> {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONNECTION);
    let small = body.size_hint().upper().is_some_and(|size| size <= 1 << 20);
    if parts.status.as_u16() < 400 || !small {
        return Ok(Response::from_parts(parts, body.map_err(Into::into).boxed_unsync()));
    }
    let bytes = body.collect().await?.to_bytes();
    outcome.error = error_code(&parts.headers, &bytes);
    Ok(Response::from_parts(parts, whole(bytes)))
}

fn error_code(headers: &HeaderMap, body: &Bytes) -> Option<String> {
    let last_word = |text: &str| {
        text.rsplit('#')
            .next()
            .unwrap_or_default()
            .split(':')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    if let Some(code) = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()) {
        return Some(last_word(code));
    }
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) {
        return json["__type"].as_str().map(last_word);
    }
    let root = Element::parse(std::str::from_utf8(body).ok()?).ok()?;
    ["Code", "Error/Code", "Errors/Error/Code"]
        .iter()
        .find_map(|path| root.text_at(path))
}

fn throttling(protocol: Protocol) -> (StatusCode, &'static str) {
    match protocol {
        Protocol::Ec2 => (StatusCode::SERVICE_UNAVAILABLE, "RequestLimitExceeded"),
        Protocol::S3 => (StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        Protocol::Query => (StatusCode::BAD_REQUEST, "Throttling"),
        Protocol::Json => (StatusCode::BAD_REQUEST, "ThrottlingException"),
        Protocol::Rest => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException"),
    }
}

/// An AWS error in a service's spelling.
pub fn refusal(protocol: Protocol, status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let error = leaf("Code", code) + &leaf("Message", message);
    match protocol {
        Protocol::Ec2 => xml_response(status, ec2::error_document(code, message)),
        Protocol::S3 => xml_response(status, node("Error", &(error + &leaf("RequestId", "twin")))),
        Protocol::Query => {
            let error = node("Error", &(leaf("Type", "Receiver") + &error));
            xml_response(status, node("ErrorResponse", &(error + &leaf("RequestId", "twin"))))
        }
        Protocol::Json | Protocol::Rest => {
            let body = serde_json::json!({"__type": code, "message": message, "Message": message});
            let mut response = Response::new(whole(body.to_string().into()));
            *response.status_mut() = status;
            response.headers_mut().insert(
                CONTENT_TYPE,
                "application/x-amz-json-1.1".parse().expect("a fixed value"),
            );
            if let Ok(code) = code.parse() {
                response.headers_mut().insert("x-amzn-errortype", code);
            }
            response
        }
    }
}

pub(crate) fn xml_response(status: StatusCode, xml: String) -> Response<Body> {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{xml}");
    let mut response = Response::new(whole(text.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, "text/xml;charset=UTF-8".parse().expect("a fixed value"));
    response
}

/// A body of known bytes.
pub fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A request's body: still on its way, or read.
enum Held {
    Streamed(Body),
    Read(Bytes),
}

impl Held {
    async fn read(self) -> Result<Held> {
        match self {
            Held::Read(bytes) => Ok(Held::Read(bytes)),
            Held::Streamed(body) => {
                let read = Limited::new(body, LARGEST_READ).collect().await;
                let read = read
                    .map_err(anyhow::Error::from_boxed)
                    .context("a request broke off or is too large")?;
                Ok(Held::Read(read.to_bytes()))
            }
        }
    }

    fn bytes(&self) -> Bytes {
        match self {
            Held::Read(bytes) => bytes.clone(),
            Held::Streamed(_) => Bytes::new(),
        }
    }

    fn stream(self) -> Body {
        match self {
            Held::Read(bytes) => whole(bytes),
            Held::Streamed(body) => body,
        }
    }
}
