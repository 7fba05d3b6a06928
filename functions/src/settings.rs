//! What the stack tells its functions: names, ARNs and numbers, one environment variable each.

use anyhow::{Context, Result, anyhow, bail};
use contract::input::Market;
use contract::job::Role;

/// The settings of an installation. Every field is one variable, `VIBES_` and its name in capitals.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The installation's name: value of the tag `vibes:stack`.
    pub stack: String,
    /// AWS region, from `AWS_REGION`.
    pub region: String,
    /// Prefix of the SSM parameters, such as `/vibes`.
    pub prefix: String,
    /// Bucket with the collection.
    pub sources_bucket: String,
    /// Bucket with everything that vibes remembers.
    pub state_bucket: String,
    /// State machine that builds.
    pub pipeline_arn: String,
    /// State machine that ends a build.
    pub cleanup_arn: String,
    /// State machine that brings the server to what is wished for.
    pub serve_arn: String,
    /// Number of shards of a build.
    pub shards: u32,
    /// Attempts that a shard has, at most.
    pub max_attempts: u32,
    /// Longest time that a worker may live, in minutes.
    pub max_run_minutes: u32,
    /// Hours of instances that builds may use until one of them is released.
    pub max_instance_hours: u32,
    /// Markets to try, in order.
    pub markets: Vec<Market>,
    /// Public subnets to try for the server, in order.
    pub subnets: Vec<String>,
    /// Subnets to try for workers, in order.
    pub worker_subnets: Vec<String>,
    /// Instance types to try, in order, by role: worker, volmgr, server.
    pub instance_types: [Vec<String>; 3],
    /// Launch template names by role: worker, volmgr, server.
    pub launch_templates: [String; 3],
    /// An upload counts as going on while the newest object is younger than this.
    pub settle_seconds: u32,
    /// A build waits for an upload no longer than this.
    pub settle_max_seconds: u32,
    /// Number of releases that are kept, at least 1.
    pub keep_releases: u32,
    /// Serve the release after a build.
    pub serve: bool,
    /// Name of the server in the DNS, if it has one.
    pub domain: Option<String>,
    /// Seconds before the first polls of a worker.
    pub poll_first_seconds: u32,
    /// The wait between polls grows to this.
    pub poll_max_seconds: u32,
    /// A worker that has reported counts as lost after this much silence.
    pub silent_seconds: u32,
    /// The same for one that has not reported yet.
    pub boot_seconds: u32,
    /// Seconds between two steps of clean-up or serving.
    pub wait_seconds: u32,
    /// Seconds for which an older release stays mounted on the server after the switch.
    pub drain_seconds: u32,
    /// Age in seconds before the sweep marks a thing or believes that an execution is over.
    pub grace_seconds: u32,
}

const ROLES: [(Role, &str); 3] = [
    (Role::Worker, "WORKER"),
    (Role::Volmgr, "VOLMGR"),
    (Role::Server, "SERVER"),
];

