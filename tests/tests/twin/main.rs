//! The whole pipeline in the twin: real templates, real functions, real state machines, real instances.

mod accidents;
mod builds;
mod changes;
mod deploying;
mod documented;
mod images;
mod interruptions;
mod kept;
mod layers;
mod leaks;
mod limits;
mod logs;
mod messages;
mod problems;
mod refusals;
mod restores;
mod sample;
mod secrets;
mod serving;
mod shards;
mod stacks;
mod triggers;
