//! Samples of hosts whose files are broken or change under the reader.

#![allow(
    clippy::disallowed_methods,
    reason = "it breaks copies of hosts, and reads this one's clock"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod broken;
mod changing;
pub mod copy;
mod live;
mod under_way;
