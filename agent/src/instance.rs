//! What the instance is: identity, user data and notices from the instance metadata service (IMDSv2).

use anyhow::{Context, Result};
use aws_config::imds;
use aws_config::imds::client::error::ImdsError;
use contract::job::UserData;

/// The instance that this program runs on.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its id (`i-...`).
    pub id: String,
    /// What it was told at launch.
    pub user_data: UserData,
    metadata: imds::Client,
}

impl Instance {
    /// Asks the metadata service who we are. Fails when there is none: the agent runs on an instance only.
    pub async fn discover() -> Result<Self> {
        let metadata = imds::Client::builder().build();
        let id = read(&metadata, "/latest/meta-data/instance-id").await?;
        let text = read(&metadata, "/latest/user-data").await?;
        let user_data = serde_json::from_str(&text).with_context(|| {
            format!("user data of {id} is not what a launch writes (contract::job::UserData): {text}")
        })?;
        Ok(Self {
            id,
            user_data,
            metadata,
        })
    }

    /// The text of the notice that this spot instance is about to be taken away; none while there is none.
    pub async fn spot_notice(&self) -> Result<Option<String>> {
        match self.metadata.get("/latest/meta-data/spot/instance-action").await {
            Ok(notice) => Ok(Some(notice.into())),
            Err(ImdsError::ErrorResponse(response)) if response.response().status().as_u16() == 404 => Ok(None),
            Err(error) => Err(error).context("asking the metadata service for a spot notice"),
        }
    }
}

async fn read(metadata: &imds::Client, path: &str) -> Result<String> {
    let value = metadata
        .get(path)
        .await
        .with_context(|| format!("asking the instance metadata service for {path}"))?;
    Ok(value.into())
}
