//! The Lambda function `poll-build`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::run(functions::poll_build::handle).await
}
