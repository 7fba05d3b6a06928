//! The Lambda function `create-volume`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::run(functions::create_volume::handle).await
}
