//! SIGKILL in the middle of it, and two agents on one directory.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use nodetally::spool::SpoolError;

use crate::spool::support::{AMPLE, Desk, again, at, batch, sample};
use crate::support::rounds::rounds;
use crate::support::scratch::in_memory;

const WRITER: &str = "SPOOL_TEST_WRITER";
const HOLDER: &str = "SPOOL_TEST_HOLDER";

/// The known progress of a writer, in numbers of samples.
#[derive(Default)]
struct Known {
    appended: BTreeSet<u64>,
    /// It was about to remove them.
    removing: BTreeSet<u64>,
    removed: BTreeSet<u64>,
}

/// Not a test of its own: appends and removes until it is killed, and says each time what it will do
/// and what it has done.
#[test]
fn the_writer() {
    let Some(dir) = std::env::var_os(WRITER) else { return };
    let desk = Desk::new(&PathBuf::from(dir), AMPLE);
    let now = at(0);
    desk.open(now).unwrap();
    let mut n = desk.all(now).last().map_or(0, |(_, batch)| sample(batch) + 1);
    let mut out = std::io::stdout().lock();
    loop {
        // Some large enough to be written before they are committed.
        let body_bytes = if n.is_multiple_of(5) { 50_000 } else { 2000 };
        desk.append(&batch(n, 3, body_bytes), now).unwrap();
        writeln!(out, "appended {n}").unwrap();
        n += 1;
        if n.is_multiple_of(3) {
            let (row, oldest) = desk.next(now).unwrap().unwrap();
            let oldest = sample(&oldest);
            writeln!(out, "removing {oldest}").unwrap();
            desk.remove(&[row]).unwrap();
            writeln!(out, "removed {oldest}").unwrap();
        }
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_answered_and_brings_nothing_back() {
    let dir = in_memory();
    let mut known = Known::default();
    let mut random = fastrand::Rng::with_seed(5);
    let rounds = rounds(15);
    for round in 0..rounds {
        let mut writer = again("spool::crash::the_writer", WRITER, dir.path()).spawn().unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let enough = random.u32(1..20);
        for line in lines.by_ref() {
            seen += u32::from(note(&mut known, &line.unwrap()));
            if seen == enough {
                break;
            }
        }
        // Wherever it is then, in the middle of something mostly.
        std::thread::sleep(Duration::from_micros(random.u64(0..6000)));
        writer.kill().unwrap();
        writer.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            note(&mut known, &line);
        }

        let desk = Desk::new(dir.path(), AMPLE);
        desk.open(at(0)).unwrap();
        let found = desk.all(at(0));
        let samples: Vec<u64> = found.iter().map(|(_, batch)| sample(batch)).collect();
        assert!(samples.is_sorted_by(|a, b| a < b), "round {round}: {samples:?}");
        let there: BTreeSet<u64> = samples.into_iter().collect();
        let missing: Vec<_> = known.appended.difference(&known.removing).collect();
        assert!(missing.iter().all(|n| there.contains(n)), "round {round}: {missing:?} {there:?}");
        assert!(there.is_disjoint(&known.removed), "round {round}");
        for (_, found) in &found {
            let n = sample(found);
            assert_eq!(*found, batch(n, 3, if n.is_multiple_of(5) { 50_000 } else { 2000 }));
        }
        assert_eq!(desk.queue.take_lost(), Default::default());
        // One that was on disk and not answered yet is known from here on.
        known.appended.extend(there);
        desk.rest();
    }
    assert!(known.removed.len() > rounds as usize);
}

fn note(known: &mut Known, line: &str) -> bool {
    let Some((what, n)) = line.split_once(' ') else { return false };
    let Ok(n) = n.parse() else { return false };
    match what {
        "appended" => known.appended.insert(n),
        "removing" => known.removing.insert(n),
        "removed" => known.removed.insert(n),
        _ => false,
    }
}

/// Not a test of its own: has a queue open until its input ends.
#[test]
fn the_holder() {
    let Some(dir) = std::env::var_os(HOLDER) else { return };
    let desk = Desk::new(&PathBuf::from(dir), AMPLE);
    desk.append(&batch(0, 3, 100), at(0)).unwrap();
    println!("held");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(desk.samples(at(0)), [0]);
    desk.append(&batch(1, 3, 100), at(1)).unwrap();
}

#[test]
fn a_second_agent_gets_an_error_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = again("spool::crash::the_holder", HOLDER, dir.path()).spawn().unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("held")));

    let desk = Desk::new(dir.path(), AMPLE);
    let path = desk.path.display().to_string();
    let reason = "another process has it open".to_owned();
    let expected = SpoolError::Failed { path, reason };
    for _ in 0..2 {
        assert_eq!(desk.open(at(1)), Err(expected.clone()));
        assert_eq!(desk.append(&batch(9, 3, 100), at(1)), Err(expected.clone()));
        assert_eq!(desk.next(at(1)), Err(expected.clone()));
        desk.rest();
    }

    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    assert_eq!(desk.open(at(2)).unwrap().batches, 2);
    assert_eq!(desk.samples(at(2)), [0, 1]);
}
