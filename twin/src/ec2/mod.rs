//! EC2 as far as the twin makes it real: a closed list of calls on instances, volumes, snapshots and their tags.
//!
//! Promised as in AWS: ids, states and their order, zones, client tokens, tags, filters, pages, error codes, attachment
//! rules, what survives a termination, what a role must be allowed to do (`needs.rs`). Not imitated: root volumes (an
//! instance's only devices are what is attached), quotas, and time: what takes AWS seconds to minutes takes a quarter of
//! a second here.
//!
//! Calls that only describe networks and launch templates go to the base, which CloudFormation there works with. Any
//! other call is refused by name: better a loud gap than a quiet difference.

mod images;
mod inspect;
mod instances;
mod lookups;
mod needs;
mod query;
mod refusal;
mod run;
mod snapshots;
mod state;
mod tags;
mod volumes;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use http::StatusCode;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) use refusal::error_document;

use self::query::{Query, Tags};
use self::refusal::{Outcome, Refusal};
use self::state::State;
use crate::base::Client;
use crate::call::Call;
use crate::callers::Callers;
use crate::faults::{Faults, Spoilt};
use crate::iam::Need;
use crate::machine::Machines;
use crate::xml::{leaf, set};

/// How long a new volume is `creating` and a new snapshot `pending`: long enough that nobody gets used to finding them
/// ready at once.
const SETTLES: Duration = Duration::from_millis(250);

/// Calls that are passed to the base: networks and launch templates are data there, and nothing more is needed.
const PASSED: [&str; 20] = [
    "DescribeAccountAttributes",
    "DescribeAvailabilityZones",
    "DescribeInternetGateways",
    "DescribeLaunchTemplateVersions",
    "DescribeLaunchTemplates",
    "DescribeManagedPrefixLists",
    "DescribeNetworkAcls",
    "DescribeNetworkInterfaces",
    "DescribePrefixLists",
    "DescribeRegions",
    "DescribeRouteTables",
    "DescribeSecurityGroupRules",
    "DescribeSecurityGroups",
    "DescribeSubnets",
    "DescribeVpcAttribute",
    "DescribeVpcEndpoints",
    "DescribeVpcs",
    "CreateLaunchTemplate",
    "CreateLaunchTemplateVersion",
    "DeleteLaunchTemplate",
];

/// The simulator. Every change of its state is saved before it is answered.
pub struct Ec2 {
    state: Mutex<State>,
    file: PathBuf,
    machines: Machines,
    base: Client,
    faults: Arc<Faults>,
    callers: Arc<Callers>,
    wait_scale: f64,
}

/// An answer of the simulator.
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// The document.
    pub xml: String,
    /// Error code, if it is a refusal.
    pub error: Option<String>,
    /// Ids of what the call made.
    pub made: Vec<String>,
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Answer {
        Answer {
            status: refusal.status,
            xml: refusal.document(),
            error: Some(refusal.code),
            made: Vec::new(),
        }
    }
}

/// The inside of a response document, and the ids of what was made.
#[derive(Debug, Default)]
struct Reply {
    inner: String,
    made: Vec<String>,
}

impl Reply {
    fn of(inner: String) -> Reply {
        Reply {
            inner,
            made: Vec::new(),
        }
    }

    /// What the calls answer that have nothing to say.
    fn done() -> Reply {
        Reply::of(leaf("return", true))
    }
}

impl Ec2 {
    /// Opens the state in `file`.
    pub fn open(
        file: &Path,
        machines: Machines,
        base: Client,
        faults: Arc<Faults>,
        callers: Arc<Callers>,
        wait_scale: f64,
    ) -> Result<Arc<Ec2>> {
        let state = State::load(file)?;
        state.save(file)?;
        let state = Mutex::new(state);
        Ok(Arc::new(Ec2 {
            state,
            file: file.to_owned(),
            machines,
            base,
            faults,
            callers,
            wait_scale,
        }))
    }

    /// What the caller must be allowed to do; an answer if that cannot be said, because the call names what is not there.
    pub async fn needs(&self, call: &Call) -> Result<Vec<Need>, Answer> {
        let needs = self.needed(call, Query(&call.parameters)).await;
        needs.map_err(Answer::from)
    }

