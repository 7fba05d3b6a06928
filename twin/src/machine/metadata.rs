//! The instance metadata service, version 2 only: what an instance learns about itself at 169.254.169.254.

use std::collections::HashMap;
use std::io::Read;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{InstanceSpec, Running};
use crate::ACCOUNT;

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";

/// Longest life of a token: six hours, as in AWS.
const LONGEST_TTL: u64 = 21_600;

/// Credentials of a role last six hours at most in AWS; ours do not expire, so a client may come back for the same.
const CREDENTIALS_LIFE: Duration = Duration::from_secs(6 * 3600);

/// AWS says two minutes before it takes a spot instance.
const SPOT_WARNING: Duration = Duration::from_secs(120);

/// What one instance's metadata service knows.
pub(super) struct Metadata {
    spec: InstanceSpec,
    addresses: Running,
    tokens: Mutex<HashMap<String, Instant>>,
    interruption: OnceLock<OffsetDateTime>,
}

impl Metadata {
    /// Metadata of an instance with these addresses.
    pub(super) fn new(spec: InstanceSpec, addresses: Running) -> Arc<Self> {
        Arc::new(Self {
            spec,
            addresses,
            tokens: Mutex::default(),
            interruption: OnceLock::new(),
        })
    }

    /// Announces an interruption; a second announcement changes nothing.
    pub(super) fn interrupt(&self) {
        self.interruption
            .get_or_init(|| OffsetDateTime::now_utc() + SPOT_WARNING);
    }

    /// The service's routes.
    pub(super) fn routes(self: Arc<Self>) -> Router {
        let guarded = Router::new()
            .route("/latest/user-data", get(user_data))
            .route("/latest/dynamic/instance-identity/document", get(identity))
            .route("/latest/meta-data/{*item}", get(item))
            .layer(from_fn_with_state(self.clone(), needs_token));
        Router::new()
            .route("/latest/api/token", put(token))
            .merge(guarded)
            .with_state(self)
    }

    /// One item below `meta-data/`; none if this instance has no such item.
    fn item(&self, item: &str) -> Option<String> {
        let spec = &self.spec;
        let text = match item.trim_end_matches('/') {
            "instance-id" => spec.id.clone(),
            "instance-type" => spec.instance_type.clone(),
            "ami-id" => spec.image.clone(),
            "instance-life-cycle" => if spec.spot { "spot" } else { "on-demand" }.to_owned(),
            "placement/availability-zone" => spec.zone.clone(),
            "placement/region" => spec.region.clone(),
            "local-ipv4" => self.addresses.private_ip.to_string(),
            "public-ipv4" => self.addresses.public_ip.to_string(),
            "local-hostname" | "hostname" => hostname(self.addresses.private_ip),
            "iam/info" => self.role_info()?,
            "iam/security-credentials" => spec.role_name.clone()?,
            "spot/instance-action" => {
                let time = rfc3339(*self.interruption.get()?);
                json!({ "action": "terminate", "time": time }).to_string()
            }
            other => self.credentials(other.strip_prefix("iam/security-credentials/")?)?,
        };
        Some(text)
    }

    fn role_info(&self) -> Option<String> {
        let role = self.spec.role_name.as_deref()?;
        let info = json!({
            "Code": "Success",
            "LastUpdated": rfc3339(OffsetDateTime::now_utc()),
            "InstanceProfileArn": format!("arn:aws:iam::{ACCOUNT}:instance-profile/{role}"),
        });
        Some(info.to_string())
    }

    fn credentials(&self, role: &str) -> Option<String> {
        let credentials = self
            .spec
            .role_credentials
            .as_ref()
            .filter(|_| self.spec.role_name.as_deref() == Some(role))?;
        let now = OffsetDateTime::now_utc();
        let answer = json!({
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": rfc3339(now),
            "AccessKeyId": credentials.access_key,
            "SecretAccessKey": credentials.secret_key,
            "Token": credentials.token,
            "Expiration": rfc3339(now + CREDENTIALS_LIFE),
        });
        Some(answer.to_string())
    }
}

/// The name that EC2 gives an instance by its private address.
pub(super) fn hostname(private_ip: Ipv4Addr) -> String {
    format!("ip-{}", private_ip.to_string().replace('.', "-"))
}

async fn token(State(metadata): State<Arc<Metadata>>, headers: HeaderMap) -> Response {
    let asked = headers.get(TTL).and_then(|value| value.to_str().ok()?.parse().ok());
    let Some(seconds) = asked.filter(|seconds| (1..=LONGEST_TTL).contains(seconds)) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let token = match random() {
        Ok(token) => token,
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    let now = Instant::now();
    let mut tokens = metadata.tokens.lock().expect("no panic holds it");
    tokens.retain(|_, end| *end > now);
    tokens.insert(token.clone(), now + Duration::from_secs(seconds));
    ([(TTL, seconds.to_string())], token).into_response()
}

async fn needs_token(State(metadata): State<Arc<Metadata>>, request: Request, next: Next) -> Response {
    let token = request.headers().get(TOKEN).and_then(|value| value.to_str().ok());
    let valid = token.is_some_and(|token| {
        let tokens = metadata.tokens.lock().expect("no panic holds it");
        tokens.get(token).is_some_and(|end| *end > Instant::now())
    });
    if valid {
        next.run(request).await
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

async fn item(State(metadata): State<Arc<Metadata>>, Path(item): Path<String>) -> Response {
    metadata.item(&item).ok_or(StatusCode::NOT_FOUND).into_response()
}

async fn user_data(State(metadata): State<Arc<Metadata>>) -> Response {
    if metadata.spec.user_data.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    metadata.spec.user_data.clone().into_response()
}

async fn identity(State(metadata): State<Arc<Metadata>>) -> String {
    let spec = &metadata.spec;
    json!({
        "accountId": ACCOUNT,
        "availabilityZone": spec.zone,
        "imageId": spec.image,
        "instanceId": spec.id,
        "instanceType": spec.instance_type,
        "privateIp": metadata.addresses.private_ip,
        "region": spec.region,
        "version": "2017-09-30",
    })
    .to_string()
}

fn random() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// Whole seconds, as AWS writes them.
fn rfc3339(time: OffsetDateTime) -> String {
    let time = time.replace_nanosecond(0).expect("zero is in range");
    time.format(&Rfc3339).expect("the year has four digits")
}
