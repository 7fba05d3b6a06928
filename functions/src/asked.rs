//! What a person or a trigger asks of a build, checked before anything is looked at.

use contract::fault::Name;
use contract::input::Input;
use serde_json::Value;

use crate::adapter;
use crate::fault::{Fault, named};

/// The longest time for which a failed worker may be kept: ten hours, less than the longest clean-up.
const LONGEST_KEEP_MINUTES: u32 = 600;

/// Reads an execution's input.
///
/// # Errors
/// `InvalidInput`, with the field and what it may hold.
pub(crate) fn read(input: &Value) -> Result<Input, Fault> {
    let wrong = |problem: String| Err(named(Name::InvalidInput, problem));
    if !input.is_object() {
        return wrong("the execution's input must be a JSON object; {} builds everything".to_owned());
    }
    let asked: Input = adapter::parse(input.clone())?;
    if asked.keep_failed_worker_minutes > LONGEST_KEEP_MINUTES {
        return wrong(format!(
            "field \"keepFailedWorkerMinutes\": at most {LONGEST_KEEP_MINUTES} minutes"
        ));
    }
    if asked.profiles.as_ref().is_some_and(Vec::is_empty) {
        return wrong("field \"profiles\": an empty list builds nothing; leave the field out to build all".to_owned());
    }
    Ok(asked)
}

/// A wish is built after the running build by a build without options. That grants it if it has no options itself, or
/// if the running build has the very same. `settle` and `Comment` are no options.
pub(crate) fn fits_behind(asked: &Input, running: Option<&Input>) -> bool {
    let options = |input: &Input| Input {
        settle: false,
        comment: None,
        ..input.clone()
    };
    options(asked) == Input::default() || running.is_some_and(|running| options(running) == options(asked))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(value: Value) -> String {
        let fault = read(&value).unwrap_err();
        assert_eq!(fault.name, Name::InvalidInput);
        fault.to_string()
    }

    #[test]
    fn an_empty_input_and_a_comment_are_fine() {
        assert!(read(&json!({})).is_ok());
        assert!(read(&json!({"Comment": "Insert your JSON here"})).is_ok());
    }

    #[test]
    fn an_unknown_field_is_refused_with_the_known_ones() {
        let message = refused(json!({"profile": "home"}));
        assert!(
            message.contains("`profile`") && message.contains("`profiles`"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_type_names_the_field() {
        let message = refused(json!({"force": "yes"}));
        assert!(message.starts_with("field \"force\": invalid type"), "{message}");
        let message = refused(json!({"profiles": ["home", 7]}));
        assert!(message.starts_with("field \"profiles[1]\""), "{message}");
    }

    #[test]
    fn wrong_values_are_refused() {
        assert!(refused(json!({"only": "encode"})).contains("`sync`"));
        assert!(refused(json!({"keepFailedWorkerMinutes": 601})).contains("keepFailedWorkerMinutes"));
        assert!(refused(json!({"profiles": []})).contains("profiles"));
        assert!(refused(json!([])).contains("must be a JSON object"));
    }

    #[test]
    fn a_wish_without_options_always_fits_behind() {
        let forced = Input {
            force: true,
            ..Input::default()
        };
        let hint = Input {
            settle: true,
            ..Input::default()
        };
        assert!(fits_behind(&hint, Some(&forced)));
        assert!(fits_behind(&Input::default(), None));
    }

    #[test]
    fn a_wish_with_options_fits_only_behind_the_same() {
        let forced = Input {
            force: true,
            ..Input::default()
        };
        assert!(fits_behind(
            &forced,
            Some(&Input {
                settle: true,
                ..forced.clone()
            })
        ));
        assert!(!fits_behind(&forced, Some(&Input::default())));
        assert!(!fits_behind(&forced, None));
    }
}
