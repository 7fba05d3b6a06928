//! The error of a track that cannot be built: a reason and what to do about it.

use std::fmt;

/// Why a track is not built.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Refused {
    /// What is wrong.
    pub(crate) reason: String,
    /// What to do about it.
    pub(crate) remedy: String,
}

impl Refused {
    /// A refusal with its reason and its remedy.
    pub(crate) fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Refused {
        Refused {
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// The refusal that an error is, or one that says its whole chain.
    pub(crate) fn from_error(error: &anyhow::Error, remedy: &str) -> Refused {
        match error.downcast_ref::<Refused>() {
            Some(refused) => refused.clone(),
            None => Refused::new(format!("{error:#}"), remedy),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.reason, self.remedy)
    }
}

impl std::error::Error for Refused {}
