//! The control protocol as pure transitions: who may change things, who waits, who comes next.
//!
//! Each takes the control object and gives the one to write and what was decided; equal means nothing to write. The
//! caller writes conditionally and, when somebody else was faster, reads again and asks again. Rules:
//!
//! - One owner at a time, and only the owner's clean-up frees ([`release`]).
//! - The owner is named *before* its execution exists. Whoever finds a named owner without an execution starts it.
//! - A hint is never lost: it makes a build, or it sets `pending`, which only a plan that is about to list the bucket
//!   clears, and which the owner's clean-up turns into the next build.
//! - A plan decides on what it listed after the last clearing ([`plan`]), however many calls of it are about.
//! - Clean-up closes the build first ([`close`]), looks for leftovers after, and frees only what it has closed: what
//!   checks [`holds`] after creating something was seen by that look, or undoes itself.
//! - A build that gave control away does not get it again: an old step of it would pass the fence.
//! - When the stack is deleted, control is shut ([`shut`]): free, but for nobody.
//! - An owner that died is not robbed: its clean-up is started again (by EventBridge, by the sweep), and that frees.

use contract::control::{Control, build_name};

/// What a hint led to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Hinted {
    /// Control was free and is reserved for this build: start it.
    Reserved(String),
    /// This build holds control; the wish is noted. Start it if it has no execution yet.
    Noted(String),
    /// The stack is being deleted: nothing to start.
    Shut,
}

/// Somebody or something asks for a build.
pub fn hint(control: &Control, now: Option<&str>) -> (Control, Hinted) {
    match &control.owner {
        _ if control.shut => (control.clone(), Hinted::Shut),
        Some(owner) => (
            Control {
                pending: true,
                ..control.clone()
            },
            Hinted::Noted(owner.clone()),
        ),
        None => {
            let (next, name) = reserve(control, now);
            (next, Hinted::Reserved(name))
        }
    }
}

/// What a plan was told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Taken {
    /// The build holds control; what was pending is its own to see now. The number is for [`plan`].
    Mine(u64),
    /// Another build holds control.
    Held(String),
    /// The build's clean-up has begun, or has given control away; or the stack is being deleted.
    Over,
}

/// A plan asks for control, right before it lists the bucket.
pub fn take(control: &Control, build: &str, now: &str) -> (Control, Taken) {
    match &control.owner {
        _ if control.shut => (control.clone(), Taken::Over),
        Some(owner) if owner != build => (control.clone(), Taken::Held(owner.clone())),
        Some(_) if control.ending => (control.clone(), Taken::Over),
        Some(_) if control.planned || !control.pending => (control.clone(), Taken::Mine(control.taken)),
        Some(_) => {
            let taken = control.taken + 1;
            let next = Control {
                pending: false,
                taken,
                ..control.clone()
            };
            (next, Taken::Mine(taken))
        }
        // Its things were ended: whoever still makes something for it would pass the fence again.
        None if control.last.as_deref() == Some(build) || (1..=control.seq).contains(&number(build)) => {
            (control.clone(), Taken::Over)
        }
        None => {
            let taken = control.taken + 1;
            let next = Control {
                owner: Some(build.to_owned()),
                seq: control.seq.max(number(build)),
                since: Some(now.to_owned()),
                taken,
                ..freed(control)
            };
            (next, Taken::Mine(taken))
        }
    }
}

/// What a plan that has listed the bucket was told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Planned {
    /// What it has listed holds all that was wished for.
    Go,
    /// Another call of the same plan has taken a wish since, which this one may not have seen.
    Stale,
    /// The build is not the owner, or its clean-up has begun.
    Over,
}

/// The plan that took control under this number decides on what it has listed since.
pub fn plan(control: &Control, build: &str, taken: u64) -> (Control, Planned) {
    if !holds(control, build) {
        return (control.clone(), Planned::Over);
    }
    if control.taken != taken {
        return (control.clone(), Planned::Stale);
    }
    let next = Control {
        planned: true,
        ..control.clone()
    };
    (next, Planned::Go)
}

/// A plan that was refused leaves its wish for after the owner. Equal to the given one if control is free by now.
pub fn queue(control: &Control, build: &str) -> Control {
    let held = control.owner.is_some();
    Control {
        pending: control.pending || held,
        seq: control.seq.max(number(build)),
        ..control.clone()
    }
}

/// The owner's clean-up begins: nothing may be created for the build from now on. True if the build is the owner.
pub fn close(control: &Control, build: &str) -> (Control, bool) {
    let mine = control.owner.as_deref() == Some(build);
    (
        Control {
            ending: control.ending || mine,
            ..control.clone()
        },
        mine,
    )
}

