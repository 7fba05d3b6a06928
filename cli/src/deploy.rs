//! Brings code, stacks, profiles and (in a twin) the description of images into the account.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use futures::{join, try_join};
use tokio::sync::Mutex;

use crate::account::Account;
use crate::arguments::Deploy;
use crate::bucket;
use crate::changes::{self, Template};
use crate::cloud::Cloud;
use crate::code::Code;
use crate::memory::{Memory, made_from};
use crate::stacks::{self, Places, Stack};
use crate::{access, image, profiles};

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
    ("PlainHttpCidr", "127.0.0.0/8"),
    ("PollFirstSeconds", "3"),
    ("PollMaxSeconds", "10"),
    ("Serve", "true"),
    ("SettleMaxSeconds", "60"),
    ("SettleSeconds", "3"),
    ("SilentSeconds", "300"),
    ("WaitSeconds", "3"),
];

/// The stacks of an installation as they shall be, and what of them there is.
pub(crate) struct Deployment<'a> {
    cloud: &'a Cloud,
    options: &'a Deploy,
    bucket: String,
    version: String,
    stacks: BTreeMap<String, Stack>,
    memory: Memory,
    /// Stacks that were looked at, with what they are made from; their state is to be remembered.
    made: Mutex<BTreeMap<String, String>>,
    changed: AtomicBool,
}

/// Deploys what is not deployed yet and says where things are.
pub(crate) async fn deploy(cloud: &Cloud, account: &Account, options: &Deploy) -> Result<Places> {
    let profiles = options.profiles.as_deref().map(profiles::read).transpose()?;
    let code = code(cloud, options)?;
    if options.twin.is_none() {
        account.print(cloud);
    }
    let stacks = stacks::list(cloud).await?;
    is_told(cloud, options, &stacks)?;
    let bucket = bucket::of_code(cloud, account);
    bucket::make(cloud, &bucket).await?;
    let (memory, ()) = try_join!(Memory::read(cloud, &bucket), code.put(cloud, &bucket))?;
    let mut deployment = Deployment::new(cloud, options, bucket, code.version.clone(), stacks, memory);

    let images = async {
        match &options.twin {
            Some(_) => {
                image::describe_twin(cloud, &programs(options)?, options.images.as_deref()).await?;
                access::open_twin(cloud).await
            }
            None => Ok(()),
        }
    };
    // Each is let come to its end, whatever becomes of the others: a deployment cut off in the middle is in the way.
    let results = join!(images, deployment.main(), deployment.profiles(profiles.as_ref()));
    deployment.remember().await?;
    results.0.and(results.1).and(results.2)?;
    if let Some(profiles) = &profiles {
        deployment.delete_profiles(profiles).await?;
    }
    code.remove_others(cloud, &deployment.bucket).await?;
    if !deployment.changed.into_inner() {
        println!("deploy: nothing has changed");
    }
    Places::of(deployment.stacks.get(&cloud.stack).context("the main stack is gone")?)
}

