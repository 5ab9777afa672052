//! `[metrics]`: the real binary over a captured host that changes under it, asked as a scraper asks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test starts the binary, edits its trees and waits for what it says"
)]

mod access;
mod coverage;
mod desk;
mod pods;
mod promtool;
mod reference;
mod scrape;
mod stalled;
mod totals;
