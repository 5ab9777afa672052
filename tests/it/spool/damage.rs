//! Files that are not what they were: what can be read is given out as it was, what cannot is counted
//! or set aside, with a word.

use std::path::Path;

use nodetally::spool::{QueueContents, RowPresence};
use rusqlite::Connection;

use crate::spool::support::{
    AMPLE, Desk, WALL, at, batch, journal, lost, names, noise, sample, wait,
};
use crate::support::log_lines;
use crate::support::rounds::rounds;
use crate::support::scratch::in_memory;

const BATCHES: u64 = 40;
const POSTS: u64 = BATCHES * 3;

/// The files of a queue of 40 batches, with bodies that fill several pages now and then.
struct Whole {
    file: Vec<u8>,
    /// Of a transaction that was not finished, and that has been written into the file already.
    journal: Option<Vec<u8>>,
}

fn body_bytes(n: u64) -> usize {
    if n.is_multiple_of(4) { 5000 } else { 300 }
}

impl Whole {
    fn new() -> Self {
        let dir = in_memory();
        let desk = Desk::new(dir.path(), AMPLE);
        // Some rows have been there and are not any more, so that there are free pages.
        for n in 0..10 {
            let row = desk.append(&batch(n, 3, body_bytes(n)), at(n)).unwrap();
            desk.append(&batch(n, 3, body_bytes(n)), at(n)).unwrap();
            desk.remove(&[row]).unwrap();
        }
        for n in 10..BATCHES {
            desk.append(&batch(n, 3, body_bytes(n)), at(n)).unwrap();
        }
        desk.rest();
        Self { file: std::fs::read(&desk.path).unwrap(), journal: None }
    }

    /// As a crash leaves it while rows are removed and others are put in.
    fn in_a_transaction() -> Self {
        let dir = in_memory();
        let path = dir.path().join("q");
        std::fs::write(&path, Self::new().file).unwrap();
        let connection = Connection::open(&path).unwrap();
        let statements = "PRAGMA cache_size = 2; BEGIN IMMEDIATE; DELETE FROM records; \
                          DELETE FROM batches; INSERT INTO records VALUES (1, zeroblob(200000));";
        connection.execute_batch(statements).unwrap();
        let file = std::fs::read(&path).unwrap();
        let journal = Some(std::fs::read(journal(&path)).unwrap());
        Self { file, journal }
    }

    fn put(&self, path: &Path) {
        std::fs::write(path, &self.file).unwrap();
        if let Some(bytes) = &self.journal {
            std::fs::write(journal(path), bytes).unwrap();
        }
    }

    /// The outcome of opening these files, checked against their known content.
    fn come_to(&self, what: &str) -> Outcome {
        log_lines::hear_all();
        let dir = in_memory();
        let desk = Desk::new(dir.path(), AMPLE);
        self.put(&desk.path);
        desk.open(at(100)).unwrap();
        let found = desk.all(at(100));
        let samples: Vec<u64> = found.iter().map(|(_, batch)| sample(batch)).collect();
        assert!(samples.is_sorted_by(|a, b| a < b), "{what}: {samples:?}");
        for (_, found) in &found {
            let n = sample(found);
            assert!(n < BATCHES && *found == batch(n, 3, body_bytes(n)), "{what}: batch {n}");
        }
        let found_posts = 3 * found.len() as u64;
        let damaged_posts = desk.queue.take_lost().damaged_posts;
        let asides: Vec<_> = names(dir.path()).into_iter().filter(|name| is_aside(name)).collect();
        let said = log_lines::about(&desk.path);
        match asides.as_slice() {
            [] => {
                let counted = found_posts + damaged_posts;
                assert!(counted >= POSTS, "{what}: {found_posts} and {damaged_posts}");
                assert_eq!(damaged_posts > 0, said.len() == 1, "{what}: {said:?}");
            }
            [aside] => {
                let lines: Vec<_> = said.iter().filter(|line| line.contains("set aside")).collect();
                assert_eq!(lines.len(), 1, "{what}: {said:?}");
                assert!(lines[0].contains(aside.as_str()), "{what}: {lines:?}");
                assert!(lines[0].starts_with("WARN "), "{what}: {lines:?}");
                // What the word says is what is counted.
                if found.is_empty() {
                    let posts = format!(" of {damaged_posts} posts");
                    assert!(lines[0].contains(&posts), "{what}: {damaged_posts}, {lines:?}");
                }
            }
            several => panic!("{what}: {several:?}"),
        }
        // And it goes on.
        desk.append(&batch(77, 3, 100), at(100)).unwrap();
        desk.rest();
        desk.open(at(100)).unwrap();
        assert_eq!(desk.samples(at(100)).last(), Some(&77), "{what}");
        Outcome { found_posts, damaged_posts, is_aside: !asides.is_empty(), said }
    }
}

