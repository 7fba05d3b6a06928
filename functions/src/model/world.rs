//! The world of the model: what S3, Step Functions and EC2 hold, and what each step of an invocation does to it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use contract::control::Control;

use crate::executions::{Execution, Machine};

use super::Mutant;
use super::script::{self, Answer, Outcome, Progress, Request, Role, Step};

/// Everything that matters, after some steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct World {
    pub(super) control: Option<Control>,
    /// How many uploads there were: what the bucket holds.
    pub(super) bucket: u8,
    /// The release that is served next.
    pub(super) current: Option<String>,
    pub(super) builds: Vec<Build>,
    pub(super) invocations: Vec<Arc<Invocation>>,
    /// Control was taken from an owner whose clean-up had not begun.
    pub(super) robbed: bool,
    pub(super) left: super::Bounds,
}

/// A build: its execution, its objects, and what it has in EC2.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Build {
    pub(super) name: String,
    pub(super) status: Status,
    /// The step that its execution is at, or was stopped at.
    pub(super) step: Step,
    /// A step before its clean-up failed.
    failed: bool,
    /// Its input is refused.
    refused: bool,
    /// What the plan was made from.
    plan: Option<u8>,
    pub(super) thing: Thing,
    snapshot: bool,
    /// What its worker built.
    pub(super) built: Option<u8>,
    /// The release object exists.
    named: bool,
    /// When its execution came to publishing: the first, the second, ... of all.
    published: u8,
    /// Uploads whose wish was cleared for it.
    covers: u8,
    /// A person stopped it, or AWS failed it for good: its wish went with it, and its owner was told.
    excused: bool,
    /// The name of the clean-up that `ownership::start` starts is taken.
    cleaned: bool,
}

/// An execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Status {
    Absent,
    Running,
    Stopped,
    Over,
}

/// What a build makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Thing {
    None,
    Made,
    /// Its maker has passed the fence behind it.
    Kept,
}

/// A function that was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invocation {
    pub(super) role: Role,
    pub(super) caller: Caller,
    answers: Vec<Answer>,
    pub(super) asks: Request,
    hash: u64,
}

impl Hash for Invocation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Who waits for the answer of an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    /// Nobody any more.
    Nobody,
    /// The queue: asks again until it works.
    Queue,
    Pipeline,
    CleanupMachine,
}

impl World {
    pub(super) fn build(&self, name: &str) -> Option<&Build> {
        self.builds.iter().find(|build| build.name == name)
    }

    fn build_mut(&mut self, name: &str) -> &mut Build {
        let index = self.builds.iter().position(|build| build.name == name);
        let index = index.unwrap_or_else(|| {
            self.builds.push(Build::new(name));
            self.builds.len() - 1
        });
        &mut self.builds[index]
    }

    pub(super) fn owner(&self) -> Option<&str> {
        self.control.as_ref()?.owner.as_deref()
    }

    /// Nobody does anything: only the sweep's schedule may go on.
    pub(super) fn is_quiet(&self) -> bool {
        self.invocations.is_empty()
    }

    /// Quiet, control is free, and nothing is left of any build.
    pub(super) fn is_idle(&self) -> bool {
        self.is_quiet()
            && self.owner().is_none()
            && self.control.as_ref().is_none_or(|control| !control.pending)
            && self.builds.iter().all(|build| build.thing == Thing::None)
    }

    /// What the bucket holds is released, or whoever stopped the build for it knows.
    pub(super) fn is_built(&self) -> bool {
        let current = self.current.as_deref().and_then(|name| self.build(name));
        current.and_then(|build| build.built).unwrap_or(0) == self.bucket
            || self
                .builds
                .iter()
                .any(|build| build.excused && build.covers == self.bucket)
    }

    /// The current release has an object and a snapshot.
    pub(super) fn is_whole(&self) -> bool {
        let current = self.current.as_deref().and_then(|name| self.build(name));
        current.is_none_or(|build| build.named && build.snapshot)
    }

    pub(super) fn call(&mut self, role: Role, caller: Caller, mutant: Mutant) {
        self.go_on(role, caller, Vec::new(), mutant);
    }

