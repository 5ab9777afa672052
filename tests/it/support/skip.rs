//! Tests, or parts of them, that this machine or user cannot try.
//!
//! The test harness hides what a passing test prints. So each skip is recorded in a file of this run, and
//! `tests/skipped.rs`, the last program of `cargo test`, prints them in one line.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::process::parent_id;
use std::panic::Location;
use std::path::Path;

/// Records that the calling test skips something, and why. To be called on the thread of the test, which
/// has its name.
#[track_caller]
pub fn skip(reason: impl Display) {
    let thread = std::thread::current();
    // With a single test thread the tests run on the main thread.
    let test = match thread.name() {
        Some("main") | None => Location::caller().to_string(),
        Some(name) => name.to_owned(),
    };
    println!("skipped: {reason}");
    // The programs of one `cargo test` have the same parent.
    let list = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("skipped.{}", parent_id()));
    let mut list = OpenOptions::new().append(true).create(true).open(list).unwrap();
    list.write_all(format!("{test}\t{reason}\n").as_bytes()).unwrap();
}
