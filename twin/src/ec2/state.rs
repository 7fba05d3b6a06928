//! What EC2 knows: instances, volumes, snapshots, client tokens. Kept whole in one file.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::query::Tags;
use super::refusal::{Outcome, Refusal};

/// AWS shows a terminated instance for about an hour.
const TERMINATED_VISIBLE: Duration = Duration::HOUR;
/// AWS remembers the token of a call at least this long.
const TOKEN_REMEMBERED: Duration = Duration::DAY;

/// Everything. Keys are ids.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Instances, ended ones for a while too.
    pub(super) instances: BTreeMap<String, Instance>,
    /// Volumes.
    pub(super) volumes: BTreeMap<String, Volume>,
    /// Snapshots.
    pub(super) snapshots: BTreeMap<String, Snapshot>,
    /// Images that were registered.
    #[serde(default)]
    pub(super) images: BTreeMap<String, Image>,
    /// Client tokens by `ACTION/TOKEN`.
    pub(super) tokens: BTreeMap<String, Token>,
}

/// What a client token stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Token {
    /// Digest of the call's other parameters.
    pub(super) digest: String,
    /// What the call made.
    pub(super) ids: Vec<String>,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub(super) at: OffsetDateTime,
}

/// An instance's state, with AWS's names and codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// It is being made.
    Pending,
    /// Its agent was started.
    Running,
    /// It is being ended.
    ShuttingDown,
    /// It is gone.
    Terminated,
    /// It powered itself off, and that does not end it.
    Stopped,
}

impl Phase {
    /// AWS's code and name.
    pub(super) fn code_and_name(self) -> (u16, &'static str) {
        match self {
            Phase::Pending => (0, "pending"),
            Phase::Running => (16, "running"),
            Phase::ShuttingDown => (32, "shutting-down"),
            Phase::Terminated => (48, "terminated"),
            Phase::Stopped => (80, "stopped"),
        }
    }
}

/// Why an instance is in its state: `StateReason`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Reason {
    /// Such as `Client.UserInitiatedShutdown`.
    pub(super) code: String,
    /// For people.
    pub(super) message: String,
}

/// An instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Instance {
    /// `i-...`
    pub(super) id: String,
    /// `r-...`, of the RunInstances call.
    pub(super) reservation: String,
    /// Position within the call.
    pub(super) index: usize,
    /// Its state.
    pub(super) phase: Phase,
    /// Why.
    pub(super) reason: Option<Reason>,
    /// `StateTransitionReason`.
    pub(super) transition: String,
    /// Image id.
    pub(super) image: String,
    /// Instance type.
    pub(super) instance_type: String,
    /// Zone, from the subnet.
    pub(super) zone: String,
    /// Subnet id.
    pub(super) subnet: String,
    /// VPC id.
    pub(super) vpc: String,
    /// Security group ids.
    pub(super) groups: Vec<String>,
    /// Started in the spot market.
    pub(super) spot: bool,
    /// Powering off ends it; otherwise it is stopped.
    pub(super) terminates_on_shutdown: bool,
    /// It gets a public address.
    pub(super) public: bool,
    /// ARN of the instance profile.
    pub(super) profile: Option<String>,
    /// The call's token.
    pub(super) token: Option<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub(super) launched: OffsetDateTime,
    /// When it was gone.
    #[serde(with = "time::serde::rfc3339::option")]
    pub(super) ended: Option<OffsetDateTime>,
    /// Inside its network; while running.
    pub(super) private_ip: Option<Ipv4Addr>,
    /// On the host; while running.
    pub(super) public_ip: Option<Ipv4Addr>,
    /// Tags.
    pub(super) tags: Tags,
}

impl Instance {
    /// It is not on its way out and can be used.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Pending | Phase::Running)
    }
}

/// How far an attachment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stage {
    /// The device is on its way into the instance.
    Attaching,
    /// The instance sees it.
    Attached,
    /// Waits until the instance lets it go.
    Detaching,
}

impl Stage {
    /// AWS's name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Stage::Attaching => "attaching",
            Stage::Attached => "attached",
            Stage::Detaching => "detaching",
        }
    }
}

/// A volume's attachment to an instance. None survives the volume, nor ends it with the instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Attachment {
    /// The instance.
    pub(super) instance: String,
    /// The name the caller gave it, such as `/dev/sdf`; instances find it by volume id.
    pub(super) device: String,
    /// How far it is.
    pub(super) state: Stage,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub(super) since: OffsetDateTime,
}

