//! The end of a test run: one line with the tests that were skipped, wholly or in part, and why.
//!
//! `cargo test` runs the test programs in the order of their names, so this one comes last. It always passes.
//! The list is written by `tests/it/support/skip.rs`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "it reads the list and removes it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::parent_id;
use std::path::Path;

/// The factor of `tests/it/support/rounds.rs`.
const ROUNDS: &str = "NODETALLY_TEST_ROUNDS";

/// The length of outages, of the same file.
const OUTAGE: &str = "NODETALLY_TEST_OUTAGE_SECONDS";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // nextest asks each program for its tests before it runs them.
    if has("--list") {
        if !has("--ignored") {
            println!("skipped: test");
        }
        return;
    }
    let rounds = std::env::var(ROUNDS).unwrap_or_else(|_| "1".to_owned());
    println!("\nloops of kills, damage and random histories: {ROUNDS}={rounds} (default 1)");
    let outage = std::env::var(OUTAGE).unwrap_or_else(|_| "6".to_owned());
    println!("outages of databases: {OUTAGE}={outage} (default 6)");
    println!("{}\n", summary(&take_list()));
}

/// The list of this run. Lists of runs that did not come to their end go with it.
fn take_list() -> String {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let list = fs::read_to_string(dir.join(format!("skipped.{}", parent_id()))).unwrap_or_default();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b"skipped.") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    list
}

/// `2 tests were skipped: no root (a, b)`.
fn summary(list: &str) -> String {
    let mut by_reason: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut tests = BTreeSet::new();
    for (test, reason) in list.lines().filter_map(|line| line.split_once('\t')) {
        by_reason.entry(reason).or_default().insert(test);
        tests.insert(test);
    }
    let why: Vec<String> = by_reason
        .into_iter()
        .map(|(reason, tests)| {
            format!("{reason} ({})", tests.into_iter().collect::<Vec<_>>().join(", "))
        })
        .collect();
    match tests.len() {
        0 => "no test was skipped".to_owned(),
        1 => format!("1 test was skipped, wholly or in part: {}", why.join("; ")),
        many => format!("{many} tests were skipped, wholly or in part: {}", why.join("; ")),
    }
}
