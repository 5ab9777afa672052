//! Prometheus' remote write: what a server receives, and what Debian's Prometheus makes of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test starts programs and fails where it cannot go on"
)]

mod answers;
mod server;
#[allow(dead_code, reason = "not every test reads everything")]
mod wire;
