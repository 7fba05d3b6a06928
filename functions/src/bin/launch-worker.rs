//! The Lambda function `launch-worker`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::run(functions::launch_worker::handle).await
}
