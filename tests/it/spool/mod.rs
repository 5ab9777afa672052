//! The queues on disk, through what their callers use, over real files: what went in comes out, or is
//! counted, or lies in a file that was set aside and named.

#![allow(
    clippy::disallowed_methods,
    reason = "it damages files, asks the clock how long to wait, and starts itself again"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod bounds;
mod closed;
mod crash;
mod damage;
mod leases;
mod memory;
mod room;
mod rows;
mod support;
mod thread;
