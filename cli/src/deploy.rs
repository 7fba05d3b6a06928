//! Brings code, stacks, profiles and (in a twin) the description of images into the account.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use futures::{join, try_join};
use tokio::sync::Mutex;

use crate::arguments::Deploy;
use crate::cloud::Cloud;
use crate::code::{self, Code};
use crate::memory::{Memory, made_from};
use crate::stacks::{self, Places, Stack};
use crate::{image, profiles};

/// Parameters of the main template that suit one machine instead of a cloud: everything is near and waits for nobody.
///
/// The twin of `make run` lets the state machines wait a fifth of what they are told, so that a try after five seconds
/// comes after one. What counts such waits (a worker looked at, a worker given up) is five times as long for it.
const TWIN_PARAMETERS: &[(&str, &str)] = &[
    ("AllowedCidr", "127.0.0.0/8"),
    ("BatchSeconds", "1"),
    ("BootSeconds", "300"),
    ("DrainSeconds", "10"),
    ("GraceSeconds", "60"),
    // These two bound how far the time between two looks at a worker may grow: to some three seconds of a twin.
    ("MaxAttempts", "3"),
    ("MaxRunMinutes", "240"),
    ("PollFirstSeconds", "3"),
    ("PollMaxSeconds", "10"),
    ("Serve", "true"),
    ("SettleMaxSeconds", "60"),
    ("SettleSeconds", "3"),
    ("SilentSeconds", "300"),
    ("WaitSeconds", "3"),
];

/// A deployment in the making.
struct Deployment<'a> {
    cloud: &'a Cloud,
    templates: PathBuf,
    bucket: String,
    stacks: BTreeMap<String, Stack>,
    memory: Memory,
    /// Stacks that were deployed, with what they were made from; their new state is to be remembered.
    made: Mutex<BTreeMap<String, String>>,
}

/// Deploys what is not deployed yet and says where things are.
pub(crate) async fn deploy(cloud: &Cloud, options: &Deploy) -> Result<Places> {
    let profiles = options.profiles.as_deref().map(profiles::read).transpose()?;
    let programs = programs(options)?;
    let code = match &options.twin {
        Some(twin) => Code::in_place(&options.project, &programs, &twin.join("functions").join(&cloud.stack))?,
        None => Code::packaged(&options.project, &options.functions)?,
    };
    let bucket = code::bucket(cloud).await?;
    let (stacks, memory, ()) = try_join!(
        stacks::list(cloud),
        Memory::read(cloud, &bucket),
        code.put(cloud, &bucket)
    )?;
    let templates = options.project.join("cfn");
    let mut deployment = Deployment {
        cloud,
        templates,
        bucket,
        stacks,
        memory,
        made: Mutex::default(),
    };

    let images = async {
        if options.twin.is_some() {
            image::describe_twin(cloud, &programs).await
        } else {
            Ok(())
        }
    };
    // Each is let come to its end, whatever becomes of the others: a deployment cut off in the middle is in the way.
    let main = deployment.main(options, &code);
    let results = join!(images, main, deployment.profiles(profiles.as_ref()));
    deployment.remember().await?;
    results.0.and(results.1).and(results.2)?;
    if let Some(profiles) = &profiles {
        deployment.delete_profiles(profiles).await?;
    }
    code.remove_others(cloud, &deployment.bucket).await?;
    Places::of(deployment.stacks.get(&cloud.stack).context("the main stack is gone")?)
}

/// Where the programs of a twin are.
fn programs(options: &Deploy) -> Result<PathBuf> {
    match &options.programs {
        Some(programs) => Ok(programs.clone()),
        None => Ok(std::env::current_exe()?
            .parent()
            .context("this program lies nowhere")?
            .to_owned()),
    }
}

