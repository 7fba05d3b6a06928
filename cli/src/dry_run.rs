//! `vibes deploy --dry-run`: shows what a deployment would change, and changes nothing.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_sdk_ec2::types::Filter;

use crate::account::Account;
use crate::arguments::Deploy;
use crate::bucket;
use crate::changes;
use crate::cloud::Cloud;
use crate::deploy::{self, Deployment};
use crate::memory::Memory;
use crate::profiles;
use crate::stacks::{self, Stack};

/// Makes a change set for every stack, shows it, and deletes it again.
///
/// Nested stacks can only be looked into when their templates lie in a bucket. They are put into the code bucket if there
/// is one, under the version that a deployment would put them; the next deployment removes what it does not need.
pub(crate) async fn show(cloud: &Cloud, account: &Account, options: &Deploy) -> Result<()> {
    let profiles = options.profiles.as_deref().map(profiles::read).transpose()?;
    let code = deploy::code(cloud, options)?;
    account.print(cloud);
    let stacks = stacks::list(cloud).await?;
    deploy::is_told(cloud, options, &stacks)?;
    let bucket = bucket::of_code(cloud, account);
    let memory = if bucket::exists(cloud, &bucket).await? {
        code.put_templates(cloud, &bucket).await?;
        println!(
            "dry run: wrote templates to s3://{bucket}/templates/{}/, and changes nothing else",
            code.version
        );
        Some(Memory::read(cloud, &bucket).await?)
    } else {
        println!("dry run: changes nothing; the bucket {bucket} would be made");
        None
    };
    let nested = memory.is_some();
    let run = DryRun {
        cloud,
        deployment: Deployment::new(
            cloud,
            options,
            bucket,
            code.version.clone(),
            stacks,
            memory.unwrap_or_default(),
        ),
        nested,
    };

    let network = match run.deployment.network() {
        None => BTreeMap::new(),
        Some(name) => {
            run.stack(&name, "vpc.yaml", &BTreeMap::new()).await?;
            match run.deployment.there(&name) {
                Some(stack) => deploy::network_of(stack, &run.deployment.template("main.yaml")?),
                None => stand_in(cloud).await?,
            }
        }
    };
    let parameters = run.deployment.main_parameters(network);
    run.stack(&cloud.stack, "main.yaml", &parameters).await?;
    for (name, text) in profiles.iter().flatten() {
        let stack = format!("{}{name}", run.deployment.profile_stacks());
        let parameters = run.deployment.profile_parameters(name, text);
        run.stack(&stack, "profile.yaml", &parameters).await?;
    }
    if let Some(profiles) = &profiles {
        for stack in run.deployment.gone(profiles) {
            println!("dry run: {} would be deleted", stack.name);
        }
    }
    Ok(())
}

/// A network that is not there yet has no ids, and CloudFormation takes only those that exist: the default one's.
async fn stand_in(cloud: &Cloud) -> Result<BTreeMap<String, String>> {
    let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let networks = cloud
        .ec2
        .describe_vpcs()
        .filters(filter("is-default", "true"))
        .send()
        .await;
    let networks = networks
        .context("looking for the default network")?
        .vpcs
        .unwrap_or_default();
    let network = networks.into_iter().find_map(|network| network.vpc_id).context(
        "there is no network yet to show the rest in, and no default one to show it with: give one (VpcId and SubnetIds)",
    )?;
    let subnets = cloud
        .ec2
        .describe_subnets()
        .filters(filter("vpc-id", &network))
        .send()
        .await;
    let subnets = subnets.context("looking for the default network's subnets")?.subnets;
    let subnets: Vec<_> = subnets
        .into_iter()
        .flatten()
        .filter_map(|subnet| subnet.subnet_id)
        .collect();
    println!("dry run: the network is not there yet, {network} stands for it");
    Ok(BTreeMap::from([
        ("VpcId".to_owned(), network),
        ("SubnetIds".to_owned(), subnets.join(",")),
    ]))
}

struct DryRun<'a> {
    cloud: &'a Cloud,
    deployment: Deployment<'a>,
    nested: bool,
}

impl DryRun<'_> {
    /// Shows what would become of one stack.
    async fn stack(&self, name: &str, template: &str, parameters: &BTreeMap<String, String>) -> Result<()> {
        let template = self.deployment.template(template)?;
        if self.deployment.holds(name, &template, parameters) {
            println!("dry run: {name} stays as it is");
            return Ok(());
        }
        let there = self.deployment.there(name);
        if there.is_some_and(Stack::is_stillborn) {
            println!("dry run: {name}, whose creation failed, would be deleted and made again");
            return Ok(());
        }
        let prepare = |nested| changes::prepare(self.cloud, name, &template, parameters, there, nested);
        let set = match prepare(self.nested).await {
            // CloudFormation looks into a nested stack only if it knows all its parameters beforehand.
            Err(error) if self.nested && format!("{error:#}").contains("ested change set") => {
                println!("dry run: nested stacks cannot be looked into: {error:#}");
                prepare(false).await?
            }
            set => set?,
        };
        let Some(set) = set else {
            println!("dry run: {name} stays as it is");
            return Ok(());
        };
        // Deleted before anything is said: whoever reads may stop in the middle.
        let lines = set.lines(self.cloud).await;
        set.drop(self.cloud).await?;
        let what = if there.is_some() { "change" } else { "be made" };
        println!("dry run: {name} would {what}\n{}", lines?.join("\n"));
        Ok(())
    }
}
