//! The account that the environment leads to, or what to do when it leads nowhere.

use anyhow::{Context, Result};
use aws_sdk_sts::error::ProvideErrorMetadata;

use crate::cloud::{Cloud, plain};

/// The account, and who we are in it.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// Twelve digits.
    pub(crate) id: String,
    /// The caller's ARN.
    pub(crate) caller: String,
}

impl Account {
    /// Says which account and region this is about, so that the wrong one is noticed.
    pub(crate) fn print(&self, cloud: &Cloud) {
        println!(
            "{} in {} of account {}, as {}",
            cloud.stack, cloud.region, self.id, self.caller
        );
    }
}

/// Asks AWS who we are. Everything that may be wrong with credentials and region is found here, before anything else.
pub(crate) async fn ask(cloud: &Cloud) -> Result<Account> {
    let identity = match cloud.sts.get_caller_identity().send().await {
        Ok(identity) => identity,
        Err(error) => {
            let code = error.code().unwrap_or_default().to_owned();
            let error = plain(error);
            let remedy = remedy(&code, &format!("{error:#}"), &cloud.region);
            return Err(error.context(remedy));
        }
    };
    Ok(Account {
        id: identity.account.context("AWS did not say which account this is")?,
        caller: identity.arn.unwrap_or_default(),
    })
}

/// What to do about an error of the first call.
fn remedy(code: &str, said: &str, region: &str) -> String {
    // They are accounts of their own, and the others' credentials are unknown there.
    let apart = ["cn-", "us-gov-", "us-iso", "eusc-"]
        .iter()
        .any(|start| region.starts_with(start));
    match code {
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
            "the credentials have expired: log in again (aws sso login), or set new ones".to_owned()
        }
        "InvalidClientTokenId" | "UnrecognizedClientException" if apart => {
            format!("the credentials are not known in {region}: that partition has accounts of its own, set AWS_REGION")
        }
        "InvalidClientTokenId" | "UnrecognizedClientException" => format!(
            "the credentials are not known in {region}: check AWS_ACCESS_KEY_ID or AWS_PROFILE, and that the account has \
             this region enabled"
        ),
        "SignatureDoesNotMatch" => "the secret key does not belong to the access key: check AWS_SECRET_ACCESS_KEY".to_owned(),
        _ if said.contains("cargo feature") || said.contains("sso") => {
            "this program does not read such a profile itself: eval \"$(aws configure export-credentials --format env)\""
                .to_owned()
        }
        _ if said.contains("credential") => {
            "no credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned()
        }
        _ => format!("AWS does not answer in {region}: is AWS_REGION spelt right, is the network up?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_has_its_remedy() {
        assert!(remedy("ExpiredToken", "", "eu-central-1").contains("aws sso login"));
        assert!(remedy("InvalidClientTokenId", "", "cn-north-1").contains("partition"));
        assert!(remedy("InvalidClientTokenId", "", "eu-central-1").contains("AWS_PROFILE"));
        assert!(remedy("", "no providers in chain provided credentials", "eu-central-1").contains("no credentials"));
        assert!(remedy("", "dns error", "eu-centrall-1").contains("eu-centrall-1"));
    }
}
