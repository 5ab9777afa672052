//! Prometheus' remote write: what a server receives, and what Debian's Prometheus makes of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test starts programs and fails where it cannot go on"
)]

mod answers;
mod bodies;
mod reloads;
mod server;
mod stores;
mod wire;
