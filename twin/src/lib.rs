//! The local cloud: one endpoint that speaks AWS, with real volumes and instances behind its EC2 and an emulator behind
//! everything else.
//!
//! One twin is one process tree in a pid and mount namespace of its own, so that its end, however it comes, ends every
//! process, mount and loop device it made. Inside, from the endpoint down:
//!
//! - [`proxy`] is the endpoint. It names every call ([`call`], [`callers`]), lets [`faults`] spoil it, refuses what the
//!   caller's role may not do (`permission`, by [`needs`] and [`iam`]), notes it in [`record`], and answers it: `/_twin/` by [`control`], the EC2 calls of the closed list by [`ec2`], all others by
//!   the [`base`].
//! - [`ec2`] keeps ids, states, tags and client tokens as AWS does, and tells [`machine`] what to make real.
//! - [`base`] is MiniStack, run as a child with a clean environment; nothing else knows what stands there.
//! - [`life`] starts, stops and describes a twin from outside.

pub mod base;
pub mod call;
pub mod callers;
pub mod control;
pub mod ec2;
pub mod faults;
pub mod iam;
pub mod life;
pub mod machine;
pub mod needs;
mod permission;
pub mod port;
pub mod proxy;
pub mod record;
pub mod xml;

/// The only region of the twin.
pub const REGION: &str = "us-east-1";
/// The only account of the twin.
pub const ACCOUNT: &str = "123456789012";
/// Access key and secret of the account's root, which the base allows everything.
pub const ROOT_KEY: &str = "test";
