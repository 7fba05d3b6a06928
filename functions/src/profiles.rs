//! The profiles: read from their parameters, checked before anything is built.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use contract::fault::Name;
use contract::input::Input;
use contract::parameters;
use contract::profile::Profile;

use crate::Aws;
use crate::fault::{Refusal, named};

/// The profiles that a build makes.
#[derive(Debug)]
pub(crate) struct Profiles {
    /// Name -> text.
    pub(crate) texts: BTreeMap<String, String>,
    /// What the texts mean, in the order of their names.
    pub(crate) parsed: Vec<Profile>,
}

/// Reads the profiles that are asked for.
///
/// # Errors
/// `InvalidInput` for one that does not exist, `NoProfiles`, `BadProfile`.
pub(crate) async fn wanted(aws: &Aws, asked: &Input) -> Result<Profiles> {
    let mut texts = all(aws).await?;
    if let Some(wanted) = &asked.profiles {
        if let Some(unknown) = wanted.iter().find(|name| !texts.contains_key(*name)) {
            let known = texts.keys().cloned().collect::<Vec<_>>().join(", ");
            let message = format!("field \"profiles\": there is no profile {unknown:?}; known are {known}");
            bail!(named(Name::InvalidInput, message));
        }
        texts.retain(|name, _| wanted.contains(name));
    }
    if texts.is_empty() && asked.only.is_none() {
        let path = parameters::profiles(&aws.settings.prefix);
        bail!(named(
            Name::NoProfiles,
            format!("there is no parameter below {path}: deploy a profile (cfn/profile.yaml)")
        ));
    }
    let parsed = texts.iter().map(|(name, text)| Profile::parse(name, text));
    let parsed = parsed
        .collect::<Result<_, _>>()
        .map_err(|error| named(Name::BadProfile, error))?;
    Ok(Profiles { texts, parsed })
}

async fn all(aws: &Aws) -> Result<BTreeMap<String, String>> {
    let path = parameters::profiles(&aws.settings.prefix);
    let request = aws.ssm.get_parameters_by_path().path(path.trim_end_matches('/'));
    let pages = request.into_paginator().send().try_collect().await;
    let pages = pages
        .map_err(Refusal::from)
        .with_context(|| format!("reading the parameters below {path}"))?;
    let named_text = |parameter: &aws_sdk_ssm::types::Parameter| {
        let name = parameter.name()?.strip_prefix(&path)?;
        Some((name.to_owned(), parameter.value()?.to_owned()))
    };
    Ok(pages
        .iter()
        .flat_map(|page| page.parameters())
        .filter_map(named_text)
        .collect())
}
