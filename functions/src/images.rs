//! Machine images, as the image build has noted them in parameters.

use anyhow::{Context, Result, anyhow};
use contract::fault::Name;
use contract::image::Image;
use contract::job::Role;
use contract::parameters;

use crate::fault::named;
use crate::{Aws, releases};

/// The id of a role's image.
pub(crate) async fn id(aws: &Aws, role: Role) -> Result<String> {
    noted(aws, &parameters::ami(&aws.settings.prefix, role), role).await
}

/// What a role's image is made of.
pub(crate) async fn made_of(aws: &Aws, role: Role) -> Result<Image> {
    let name = parameters::image(&aws.settings.prefix, role);
    let text = noted(aws, &name, role).await?;
    serde_json::from_str(&text).with_context(|| format!("reading the parameter {name}"))
}

/// In an account that is new to vibes there is none: says how to make it.
async fn noted(aws: &Aws, name: &str, role: Role) -> Result<String> {
    releases::parameter(aws, name).await?.ok_or_else(|| {
        let settings = &aws.settings;
        let project = format!("{}-ami-{}", settings.stack, role.as_str());
        anyhow!(named(
            Name::LaunchRefused,
            format!(
                "there is no {} image (parameters {}, {}): make it with the CodeBuild project {project}, aws codebuild \
                 start-build --project-name {project}",
                role.as_str(),
                parameters::ami(&settings.prefix, role),
                parameters::image(&settings.prefix, role),
            )
        ))
    })
}
