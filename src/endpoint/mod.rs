//! An endpoint of the running agent: how it is rendered for, sent to, changed and ended.

pub mod client;
#[expect(clippy::module_inception, reason = "the file holds the type that the room is about")]
pub mod endpoint;
pub mod error;
pub mod lifecycle;
mod migrate;
pub mod render;
pub mod sinks;
pub mod supervisor;
