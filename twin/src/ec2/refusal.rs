//! An EC2 error: code, HTTP status and message as AWS gives them.

use http::StatusCode;

use crate::base::Answer;
use crate::xml::{leaf, node};

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// 400 for nearly everything; AWS answers 500 to a lack of capacity.
    pub(super) status: StatusCode,
    /// AWS's code.
    pub(super) code: String,
    /// For people.
    pub(super) message: String,
}

/// What every simulated call gives.
pub(super) type Outcome<T> = Result<T, Refusal>;

impl Refusal {
    /// A client's error, status 400.
    pub(super) fn new(code: &str, message: impl Into<String>) -> Refusal {
        Refusal {
            status: StatusCode::BAD_REQUEST,
            code: code.to_owned(),
            message: message.into(),
        }
    }

    /// A parameter's value is not acceptable.
    pub(super) fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new("InvalidParameterValue", message)
    }

    /// The thing is in the wrong state.
    pub(super) fn state(message: impl Into<String>) -> Refusal {
        Refusal::new("IncorrectState", message)
    }

    /// The same token came with other parameters.
    pub(super) fn token_mismatch(token: &str) -> Refusal {
        Refusal::new(
            "IdempotentParameterMismatch",
            format!("The client token {token} was used with other parameters."),
        )
    }

    /// The twin itself failed.
    pub(super) fn internal(error: &anyhow::Error) -> Refusal {
        tracing::error!("{error:#}");
        Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "InternalError".to_owned(),
            message: format!("The twin failed: {error:#}"),
        }
    }

    /// The error document of EC2's Query protocol.
    pub(super) fn document(&self) -> String {
        error_document(&self.code, &self.message)
    }
}

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Refusal {
        match answer {
            Answer::Refused { code, message } => Refusal::new(&code, message),
            Answer::Failed(error) => Refusal::internal(&error),
        }
    }
}

/// The error document of EC2's Query protocol.
pub(crate) fn error_document(code: &str, message: &str) -> String {
    let error = node("Error", &(leaf("Code", code) + &leaf("Message", message)));
    node(
        "Response",
        &(node("Errors", &error) + &leaf("RequestID", "00000000-0000-4000-8000-000000000000")),
    )
}
