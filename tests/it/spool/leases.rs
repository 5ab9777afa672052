//! Leased batches stay on disk and are given to no other reader.

use nodetally::spool::{Bounds, RowId, RowPresence, SpoolError};

use crate::spool::support::{AMPLE, Desk, at, batch, bounds, lost, sample, wait};
use crate::support::scratch::in_memory;

#[test]
fn what_was_given_out_is_not_given_again_until_it_is_let_go() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    for n in 0..3 {
        desk.append(&batch(n, 2, 50), at(n)).unwrap();
    }
    let held = wait(desk.queue.append(&batch(3, 2, 50), true, at(3))).unwrap();
    let (first, found) = desk.next(at(3)).unwrap().unwrap();
    assert_eq!(sample(&found), 0);
    assert_eq!(desk.samples(at(3)), [1, 2]);
    // They are on disk all the same.
    let kept = desk.queue.contents();
    assert_eq!((kept.batches, kept.leased), (4, 2));
    desk.rest();
    assert_eq!(desk.samples(at(3)), [1, 2]);
    desk.release(held);
    assert_eq!(desk.samples(at(3)), [1, 2, 3]);
    desk.release(first);
    assert_eq!(desk.queue.contents().leased, 0);
    assert_eq!(desk.samples(at(3)), [0, 1, 2, 3]);
}

#[test]
fn a_new_run_has_no_leases() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    wait(desk.queue.append(&batch(0, 2, 50), true, at(0))).unwrap();
    drop(desk);
    let desk = Desk::new(dir.path(), AMPLE);
    // The thread of before may be about to let go of it.
    std::iter::repeat_with(|| desk.open(at(1))).find(Result::is_ok);
    assert_eq!(desk.samples(at(1)), [0]);
}

#[test]
fn leased_batches_are_neither_evicted_nor_too_old() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), Bounds { bytes_max: 100_000, ..bounds(0, 60) });
    let held = wait(desk.queue.append(&batch(0, 1, 10_000), true, at(0))).unwrap();
    for n in 1..30 {
        desk.append(&batch(n, 1, 10_000), at(n)).unwrap();
    }
    let kept = desk.queue.contents();
    assert!(kept.bytes <= 100_000 && kept.oldest == Some(at(0)), "{kept:?}");
    assert_eq!(desk.queue.take_lost(), lost(30 - kept.batches, 0, 0));
    desk.append(&batch(1000, 1, 10_000), at(1000)).unwrap();
    assert_eq!(desk.queue.take_lost(), lost(0, kept.batches - 1, 0));
    assert_eq!(desk.samples(at(1000)), [1000]);
    let mut rest = batch(0, 1, 10_000);
    rest.posts[0].path = "/rest".to_owned();
    assert_eq!(wait(desk.queue.replace(held, &rest)), Ok(RowPresence::Present));
    assert_eq!(desk.queue.contents().batches, 2);
    desk.release(held);
    assert_eq!(desk.samples(at(1000)), [1000]);
    assert_eq!(desk.queue.take_lost(), lost(0, 1, 0));
}

#[test]
fn where_leases_leave_no_room_nothing_is_dropped_for_a_batch_that_does_not_fit() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), bounds(100_000, 3600));
    let hold = |n| wait(desk.queue.append(&batch(n, 1, 20_000), true, at(n)));
    let held: Vec<RowId> = (0..3).map(|n| hold(n).unwrap()).collect();
    desk.append(&batch(3, 1, 20_000), at(3)).unwrap();
    let refused = desk.append(&batch(4, 1, 60_000), at(4));
    assert!(matches!(refused, Err(SpoolError::TooLarge { .. })), "{refused:?}");
    assert_eq!(desk.queue.take_lost(), lost(0, 0, 0));
    assert_eq!(desk.samples(at(4)), [3]);
    desk.remove(&held).unwrap();
    desk.append(&batch(4, 1, 60_000), at(4)).unwrap();
    assert_eq!(desk.samples(at(4)), [3, 4]);
}

#[test]
fn a_batch_merged_from_two_leases_is_not_leased() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    for n in 0..3 {
        desk.append(&batch(n, 2, 50), at(n)).unwrap();
    }
    let rows: Vec<RowId> = (0..2).map(|_| desk.next(at(3)).unwrap().unwrap().0).collect();
    assert_eq!(desk.samples(at(3)), [2]);
    assert_eq!(wait(desk.queue.merge(&rows, &batch(1, 3, 50))), Ok(RowPresence::Present));
    assert_eq!(desk.samples(at(3)), [1, 2]);
    assert_eq!(desk.queue.contents().posts, 5);
}
