//! Errors at the border: a name for the state machine, the whole chain for people. AWS's error codes are read here only.

use std::fmt;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use contract::fault::Name;
use lambda_runtime::Diagnostic;

/// An error with the name that the state machines know it by.
#[derive(Debug)]
pub struct Fault {
    /// Its name.
    pub name: Name,
    /// What happened, from the outermost context to the first cause.
    pub source: anyhow::Error,
}

/// An error with this name and this message.
pub(crate) fn named(name: Name, message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Fault {
    Fault {
        name,
        source: anyhow::Error::msg(message),
    }
}

/// Something is under way: the state machine asks again later.
pub(crate) fn not_ready(message: String) -> anyhow::Error {
    named(Name::NotReady, message).into()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.source)
    }
}

// The message holds the whole chain already, so there is no `source()`.
impl std::error::Error for Fault {}

impl From<anyhow::Error> for Fault {
    fn from(source: anyhow::Error) -> Fault {
        let name = source.chain().find_map(|error| {
            let fault = error.downcast_ref::<Fault>().map(|fault| fault.name);
            fault.or_else(|| error.downcast_ref::<Refusal>().map(Refusal::name))
        });
        Fault {
            name: name.unwrap_or(Name::Bug),
            source,
        }
    }
}

impl From<Fault> for Diagnostic {
    fn from(fault: Fault) -> Diagnostic {
        Diagnostic {
            error_type: fault.name.as_str().to_owned(),
            error_message: shortened(fault.to_string()),
        }
    }
}

/// The longest cause that a step ends with, in characters: an execution's state holds 256 KiB, and every shard may fail.
const LONGEST_CAUSE: usize = 8000;

/// The cause without what is too much of it.
pub(crate) fn shortened(cause: String) -> String {
    match cause.char_indices().nth(LONGEST_CAUSE) {
        Some((at, _)) => format!("{} ... (cut off; the log has all of it)", &cause[..at]),
        None => cause,
    }
}

/// What an AWS call's failure means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Throttled, a 5xx, or no answer: it may have taken effect or not.
    Unclear,
    /// What was asked for is not there.
    NotFound,
    /// It is not in the state that the call needs: changed first by somebody, or by this very call, whose answer was lost.
    Conflict,
    /// EC2 has no such machine to give now.
    Capacity,
    /// The account may not have more of these.
    Quota,
    /// This type is not offered here.
    Unsupported,
    /// Anything else: the call is wrong or not allowed.
    Wrong,
}

/// What AWS said instead of doing it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) meaning: Meaning,
    text: String,
}

impl Refusal {
    /// An answer that did not come, or not whole.
    pub(crate) fn unclear(error: &dyn fmt::Display) -> Refusal {
        Refusal {
            meaning: Meaning::Unclear,
            text: error.to_string(),
        }
    }

    /// A call that cannot be made.
    pub(crate) fn wrong(error: &dyn fmt::Display) -> Refusal {
        Refusal {
            meaning: Meaning::Wrong,
            text: error.to_string(),
        }
    }

