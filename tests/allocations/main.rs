//! How much memory the agent takes, and how often, held by an allocator that counts. It counts for each
//! thread alone, so that tests that run beside each other do not disturb each other.

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