/// What the end of a build led to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Released {
    /// It was not the owner: nothing to give. This build is, if any.
    NotOwner(Option<String>),
    /// It has become the owner again since this clean-up began, which has therefore not seen what it makes now.
    NotClosed,
    /// Control is free.
    Free,
    /// Somebody waited: control is reserved for this build: start it.
    Next(String),
}

/// The build's clean-up has reached zero.
pub fn release(control: &Control, build: &str, now: &str) -> (Control, Released) {
    match &control.owner {
        Some(owner) if owner == build && !control.ending => return (control.clone(), Released::NotClosed),
        Some(owner) if owner == build => {}
        other => return (control.clone(), Released::NotOwner(other.clone())),
    }
    let control = Control {
        last: Some(build.to_owned()),
        ..control.clone()
    };
    if control.pending {
        let (next, name) = reserve(&control, Some(now));
        return (next, Released::Next(name));
    }
    (freed(&control), Released::Free)
}

/// The stack is being deleted: nobody holds control any more, and nobody gets it.
pub fn shut(control: &Control) -> (Control, ()) {
    (
        Control {
            shut: true,
            ..freed(control)
        },
        (),
    )
}

/// The stack stays after all: an update that had it deleted in part was rolled back. Control is free again.
pub fn reopen(control: &Control) -> (Control, ()) {
    (
        Control {
            shut: false,
            ..control.clone()
        },
        (),
    )
}

/// The build may change things.
pub fn holds(control: &Control, build: &str) -> bool {
    control.owner.as_deref() == Some(build) && !control.ending
}

/// Nobody's, with what is remembered for ever.
fn freed(control: &Control) -> Control {
    Control {
        seq: control.seq,
        taken: control.taken,
        last: control.last.clone(),
        ..Control::default()
    }
}

fn reserve(control: &Control, now: Option<&str>) -> (Control, String) {
    let seq = control.seq + 1;
    let name = build_name(seq);
    let since = now.map(str::to_owned);
    (
        Control {
            owner: Some(name.clone()),
            seq,
            since,
            ..freed(control)
        },
        name,
    )
}

