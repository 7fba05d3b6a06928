//! Runs a function of the protocol up to its next step: from its beginning, with the answers that it has had so far.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use anyhow::{Result, bail};
use contract::control::Control;
use contract::fault::Name;
use contract::input::Input;
use serde_json::Value;

use crate::executions::{Execution, Machine};
use crate::fault::Fault;
use crate::ownership::World;
use crate::plan::Begun;
use crate::settings::Settings;
use crate::store::Stored;
use crate::{cleanup, ownership, plan, publish, sweep, trigger};

use super::Mutant;

/// All happens at once: nothing in the protocol is decided by a clock but the sweep's grace, which is over then.
const NOW: &str = "2026-11-21T03:00:00Z";

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings::read(crate::settings::tests::variable).unwrap());

/// What one invocation does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Trigger,
    Sweep,
    /// A step of this build.
    Build(Step, String),
}

/// A step of a build. Work stands for all that make something; it has a thing that must end, and a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Plan,
    Work,
    Publish,
    Cleanup,
}

/// One step of an invocation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Request {
    ReadControl,
    /// The one that was read is the answer of this number.
    WriteControl {
        next: Control,
        read: Option<Control>,
        answer: usize,
    },
    Look(String),
    Start(Machine, String, Value),
    CleansUp,
    FindPlan,
    List,
    PutPlan(u8),
    Find,
    Make,
    FindSnapshot,
    NameRelease,
    ReadCurrent,
    MakeCurrent,
    MakeNewestCurrent,
    End,
    IsNamed,
    DeleteSnapshot,
    /// What is of no build that runs, and not of this owner.
    EndLeftovers(Option<String>),
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Control(Option<Control>),
    Execution(Execution),
    Is(bool),
    /// What the bucket holds, and what the current release was made from.
    Seen {
        bucket: u8,
        released: Option<u8>,
    },
    Done,
}

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Done,
    /// It was made by an earlier call: that one keeps or undoes it, or was cut off, and clean-up ends it.
    Found,
    UpToDate,
    Queued,
    Remaining,
    TryAgain,
    Failed,
}

/// Where an invocation is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Progress {
    Asks(Request),
    Ended(Outcome),
}

pub(super) fn run(role: &Role, answers: &[Answer], mutant: Mutant) -> Progress {
    let script = Script {
        answers,
        used: Cell::new(0),
        asks: RefCell::new(None),
    };
    let ended = match pin!(script.play(role, mutant)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result.unwrap_or_else(|error| match Fault::from(error).name {
            Name::TryAgain => Outcome::TryAgain,
            _ => Outcome::Failed,
        })),
        Poll::Pending => None,
    };
    match (ended, script.asks.take()) {
        (Some(outcome), _) => Progress::Ended(outcome),
        (None, Some(request)) => Progress::Asks(request),
        (None, None) => unreachable!("waits for nothing"),
    }
}

struct Script<'a> {
    answers: &'a [Answer],
    used: Cell<usize>,
    asks: RefCell<Option<Request>>,
}

