//! One installation and the clients to reach it.

use anyhow::{Context, Result, anyhow};
use aws_config::BehaviorVersion;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use serde::de::DeserializeOwned;

use crate::arguments::Installation;

/// One installation and the clients to reach it. Built once, handed to whoever needs it.
pub(crate) struct Cloud {
    /// Name of the main stack.
    pub(crate) stack: String,
    /// Prefix of the parameters.
    pub(crate) prefix: String,
    /// AWS region.
    pub(crate) region: String,
    /// Stacks.
    pub(crate) cfn: aws_sdk_cloudformation::Client,
    /// Object storage.
    pub(crate) s3: aws_sdk_s3::Client,
    /// State machines.
    pub(crate) sfn: aws_sdk_sfn::Client,
    /// Parameters.
    pub(crate) ssm: aws_sdk_ssm::Client,
    /// Instances.
    pub(crate) ec2: aws_sdk_ec2::Client,
    /// Who we are.
    pub(crate) sts: aws_sdk_sts::Client,
}

impl Cloud {
    /// Reads region, credentials and endpoint from the environment. Nothing is called yet.
    pub(crate) async fn open(installation: &Installation) -> Result<Self> {
        let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let region = config
            .region()
            .context("no region: say which, as in export AWS_REGION=eu-central-1")?
            .to_string();
        let s3 = aws_sdk_s3::config::Builder::from(&config)
            // Names of buckets below an IP address do not resolve.
            .force_path_style(config.endpoint_url().is_some())
            .build();
        Ok(Self {
            stack: installation.stack.clone(),
            prefix: format!("/{}", installation.stack),
            region,
            cfn: aws_sdk_cloudformation::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            sfn: aws_sdk_sfn::Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
            ec2: aws_sdk_ec2::Client::new(&config),
            sts: aws_sdk_sts::Client::new(&config),
        })
    }

    /// The partition of the region, as ARNs name it.
    pub(crate) fn partition(&self) -> &'static str {
        match &self.region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }

    /// A JSON object of a bucket; none if it is not there.
    pub(crate) async fn json<T: DeserializeOwned>(&self, bucket: &str, key: &str) -> Result<Option<T>> {
        let Some(bytes) = self.bytes(bucket, key).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("s3://{bucket}/{key} is not understood"))
    }

    /// An object of a bucket; none if it is not there.
    pub(crate) async fn bytes(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let object = match self.s3.get_object().bucket(bucket).key(key).send().await {
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            object => object.with_context(|| format!("reading s3://{bucket}/{key}"))?,
        };
        let body = object
            .body
            .collect()
            .await
            .with_context(|| format!("reading s3://{bucket}/{key}"))?;
        Ok(Some(body.to_vec()))
    }

    /// The value of a parameter, decrypted; none if it is not there.
    pub(crate) async fn parameter(&self, name: &str) -> Result<Option<String>> {
        match self.ssm.get_parameter().name(name).with_decryption(true).send().await {
            Err(error) if error.code() == Some("ParameterNotFound") => Ok(None),
            answer => {
                let answer = answer.with_context(|| format!("reading the parameter {name}"))?;
                Ok(answer.parameter.and_then(|parameter| parameter.value))
            }
        }
    }
}

/// An error of AWS as a person reads it: what AWS said, without the shell around it.
pub(crate) fn plain<E>(error: SdkError<E>) -> anyhow::Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => anyhow!("{code}: {message}"),
        _ => anyhow::Error::new(error),
    }
}
