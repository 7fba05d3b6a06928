//! The Lambda function `trigger`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::run(functions::trigger::handle).await
}