    fn name(&self) -> Name {
        match self.meaning {
            Meaning::Unclear => Name::TryAgain,
            _ => Name::Bug,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}

impl<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static> From<SdkError<E>> for Refusal {
    fn from(error: SdkError<E>) -> Refusal {
        let SdkError::ServiceError(answer) = &error else {
            let meaning = match error {
                SdkError::ConstructionFailure(_) => Meaning::Wrong,
                _ => Meaning::Unclear,
            };
            let chain = anyhow::Error::new(error);
            return Refusal {
                meaning,
                text: format!("{chain:#}"),
            };
        };
        let status = answer.raw().status().as_u16();
        let code = answer.err().code().unwrap_or("no code");
        let message = answer.err().message().unwrap_or("no message");
        Refusal {
            meaning: meaning(code, status),
            text: format!("{code} (HTTP {status}): {message}"),
        }
    }
}

/// The meaning of an error code and its HTTP status. Capacity comes first: EC2 reports it with status 500.
fn meaning(code: &str, status: u16) -> Meaning {
    match code {
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientReservedInstanceCapacity"
        | "InsufficientCapacity"
        | "InsufficientAddressCapacity"
        | "InsufficientFreeAddressesInSubnet"
        | "SpotMaxPriceTooLow" => Meaning::Capacity,
        "VcpuLimitExceeded" | "InstanceLimitExceeded" | "MaxSpotInstanceCountExceeded" => Meaning::Quota,
        "Unsupported" | "UnsupportedOperation" => Meaning::Unsupported,
        "NoSuchKey" | "ParameterNotFound" | "ExecutionDoesNotExist" => Meaning::NotFound,
        _ if code.ends_with(".NotFound") => Meaning::NotFound,
        "PreconditionFailed"
        | "ConditionalRequestConflict"
        | "ExecutionAlreadyExists"
        | "VolumeInUse"
        | "IncorrectState"
        | "IncorrectInstanceState" => Meaning::Conflict,
        "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "TooManyRequestsException"
        | "SlowDown"
        | "SnapshotCreationPerVolumeRateExceeded"
        | "ConcurrentSnapshotLimitExceeded"
        | "PendingSnapshotLimitExceeded"
        | "RequestTimeout"
        | "TooManyUpdates"
        | "PriorRequestNotComplete" => Meaning::Unclear,
        _ if status == 429 || status >= 500 => Meaning::Unclear,
        _ if status == 412 => Meaning::Conflict,
        _ => Meaning::Wrong,
    }
}

/// Turns "it is not in the state for that" into none, so that the caller looks again, and leaves every other failure.
pub(crate) fn unless_conflict<T>(result: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(refusal) if refusal.meaning == Meaning::Conflict => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// Turns "it is not there" into none, and leaves every other failure.
pub(crate) fn unless_absent<T>(result: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(refusal) if refusal.meaning == Meaning::NotFound => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn missing_capacity_is_not_a_server_error() {
        assert_eq!(meaning("InsufficientInstanceCapacity", 500), Meaning::Capacity);
        assert_eq!(meaning("InternalError", 500), Meaning::Unclear);
    }

    #[test]
    fn a_cause_is_not_longer_than_an_execution_can_carry_for_every_shard() {
        assert_eq!(shortened("é".repeat(LONGEST_CAUSE)), "é".repeat(LONGEST_CAUSE));
        let cut = shortened("é".repeat(LONGEST_CAUSE + 1));
        assert!(
            cut.starts_with("éé") && cut.ends_with("é ... (cut off; the log has all of it)"),
            "{cut}"
        );
    }

    #[test]
    fn a_quota_is_not_capacity() {
        assert_eq!(meaning("VcpuLimitExceeded", 400), Meaning::Quota);
    }

    #[test]
    fn a_name_survives_contexts_and_the_message_is_the_whole_chain() {
        let inner: anyhow::Result<()> = Err(named(Name::NoSources, "the bucket is empty").into());
        let fault = Fault::from(inner.context("planning b-00001").unwrap_err());
        assert_eq!(fault.name, Name::NoSources);
        assert_eq!(
            Diagnostic::from(fault).error_message,
            "planning b-00001: the bucket is empty"
        );
    }

    #[test]
    fn an_unclear_answer_is_try_again_and_the_rest_a_bug() {
        let refusal = |meaning| {
            anyhow::Error::new(Refusal {
                meaning,
                text: "x".to_owned(),
            })
            .context("asking")
        };
        assert_eq!(Fault::from(refusal(Meaning::Unclear)).name, Name::TryAgain);
        assert_eq!(Fault::from(refusal(Meaning::Wrong)).name, Name::Bug);
        assert_eq!(Fault::from(anyhow::anyhow!("odd")).name, Name::Bug);
    }
}
