//! Who may pull: what the owner keeps in parameters, handed on to the server, which can read S3 only.

use anyhow::{Result, bail};
use contract::fault::Name;
use contract::serve::Access;
use contract::{objects, parameters};

use crate::fault::named;
use crate::store::Stored;
use crate::{Aws, releases, store};

/// Tells the server that is coming up, or has come, unless it has been told already.
pub(super) async fn hand_on(aws: &Aws) -> Result<()> {
    let told = store::get(aws, objects::SERVE_ACCESS).await?;
    write(aws, told).await
}

/// Tells a server of a change; where there is none, nobody is told. Says which.
pub(super) async fn hand_on_change(aws: &Aws) -> Result<&'static str> {
    let Some(told) = store::get(aws, objects::SERVE_ACCESS).await? else {
        return Ok("there is no server");
    };
    write(aws, Some(told)).await?;
    Ok("the server has been told who may pull")
}

async fn write(aws: &Aws, told: Option<Stored<Access>>) -> Result<()> {
    let granted = granted(aws).await?;
    if told.as_ref().is_some_and(|told| told.value == granted) {
        return Ok(());
    }
    let etag = told.map(|told| told.etag);
    if !store::put_if(aws, objects::SERVE_ACCESS, &granted, etag.as_deref()).await? {
        bail!(named(
            Name::TryAgain,
            format!("{} was changed meanwhile", objects::SERVE_ACCESS)
        ));
    }
    Ok(())
}

/// What the owner wants.
async fn granted(aws: &Aws) -> Result<Access> {
    let prefix = &aws.settings.prefix;
    Ok(Access {
        prefix: prefix.clone(),
        password: releases::parameter(aws, &parameters::serve_password(prefix)).await?,
        keys: releases::parameter(aws, &parameters::serve_keys(prefix)).await?,
        domain: aws.settings.domain.clone(),
    })
}
