//! The Lambda function `teardown`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::run(functions::teardown::handle).await
}
