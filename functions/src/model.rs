//! The control protocol in every order of its steps: the functions' own code, in a world where anything may go wrong.

mod script;
mod world;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use stateright::{Checker, Model, Property};

use self::script::{Request, Role, Step};
use self::world::{Caller, Invocation, Status, Thing, World};

/// How much happens, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Bounds {
    uploads: u8,
    /// Nothing comes between the steps of a trigger.
    at_once: bool,
    /// A person starts builds of a name of their own.
    consoles: u8,
    /// A person starts a build of the name that is reserved next, with an input that is refused.
    squatters: u8,
    /// Faults, stops and redrives.
    faults: u8,
    /// The only kind of fault; any if there is none.
    only: Option<Fault>,
    /// The sweep comes while others are at work; when nobody is, it comes for ever.
    sweeps: u8,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Fault {
    /// A step of a build is given up or asked for again, and goes on all the same.
    Late(Step),
    /// A step of a build is cut off.
    Crash(Step),
    /// A person stops an execution at this step, or has a stopped one go on.
    Stop(Step),
}

/// A rule that is switched off, to see that the model notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mutant {
    /// All rules hold.
    None,
    /// Control is written whatever it is by then.
    WritesAnyway,
    /// Who has made something does not ask whether it may keep it.
    NoFenceAfterMaking,
    /// The fence lets through a build whose clean-up has begun.
    EndingIsNoFence,
    /// The bucket is listed before pending is cleared.
    ListsBeforeItTakes,
    /// A hint that meets an owner is not noted.
    NeverNotes,
    /// Clean-up forgets that somebody waits.
    ClosingForgets,
    /// The sweep does not come.
    NeverSweeps,
    /// A plan decides on what it listed before another call of it took control.
    DecidesOnWhatIsStale,
    /// A step that comes too late deletes a snapshot that the release names.
    UndoesWhatIsNamed,
    /// A publish that comes too late leaves the older release current.
    OldStaysCurrent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Upload,
    StartAtConsole,
    Squat,
    Sweep,
    Stop(String),
    Redrive(String),
    Step(usize),
    /// The step works, but its answer is lost: the SDK asks again.
    LoseAnswer(usize),
    /// Step Functions answers with what was so before.
    StaleAnswer(usize),
    Crash {
        index: usize,
        gives_up: bool,
    },
    /// The caller's time is up, or its connection is lost; the function goes on.
    Late {
        index: usize,
        gives_up: bool,
    },
}

#[derive(Debug, Clone, PartialEq)]
struct State {
    world: World,
    hash: u64,
}

