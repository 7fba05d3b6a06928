//! What CloudFormation asks of a custom resource, and the answer that it waits for.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use contract::steps::StepFailure;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fault::Refusal;

/// Characters of a reason: CloudFormation takes an answer of 4,096 bytes at most, and a character may be four of them.
const LONGEST_REASON: usize = 700;

/// An answer that takes longer is tried again by the state machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What CloudFormation says when a stack with the resource is created, updated or deleted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Request {
    request_type: String,
    request_id: String,
    stack_id: String,
    logical_resource_id: String,
    #[serde(rename = "ResponseURL")]
    response_url: String,
    resource_properties: Properties,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Properties {
    /// ARN of the teardown's state machine.
    machine: String,
}

impl Request {
    pub(super) fn is_deletion(&self) -> bool {
        self.request_type == "Delete"
    }

    pub(super) fn machine(&self) -> &str {
        &self.resource_properties.machine
    }

    /// The name of its execution: a request that comes twice starts one.
    pub(super) fn execution(&self) -> &str {
        &self.request_id
    }

    /// Answers. A second answer changes nothing.
    pub(super) async fn answer(&self, failure: Option<&StepFailure>) -> Result<()> {
        let answer = self.document(failure);
        tracing::info!(%answer, "answering CloudFormation");
        let request = http::Request::put(&self.response_url).body(SdkBody::from(answer.to_string()))?;
        let request = HttpRequest::try_from(request).map_err(|error| anyhow!("the answer is no request: {error}"))?;
        let connector = Connector::builder()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
            .build();
        let response = tokio::time::timeout(PATIENCE, connector.call(request)).await;
        let response = response.map_err(|error| Refusal::unclear(&error))?;
        let status = response.map_err(|error| Refusal::unclear(&error))?.status().as_u16();
        match status {
            200..=299 => Ok(()),
            // The place for the answer is gone: it was answered before, or CloudFormation has given up.
            403 | 404 => {
                tracing::warn!(status, "nobody waits for the answer any more");
                Ok(())
            }
            500..=599 => Err(Refusal::unclear(&format!("answering CloudFormation: HTTP {status}")).into()),
            _ => bail!("CloudFormation does not take the answer: HTTP {status}"),
        }
    }

    fn document(&self, failure: Option<&StepFailure>) -> Value {
        let reason = failure.map(|failure| {
            let reason = format!("{}: {}", failure.error, failure.cause);
            reason.chars().take(LONGEST_REASON).collect::<String>()
        });
        json!({
            "Status": if failure.is_some() { "FAILED" } else { "SUCCESS" },
            "Reason": reason.unwrap_or_default(),
            // The same for ever: to another one after an update CloudFormation would say that the older is to be deleted.
            "PhysicalResourceId": "teardown",
            "StackId": self.stack_id,
            "RequestId": self.request_id,
            "LogicalResourceId": self.logical_resource_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::adapter;

    fn request(url: &str) -> Request {
        adapter::parse(json!({
            "RequestType": "Delete",
            "ResponseURL": url,
            "StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/vibes/1",
            "RequestId": "5d478078-13e9-baf0-464a-7ef285ecc786",
            "ResourceType": "Custom::Teardown",
            "LogicalResourceId": "Teardown",
            "PhysicalResourceId": "teardown",
            "ResourceProperties": {"ServiceToken": "arn", "Machine": "machine"},
        }))
        .unwrap()
    }

    /// What a server that answers so was sent, and what came of it.
    async fn answered(status: &str) -> (String, Result<()>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/answer?signature=1", listener.local_addr().unwrap());
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut sent = Vec::new();
            while !sent.ends_with(b"}") {
                stream.read_buf(&mut sent).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(sent).unwrap()
        };
        let request = request(&url);
        tokio::join!(server, request.answer(None))
    }

    #[tokio::test]
    async fn an_answer_is_put_without_a_content_type() {
        let (sent, answered) = answered("200 OK").await;
        answered.unwrap();
        assert!(sent.starts_with("PUT /answer?signature=1 HTTP/1.1\r\n"), "{sent}");
        // The address is signed without one.
        assert!(!sent.to_lowercase().contains("content-type"), "{sent}");
        assert!(sent.contains(r#""Status":"SUCCESS""#), "{sent}");
    }

    #[tokio::test]
    async fn an_answer_is_tried_again_while_somebody_may_wait_for_it() {
        let fault = crate::fault::Fault::from(answered("503 Slow Down").await.1.unwrap_err());
        assert_eq!(fault.name, contract::fault::Name::TryAgain);
        assert!(answered("403 Forbidden").await.1.is_ok());
    }

    #[test]
    fn a_long_reason_fits_into_an_answer() {
        let failure = StepFailure {
            error: "CleanupStuck".to_owned(),
            cause: "\u{1F3B5}".repeat(5000),
        };
        let answer = request("http://localhost").document(Some(&failure));
        assert_eq!(answer["Status"], "FAILED");
        assert!(answer.to_string().len() <= 4096);
    }
}