    fn go_on(&mut self, role: Role, caller: Caller, answers: Vec<Answer>, mutant: Mutant) {
        let refused = match &role {
            Role::Build(Step::Plan, build) => self.build(build).is_some_and(|build| build.refused),
            _ => false,
        };
        let progress = if refused {
            Progress::Ended(Outcome::Failed)
        } else {
            script::run(&role, &answers, mutant)
        };
        match progress {
            Progress::Ended(outcome) => self.ended(role, caller, outcome, mutant),
            // No order of its own: who reads it before another writes it, the write itself finds out.
            Progress::Asks(asks @ (Request::FindPlan | Request::CleansUp)) => {
                let answer = self.effect(&role, &asks, mutant);
                let answers = answers.into_iter().chain([answer]).collect();
                self.go_on(role, caller, answers, mutant);
            }
            Progress::Asks(asks) => {
                let mut hasher = DefaultHasher::new();
                (&role, caller, &answers, &asks).hash(&mut hasher);
                let hash = hasher.finish();
                let invocation = Invocation {
                    role,
                    caller,
                    answers,
                    asks,
                    hash,
                };
                // In an order that does not say who came first.
                let place = self.invocations.partition_point(|other| other.hash < hash);
                self.invocations.insert(place, Arc::new(invocation));
            }
        }
    }

    /// The invocation takes its next step. Without the answer, it takes it again.
    pub(super) fn step(&mut self, index: usize, hears: bool, stale: bool, mutant: Mutant) {
        let Invocation {
            role,
            caller,
            mut answers,
            asks,
            ..
        } = Arc::unwrap_or_clone(self.invocations.remove(index));
        let answer = match &asks {
            Request::Look(name) if stale => Answer::Execution(self.looked_before(name)),
            _ => self.effect(&role, &asks, mutant),
        };
        match (&asks, &answer) {
            _ if !hears => {}
            // It reads again, and what it had read does not matter any more.
            (Request::WriteControl { answer: read, .. }, Answer::Is(false)) => answers.truncate(*read),
            _ => answers.push(answer),
        }
        self.go_on(role, caller, answers, mutant);
    }

    /// The invocation takes no further step. Its caller asks again, or gives up.
    pub(super) fn crash(&mut self, index: usize, gives_up: bool, mutant: Mutant) {
        let Invocation { role, caller, .. } = Arc::unwrap_or_clone(self.invocations.remove(index));
        self.lost(role, caller, gives_up, mutant);
    }

    /// The caller asks again, or gives up, while the invocation goes on.
    pub(super) fn forget(&mut self, index: usize, gives_up: bool, mutant: Mutant) {
        let Invocation {
            role, caller, answers, ..
        } = Arc::unwrap_or_clone(self.invocations.remove(index));
        self.go_on(role.clone(), Caller::Nobody, answers, mutant);
        self.lost(role, caller, gives_up, mutant);
    }

    fn lost(&mut self, role: Role, caller: Caller, gives_up: bool, mutant: Mutant) {
        if !gives_up {
            if caller != Caller::Nobody {
                self.call(role, caller, mutant);
            }
            return;
        }
        if let (Caller::Pipeline, Role::Build(_, build)) = (caller, &role) {
            self.build_mut(build).excused = true;
        }
        self.ended(role, caller, Outcome::Failed, mutant);
    }

    /// A person stops the execution; what it has called goes on, and EventBridge starts the clean-up.
    pub(super) fn stop(&mut self, name: &str, mutant: Mutant) {
        let build = self.build_mut(name);
        build.status = Status::Stopped;
        build.excused = true;
        let is_its = |invocation: &Arc<Invocation>| {
            let is_of_build = matches!(&invocation.role, Role::Build(_, build) if build == name);
            is_of_build && invocation.caller == Caller::Pipeline
        };
        if let Some(index) = self.invocations.iter().position(is_its) {
            let Invocation { role, answers, .. } = Arc::unwrap_or_clone(self.invocations.remove(index));
            self.go_on(role, Caller::Nobody, answers, mutant);
        }
        self.call(
            Role::Build(Step::Cleanup, name.to_owned()),
            Caller::CleanupMachine,
            mutant,
        );
    }

    /// A person has a stopped execution go on where it was.
    pub(super) fn redrive(&mut self, name: &str, mutant: Mutant) {
        let build = self.build_mut(name);
        build.status = Status::Running;
        let step = build.step;
        self.call(Role::Build(step, name.to_owned()), Caller::Pipeline, mutant);
    }

    /// An execution begins.
    pub(super) fn begin(&mut self, name: &str, refused: bool, mutant: Mutant) {
        let build = self.build_mut(name);
        build.status = Status::Running;
        build.refused = refused;
        self.enter(name, Step::Plan, mutant);
    }

