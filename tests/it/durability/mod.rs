//! Durability of samples and their sums over kills, full disks, read-only directories, clock
//! changes, restarts and reloads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod agent_kills;
mod child;
mod clocks;
mod full;
mod healthy;
mod kills;
mod mounts;
mod moves;
mod peer;
mod read_only;
mod restarts;
mod stage;
mod worker;
