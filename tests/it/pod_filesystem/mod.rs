//! Disk usage of pods, measured on trees made for it and compared with a second count.

#![allow(
    clippy::disallowed_methods,
    reason = "it makes trees and counts them without the library, and starts itself as another user"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod host;
mod lane;
mod mounts;
mod oracle;
mod rounds;
mod walks;
