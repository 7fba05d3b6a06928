//! The password for pulling: where an owner keeps it, and what a twin's owner would have set.

use anyhow::{Context, Result};
use aws_sdk_ssm::types::ParameterType;
use contract::parameters;

use crate::cloud::Cloud;

/// The password of a twin. It guards nothing: only this machine reaches the twin's addresses.
const OF_A_TWIN: &str = "only-on-this-machine";

/// Sets the password of a twin whose owner has set none.
pub(crate) async fn open_twin(cloud: &Cloud) -> Result<()> {
    let name = parameters::serve_password(&cloud.prefix);
    if cloud.parameter(&name).await?.is_some() {
        return Ok(());
    }
    let put = cloud.ssm.put_parameter().name(&name).value(OF_A_TWIN);
    put.r#type(ParameterType::SecureString)
        .send()
        .await
        .with_context(|| format!("writing the parameter {name}"))
        .map(drop)
}

/// The password, and how a command line gives it without showing it.
#[derive(Clone)]
pub(crate) struct Password {
    /// Itself.
    pub(crate) value: String,
    /// A shell word that stands for it.
    pub(crate) word: String,
}

/// The password; none if the owner has set none.
pub(crate) async fn password(cloud: &Cloud) -> Result<Option<Password>> {
    let name = parameters::serve_password(&cloud.prefix);
    let Some(value) = cloud.parameter(&name).await? else {
        return Ok(None);
    };
    let word = if value == OF_A_TWIN {
        value.clone()
    } else {
        format!(
            "\"$(aws ssm get-parameter --region {} --name {name} --with-decryption --query Parameter.Value --output text)\"",
            cloud.region
        )
    };
    Ok(Some(Password { value, word }))
}