impl Settings {
    /// Reads the settings by asking `variable` for each.
    ///
    /// # Errors
    /// A variable that is missing or not understood, by name.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Settings> {
        let text = |name: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| anyhow!("{name} is not set: deploy cfn/main.yaml again"))
        };
        let number =
            |name: &str| -> Result<u32> { text(name)?.parse().with_context(|| format!("{name} is not a number")) };
        let list = |name: &str| -> Result<Vec<String>> {
            Ok(text(name)?
                .split(',')
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect())
        };
        let market = |name: String| match name.as_str() {
            "spot" => Ok(Market::Spot),
            "on-demand" => Ok(Market::OnDemand),
            _ => Err(anyhow!("VIBES_MARKETS names {name:?}: known are spot, on-demand")),
        };
        let serve = text("VIBES_SERVE")?;
        let [worker, volmgr, server] = ROLES.map(|(_, role)| list(&format!("VIBES_INSTANCE_TYPES_{role}")));
        let [worker_template, volmgr_template, server_template] =
            ROLES.map(|(_, role)| text(&format!("VIBES_LAUNCH_TEMPLATE_{role}")));
        let settings = Settings {
            stack: text("VIBES_STACK")?,
            region: text("AWS_REGION")?,
            prefix: text("VIBES_PREFIX")?,
            sources_bucket: text("VIBES_SOURCES_BUCKET")?,
            state_bucket: text("VIBES_STATE_BUCKET")?,
            pipeline_arn: text("VIBES_PIPELINE_ARN")?,
            cleanup_arn: text("VIBES_CLEANUP_ARN")?,
            serve_arn: text("VIBES_SERVE_ARN")?,
            shards: number("VIBES_SHARDS")?,
            max_attempts: number("VIBES_MAX_ATTEMPTS")?,
            max_run_minutes: number("VIBES_MAX_RUN_MINUTES")?,
            max_instance_hours: number("VIBES_MAX_INSTANCE_HOURS")?,
            markets: list("VIBES_MARKETS")?.into_iter().map(market).collect::<Result<_>>()?,
            subnets: list("VIBES_SUBNETS")?,
            worker_subnets: list("VIBES_WORKER_SUBNETS")?,
            instance_types: [worker?, volmgr?, server?],
            launch_templates: [worker_template?, volmgr_template?, server_template?],
            settle_seconds: number("VIBES_SETTLE_SECONDS")?,
            settle_max_seconds: number("VIBES_SETTLE_MAX_SECONDS")?,
            keep_releases: number("VIBES_KEEP_RELEASES")?,
            serve: serve
                .parse()
                .with_context(|| format!("VIBES_SERVE is {serve:?}: known are true, false"))?,
            domain: variable("VIBES_DOMAIN").filter(|domain| !domain.is_empty()),
            poll_first_seconds: number("VIBES_POLL_FIRST_SECONDS")?,
            poll_max_seconds: number("VIBES_POLL_MAX_SECONDS")?,
            silent_seconds: number("VIBES_SILENT_SECONDS")?,
            boot_seconds: number("VIBES_BOOT_SECONDS")?,
            wait_seconds: number("VIBES_WAIT_SECONDS")?,
            drain_seconds: number("VIBES_DRAIN_SECONDS")?,
            grace_seconds: number("VIBES_GRACE_SECONDS")?,
        };
        let positive = [
            ("VIBES_SHARDS", settings.shards),
            ("VIBES_MAX_ATTEMPTS", settings.max_attempts),
            ("VIBES_MAX_RUN_MINUTES", settings.max_run_minutes),
            ("VIBES_KEEP_RELEASES", settings.keep_releases),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            bail!("{name} is 0: it must be at least 1");
        }
        Ok(settings)
    }

    /// The instance types to try for this role, in order.
    pub fn instance_types(&self, role: Role) -> &[String] {
        &self.instance_types[index(role)]
    }

    /// The name of this role's launch template.
    pub fn launch_template(&self, role: Role) -> &str {
        &self.launch_templates[index(role)]
    }
}

fn index(role: Role) -> usize {
    match role {
        Role::Worker => 0,
        Role::Volmgr => 1,
        Role::Server => 2,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The settings that the tests of this crate use, as the environment would give them.
    pub(crate) fn variable(name: &str) -> Option<String> {
        let value = match name {
            "AWS_REGION" => "eu-central-1",
            "VIBES_PREFIX" => "/vibes",
            "VIBES_MARKETS" => "spot,on-demand",
            "VIBES_SUBNETS" | "VIBES_WORKER_SUBNETS" => "subnet-a, subnet-b",
            "VIBES_SERVE" => "true",
            "VIBES_SHARDS" => "1",
            "VIBES_STACK" => "vibes",
            "VIBES_PIPELINE_ARN" => "arn:aws:states:eu-central-1:123456789012:stateMachine:vibes-pipeline",
            _ if name.ends_with("_ARN") || name.ends_with("_BUCKET") => "bucket-or-arn",
            _ if name.contains("LAUNCH_TEMPLATE") => "vibes-template",
            _ if name.contains("INSTANCE_TYPES") => "c7i.xlarge,c6i.xlarge",
            _ => "20",
        };
        Some(value.to_owned())
    }

    #[test]
    fn lists_are_split_and_trimmed() {
        let settings = Settings::read(variable).unwrap();
        assert_eq!(settings.subnets, ["subnet-a", "subnet-b"]);
        assert_eq!(settings.markets, [Market::Spot, Market::OnDemand]);
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = Settings::read(|name| variable(name).filter(|_| name != "VIBES_SHARDS")).unwrap_err();
        assert!(format!("{error:#}").contains("VIBES_SHARDS"));
    }

    #[test]
    fn no_attempts_at_all_are_refused() {
        let zero = |name: &str| {
            if name == "VIBES_MAX_ATTEMPTS" {
                Some("0".to_owned())
            } else {
                variable(name)
            }
        };
        assert!(format!("{:#}", Settings::read(zero).unwrap_err()).contains("VIBES_MAX_ATTEMPTS is 0"));
    }
}
