//! The number and size of the agent's allocations, from a counting allocator. It counts by thread,
//! so that parallel tests do not disturb each other.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "what is missing fails the test"
)]
#![allow(clippy::disallowed_methods, reason = "it reads fixtures, no host")]

mod counting;
mod directory;
#[path = "../it/support/host_tree.rs"]
#[allow(dead_code, reason = "the benches use the rest of it")]
mod host_tree;
mod sampling;
mod sockets;
