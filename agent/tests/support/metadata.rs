//! A metadata service (IMDSv2) of one instance.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use contract::job::UserData;

const TOKEN: &str = "a-session-token";

/// A running metadata service.
pub struct Metadata {
    /// Where it listens, for `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub endpoint: String,
    notice: Arc<Mutex<Option<String>>>,
}

#[derive(Clone)]
struct Facts {
    user_data: String,
    notice: Arc<Mutex<Option<String>>>,
}

impl Metadata {
    /// Starts it for an instance with this user data.
    pub async fn start(user_data: &UserData) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let notice = Arc::new(Mutex::new(None));
        let facts = Facts {
            user_data: serde_json::to_string(user_data).unwrap(),
            notice: notice.clone(),
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer).with_state(facts)).await });
        Self { endpoint, notice }
    }

    /// Announces that the instance will be taken away.
    pub fn give_spot_notice(&self) {
        *self.notice.lock().unwrap() = Some(r#"{"action":"terminate"}"#.to_owned());
    }
}

async fn answer(
    State(facts): State<Facts>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> (StatusCode, [(&'static str, &'static str); 1], String) {
    let (status, text) = answer_text(&facts, &method, uri.path(), &headers);
    (status, [("x-aws-ec2-metadata-token-ttl-seconds", "21600")], text)
}

fn answer_text(facts: &Facts, method: &Method, path: &str, headers: &HeaderMap) -> (StatusCode, String) {
    if method == Method::PUT && path == "/latest/api/token" {
        return (StatusCode::OK, TOKEN.to_owned());
    }
    if headers
        .get("x-aws-ec2-metadata-token")
        .is_none_or(|token| token != TOKEN)
    {
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    let credentials = r#"{"Code": "Success", "LastUpdated": "2026-11-21T03:00:00Z", "Type": "AWS-HMAC",
        "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "secret", "Token": "token", "Expiration": "2099-01-01T00:00:00Z"}"#;
    let found = match path {
        "/latest/meta-data/instance-id" => Some("i-0123456789abcdef0".to_owned()),
        "/latest/user-data" => Some(facts.user_data.clone()),
        "/latest/meta-data/spot/instance-action" => facts.notice.lock().unwrap().clone(),
        "/latest/meta-data/iam/security-credentials/" | "/latest/meta-data/iam/security-credentials-extended/" => {
            Some("agent".to_owned())
        }
        "/latest/meta-data/iam/security-credentials/agent"
        | "/latest/meta-data/iam/security-credentials-extended/agent" => Some(credentials.to_owned()),
        _ => None,
    };
    found.map_or((StatusCode::NOT_FOUND, String::new()), |text| (StatusCode::OK, text))
}
