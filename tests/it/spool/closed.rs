//! Files that others lay hands on while they are closed: what was known of them is missed.

use std::path::{Path, PathBuf};

use nodetally::spool::{RowId, RowPresence};

use crate::spool::support::{AMPLE, Desk, at, batch, lost, noise, sample, wait};
use crate::support::log_lines;
use crate::support::scratch::in_memory;

/// Four batches of three posts, the first of them in somebody's hands, in a file that is closed.
struct Closed {
    desk: Desk,
    leased: RowId,
    _dir: tempfile::TempDir,
}

impl Closed {
    fn new() -> Self {
        log_lines::hear_all();
        let dir = in_memory();
        let desk = Desk::new(dir.path(), AMPLE);
        desk.open(at(0)).unwrap();
        for n in 0..4 {
            desk.append(&batch(n, 3, 10), at(n)).unwrap();
        }
        let (leased, _) = desk.next(at(4)).unwrap().unwrap();
        desk.rest();
        Self { desk, leased, _dir: dir }
    }

    /// Nine posts are lost, as somebody has the others; and it goes on, with these samples.
    #[track_caller]
    fn is_missed(&self, what: &str, samples: &[u64]) {
        let Self { desk, leased, .. } = self;
        desk.append(&batch(9, 3, 10), at(9)).unwrap();
        assert_eq!(desk.queue.take_lost(), lost(0, 0, 9), "{what}");
        assert_eq!(desk.queue.take_found_posts(), 3 * (samples.len() as u64 - 1), "{what}");
        assert_eq!(wait(desk.queue.release(*leased)), RowPresence::Gone, "{what}");
        assert_eq!(desk.samples(at(9)), samples, "{what}");
        let said = log_lines::about(&desk.path);
        let with_numbers = said.iter().filter(|line| line.contains("4 batches of 12 posts"));
        assert_eq!(with_numbers.count(), 1, "{what}: {said:?}");
        assert!(said.iter().any(|line| line.contains(what)), "{what}: {said:?}");
    }
}

/// A file of two batches of three posts, of samples 20 and 21.
fn another() -> (tempfile::TempDir, PathBuf) {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    for n in 20..22 {
        desk.append(&batch(n, 3, 10), at(n)).unwrap();
    }
    desk.rest();
    (dir, desk.path)
}

fn exchange(path: &Path) {
    let beside = path.with_extension("other");
    let (_dir, other) = another();
    std::fs::copy(other, &beside).unwrap();
    std::fs::rename(beside, path).unwrap();
}

#[test]
fn one_that_is_removed_is_missed() {
    let closed = Closed::new();
    std::fs::remove_file(&closed.desk.path).unwrap();
    closed.is_missed("the file was removed from outside", &[9]);
}

#[test]
fn one_that_is_emptied_is_missed() {
    let closed = Closed::new();
    std::fs::write(&closed.desk.path, "").unwrap();
    closed.is_missed("the file was emptied from outside", &[9]);
}

#[test]
fn one_that_is_exchanged_is_missed_and_what_the_other_holds_is_found() {
    let closed = Closed::new();
    exchange(&closed.desk.path);
    closed.is_missed("the file was replaced from outside", &[20, 21, 9]);
}

#[test]
fn of_one_that_is_damaged_all_is_lost_that_was_known() {
    let closed = Closed::new();
    std::fs::write(&closed.desk.path, noise(1, 30_000)).unwrap();
    closed.is_missed("set aside as", &[9]);
}

#[test]
fn one_that_is_written_over_by_another_is_counted_anew() {
    let closed = Closed::new();
    let (_dir, other) = another();
    // The same inode.
    std::fs::write(&closed.desk.path, std::fs::read(other).unwrap()).unwrap();
    let Closed { desk, .. } = &closed;
    desk.append(&batch(9, 3, 10), at(9)).unwrap();
    let kept = desk.queue.contents();
    let gone = desk.queue.take_lost().damaged_posts;
    // Of four batches one stands in a row that is there as well, and is in somebody's hands.
    assert_eq!((kept.posts, gone, desk.queue.take_found_posts()), (9, 6, 0));
    let said = log_lines::about(&desk.path);
    assert!(
        said.len() == 1 && said[0].contains("it had 4 batches with 12 posts, and has 2 batches"),
        "{said:?}"
    );
}

#[test]
fn leases_of_a_removed_queue_are_not_released() {
    let closed = Closed::new();
    std::fs::remove_file(&closed.desk.path).unwrap();
    assert_eq!(wait(closed.desk.queue.release(closed.leased)), RowPresence::Gone);
    assert_eq!(closed.desk.queue.take_lost(), lost(0, 0, 9));
    assert_eq!(closed.desk.queue.contents().posts, 0);
}

#[test]
fn an_unused_queue_is_unchanged() {
    let Closed { desk, leased, _dir } = Closed::new();
    for _ in 0..3 {
        assert_eq!(desk.samples(at(5)), [1, 2, 3]);
        desk.rest();
    }
    assert_eq!(wait(desk.queue.release(leased)), RowPresence::Present);
    assert_eq!(desk.samples(at(5)), [0, 1, 2, 3]);
    assert_eq!((desk.queue.take_lost(), desk.queue.take_found_posts()), (lost(0, 0, 0), 0));
    assert_eq!(log_lines::about(&desk.path), [""; 0]);
}

#[test]
fn what_was_there_before_anything_was_known_of_it_is_found() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    assert_eq!(desk.open(at(0)).unwrap().posts, 0);
    // Its file system comes late.
    let (_dir, other) = another();
    std::fs::copy(other, &desk.path).unwrap();
    desk.append(&batch(30, 3, 10), at(30)).unwrap();
    assert_eq!(desk.queue.take_found_posts(), 6);
    let all = desk.all(at(30));
    assert_eq!(all.iter().map(|(_, batch)| sample(batch)).collect::<Vec<_>>(), [20, 21, 30]);
}
