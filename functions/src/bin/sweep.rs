//! The Lambda function `sweep`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::run(functions::sweep::handle).await
}
