//! The Lambda function `cleanup`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::run(functions::cleanup::handle).await
}
