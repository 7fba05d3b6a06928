//! The Lambda function `snapshot`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::run(functions::snapshot::handle).await
}
