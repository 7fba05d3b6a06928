//! Between the Lambda runtime and a handler: reads the payload, logs, and gives errors their names.

use contract::fault::Name;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::Instrument;

use crate::Aws;
use crate::fault::{Fault, named};

/// Serves a handler until the Lambda runtime ends the process.
///
/// # Errors
/// A setting that is missing, or a Lambda runtime that does not answer.
pub async fn run<I, O, F>(handler: F) -> Result<(), Error>
where
    I: DeserializeOwned,
    O: Serialize,
    F: AsyncFn(&Aws, I) -> Result<O, Fault>,
{
    tracing_subscriber::fmt()
        .json()
        .with_target(false)
        .with_current_span(false)
        .init();
    let aws = Aws::from_env().await?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        answer(&aws, &handler, event).await
    }))
    .await
}

async fn answer<I, O, F>(aws: &Aws, handler: &F, event: LambdaEvent<Value>) -> Result<Value, Diagnostic>
where
    I: DeserializeOwned,
    O: Serialize,
    F: AsyncFn(&Aws, I) -> Result<O, Fault>,
{
    let LambdaEvent { payload, context } = event;
    let span = tracing::info_span!(
        "step",
        request = context.request_id,
        build = payload["build"].as_str(),
        shard = payload["shard"].as_u64(),
        attempt = payload["attempt"].as_u64()
    );
    let result = async {
        let input = parse(payload)?;
        // Boxed: the futures of the SDK nest so deeply that rustc gives up on the layout of what holds them.
        let output = Box::pin(handler(aws, input)).await?;
        serde_json::to_value(output).map_err(|error| Fault::from(anyhow::Error::new(error)))
    };
    match result.instrument(span.clone()).await {
        Ok(output) => {
            span.in_scope(|| tracing::info!(%output, "done"));
            Ok(output)
        }
        Err(fault) => {
            span.in_scope(|| tracing::warn!(error = fault.name.as_str(), cause = %fault, "refused"));
            Err(fault.into())
        }
    }
}

/// The value as `T`, or `InvalidInput` with the path of the field that is wrong.
pub(crate) fn parse<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    // serde would take a list for a struct, field by field.
    if !value.is_object() {
        return Err(named(
            Name::InvalidInput,
            format!("expected an object such as {{}}, not {value}"),
        ));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let problem = error.into_inner();
        match path.as_str() {
            "." => named(Name::InvalidInput, problem),
            _ => named(Name::InvalidInput, format!("field {path:?}: {problem}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use contract::steps::PlanInput;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_payload_is_invalid_input_and_names_the_field() {
        let fault = parse::<PlanInput>(json!({"build": 7, "started": "", "now": "", "input": {}})).unwrap_err();
        assert_eq!(fault.name, Name::InvalidInput);
        assert_eq!(
            fault.to_string(),
            "field \"build\": invalid type: integer `7`, expected a string"
        );
    }

    #[test]
    fn a_list_is_no_input() {
        let fault = parse::<contract::input::Input>(json!([])).unwrap_err();
        assert_eq!(fault.to_string(), "expected an object such as {}, not []");
    }

    #[test]
    fn a_missing_field_is_named() {
        let fault = parse::<PlanInput>(json!({"build": "b"})).unwrap_err();
        assert_eq!(fault.to_string(), "missing field `started`");
    }
}
