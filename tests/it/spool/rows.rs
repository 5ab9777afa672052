//! Batches are read back unchanged and in order.

use std::os::unix::fs::PermissionsExt;

use crate::spool::support::{AMPLE, Desk, at, batch, journal, lost, names, wait};
use crate::support::scratch::in_memory;
use nodetally::spool::{Part, QueueContents, RowId, RowPresence};
use rusqlite::Connection;

#[test]
fn what_was_appended_is_there_after_a_reopening_in_its_order() {
    // On the disk that temporary files are on: with its waits, and its file system.
    let dir = tempfile::tempdir().unwrap();
    let mut batches: Vec<_> = (0..12).map(|n| batch(n, n, 100)).collect();
    batches[3].posts[1].part = Part { number: 7, piece: 5 };
    batches[4].posts[0].path = "/ß/%2F".to_owned();
    let desk = Desk::new(dir.path(), AMPLE);
    for batch in &batches {
        desk.append(batch, at(12)).unwrap();
    }
    let kept = desk.queue.contents();
    assert_eq!((kept.batches, kept.posts, kept.oldest), (12, 66, Some(at(0))));
    assert!(kept.bytes > 66 * 100 && kept.bytes < 66 * 300, "{kept:?}");
    drop(desk);

    let desk = Desk::new(dir.path(), AMPLE);
    assert_eq!(desk.queue.contents(), QueueContents::default());
    // The thread of before may be about to let go of it.
    let opened = std::iter::repeat_with(|| desk.open(at(13))).find(Result::is_ok);
    assert_eq!(opened, Some(Ok(kept)));
    let (rows, found): (Vec<_>, Vec<_>) = desk.all(at(13)).into_iter().unzip();
    assert_eq!(found, batches);
    assert!(rows.is_sorted() && rows[0] < rows[11]);
    assert_eq!(desk.queue.take_lost(), lost(0, 0, 0));
}

#[test]
fn removed_rows_are_gone_and_the_others_of_a_batch_keep_its_place() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    let rows: Vec<RowId> = (0..5).map(|n| desk.append(&batch(n, 4, 50), at(n)).unwrap()).collect();
    desk.remove(&[rows[0], rows[3]]).unwrap();
    let mut rest = batch(2, 4, 50);
    rest.posts.drain(..3);
    assert_eq!(wait(desk.queue.replace(rows[2], &rest)), Ok(RowPresence::Present));
    let expected = [(rows[1], batch(1, 4, 50)), (rows[2], rest), (rows[4], batch(4, 4, 50))];
    for _ in 0..2 {
        assert_eq!(desk.all(at(5)), expected);
        let kept = desk.queue.contents();
        assert_eq!((kept.batches, kept.posts, kept.oldest), (3, 9, Some(at(1))));
        desk.rest();
        desk.open(at(5)).unwrap();
    }
}

#[test]
fn a_merged_batch_has_the_place_of_its_last_part() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    let rows: Vec<RowId> = (0..5).map(|n| desk.append(&batch(n, 2, 50), at(n)).unwrap()).collect();
    let mut merged = batch(2, 2, 50);
    merged.posts.extend(batch(0, 2, 50).posts);
    let put = wait(desk.queue.merge(&[rows[0], rows[2], rows[1]], &merged));
    assert_eq!(put, Ok(RowPresence::Present));
    let expected = [(rows[2], merged), (rows[3], batch(3, 2, 50)), (rows[4], batch(4, 2, 50))];
    assert_eq!(desk.all(at(5)), expected);
    assert_eq!(desk.queue.contents().posts, 8);
}

#[test]
fn rows_that_are_gone_are_passed_over() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    let rows: Vec<RowId> = (0..3).map(|n| desk.append(&batch(n, 2, 50), at(n)).unwrap()).collect();
    desk.remove(&[rows[0], rows[1]]).unwrap();
    desk.remove(&[rows[0]]).unwrap();
    let gone = Ok(RowPresence::Gone);
    assert_eq!(wait(desk.queue.replace(rows[0], &batch(7, 1, 50))), gone);
    assert_eq!(wait(desk.queue.merge(&[rows[0], rows[1]], &batch(7, 1, 50))), gone);
    desk.release(rows[0]);
    assert_eq!(desk.samples(at(3)), [2]);
    // Those that are there are merged.
    let put = wait(desk.queue.merge(&[rows[1], rows[2]], &batch(8, 1, 50)));
    assert_eq!(put, Ok(RowPresence::Present));
    assert_eq!(desk.samples(at(8)), [8]);
    assert_eq!(desk.queue.contents().posts, 1);
}

#[test]
fn the_file_goes_with_its_last_row_and_numbers_grow_on() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    let first = desk.append(&batch(0, 2, 50), at(0)).unwrap();
    desk.rest();
    assert!(desk.path.exists());
    assert_eq!(desk.samples(at(0)), [0]);
    desk.remove(&[first]).unwrap();
    desk.rest();
    assert_eq!(names(dir.path()), [""; 0]);
    assert_eq!(desk.queue.contents(), QueueContents::default());
    assert_eq!(desk.next(at(1)).unwrap(), None);
    let second = desk.append(&batch(1, 2, 50), at(1)).unwrap();
    assert!(second > first);
    assert_eq!(desk.next(at(1)).unwrap().unwrap().0, second);
}

#[test]
fn an_empty_file_of_an_earlier_run_goes_too() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    let row = desk.append(&batch(0, 2, 50), at(0)).unwrap();
    desk.remove(&[row]).unwrap();
    let left = std::fs::read(&desk.path).unwrap();
    desk.rest();
    std::fs::write(&desk.path, left).unwrap();
    assert_eq!(desk.open(at(1)).unwrap(), QueueContents::default());
    assert_eq!(names(dir.path()), [""; 0]);
}

/// A kill in the middle of the first transaction: its journal takes back all there is in the file.
#[test]
fn a_file_that_was_only_begun_is_begun_anew() {
    let (dir, killed) = (in_memory(), in_memory());
    let desk = Desk::new(dir.path(), AMPLE);
    let path = killed.path().join("q");
    let connection = Connection::open(&path).unwrap();
    let statements = "PRAGMA journal_mode = PERSIST; PRAGMA cache_size = 1; BEGIN EXCLUSIVE; \
                      CREATE TABLE records (id INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT; \
                      INSERT INTO records VALUES (1, zeroblob(200000));";
    connection.execute_batch(statements).unwrap();
    assert!(std::fs::copy(&path, &desk.path).unwrap() > 0);
    std::fs::copy(journal(&path), journal(&desk.path)).unwrap();
    assert_eq!(desk.open(at(0)).unwrap(), QueueContents::default());
    assert_eq!(names(dir.path()), [""; 0]);
    assert_eq!(desk.queue.take_lost(), lost(0, 0, 0));

    std::fs::copy(&path, &desk.path).unwrap();
    std::fs::copy(journal(&path), journal(&desk.path)).unwrap();
    desk.append(&batch(1, 2, 50), at(1)).unwrap();
    assert_eq!(desk.samples(at(1)), [1]);
    assert_eq!(names(dir.path()), ["central.spool", "central.spool-journal"]);
}

#[test]
fn no_other_user_may_read_the_file() {
    let dir = in_memory();
    let below = dir.path().join("state/spool");
    let desk = Desk::new(&below, AMPLE);
    desk.append(&batch(0, 2, 50), at(0)).unwrap();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(below.clone()), 0o700);
    assert_eq!(names(&below), ["central.spool", "central.spool-journal"]);
    for name in names(&below) {
        assert_eq!(mode(below.join(name)), 0o600);
    }
}
