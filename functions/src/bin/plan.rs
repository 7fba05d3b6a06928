//! The Lambda function `plan`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::run(functions::plan::handle).await
}