    fn enter(&mut self, name: &str, step: Step, mutant: Mutant) {
        self.build_mut(name).step = step;
        self.call(Role::Build(step, name.to_owned()), Caller::Pipeline, mutant);
    }

    /// What the state machines and the queue make of an answer.
    fn ended(&mut self, role: Role, caller: Caller, outcome: Outcome, mutant: Mutant) {
        match (caller, role) {
            (Caller::Nobody, Role::Build(Step::Work, name)) if outcome == Outcome::Done => self.keep(&name),
            (Caller::Nobody, _) => {}
            (_, role) if outcome == Outcome::TryAgain => self.call(role, caller, mutant),
            (Caller::Queue, role) if outcome == Outcome::Failed => self.call(role, caller, mutant),
            (Caller::Queue, _) => {}
            (Caller::CleanupMachine, role) if outcome == Outcome::Remaining => self.call(role, caller, mutant),
            (Caller::CleanupMachine, _) => {}
            (Caller::Pipeline, Role::Build(step, name)) => self.advance(&name, step, outcome, mutant),
            (Caller::Pipeline, _) => unreachable!("the pipeline calls steps of builds"),
        }
    }

    /// `statemachines/pipeline.asl.json`.
    fn advance(&mut self, name: &str, step: Step, outcome: Outcome, mutant: Mutant) {
        let failed = outcome == Outcome::Failed;
        if step != Step::Cleanup {
            self.build_mut(name).failed |= failed;
        }
        match (step, outcome) {
            (Step::Plan, Outcome::Queued) => self.build_mut(name).status = Status::Over,
            (Step::Cleanup, Outcome::Remaining) => self.enter(name, Step::Cleanup, mutant),
            (Step::Cleanup, _) => {
                let build = self.build_mut(name);
                build.status = Status::Over;
                if build.failed || failed {
                    // EventBridge.
                    self.call(
                        Role::Build(Step::Cleanup, name.to_owned()),
                        Caller::CleanupMachine,
                        mutant,
                    );
                }
            }
            (Step::Plan, Outcome::Done) => self.enter(name, Step::Work, mutant),
            (Step::Work, Outcome::Done | Outcome::Found) => {
                if outcome == Outcome::Done {
                    self.keep(name);
                }
                let last = self.builds.iter().map(|build| build.published).max();
                self.build_mut(name).published = last.unwrap_or(0) + 1;
                self.enter(name, Step::Publish, mutant);
            }
            _ => self.enter(name, Step::Cleanup, mutant),
        }
    }

    fn keep(&mut self, name: &str) {
        let thing = &mut self.build_mut(name).thing;
        if *thing == Thing::Made {
            *thing = Thing::Kept;
        }
    }

    fn effect(&mut self, role: &Role, request: &Request, mutant: Mutant) -> Answer {
        let name = match role {
            Role::Build(_, name) => name.as_str(),
            _ => "",
        };
        match request {
            Request::ReadControl => {
                let mut control = self.control.clone();
                let is_fence = matches!(role, Role::Build(Step::Work | Step::Publish, _));
                if let Some(control) = &mut control
                    && is_fence
                    && mutant == Mutant::EndingIsNoFence
                {
                    control.ending = false;
                }
                return Answer::Control(control);
            }
            Request::WriteControl { next, read, .. } => return Answer::Is(self.write(next, read.as_ref(), mutant)),
            Request::Look(name) => return Answer::Execution(self.looked(name)),
            Request::Start(machine, name, input) => return Answer::Is(self.started(*machine, name, input, mutant)),
            Request::CleansUp => {
                let cleans = |invocation: &Arc<Invocation>| invocation.caller == Caller::CleanupMachine;
                return Answer::Is(self.invocations.iter().any(cleans));
            }
            Request::List => {
                let current = self.current.as_deref().and_then(|name| self.build(name));
                return Answer::Seen {
                    bucket: self.bucket,
                    released: current.and_then(|build| build.plan),
                };
            }
            Request::ReadCurrent => return Answer::Is(self.current.as_deref() == Some(name)),
            Request::MakeCurrent => self.current = Some(name.to_owned()),
            Request::MakeNewestCurrent if mutant == Mutant::OldStaysCurrent => {}
            Request::MakeNewestCurrent => {
                let named = self.builds.iter().filter(|build| build.named);
                self.current = named
                    .max_by_key(|build| build.published)
                    .map(|build| build.name.clone());
            }
            Request::EndLeftovers(owner) => {
                // Young things are left alone, and what nobody needs ends when a later sweep finds the same.
                let works = |name: &str| {
                    let is_its = |role: &Role| matches!(role, Role::Build(_, build) if build == name);
                    self.invocations.iter().any(|invocation| is_its(&invocation.role))
                };
                let works: Vec<bool> = self.builds.iter().map(|build| works(&build.name)).collect();
                for (build, works) in self.builds.iter_mut().zip(works) {
                    if Some(&build.name) != owner.as_ref() && build.status != Status::Running && !works {
                        build.thing = Thing::None;
                        build.snapshot &= build.named;
                    }
                }
            }
            _ => return self.build_mut(name).effect(request),
        }
        Answer::Done
    }