/// What is put into the code bucket.
pub(crate) fn code(cloud: &Cloud, options: &Deploy) -> Result<Code> {
    match (&options.functions, &options.twin) {
        (None, Some(twin)) => {
            let keep = twin.join("functions").join(&cloud.stack);
            Code::in_place(&options.project, &programs(options)?, &keep)
        }
        (zips, _) => {
            let zips = zips.as_deref().unwrap_or(Path::new("target/lambda"));
            Code::packaged(&options.project, &zips.join(&options.architecture))
        }
    }
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

/// Looks whether a deployment could begin.
pub(crate) async fn check(cloud: &Cloud, account: &Account, options: &Deploy) -> Result<()> {
    account.print(cloud);
    options.profiles.as_deref().map(profiles::read).transpose()?;
    is_told(cloud, options, &stacks::list(cloud).await?)
}

/// What must be said before anything is made is said.
pub(crate) fn is_told(cloud: &Cloud, options: &Deploy, stacks: &BTreeMap<String, Stack>) -> Result<()> {
    let given = |key: &str| options.parameters.iter().any(|(given, _)| given == key);
    let main = stacks.get(&cloud.stack);
    ensure!(
        given("AllowedCidr")
            || options.twin.is_some()
            || main.is_some_and(|main| main.parameters.contains_key("AllowedCidr")),
        "say who may pull, there is no default: --parameter AllowedCidr=203.0.113.7/32 (make deploy \
         ALLOWED_CIDR=203.0.113.7/32)"
    );
    ensure!(
        given("VpcId") == given("SubnetIds"),
        "VpcId and SubnetIds belong together: give both, or none for a network of its own"
    );
    Ok(())
}

impl<'a> Deployment<'a> {
    /// From what there is.
    pub(crate) fn new(
        cloud: &'a Cloud,
        options: &'a Deploy,
        bucket: String,
        version: String,
        stacks: BTreeMap<String, Stack>,
        memory: Memory,
    ) -> Self {
        Self {
            cloud,
            options,
            bucket,
            version,
            stacks,
            memory,
            made: Mutex::default(),
            changed: AtomicBool::new(false),
        }
    }

    /// The network, if it is ours to make, and then everything that is in it.
    async fn main(&self) -> Result<()> {
        let network = match self.network() {
            None => BTreeMap::new(),
            Some(name) => {
                let stack = match self.stack(&name, "vpc.yaml", &BTreeMap::new()).await? {
                    Some(stack) => stack,
                    None => stacks::find(self.cloud, &name)
                        .await?
                        .context("the network's stack is gone")?,
                };
                network_of(&stack, &self.template("main.yaml")?)
            }
        };
        self.stack(&self.cloud.stack, "main.yaml", &self.main_parameters(network))
            .await
            .map(drop)
    }

    /// Name of the network's stack; none if the network is somebody else's: given now, or when main was made.
    pub(crate) fn network(&self) -> Option<String> {
        let name = format!("{}-vpc", self.cloud.stack);
        let given = self.options.parameters.iter().any(|(key, _)| key == "VpcId");
        let ours = self.stacks.contains_key(&name) || !self.main_has("VpcId");
        (!given && ours).then_some(name)
    }

    fn main_has(&self, parameter: &str) -> bool {
        let main = self.stacks.get(&self.cloud.stack);
        main.is_some_and(|main| main.parameters.contains_key(parameter))
    }

    /// The parameters of the main stack that are not left as they are.
    pub(crate) fn main_parameters(&self, network: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut parameters = network;
        if self.options.twin.is_some() {
            parameters.extend(
                TWIN_PARAMETERS
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
            );
        }
        parameters.extend(self.options.parameters.iter().cloned());
        parameters.insert("Prefix".to_owned(), self.cloud.prefix.clone());
        parameters.insert("Architecture".to_owned(), self.options.architecture.clone());
        parameters.insert("CodeBucket".to_owned(), self.bucket.clone());
        parameters.insert("CodeVersion".to_owned(), self.version.clone());
        parameters
    }

    async fn profiles(&self, profiles: Option<&BTreeMap<String, String>>) -> Result<()> {
        let deployed = profiles.into_iter().flatten().map(|(name, text)| async move {
            let stack = format!("{}{name}", self.profile_stacks());
            self.stack(&stack, "profile.yaml", &self.profile_parameters(name, text))
                .await
        });
        join_all(deployed)
            .await
            .into_iter()
            .try_for_each(|stack| stack.map(drop))
    }

    /// What the names of the profiles' stacks begin with.
    pub(crate) fn profile_stacks(&self) -> String {
        profile_stacks(self.cloud)
    }

    /// The parameters of a profile's stack.
    pub(crate) fn profile_parameters(&self, name: &str, text: &str) -> BTreeMap<String, String> {
        let parameters = [("Name", name), ("Prefix", &self.cloud.prefix), ("ExtraConfig", text)];
        BTreeMap::from(parameters.map(|(key, value)| (key.to_owned(), value.to_owned())))
    }

    /// A template of the project.
    pub(crate) fn template(&self, name: &str) -> Result<Template> {
        let path = self.options.project.join("cfn").join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("reading the template {}", path.display()))?;
        let region = &self.cloud.region;
        // As the templates write it: AWS::URLSuffix.
        let suffix = match self.cloud.partition() {
            "aws-cn" => "amazonaws.com.cn",
            _ => "amazonaws.com",
        };
        Ok(Template {
            name: name.to_owned(),
            text,
            url: format!(
                "https://s3.{region}.{suffix}/{}/templates/{}/{name}",
                self.bucket, self.version
            ),
        })
    }

    /// The stack as it is.
    pub(crate) fn there(&self, name: &str) -> Option<&Stack> {
        self.stacks.get(name)
    }

    /// The stack is what these would make of it.
    pub(crate) fn holds(&self, name: &str, template: &Template, parameters: &BTreeMap<String, String>) -> bool {
        let from = made_from(template.text.as_bytes(), parameters);
        self.there(name).is_some_and(|stack| self.memory.holds(&from, stack))
    }

    /// Stacks of profiles that are not there any more.
    pub(crate) fn gone<'b>(&'b self, profiles: &'b BTreeMap<String, String>) -> impl Iterator<Item = &'b Stack> {
        let prefix = self.profile_stacks();
        self.stacks.values().filter(move |stack| {
            let name = stack.name.strip_prefix(&prefix);
            let ours = stack.installation.as_deref() == Some(&self.cloud.stack);
            ours && name.is_some_and(|name| !profiles.contains_key(name))
        })
    }

    /// Deploys one stack, if it is not what it would become; then it is returned.
    async fn stack(&self, name: &str, template: &str, parameters: &BTreeMap<String, String>) -> Result<Option<Stack>> {
        let template = self.template(template)?;
        let from = made_from(template.text.as_bytes(), parameters);
        let mut there = self.there(name);
        if let Some(stack) = there {
            if self.memory.holds(&from, stack) {
                return Ok(Some(stack.clone()));
            }
            if stack.is_stillborn() {
                stacks::delete(self.cloud, "deploy", stack).await?;
                there = None;
            }
        }
        let set = changes::prepare(self.cloud, name, &template, parameters, there, false).await?;
        if let Some(set) = set {
            println!("deploy: {name}");
            self.changed.store(true, Ordering::Relaxed);
            set.execute(self.cloud).await?;
        }
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
            let stack = self.there(&name).with_context(|| format!("the stack {name} is gone"))?;
            self.memory.made(&from, &stack.clone());
        }
        self.memory.write(self.cloud, &self.bucket).await
    }

    /// Deletes the stacks of profiles that are not there any more.
    async fn delete_profiles(&mut self, profiles: &BTreeMap<String, String>) -> Result<()> {
        let gone: Vec<Stack> = self.gone(profiles).cloned().collect();
        if gone.is_empty() {
            return Ok(());
        }
        *self.changed.get_mut() = true;
        let cloud = self.cloud;
        let deleted = gone.iter().map(|stack| async move {
            println!("deploy: deleting {}", stack.name);
            stacks::delete(cloud, "deploy", stack).await
        });
        join_all(deleted).await.into_iter().collect::<Result<()>>()?;
        for stack in &gone {
            self.memory.gone(&stack.name);
        }
        self.memory.write(self.cloud, &self.bucket).await
    }
}

/// What the names of an installation's profiles' stacks begin with.
pub(crate) fn profile_stacks(cloud: &Cloud) -> String {
    format!("{}-profile-", cloud.stack)
}

/// The ids that the network's stack says, as far as the main template asks for them by these names.
pub(crate) fn network_of(stack: &Stack, main: &Template) -> BTreeMap<String, String> {
    let ids = stack
        .outputs
        .iter()
        .filter(|(key, _)| main.text.contains(&format!("\n  {key}:\n")));
    ids.map(|(key, output)| (key.clone(), output.value.clone())).collect()
}