impl Script<'_> {
    async fn play(&self, role: &Role, mutant: Mutant) -> Result<Outcome> {
        let (step, build) = match role {
            Role::Trigger => {
                trigger::hinted(self, Some(NOW), &ownership::after_a_hint()).await?;
                return Ok(Outcome::Done);
            }
            Role::Sweep => {
                sweep::restart(self, &SETTINGS, NOW).await?;
                let owner = ownership::look(self).await?.owner;
                self.ask(Request::EndLeftovers(owner)).await;
                return Ok(Outcome::Done);
            }
            Role::Build(step, build) => (step, build.as_str()),
        };
        match step {
            Step::Plan => self.plan(build, mutant).await,
            Step::Work => self.work(build, mutant).await,
            Step::Publish => self.publish(build).await,
            Step::Cleanup => cleanup::close_and_release(self, build, NOW, async |_| self.end().await).await,
        }
    }

    /// As `plan::handle`.
    async fn plan(&self, build: &str, mutant: Mutant) -> Result<Outcome> {
        if self.is(Request::FindPlan).await {
            ownership::fence(self, build).await?;
            return Ok(Outcome::Done);
        }
        let asked = Input::default();
        let begun = if mutant == Mutant::ListsBeforeItTakes {
            let seen = self.list().await;
            plan::begin(self, build, NOW, &asked, async { seen }).await?
        } else {
            plan::begin(self, build, NOW, &asked, self.list()).await?
        };
        let (taken, (bucket, released)) = match begun {
            Begun::Mine(taken, seen) => (taken, seen),
            Begun::Queued(_) => return Ok(Outcome::Queued),
        };
        if mutant != Mutant::DecidesOnWhatIsStale {
            ownership::plan(self, build, taken).await?;
        }
        if released == Some(bucket) {
            return Ok(Outcome::UpToDate);
        }
        ownership::fence(self, build).await?;
        self.ask(Request::PutPlan(bucket)).await;
        Ok(Outcome::Done)
    }

    /// As `launch_worker::handle` and `snapshot::handle`: all that make something resemble them.
    async fn work(&self, build: &str, mutant: Mutant) -> Result<Outcome> {
        ownership::fence(self, build).await?;
        if self.is(Request::Find).await {
            return Ok(Outcome::Found);
        }
        self.ask(Request::Make).await;
        let undo = async {
            self.ask(Request::End).await;
            if mutant == Mutant::UndoesWhatIsNamed {
                return self.done(Request::DeleteSnapshot).await;
            }
            self.delete_unless_named().await
        };
        if mutant != Mutant::NoFenceAfterMaking {
            ownership::fence_or_undo(self, build, undo).await?;
        }
        Ok(Outcome::Done)
    }

    /// As `publish::handle`.
    async fn publish(&self, build: &str) -> Result<Outcome> {
        ownership::fence(self, build).await?;
        if !self.is(Request::FindSnapshot).await {
            bail!("the snapshot is gone");
        }
        if !self.is(Request::ReadCurrent).await {
            let name = self.done(Request::NameRelease);
            let make_current = self.done(Request::MakeCurrent);
            let make_newest_current = self.done(Request::MakeNewestCurrent);
            publish::in_order(self, build, name, make_current, make_newest_current).await?;
        }
        Ok(Outcome::Done)
    }

    /// As `cleanup::end`.
    async fn end(&self) -> Result<(bool, Outcome)> {
        if self.is(Request::End).await {
            return Ok((false, Outcome::Remaining));
        }
        self.delete_unless_named().await?;
        Ok((true, Outcome::Done))
    }

    async fn delete_unless_named(&self) -> Result<()> {
        if !self.is(Request::IsNamed).await {
            self.ask(Request::DeleteSnapshot).await;
        }
        Ok(())
    }

    async fn list(&self) -> Result<(u8, Option<u8>)> {
        match self.ask(Request::List).await {
            Answer::Seen { bucket, released } => Ok((bucket, released)),
            other => bail!("{other:?}"),
        }
    }

    async fn done(&self, request: Request) -> Result<()> {
        self.ask(request).await;
        Ok(())
    }

    async fn is(&self, request: Request) -> bool {
        self.ask(request).await == Answer::Is(true)
    }

    async fn ask(&self, request: Request) -> Answer {
        poll_fn(|_| match self.answers.get(self.used.get()) {
            Some(answer) => {
                self.used.set(self.used.get() + 1);
                Poll::Ready(answer.clone())
            }
            None => {
                self.asks.replace(Some(request.clone()));
                Poll::Pending
            }
        })
        .await
    }
}

impl World for Script<'_> {
    async fn control(&self) -> Result<Option<Stored<Control>>> {
        let answer = self.used.get();
        let Answer::Control(control) = self.ask(Request::ReadControl).await else {
            bail!("no control object");
        };
        Ok(control.map(|value| Stored {
            value,
            etag: answer.to_string(),
            modified: 0,
        }))
    }

    async fn write(&self, next: &Control, etag: Option<&str>) -> Result<bool> {
        // Who has read that there is none has done so just before.
        let answer = etag.map_or(Ok(self.used.get() - 1), str::parse)?;
        let Answer::Control(read) = &self.answers[answer] else {
            bail!("no control object");
        };
        let write = Request::WriteControl {
            next: next.clone(),
            read: read.clone(),
            answer,
        };
        Ok(self.is(write).await)
    }

    async fn execution(&self, _: Machine, name: &str) -> Result<Execution> {
        match self.ask(Request::Look(name.to_owned())).await {
            Answer::Execution(execution) => Ok(execution),
            other => bail!("{other:?}"),
        }
    }

    async fn start(&self, machine: Machine, name: &str, input: &Value) -> Result<bool> {
        Ok(self.is(Request::Start(machine, name.to_owned(), input.clone())).await)
    }

    async fn cleans_up(&self) -> Result<bool> {
        Ok(self.is(Request::CleansUp).await)
    }

    /// Nobody has options here.
    async fn planned(&self, _: &str) -> Result<Option<Input>> {
        Ok(None)
    }
}
