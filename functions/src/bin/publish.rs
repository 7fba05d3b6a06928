//! The Lambda function `publish`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::run(functions::publish::handle).await
}