/// A volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Volume {
    /// `vol-...`
    pub(super) id: String,
    /// GiB.
    pub(super) size: u32,
    /// Zone.
    pub(super) zone: String,
    /// The snapshot it was made from.
    pub(super) snapshot: Option<String>,
    /// `gp3` ...
    pub(super) volume_type: String,
    /// Provisioned IOPS, as given.
    pub(super) iops: Option<u32>,
    /// MiB/s, as given.
    pub(super) throughput: Option<u32>,
    /// Said to be encrypted.
    pub(super) encrypted: bool,
    /// `creating`, `available`, `in-use`, `deleting` or `error`.
    pub(super) status: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub(super) created: OffsetDateTime,
    /// Where it is attached.
    pub(super) attachment: Option<Attachment>,
    /// Tags.
    pub(super) tags: Tags,
}

/// A snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// `snap-...`
    pub(super) id: String,
    /// The volume it was taken of.
    pub(super) volume: String,
    /// GiB of that volume.
    pub(super) size: u32,
    /// `pending`, `completed` or `error`.
    pub(super) status: String,
    /// What the caller called it.
    pub(super) description: String,
    /// Said to be encrypted.
    pub(super) encrypted: bool,
    /// When it was started.
    #[serde(with = "time::serde::rfc3339")]
    pub(super) started: OffsetDateTime,
    /// Tags.
    pub(super) tags: Tags,
}

/// An image that was registered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Image {
    /// `ami-...`
    pub(super) id: String,
    /// Its name.
    pub(super) name: String,
    /// What its volumes are made from.
    pub(super) snapshots: Vec<String>,
    /// When it was registered.
    #[serde(with = "time::serde::rfc3339")]
    pub(super) created: OffsetDateTime,
    /// Tags.
    pub(super) tags: Tags,
}

impl State {
    /// The state in `path`, settled: after a restart no instance lives and nothing is attached or on its way.
    pub(super) fn load(path: &Path) -> Result<State> {
        let mut state: State = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let living: Vec<String> = state
            .instances
            .values()
            .filter(|instance| instance.phase != Phase::Terminated)
            .map(|i| i.id.clone())
            .collect();
        for id in living {
            let reason = Reason {
                code: "Server.InternalError".into(),
                message: "The twin was stopped".into(),
            };
            state.end(&id, reason, "Server.InternalError");
        }
        for volume in state.volumes.values_mut().filter(|volume| volume.status != "available") {
            // Whether it was made or deleted is not known; it can be deleted again.
            volume.status = "error".to_owned();
        }
        for snapshot in state
            .snapshots
            .values_mut()
            .filter(|snapshot| snapshot.status == "pending")
        {
            snapshot.status = "error".to_owned();
        }
        Ok(state)
    }