    fn write(&mut self, next: &Control, read: Option<&Control>, mutant: Mutant) -> bool {
        // An ETag is a digest of what was read.
        if self.control.as_ref() != read && mutant != Mutant::WritesAnyway {
            return false;
        }
        let before = self.control.clone().unwrap_or_default();
        let mut next = next.clone();
        match mutant {
            Mutant::NeverNotes => next.pending = before.pending,
            Mutant::ClosingForgets if next.ending && !before.ending => next.pending = false,
            _ => {}
        }
        self.robbed |= before.owner.is_some() && before.owner != next.owner && !before.ending;
        if let Some(owner) = next.owner.clone()
            && (before.owner != next.owner || before.pending)
            && !next.pending
        {
            let bucket = self.bucket;
            self.build_mut(&owner).covers = bucket;
        }
        self.control = Some(next);
        true
    }

    fn started(&mut self, machine: Machine, name: &str, input: &serde_json::Value, mutant: Mutant) -> bool {
        match machine {
            Machine::Pipeline => match self.build(name).map_or(Status::Absent, |build| build.status) {
                Status::Absent => {
                    self.begin(name, false, mutant);
                    true
                }
                // Asked for with the same input, StartExecution gives the one that runs.
                Status::Running => !self.build_mut(name).refused,
                Status::Stopped | Status::Over => false,
            },
            Machine::Cleanup => {
                let build = input["build"].as_str().unwrap_or_default().to_owned();
                // The sweep's names are never taken.
                if name == build && std::mem::replace(&mut self.build_mut(name).cleaned, true) {
                    return false;
                }
                self.call(Role::Build(Step::Cleanup, build), Caller::CleanupMachine, mutant);
                true
            }
        }
    }

    fn looked(&self, name: &str) -> Execution {
        match self.build(name).map_or(Status::Absent, |build| build.status) {
            Status::Absent => Execution::Absent,
            Status::Running => Execution::Running,
            Status::Stopped | Status::Over => Execution::Over(0),
        }
    }

    fn looked_before(&self, name: &str) -> Execution {
        match self.looked(name) {
            Execution::Over(_) => Execution::Running,
            _ => Execution::Absent,
        }
    }
}

impl Build {
    fn new(name: &str) -> Build {
        Build {
            name: name.to_owned(),
            status: Status::Absent,
            step: Step::Plan,
            failed: false,
            refused: false,
            plan: None,
            thing: Thing::None,
            snapshot: false,
            built: None,
            named: false,
            published: 0,
            covers: 0,
            excused: false,
            cleaned: false,
        }
    }

    fn effect(&mut self, request: &Request) -> Answer {
        match request {
            Request::FindPlan => return Answer::Is(self.plan.is_some()),
            Request::PutPlan(listed) => {
                self.plan.get_or_insert(*listed);
            }
            Request::Find => return Answer::Is(self.thing != Thing::None),
            Request::Make => {
                self.thing = Thing::Made;
                self.snapshot = true;
                self.built = self.plan;
            }
            Request::FindSnapshot => return Answer::Is(self.snapshot),
            Request::NameRelease => self.named = true,
            Request::End => {
                let was = std::mem::replace(&mut self.thing, Thing::None);
                return Answer::Is(was != Thing::None);
            }
            Request::IsNamed => return Answer::Is(self.named || !self.snapshot),
            Request::DeleteSnapshot => self.snapshot = false,
            other => unreachable!("{other:?} is not of a build"),
        }
        Answer::Done
    }
}
