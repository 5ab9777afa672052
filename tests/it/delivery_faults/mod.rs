//! Delivery against a peer over real TCP that behaves as badly as the test tells it, with a queue on
//! disk and with memory alone. In the end every test holds what went in against what came out and
//! what was counted as dropped (`rig.rs`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod answers;
mod bounds;
mod disk;
mod failing_posts;
mod health;
mod hour;
mod mayhem;
mod order;
mod partial;
mod peer;
mod retries;
mod rig;
mod stale;