    /// Answers a call; none if it is the base's to answer.
    pub async fn answer(self: &Arc<Self>, call: &Call, caller: &str, spoilt: Spoilt) -> Option<Answer> {
        let description = call.action.starts_with("Describe");
        if let Some(age) = spoilt.stale.filter(|_| description) {
            let earlier = Arc::new(self.earlier(age));
            return Box::pin(earlier.answer(call, caller, Spoilt::default())).await;
        }
        let query = Query(&call.parameters);
        let outcome = match self.dispatch(call, caller, query, spoilt).await {
            Some(outcome) => outcome,
            None if PASSED.contains(&call.action.as_str()) || self.is_tagging_elsewhere(call) => return None,
            None => Err(Refusal::new(
                "InvalidAction",
                format!(
                    "The twin has no ec2:{}: it is not on its closed list (twin/src/ec2/mod.rs).",
                    call.action
                ),
            )),
        };
        Some(match outcome {
            Ok(reply) => Answer {
                status: StatusCode::OK,
                xml: document(&call.action, &reply.inner),
                error: None,
                made: reply.made,
            },
            Err(refusal) => refusal.into(),
        })
    }

    async fn dispatch(
        self: &Arc<Self>,
        call: &Call,
        caller: &str,
        query: Query<'_>,
        spoilt: Spoilt,
    ) -> Option<Outcome<Reply>> {
        let simulated = async {
            Some(match call.action.as_str() {
                "RunInstances" => self.run_instances(call, caller, query, spoilt).await,
                "DescribeInstances" => self.describe_instances(query),
                "TerminateInstances" => self.terminate_instances(query),
                "GetConsoleOutput" => self.get_console_output(query).await,
                "CreateVolume" => self.create_volume(query, spoilt),
                "DescribeVolumes" => self.describe_volumes(query),
                "ModifyVolume" => self.modify_volume(query).await,
                "AttachVolume" => self.attach_volume(query, spoilt),
                "DetachVolume" => self.detach_volume(query),
                "DeleteVolume" => self.delete_volume(query),
                "CreateSnapshot" => self.create_snapshot(query, spoilt).await,
                "DescribeSnapshots" => self.describe_snapshots(query),
                "DeleteSnapshot" => self.delete_snapshot(query).await,
                "RegisterImage" => self.register_image(query),
                "DescribeImages" => self.describe_images(query),
                "DeregisterImage" => self.deregister_image(query),
                "CreateTags" if !self.is_tagging_elsewhere(call) => self.create_tags(query),
                "DeleteTags" if !self.is_tagging_elsewhere(call) => self.delete_tags(query),
                "DescribeTags" => self.describe_tags(query),
                _ => return None,
            })
        };
        match query.flag("DryRun") {
            Ok(true) if !PASSED.contains(&call.action.as_str()) => Some(Err(Refusal {
                status: StatusCode::PRECONDITION_FAILED,
                code: "DryRunOperation".to_owned(),
                message: "Request would have succeeded, but DryRun flag is set.".to_owned(),
            })),
            Ok(_) => simulated.await,
            Err(refusal) => Some(Err(refusal)),
        }
    }

    /// As it was some time ago, as far as descriptions tell: without what was made since.
    fn earlier(&self, age: Duration) -> Ec2 {
        let mut state = self.state.lock().expect("no panic inside").clone();
        state.forget_younger(OffsetDateTime::now_utc() - age);
        Ec2 {
            state: Mutex::new(state),
            file: self.file.clone(),
            machines: self.machines.clone(),
            base: self.base.clone(),
            faults: self.faults.clone(),
            callers: self.callers.clone(),
            wait_scale: self.wait_scale,
        }
    }

    /// Looks at the state.
    fn look<T>(&self, look: impl FnOnce(&mut State) -> Outcome<T>) -> Outcome<T> {
        let mut state = self.state.lock().expect("no panic inside");
        state.forget_old();
        look(&mut state)
    }

    /// Changes the state and saves it. A change that is refused must not have changed anything.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> Outcome<T>) -> Outcome<T> {
        let mut state = self.state.lock().expect("no panic inside");
        state.forget_old();
        let result = change(&mut state)?;
        state.save(&self.file).map_err(|error| Refusal::internal(&error))?;
        Ok(result)
    }

    /// A change by the twin itself, after a call was answered: it can only fail to be saved, which is logged.
    fn settle(&self, change: impl FnOnce(&mut State)) {
        let changed = self.change(|state| {
            change(state);
            Ok(())
        });
        // An internal refusal was logged where it was made.
        let _ = changed;
    }
}

fn document(action: &str, inner: &str) -> String {
    let id = leaf("requestId", "00000000-0000-4000-8000-000000000000");
    format!("<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">{id}{inner}</{action}Response>")
}

fn tag_set(tags: &Tags) -> String {
    set(
        "tagSet",
        tags.iter().map(|(key, value)| leaf("key", key) + &leaf("value", value)),
    )
}

/// A time as EC2 writes it: UTC, milliseconds.
fn stamp(time: OffsetDateTime) -> String {
    let whole = time.replace_millisecond(time.millisecond()).unwrap_or(time);
    whole.format(&Rfc3339).unwrap_or_default()
}