impl State {
    fn new(world: World) -> State {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        let hash = hasher.finish();
        State { world, hash }
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

#[derive(Debug)]
struct Protocol {
    bounds: Bounds,
    mutant: Mutant,
    /// A state from which nothing leads on, found by an earlier run.
    dead_end: Option<u64>,
    seen: Mutex<Seen>,
}

/// The graph of states, for what stateright does not ask: whether something is possible from everywhere.
#[derive(Debug, Default)]
struct Seen {
    idle: Vec<u64>,
    all: HashSet<u64>,
    /// Steps that need neither fault nor person.
    steps: Vec<(u64, u64)>,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(World {
            left: self.bounds,
            ..World::default()
        })]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let world = &state.world;
        let left = world.left;
        let of_any_kind = if left.only.is_none() { left.faults } else { 0 };
        let mut may = |there_is: u8, action: Action| {
            if there_is > 0 {
                actions.push(action);
            }
        };
        may(left.uploads, Action::Upload);
        may(left.consoles, Action::StartAtConsole);
        let is_taken = world
            .build("b-00001")
            .is_some_and(|build| build.status != Status::Absent);
        may(if is_taken { 0 } else { left.squatters }, Action::Squat);
        let sweeps = match (world.is_quiet(), world.is_idle()) {
            (_, true) => 0,
            (true, _) => u8::from(self.mutant != Mutant::NeverSweeps),
            _ => left.sweeps,
        };
        may(sweeps, Action::Sweep);
        for build in &world.builds {
            let stops = match left.only {
                Some(only) if only == Fault::Stop(build.step) => left.faults,
                _ => of_any_kind,
            };
            match build.status {
                Status::Running => may(stops, Action::Stop(build.name.clone())),
                Status::Stopped => may(stops, Action::Redrive(build.name.clone())),
                Status::Absent | Status::Over => {}
            }
        }
        for (index, invocation) in world.invocations.iter().enumerate() {
            may(1, Action::Step(index));
            if matches!(invocation.asks, Request::WriteControl { .. } | Request::Start(..)) {
                may(of_any_kind, Action::LoseAnswer(index));
            }
            if matches!(invocation.asks, Request::Look(_)) {
                may(of_any_kind, Action::StaleAnswer(index));
            }
            let gives_up: &[bool] = match invocation.caller {
                Caller::Nobody => &[true],
                Caller::Queue => &[false],
                Caller::Pipeline | Caller::CleanupMachine => &[false, true],
            };
            let there_are = |fault: fn(Step) -> Fault| match (left.only, &invocation.role) {
                (None, _) => left.faults,
                (Some(only), Role::Build(step, _)) if only == fault(*step) => left.faults,
                _ => 0,
            };
            for &gives_up in gives_up {
                may(there_are(Fault::Crash), Action::Crash { index, gives_up });
                if invocation.caller != Caller::Nobody {
                    may(there_are(Fault::Late), Action::Late { index, gives_up });
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut world = last.world.clone();
        let mutant = self.mutant;
        let by_itself = matches!(action, Action::Step(_)) || action == Action::Sweep && world.is_quiet();
        match action {
            Action::Upload => {
                world.left.uploads -= 1;
                world.bucket += 1;
                world.call(Role::Trigger, Caller::Queue, mutant);
                let is_trigger = |invocation: &Arc<Invocation>| invocation.role == Role::Trigger;
                while let Some(index) = world.invocations.iter().position(is_trigger)
                    && self.bounds.at_once
                {
                    world.step(index, true, false, mutant);
                }
            }
            Action::StartAtConsole => {
                world.left.consoles -= 1;
                world.begin("mine", false, mutant);
            }
            Action::Squat => {
                world.left.squatters -= 1;
                world.begin("b-00001", true, mutant);
            }
            Action::Sweep => {
                world.left.sweeps -= u8::from(!by_itself);
                world.call(Role::Sweep, Caller::Nobody, mutant);
            }
            Action::Step(index) => world.step(index, true, false, mutant),
            fault => {
                world.left.faults -= 1;
                match fault {
                    Action::Stop(name) => world.stop(&name, mutant),
                    Action::Redrive(name) => world.redrive(&name, mutant),
                    Action::LoseAnswer(index) => world.step(index, false, false, mutant),
                    Action::StaleAnswer(index) => world.step(index, true, true, mutant),
                    Action::Crash { index, gives_up } => world.crash(index, gives_up, mutant),
                    Action::Late { index, gives_up } => world.forget(index, gives_up, mutant),
                    _ => unreachable!("no fault"),
                }
            }
        }
        let next = State::new(world);
        let mut seen = self.seen.lock().unwrap();
        if seen.all.insert(next.hash) && next.world.is_idle() {
            seen.idle.push(next.hash);
        }
        if by_itself {
            seen.steps.push((last.hash, next.hash));
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        vec![
            Property::always(KEPT, |_, state: &State| {
                let owner = state.world.owner();
                let mut kept = state.world.builds.iter().filter(|build| build.thing == Thing::Kept);
                kept.all(|build| owner == Some(&build.name))
            }),
            Property::always(ROBBED, |_, state: &State| !state.world.robbed),
            Property::always(BUILT, |_, state: &State| {
                !state.world.is_idle() || state.world.is_built()
            }),
            Property::always(WHOLE, |_, state: &State| state.world.is_whole()),
            Property::always(FEW, |model: &Protocol, state: &State| {
                let Bounds {
                    uploads,
                    consoles,
                    squatters,
                    faults,
                    sweeps,
                    ..
                } = model.bounds;
                state.world.builds.len() <= 2 * usize::from(uploads + consoles + squatters + faults + sweeps)
            }),
            Property::always(POSSIBLE, |model: &Protocol, state: &State| {
                model.dead_end != Some(state.hash)
            }),
        ]
    }
}

const KEPT: &str = "only the owner keeps what it made";
const ROBBED: &str = "an owner loses control by its own clean-up only";
const BUILT: &str = "when all is quiet, what was uploaded is released";
const WHOLE: &str = "the current release is whole";
const FEW: &str = "builds do not lead to builds for ever";
const POSSIBLE: &str = "something can always go on";

impl Protocol {
    fn new(bounds: Bounds, mutant: Mutant) -> Protocol {
        Protocol {
            bounds,
            mutant,
            dead_end: None,
            seen: Mutex::default(),
        }
    }

    /// A state from which free control, with nothing pending and nothing left over, cannot be reached by itself.
    fn dead_end(&self) -> Option<u64> {
        let seen = self.seen.lock().unwrap();
        let mut before: HashMap<u64, Vec<u64>> = HashMap::new();
        for (from, to) in &seen.steps {
            before.entry(*to).or_default().push(*from);
        }
        let mut good: HashSet<u64> = seen.idle.iter().copied().collect();
        let mut todo = seen.idle.clone();
        while let Some(state) = todo.pop() {
            for from in before.get(&state).into_iter().flatten() {
                if good.insert(*from) {
                    todo.push(*from);
                }
            }
        }
        seen.all.difference(&good).copied().min()
    }
}

/// Checks everything; gives the number of states and the properties that do not hold, each with the shortest way there.
fn check(bounds: Bounds, mutant: Mutant) -> (usize, Vec<(&'static str, String)>) {
    let checker = Protocol::new(bounds, mutant).checker().threads(2).spawn_bfs().join();
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for (name, path) in checker.discoveries() {
        found.push((name, told(path)));
    }
    if found.is_empty()
        && let Some(dead_end) = checker.model().dead_end()
    {
        let model = Protocol {
            dead_end: Some(dead_end),
            ..Protocol::new(bounds, mutant)
        };
        let again = model.checker().threads(2).spawn_bfs().join();
        found.extend(again.discoveries().into_iter().map(|(name, path)| (name, told(path))));
    }
    (checker.unique_state_count(), found)
}

fn told(path: stateright::Path<State, Action>) -> String {
    let mut lines = Vec::new();
    for (state, action) in path.into_vec() {
        let what = match &action {
            Some(
                Action::Step(index)
                | Action::LoseAnswer(index)
                | Action::StaleAnswer(index)
                | Action::Crash { index, .. }
                | Action::Late { index, .. },
            ) => {
                let invocation = &state.world.invocations[*index];
                format!("{:?} ({:?}): {:?}", invocation.role, invocation.caller, invocation.asks)
            }
            None => format!("{:#?}", state.world),
            _ => String::new(),
        };
        lines.push(format!("{action:?} {what}"));
    }
    lines.join("\n")
}

/// Faults beyond the bounds that `make test` has time for: each makes some hundred times as many states.
const MORE_FAULTS: &str = "VIBES_MODEL_FAULTS";

/// Nothing that is asked of the protocol is broken within these bounds.
fn holds(bounds: Bounds) {
    let more: u8 = std::env::var(MORE_FAULTS).map_or(0, |number| number.parse().unwrap());
    let faults = bounds.faults + more;
    let bounds = Bounds { faults, ..bounds };
    let (states, broken) = check(bounds, Mutant::None);
    println!("{bounds:?}: {states} states");
    if let Some((property, way)) = broken.first() {
        panic!("broken: {property}\n{way}");
    }
}

const ONE_UPLOAD: Bounds = Bounds {
    uploads: 1,
    at_once: false,
    consoles: 0,
    squatters: 0,
    faults: 0,
    only: None,
    sweeps: 0,
};

const ONE_FAULT: Bounds = Bounds {
    faults: 1,
    ..ONE_UPLOAD
};

const TWO_UPLOADS: Bounds = Bounds {
    uploads: 2,
    ..ONE_UPLOAD
};

/// Both the pipeline's own and the machine that EventBridge starts.
const CLEANUP_FAILS_TWICE: Bounds = Bounds {
    faults: 2,
    only: Some(Fault::Crash(Step::Cleanup)),
    at_once: true,
    ..ONE_UPLOAD
};

fn two_and(fault: Fault) -> Bounds {
    Bounds {
        faults: 1,
        only: Some(fault),
        at_once: true,
        ..TWO_UPLOADS
    }
}

#[test]
fn an_upload_is_built_whatever_goes_wrong_once() {
    holds(ONE_FAULT);
}

#[test]
fn two_uploads_and_a_persons_build_end_in_one_release() {
    holds(Bounds {
        consoles: 1,
        ..TWO_UPLOADS
    });
}

#[test]
fn a_step_that_comes_too_late_harms_neither_its_build_nor_the_next() {
    for step in [Step::Plan, Step::Work, Step::Publish, Step::Cleanup] {
        holds(two_and(Fault::Late(step)));
    }
}

#[test]
fn a_step_that_is_cut_off_loses_no_upload() {
    for step in [Step::Plan, Step::Work, Step::Publish, Step::Cleanup] {
        holds(two_and(Fault::Crash(step)));
    }
}

#[test]
fn a_clean_up_that_fails_twice_is_made_up_for_by_the_sweep() {
    holds(CLEANUP_FAILS_TWICE);
}

#[test]
fn a_build_that_is_stopped_and_goes_on_harms_no_other() {
    for step in [Step::Plan, Step::Work, Step::Publish, Step::Cleanup] {
        holds(Bounds {
            uploads: 1,
            faults: 2,
            ..two_and(Fault::Stop(step))
        });
    }
}

#[test]
fn a_sweep_disturbs_nobody() {
    holds(Bounds {
        sweeps: 1,
        at_once: true,
        ..TWO_UPLOADS
    });
}

#[test]
fn a_name_that_a_person_has_taken_loses_no_wish() {
    holds(Bounds {
        squatters: 1,
        ..ONE_UPLOAD
    });
}

/// Without any one of the rules the model finds what it is there for.
#[test]
fn every_rule_is_needed() {
    let without = [
        (Mutant::WritesAnyway, TWO_UPLOADS, BUILT),
        (Mutant::WritesAnyway, TWO_UPLOADS, ROBBED),
        (Mutant::NoFenceAfterMaking, ONE_FAULT, KEPT),
        (Mutant::EndingIsNoFence, ONE_FAULT, KEPT),
        (Mutant::ListsBeforeItTakes, TWO_UPLOADS, BUILT),
        (Mutant::NeverNotes, TWO_UPLOADS, BUILT),
        (Mutant::ClosingForgets, TWO_UPLOADS, BUILT),
        (Mutant::NeverSweeps, CLEANUP_FAILS_TWICE, POSSIBLE),
        (Mutant::UndoesWhatIsNamed, ONE_FAULT, WHOLE),
        (Mutant::DecidesOnWhatIsStale, two_and(Fault::Late(Step::Plan)), BUILT),
        (Mutant::OldStaysCurrent, two_and(Fault::Late(Step::Publish)), BUILT),
    ];
    for (mutant, bounds, property) in without {
        let (_, broken) = check(bounds, mutant);
        let names: Vec<&str> = broken.iter().map(|(name, _)| *name).collect();
        assert!(
            names.contains(&property),
            "{mutant:?} breaks {names:?}, not {property:?}"
        );
    }
}