/// The number in a name of our making, so that a build that a person named `b-00050` is not reserved again; else 0.
fn number(build: &str) -> u64 {
    let digits = build.strip_prefix("b-").unwrap_or_default();
    let number = digits.parse().unwrap_or(0);
    if build_name(number) == build { number } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T03:00:00Z";

    fn owned(owner: &str) -> Control {
        Control {
            owner: Some(owner.to_owned()),
            seq: 42,
            since: Some(NOW.to_owned()),
            ..Control::default()
        }
    }

    fn ending(owner: &str) -> Control {
        close(&owned(owner), owner).0
    }

    #[test]
    fn a_hint_reserves_the_next_name_when_free() {
        let (control, hinted) = hint(
            &Control {
                seq: 42,
                ..Control::default()
            },
            Some(NOW),
        );
        assert_eq!(hinted, Hinted::Reserved("b-00043".to_owned()));
        assert_eq!(
            control,
            Control {
                seq: 43,
                ..owned("b-00043")
            }
        );
    }

    #[test]
    fn a_hint_during_a_build_is_noted() {
        let (control, hinted) = hint(&owned("b-00042"), Some(NOW));
        assert_eq!(hinted, Hinted::Noted("b-00042".to_owned()));
        assert!(control.pending);
    }

    #[test]
    fn a_plan_takes_free_control_under_any_name() {
        let (control, taken) = take(&Control::default(), "from the console", NOW);
        assert_eq!(
            (control.owner.as_deref(), taken),
            (Some("from the console"), Taken::Mine(1))
        );
    }

    #[test]
    fn a_plan_clears_what_was_pending_before_it_lists() {
        let (control, taken) = take(
            &Control {
                pending: true,
                ..owned("b-00042")
            },
            "b-00042",
            NOW,
        );
        let expected = Control {
            taken: 1,
            ..owned("b-00042")
        };
        assert_eq!((control, taken), (expected, Taken::Mine(1)));
    }

    #[test]
    fn a_plan_that_has_decided_leaves_what_is_pending_to_the_next() {
        let (control, planned) = plan(&take(&Control::default(), "b-00042", NOW).0, "b-00042", 1);
        assert_eq!(planned, Planned::Go);
        let (noted, _) = hint(&control, Some(NOW));
        assert_eq!(take(&noted, "b-00042", NOW), (noted, Taken::Mine(1)));
    }

    #[test]
    fn a_plan_does_not_decide_on_what_it_listed_before_another_took_a_wish() {
        let (first, taken) = take(&Control::default(), "b-00042", NOW);
        assert_eq!(taken, Taken::Mine(1));
        assert_eq!(take(&first, "b-00042", NOW), (first.clone(), Taken::Mine(1)));
        let (second, taken) = take(&hint(&first, Some(NOW)).0, "b-00042", NOW);
        assert_eq!(taken, Taken::Mine(2));
        assert_eq!(plan(&second, "b-00042", 1), (second.clone(), Planned::Stale));
        assert_eq!(plan(&second, "b-00042", 2).1, Planned::Go);
        assert_eq!(plan(&close(&second, "b-00042").0, "b-00042", 2).1, Planned::Over);
    }

    #[test]
    fn a_plan_does_not_take_what_another_holds() {
        let (control, taken) = take(&owned("b-00042"), "mine", NOW);
        assert_eq!((control, taken), (owned("b-00042"), Taken::Held("b-00042".to_owned())));
    }

    #[test]
    fn a_build_that_ends_is_not_planned_again() {
        let ending = close(&owned("b-00042"), "b-00042").0;
        assert_eq!(take(&ending, "b-00042", NOW).1, Taken::Over);
        assert!(!holds(&ending, "b-00042"));
    }

    #[test]
    fn a_name_chosen_by_a_person_is_not_reserved_again() {
        assert_eq!(take(&Control::default(), "b-00050", NOW).0.seq, 50);
        assert_eq!(queue(&owned("b-00042"), "b-00050").seq, 50);
        assert_eq!(number("b-0050"), 0);
    }

    #[test]
    fn nothing_is_queued_behind_nobody() {
        assert!(queue(&owned("b-00042"), "mine").pending);
        assert_eq!(queue(&Control::default(), "mine"), Control::default());
    }

    #[test]
    fn the_end_of_a_build_frees_or_hands_over() {
        let (control, released) = release(&ending("b-00042"), "b-00042", NOW);
        assert_eq!(
            (control, released),
            (
                Control {
                    seq: 42,
                    last: Some("b-00042".to_owned()),
                    ..Control::default()
                },
                Released::Free
            )
        );
        let (control, released) = release(
            &Control {
                pending: true,
                ..ending("b-00042")
            },
            "b-00042",
            NOW,
        );
        assert_eq!(released, Released::Next("b-00043".to_owned()));
        assert_eq!(
            control,
            Control {
                seq: 43,
                last: Some("b-00042".to_owned()),
                ..owned("b-00043")
            }
        );
    }

    #[test]
    fn only_the_owner_frees() {
        let (control, released) = release(&owned("b-00042"), "b-00041", NOW);
        assert_eq!(
            (control, released),
            (owned("b-00042"), Released::NotOwner(Some("b-00042".to_owned())))
        );
    }

    #[test]
    fn a_clean_up_that_has_not_closed_the_build_does_not_free() {
        let owned = owned("b-00042");
        assert_eq!(release(&owned, "b-00042", NOW), (owned, Released::NotClosed));
    }

    #[test]
    fn a_build_that_gave_control_away_does_not_get_it_again() {
        let (control, _) = release(&ending("b-00042"), "b-00042", NOW);
        assert_eq!(take(&control, "b-00042", NOW), (control.clone(), Taken::Over));
        assert_eq!(take(&control, "b-00041", NOW).1, Taken::Over);
        assert_eq!(take(&control, "b-00043", NOW).1, Taken::Mine(1));
        let (control, _) = release(&ending("mine"), "mine", NOW);
        assert_eq!(take(&control, "mine", NOW).1, Taken::Over);
    }

    #[test]
    fn shut_control_is_given_to_nobody() {
        let (control, ()) = shut(&Control {
            pending: true,
            ..owned("b-00042")
        });
        assert_eq!(hint(&control, Some(NOW)), (control.clone(), Hinted::Shut));
        assert_eq!(take(&control, "b-00043", NOW), (control.clone(), Taken::Over));
        assert!(!holds(&control, "b-00042"));
        assert_eq!(close(&control, "b-00042"), (control.clone(), false));
        assert_eq!(
            release(&control, "b-00042", NOW),
            (control.clone(), Released::NotOwner(None))
        );
        assert_eq!(shut(&control).0, control);
        let (control, ()) = reopen(&control);
        assert!(!control.shut && control.owner.is_none());
    }
}
