//! What pods have on disk, of trees that are made for it and counted a second time by other means.

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