    /// Writes the state whole: a crash leaves the old file or the new one.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let new = path.with_extension("json.new");
        std::fs::write(&new, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", new.display()))?;
        std::fs::rename(&new, path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Forgets what AWS would have forgotten.
    pub(super) fn forget_old(&mut self) {
        let now = OffsetDateTime::now_utc();
        self.instances
            .retain(|_, instance| instance.ended.is_none_or(|ended| now - ended < TERMINATED_VISIBLE));
        self.tokens.retain(|_, token| now - token.at < TOKEN_REMEMBERED);
    }

    /// Leaves out what was made after this moment.
    pub(super) fn forget_younger(&mut self, moment: OffsetDateTime) {
        self.instances.retain(|_, instance| instance.launched <= moment);
        self.volumes.retain(|_, volume| volume.created <= moment);
        self.snapshots.retain(|_, snapshot| snapshot.started <= moment);
    }

    /// An instance is gone: its volumes become available again.
    pub(super) fn end(&mut self, id: &str, reason: Reason, transition: &str) {
        let now = OffsetDateTime::now_utc();
        if let Some(instance) = self.instances.get_mut(id) {
            instance.phase = Phase::Terminated;
            instance.reason = Some(reason);
            instance.transition = transition.to_owned();
            instance.ended = Some(now);
            (instance.private_ip, instance.public_ip) = (None, None);
        }
        let its = |volume: &&mut Volume| {
            volume
                .attachment
                .as_ref()
                .is_some_and(|attachment| attachment.instance == id)
        };
        for volume in self.volumes.values_mut().filter(its) {
            volume.attachment = None;
            volume.status = "available".to_owned();
        }
    }

    /// What the token stands for; a refusal if it came with other parameters before.
    pub(super) fn replay(&self, action: &str, token: Option<&str>, digest: &str) -> Outcome<Option<Vec<String>>> {
        let Some(token) = token else { return Ok(None) };
        match self.tokens.get(&format!("{action}/{token}")) {
            Some(known) if known.digest == digest => Ok(Some(known.ids.clone())),
            Some(_) => Err(Refusal::token_mismatch(token)),
            None => Ok(None),
        }
    }

    /// Remembers what a call with this token made.
    pub(super) fn remember(&mut self, action: &str, token: Option<&str>, digest: &str, ids: Vec<String>) {
        if let Some(token) = token {
            let known = Token {
                digest: digest.to_owned(),
                ids,
                at: OffsetDateTime::now_utc(),
            };
            self.tokens.insert(format!("{action}/{token}"), known);
        }
    }

    /// The instance, or AWS's refusal.
    pub(super) fn instance(&mut self, id: &str) -> Outcome<&mut Instance> {
        let missing = || absent("InvalidInstanceID", "i-", id, "The instance ID", "does not exist");
        self.instances.get_mut(id).ok_or_else(missing)
    }

    /// The volume, or AWS's refusal.
    pub(super) fn volume(&mut self, id: &str) -> Outcome<&mut Volume> {
        let missing = || absent("InvalidVolume", "vol-", id, "The volume", "does not exist.");
        self.volumes.get_mut(id).ok_or_else(missing)
    }

    /// The registered image, or AWS's refusal.
    pub(super) fn image(&mut self, id: &str) -> Outcome<&mut Image> {
        let missing = || absent("InvalidAMIID", "ami-", id, "The image id", "does not exist");
        self.images.get_mut(id).ok_or_else(missing)
    }

    /// The snapshot, or AWS's refusal.
    pub(super) fn snapshot(&mut self, id: &str) -> Outcome<&mut Snapshot> {
        let missing = || absent("InvalidSnapshot", "snap-", id, "The snapshot", "does not exist.");
        self.snapshots.get_mut(id).ok_or_else(missing)
    }
}

fn absent(code: &str, prefix: &str, id: &str, what: &str, end: &str) -> Refusal {
    let hex = id
        .strip_prefix(prefix)
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_hexdigit()));
    match (hex, code) {
        (true, _) => Refusal::new(&format!("{code}.NotFound"), format!("{what} '{id}' {end}")),
        (false, "InvalidInstanceID") => Refusal::new("InvalidInstanceID.Malformed", format!("Invalid id: \"{id}\"")),
        (false, _) => Refusal::invalid(format!("Value ({id}) is invalid. Expected: '{prefix}...'.")),
    }
}

/// A new id: the prefix and 17 random hexadecimal digits, as AWS's.
pub(super) fn new_id(prefix: &str) -> String {
    // The standard library's hash keys are random; no crate is needed for that.
    let random = || RandomState::new().build_hasher().finish();
    format!("{prefix}{:016x}{:x}", random(), random() & 0xf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_for_one_call() {
        let mut state = State::default();
        state.remember("RunInstances", Some("t"), "d", vec!["i-1".into()]);
        assert_eq!(
            state.replay("RunInstances", Some("t"), "d").unwrap(),
            Some(vec!["i-1".to_owned()])
        );
        assert_eq!(
            state.replay("RunInstances", Some("t"), "e").unwrap_err().code,
            "IdempotentParameterMismatch"
        );
        assert_eq!(state.replay("CreateVolume", Some("t"), "e").unwrap(), None);
    }

    #[test]
    fn absent_things_have_the_codes_of_aws() {
        let mut state = State::default();
        assert_eq!(state.instance("i-0123").unwrap_err().code, "InvalidInstanceID.NotFound");
        assert_eq!(
            state.instance("nonsense").unwrap_err().code,
            "InvalidInstanceID.Malformed"
        );
        assert_eq!(state.volume("vol-0123").unwrap_err().code, "InvalidVolume.NotFound");
        assert_eq!(
            state.snapshot("snap-0123").unwrap_err().code,
            "InvalidSnapshot.NotFound"
        );
        assert_eq!(state.snapshot("vol-0123").unwrap_err().code, "InvalidParameterValue");
    }

    #[test]
    fn ids_look_like_those_of_aws() {
        let id = new_id("vol-");
        assert_eq!(id.len(), "vol-".len() + 17);
        assert_ne!(id, new_id("vol-"));
    }
}
