//! The Lambda function `serve`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::run(functions::serve::handle).await
}