#[derive(Debug)]
struct Outcome {
    found_posts: u64,
    damaged_posts: u64,
    is_aside: bool,
    said: Vec<String>,
}

fn is_aside(name: &str) -> bool {
    name.starts_with("central.spool.damaged-") && !name.ends_with("-journal")
}

#[test]
fn whole_files_are_whole() {
    for whole in [Whole::new(), Whole::in_a_transaction()] {
        let outcome = whole.come_to("whole");
        assert_eq!((outcome.found_posts, outcome.damaged_posts), (POSTS, 0));
        assert!(!outcome.is_aside && outcome.said.is_empty(), "{outcome:?}");
    }
}

#[test]
fn a_truncated_file_is_noticed() {
    let whole = Whole::new();
    let bytes = whole.file.len();
    let lengths = (1..=9).chain([99, 100, 511, 512, 513, 4095, 4096, 4097]);
    let lengths = lengths.chain((1..12).map(|part| bytes * part / 12)).chain([bytes - 1]);
    for length in lengths {
        let cut = Whole { file: whole.file[..length].to_owned(), journal: None };
        let outcome = cut.come_to(&format!("cut to {length} of {bytes}"));
        // Where less than a page is missing it is the last batch.
        let expected = if bytes - length < 4096 { (false, POSTS - 3) } else { (true, 0) };
        let found = (outcome.is_aside, outcome.found_posts);
        assert_eq!(found, expected, "cut to {length} of {bytes}: {outcome:?}");
    }
}

#[test]
fn bytes_that_were_changed_anywhere_are_noticed() {
    let whole = Whole::new();
    let (mut asides, mut rows) = (0, 0);
    for seed in 0..rounds(150).into() {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut file = whole.file.clone();
        let length = [1, 4, 40, 400, 4096][random.usize(..5)];
        let at = random.usize(..file.len() - length);
        file[at..at + length].copy_from_slice(&noise(seed, length));
        let changed = Whole { file, journal: None };
        let outcome = changed.come_to(&format!("seed {seed}: {length} bytes at {at}"));
        asides += u64::from(outcome.is_aside);
        rows += u64::from(!outcome.is_aside && outcome.damaged_posts > 0);
    }
    assert!(asides > 10 && rows > 10, "{asides} set aside, {rows} with single rows damaged");
}

#[test]
fn a_damaged_journal_makes_no_false_rows() {
    let whole = Whole::in_a_transaction();
    let journal = whole.journal.clone().unwrap();
    for seed in 0..rounds(60).into() {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut journal = journal.clone();
        if seed % 3 == 0 {
            journal.truncate(random.usize(..journal.len()));
        } else {
            let length = [1, 40, 4096][random.usize(..3)];
            let at = random.usize(..journal.len() - length);
            journal[at..at + length].copy_from_slice(&noise(seed, length));
        }
        let changed = Whole { file: whole.file.clone(), journal: Some(journal) };
        changed.come_to(&format!("seed {seed}"));
    }
}

/// Puts a foreign file in the place of a queue and checks the log line about it.
#[track_caller]
fn foreign(make: impl Fn(&Path), expected: &str) {
    log_lines::hear_all();
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    make(&desk.path);
    let before = std::fs::read(&desk.path).unwrap();
    assert_eq!(desk.open(at(7)).unwrap(), QueueContents::default());
    let aside = format!("central.spool.damaged-{}", WALL + 7);
    assert_eq!(names(dir.path()), [aside.as_str()]);
    assert_eq!(std::fs::read(dir.path().join(&aside)).unwrap(), before);
    let said = log_lines::about(&desk.path);
    assert!(said.len() == 1 && said[0].contains(expected), "{said:?}");
    assert!(said[0].contains(&aside), "{said:?}");
    assert_eq!(desk.queue.take_lost(), lost(0, 0, 0));
    desk.append(&batch(1, 1, 10), at(8)).unwrap();
    assert_eq!(desk.samples(at(8)), [1]);
}

fn database(path: &Path, statements: &str) {
    Connection::open(path).unwrap().execute_batch(statements).unwrap();
}

#[test]
fn what_was_never_a_queue_is_set_aside_with_its_own_words() {
    foreign(|path| std::fs::write(path, "a text\n").unwrap(), "file is not a database");
    foreign(|path| std::fs::write(path, [0; 10_000]).unwrap(), "file is not a database");
    foreign(|path| database(path, "CREATE TABLE t (x);"), "it is another program's");
    let of_ours = "PRAGMA application_id = 0x6e747370; PRAGMA user_version = 1;";
    let others = format!("{of_ours} CREATE TABLE batches (id INTEGER PRIMARY KEY);");
    foreign(|path| database(path, &others), "its tables are not those of a queue");
}

