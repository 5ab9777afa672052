//! The one thread: when there is one, and what is told without it.

use std::time::{Duration, Instant};

use crate::spool::support::{AMPLE, Desk, again, at, batch, names, wait};
use crate::support::scratch::in_memory;

const ALONE: &str = "SPOOL_TEST_ALONE";

/// In a process of its own, since the other tests have threads of that name too.
fn alone(test: &str, run: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return run();
    }
    let dir = in_memory();
    let output = again(test, ALONE, dir.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

fn threads() -> usize {
    let is_one = |task: &std::fs::DirEntry| {
        std::fs::read(task.path().join("comm")).is_ok_and(|name| name == b"spool\n")
    };
    std::fs::read_dir("/proc/self/task").unwrap().flatten().filter(is_one).count()
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn an_endpoint_that_is_well_starts_no_thread_and_touches_no_disk() {
    alone("spool::thread::an_endpoint_that_is_well_starts_no_thread_and_touches_no_disk", || {
        let dir = in_memory();
        let desk = Desk::new(&dir.path().join("spool"), AMPLE);
        assert_eq!(desk.open(at(0)).unwrap().batches, 0);
        assert_eq!(desk.next(at(0)).unwrap(), None);
        desk.remove(&[]).unwrap();
        desk.rest();
        assert_eq!(desk.queue.contents().posts, 0);
        assert_eq!(threads(), 0);
        assert_eq!(names(dir.path()), [""; 0]);
    });
}

#[test]
fn there_is_one_thread_for_all_queues_and_it_ends_with_the_last_handle() {
    alone(
        "spool::thread::there_is_one_thread_for_all_queues_and_it_ends_with_the_last_handle",
        || {
            let dir = in_memory();
            let desk = Desk::new(dir.path(), AMPLE);
            let other = desk.spool.queue("other", AMPLE);
            desk.append(&batch(0, 1, 10), at(0)).unwrap();
            wait(other.append(&batch(0, 1, 10), false, at(0))).unwrap();
            assert_eq!(threads(), 1);
            drop(desk);
            wait(other.append(&batch(1, 1, 10), false, at(1))).unwrap();
            assert_eq!(threads(), 1);
            drop(other);
            eventually("the thread ends", || threads() == 0);
            // And has let go of the files.
            let desk = Desk::new(dir.path(), AMPLE);
            assert_eq!(desk.open(at(1)).unwrap().batches, 1);
            assert_eq!(wait(desk.spool.queue("other", AMPLE).open(at(1))).unwrap().batches, 2);
        },
    );
}

#[test]
fn a_queue_of_the_same_name_is_the_same_queue() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    let row = desk.append(&batch(0, 1, 10), at(0)).unwrap();
    let again = desk.spool.queue("central", AMPLE);
    assert_eq!(again.contents().batches, 1);
    wait(again.append(&batch(1, 1, 10), false, at(1))).unwrap();
    assert_eq!(desk.samples(at(1)), [0, 1]);
    // Also where there was no handle for a while.
    let Desk { spool, queue, path } = desk;
    drop((queue, again));
    let queue = spool.queue("central", AMPLE);
    let desk = Desk { spool, queue, path };
    assert_eq!(desk.open(at(1)).unwrap().batches, 2);
    desk.remove(&[row]).unwrap();
    assert_eq!(desk.samples(at(1)), [1]);
}

#[test]
fn queues_of_endpoints_that_are_no_more_are_found() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    assert_eq!(desk.spool.orphans(&[]), []);
    desk.append(&batch(0, 1, 10), at(0)).unwrap();
    std::fs::write(dir.path().join("old.spool"), "12345").unwrap();
    std::fs::write(dir.path().join("older.spool"), "123").unwrap();
    std::fs::write(dir.path().join("old.spool.damaged-1"), "1").unwrap();
    let expected = [("old.spool".to_owned(), 5), ("older.spool".to_owned(), 3)];
    assert_eq!(desk.spool.orphans(&["central", "new"]), expected);
    for n in 0..100 {
        std::fs::write(dir.path().join(format!("{n}.spool")), "").unwrap();
    }
    assert_eq!(desk.spool.orphans(&[]).len(), 64);
    let nowhere = Desk::new(&dir.path().join("nowhere"), AMPLE);
    assert_eq!(nowhere.spool.orphans(&[]), []);
}
