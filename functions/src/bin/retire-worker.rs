//! The Lambda function `retire-worker`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::run(functions::retire_worker::handle).await
}