impl Deployment<'_> {
    /// The network, if none is given, and then everything that is in it.
    async fn main(&self, options: &Deploy, code: &Code) -> Result<()> {
        let mut parameters = BTreeMap::new();
        if options.twin.is_some() {
            parameters.extend(
                TWIN_PARAMETERS
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
            );
        }
        parameters.extend(options.parameters.iter().cloned());
        if !parameters.contains_key("VpcId") {
            let name = format!("{}-vpc", self.cloud.stack);
            let stack = match self.stack(&name, "vpc.yaml", &BTreeMap::new()).await? {
                Some(stack) => stack,
                None => stacks::list(self.cloud)
                    .await?
                    .remove(&name)
                    .context("the network's stack is gone")?,
            };
            for output in ["VpcId", "SubnetIds"] {
                parameters.insert(output.to_owned(), stack.output(output)?);
            }
        }
        parameters.insert("Prefix".to_owned(), self.cloud.prefix.clone());
        parameters.insert("CodeBucket".to_owned(), self.bucket.clone());
        parameters.insert("CodeVersion".to_owned(), code.version.clone());
        ensure!(
            parameters.contains_key("AllowedCidr") || self.stacks.contains_key(&self.cloud.stack),
            "say who may pull: --parameter AllowedCidr=203.0.113.7/32"
        );
        self.stack(&self.cloud.stack, "main.yaml", &parameters).await.map(drop)
    }

    async fn profiles(&self, profiles: Option<&BTreeMap<String, String>>) -> Result<()> {
        let deployed = profiles.into_iter().flatten().map(|(name, text)| async move {
            let parameters = [("Name", name), ("Prefix", &self.cloud.prefix), ("ExtraConfig", text)];
            let parameters = parameters.map(|(key, value)| (key.to_owned(), value.clone()));
            let stack = format!("{}{name}", self.profile_stacks());
            self.stack(&stack, "profile.yaml", &BTreeMap::from(parameters)).await
        });
        join_all(deployed)
            .await
            .into_iter()
            .try_for_each(|stack| stack.map(drop))
    }

    fn profile_stacks(&self) -> String {
        format!("{}-profile-", self.cloud.stack)
    }

    /// Deploys one stack, if it is not what it would become; then it is returned.
    async fn stack(&self, name: &str, template: &str, parameters: &BTreeMap<String, String>) -> Result<Option<Stack>> {
        let path = self.templates.join(template);
        let text = fs::read(&path).with_context(|| format!("reading the template {}", path.display()))?;
        let from = made_from(&text, parameters);
        if let Some(stack) = self.stacks.get(name) {
            if self.memory.holds(&from, stack) {
                return Ok(Some(stack.clone()));
            }
            // What is left of a creation that failed: it holds nothing, and CloudFormation updates it no more.
            if stack.stack_status == "ROLLBACK_COMPLETE" {
                stacks::delete(self.cloud, name).await?;
            }
        }
        println!("deploy: {name}");
        stacks::deploy(self.cloud, name, Path::new(&path), parameters).await?;
        self.made.lock().await.insert(name.to_owned(), from);
        Ok(None)
    }

    /// Notes the state of what was deployed.
    async fn remember(&mut self) -> Result<()> {
        let made = std::mem::take(self.made.get_mut());
        if made.is_empty() {
            return Ok(());
        }
        self.stacks = stacks::list(self.cloud).await?;
        for (name, from) in made {
            let stack = self
                .stacks
                .get(&name)
                .with_context(|| format!("the stack {name} is gone"))?;
            self.memory.made(&from, stack);
        }
        self.memory.write(self.cloud, &self.bucket).await
    }

    /// Deletes the stacks of profiles that are not there any more.
    async fn delete_profiles(&mut self, profiles: &BTreeMap<String, String>) -> Result<()> {
        let prefix = self.profile_stacks();
        let named = self.stacks.keys().filter_map(|stack| stack.strip_prefix(&prefix));
        let gone: Vec<_> = named
            .filter(|name| !profiles.contains_key(*name))
            .map(str::to_owned)
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let cloud = self.cloud;
        let deleted = gone
            .iter()
            .map(|name| format!("{prefix}{name}"))
            .map(|stack| async move {
                println!("deploy: deleting {stack}");
                stacks::delete(cloud, &stack).await
            });
        join_all(deleted).await.into_iter().collect::<Result<()>>()?;
        for name in &gone {
            self.memory.gone(&format!("{prefix}{name}"));
        }
        self.memory.write(self.cloud, &self.bucket).await
    }
}