#[test]
fn a_newer_version_s_file_is_set_aside_with_its_own_words() {
    let newer = |path: &Path| {
        database(path, "PRAGMA application_id = 0x6e747370; PRAGMA user_version = 2;");
    };
    foreign(newer, "it is of version 2, and only 1 is known here");

    log_lines::hear_all();
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    Whole::new().put(&desk.path);
    database(&desk.path, "PRAGMA user_version = 9");
    desk.open(at(7)).unwrap();
    // Its rows can be counted all the same.
    assert_eq!(desk.queue.take_lost(), lost(0, 0, POSTS));
    let said = log_lines::about(&desk.path);
    assert!(said[0].contains("with 40 batches of 120 posts known to be in it"), "{said:?}");
}

#[test]
fn a_directory_in_the_place_of_the_file_is_set_aside() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    std::fs::create_dir(&desk.path).unwrap();
    desk.append(&batch(1, 1, 10), at(8)).unwrap();
    assert_eq!(desk.samples(at(8)), [1]);
}

#[test]
fn an_empty_file_begins_anew_with_a_word() {
    log_lines::hear_all();
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    std::fs::write(&desk.path, "").unwrap();
    assert_eq!(desk.open(at(1)).unwrap(), QueueContents::default());
    let said = log_lines::about(&desk.path);
    assert!(said.len() == 1 && said[0].contains("the file was empty"), "{said:?}");
    desk.append(&batch(1, 1, 10), at(1)).unwrap();
    assert_eq!(desk.samples(at(1)), [1]);
}

#[test]
fn damage_that_shows_while_it_is_in_use_costs_what_was_known_to_be_there() {
    log_lines::hear_all();
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    Whole::new().put(&desk.path);
    desk.open(at(50)).unwrap();
    let (first, _) = desk.next(at(50)).unwrap().unwrap();
    desk.remove(&[first]).unwrap();
    // Written over behind the agent's back, but for the pages that it holds in memory.
    std::fs::write(&desk.path, noise(1, 300_000)).unwrap();
    let leased: Vec<_> = std::iter::from_fn(|| desk.next(at(50)).unwrap()).collect();
    let found_posts = 3 + 3 * leased.len() as u64;
    let damaged_posts = desk.queue.take_lost().damaged_posts;
    // What somebody has in hand is not lost with the file.
    assert_eq!(found_posts + damaged_posts, POSTS, "{found_posts} and {damaged_posts}");
    assert!(damaged_posts > 0);
    for (row, batch) in leased.into_iter().chain([(first, batch(0, 1, 10))]) {
        assert_eq!(wait(desk.queue.replace(row, &batch)), Ok(RowPresence::Gone));
        desk.remove(&[row]).unwrap();
        desk.release(row);
    }
    assert!(desk.append(&batch(60, 1, 10), at(60)).unwrap() > first);
    assert_eq!(desk.samples(at(60)), [60]);
    let said = log_lines::about(&desk.path);
    assert_eq!(said.iter().filter(|line| line.contains("set aside")).count(), 1, "{said:?}");
}

#[test]
fn a_removed_file_is_noticed() {
    log_lines::hear_all();
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    for n in 0..4 {
        desk.append(&batch(n, 3, 10), at(n)).unwrap();
    }
    std::fs::remove_file(&desk.path).unwrap();
    desk.append(&batch(9, 3, 10), at(9)).unwrap();
    assert_eq!(desk.queue.take_lost(), lost(0, 0, 12));
    let said = log_lines::about(&desk.path);
    assert!(said.len() == 1 && said[0].contains("was removed from outside"), "{said:?}");
    desk.rest();
    desk.open(at(9)).unwrap();
    assert_eq!(desk.samples(at(9)), [9]);
}

#[test]
fn single_damaged_batches_are_removed_counted_and_logged_once() {
    log_lines::hear_all();
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    Whole::new().put(&desk.path);
    // Rows 20, 30, 40 and 50, and four more.
    let statements = "UPDATE records SET record = zeroblob(length(record)) WHERE id % 10 = 0; \
                      UPDATE batches SET boot = 'none' WHERE id = 31; \
                      UPDATE batches SET bytes = 1 << 40 WHERE id = 32; \
                      UPDATE batches SET since_boot = since_boot + 1 WHERE id = 33; \
                      DELETE FROM records WHERE id = 34;";
    database(&desk.path, statements);
    desk.open(at(50)).unwrap();
    let found = desk.all(at(50)).len() as u64;
    let damaged = BATCHES - found;
    assert!((8..=9).contains(&damaged), "{damaged}");
    assert_eq!(desk.queue.take_lost(), lost(0, 0, 3 * damaged));
    assert_eq!(desk.queue.contents().batches, found);
    let said = log_lines::about(&desk.path);
    assert!(said.len() == 1 && said[0].contains("it does not begin as"), "{said:?}");
    // They are gone for good.
    desk.rest();
    assert_eq!(desk.open(at(50)).unwrap().batches, found);
    assert_eq!(desk.all(at(50)).len() as u64, found);
    assert_eq!(desk.queue.take_lost(), lost(0, 0, 0));
}
