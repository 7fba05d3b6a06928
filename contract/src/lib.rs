//! What the rooms of vibes say to each other: inputs and outputs of the functions, jobs, progress, names and errors.
//!
//! Only data and the rules that belong to it: nothing here reads a clock, a file, the environment or the network.
//! Everything is JSON in `camelCase`; a field without a value is `null`, never absent, because a state machine in AWS
//! fails on a path that is not there.

pub mod control;
pub mod estimate;
pub mod fault;
pub mod image;
pub mod input;
pub mod job;
pub mod manifest;
pub mod objects;
pub mod parameters;
pub mod plan;
pub mod printable;
pub mod profile;
pub mod raw;
pub mod release;
pub mod report;
pub mod serve;
pub mod shard;
pub mod status;
pub mod steps;
pub mod tags;
pub mod teardown;
