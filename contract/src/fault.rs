//! The names that errors have at the border between a function and a state machine.

use std::fmt;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// An error's name: what `ErrorEquals` in the state machines and the runbook refer to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Name { $($(#[$doc])* $name),+ }

        impl Name {
            /// All names there are.
            pub const ALL: &'static [Name] = &[$(Name::$name),+];

            /// The name as the state machines spell it.
            pub fn as_str(self) -> &'static str {
                match self { $(Name::$name => stringify!($name)),+ }
            }
        }
    };
}

names! {
    /// The execution's input is not understood; the message names the field.
    InvalidInput,
    /// Another build holds control and this one asked for something else than that one does.
    AnotherBuildIsRunning,
    /// The sources bucket holds nothing to build from.
    NoSources,
    /// No profile is defined.
    NoProfiles,
    /// A profile's text is not understood; the message names the profile and the line.
    BadProfile,
    /// The collection does not fit into what a build may use (volume size, history events).
    TooLarge,
    /// No instance could be had on any rung of the ladder; the message has each rung's reason.
    NoCapacity,
    /// EC2 refuses the launch for a reason that waiting does not cure (quota, permission, bad template).
    LaunchRefused,
    /// Builds have used as many instance hours without a release as they may.
    LimitReached,
    /// Something asked for is under way: ask again later.
    NotReady,
    /// The volume was not cleanly unmounted, so no release is made from it.
    NotClean,
    /// A snapshot ended in error.
    SnapshotFailed,
    /// EC2 could not make a volume, or has lost what one held.
    VolumeFailed,
    /// The build no longer owns control: nothing was changed, what had been made is undone.
    BuildIsOver,
    /// The worker says that the build cannot succeed (nothing built, most tracks failed, bad sources).
    BuildFailed,
    /// The last allowed attempt was lost or interrupted.
    WorkerLost,
    /// Clean-up ran as often as it may and something still remains.
    CleanupStuck,
    /// AWS was throttled, gave a 5xx or no answer: the same call may succeed later.
    TryAgain,
    /// Anything without another name: a defect of vibes.
    Bug,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
