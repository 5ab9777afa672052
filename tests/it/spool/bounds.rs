//! By bytes and by age, the oldest first, and each post that is dropped is counted.

use nodetally::spool::{Bounds, SpoolError};

use crate::spool::support::{AMPLE, Desk, WALL, at, batch, bounds, lost, moment};
use crate::support::scratch::in_memory;

/// Appends far more than fits, and removes some now and then, and holds every bound all the time.
fn fill_and_hold(body_bytes: usize, bytes_max: u64, batches: u64) {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), bounds(bytes_max, 1 << 30));
    let (mut removed, mut most_on_disk) = (0, 0);
    for n in 0..batches {
        desk.append(&batch(n, 2, body_bytes), at(n)).unwrap();
        let kept = desk.queue.contents();
        assert!(kept.bytes <= bytes_max, "{kept:?}");
        most_on_disk = most_on_disk.max(desk.disk_bytes());
        if n % 7 == 6 {
            let (row, _) = desk.next(at(n)).unwrap().unwrap();
            desk.remove(&[row]).unwrap();
            removed += 1;
        }
    }
    let samples = desk.samples(at(batches));
    let kept = desk.queue.contents();
    assert_eq!((kept.batches, kept.posts), (samples.len() as u64, 2 * samples.len() as u64));
    let newest: Vec<u64> = (batches - kept.batches..batches).collect();
    assert_eq!(samples, newest);
    let dropped = batches - removed - kept.batches;
    assert!(dropped > batches / 2, "{dropped} dropped");
    assert_eq!(desk.queue.take_lost(), lost(2 * dropped, 0, 0));
    assert_eq!(desk.queue.take_lost(), lost(0, 0, 0));
    // What is counted is what it takes: the queue is as good as full, and the disk has little more.
    assert!(kept.bytes + 4 * (body_bytes as u64 * 2 + 4096) > bytes_max, "{kept:?}");
    assert!(most_on_disk < bytes_max + bytes_max / 10 + (1 << 20), "{most_on_disk} on disk");
}

#[test]
fn a_full_queue_keeps_the_newest_and_no_more_on_disk_than_it_may() {
    fill_and_hold(200, 100_000, 1200);
    // A page takes but one record of this size.
    fill_and_hold(1050, 500_000, 800);
    fill_and_hold(20_000, 2 << 20, 160);
}

#[test]
fn a_batch_that_alone_is_more_than_the_queue_keeps_is_its_callers_and_pushes_nothing_out() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), bounds(45_000, 3600));
    desk.append(&batch(0, 2, 1000), at(0)).unwrap();
    // One that is seen to be too large by its record, and one by the pages that it takes.
    for body_bytes in [100_000, 44_861] {
        let refused = desk.append(&batch(1, 1, body_bytes), at(1)).unwrap_err();
        let path = desk.path.display().to_string();
        assert_eq!(refused, SpoolError::TooLarge { path });
        assert_eq!(desk.queue.take_lost(), lost(0, 0, 0));
    }
    assert_eq!(desk.samples(at(1)), [0]);
}

#[test]
fn what_is_too_old_is_dropped_at_the_next_append() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), bounds(1 << 20, 60));
    for n in 0..10 {
        desk.append(&batch(n, 3, 50), at(n)).unwrap();
    }
    desk.append(&batch(65, 1, 50), at(65)).unwrap();
    assert_eq!(desk.queue.take_lost(), lost(0, 15, 0));
    assert_eq!(desk.queue.contents().posts, 16);
    assert_eq!(desk.samples(at(65)), [5, 6, 7, 8, 9, 65]);
}

#[test]
fn what_is_too_old_is_not_given_out() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), bounds(1 << 20, 60));
    for n in 0..10 {
        desk.append(&batch(n, 3, 50), at(n)).unwrap();
    }
    desk.rest();
    assert_eq!(desk.open(at(66)).unwrap().posts, 30);
    assert_eq!(desk.samples(at(66)), [6, 7, 8, 9]);
    assert_eq!(desk.queue.take_lost(), lost(0, 18, 0));
    assert_eq!(desk.queue.contents().posts, 12);
    assert_eq!(desk.samples(at(1000)), [0; 0]);
    assert_eq!(desk.queue.take_lost(), lost(0, 12, 0));
    desk.rest();
    assert!(!desk.path.exists());
}

#[test]
fn a_wall_clock_that_is_set_by_an_hour_drops_and_keeps_nothing_within_a_boot() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), bounds(1 << 20, 600));
    for (n, wall) in [(0, WALL), (1, WALL + 3600), (2, WALL - 3600), (3, WALL)] {
        desk.append(&batch(n, 1, 50), moment(1, n, wall)).unwrap();
    }
    for wall in [WALL - 3600, WALL, WALL + 3600] {
        assert_eq!(desk.samples(moment(1, 600, wall)), [0, 1, 2, 3]);
    }
    assert_eq!(desk.queue.take_lost(), lost(0, 0, 0));
    assert_eq!(desk.samples(moment(1, 602, WALL - 3600)), [2, 3]);
    assert_eq!(desk.queue.take_lost(), lost(0, 2, 0));
}

#[test]
fn across_a_boot_the_wall_clock_tells_and_one_set_back_drops_nothing_too_early() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), bounds(1 << 20, 600));
    for n in 0..3 {
        // Taken at WALL + n.
        desk.append(&batch(n, 1, 50), at(n)).unwrap();
    }
    // The next boot thinks that it is an hour earlier.
    let mut sample = batch(50, 1, 50);
    sample.sampled_at = moment(2, 50, WALL - 3550);
    desk.append(&sample, sample.sampled_at).unwrap();
    assert_eq!(desk.samples(moment(2, 60, WALL - 3540)), [0, 1, 2, 50]);
    // Then the clock is set right: those of before are told by it, those of this boot are not.
    assert_eq!(desk.samples(moment(2, 60, WALL + 602)), [2, 50]);
    assert_eq!(desk.queue.take_lost(), lost(0, 2, 0));
    // An hour too far: what cannot be told otherwise is too old.
    assert_eq!(desk.samples(moment(2, 60, WALL + 3600)), [50]);
    assert_eq!(desk.queue.take_lost(), lost(0, 1, 0));
}

#[test]
fn what_another_boot_dated_into_the_future_does_not_keep_what_is_behind_it() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), bounds(1 << 20, 600));
    let mut sample = batch(7, 1, 50);
    sample.sampled_at = moment(1, 7, WALL + 1_000_000);
    desk.append(&sample, sample.sampled_at).unwrap();
    for (n, secs) in [(0, 10), (1, 20)] {
        let mut sample = batch(n, 1, 50);
        sample.sampled_at = moment(2, secs, WALL);
        desk.append(&sample, sample.sampled_at).unwrap();
    }
    let mut sample = batch(2, 1, 50);
    sample.sampled_at = moment(2, 615, WALL);
    desk.append(&sample, sample.sampled_at).unwrap();
    assert_eq!(desk.queue.take_lost(), lost(0, 1, 0));
    assert_eq!(desk.samples(sample.sampled_at), [7, 20, 615]);
}

#[test]
fn each_handle_of_a_name_goes_by_its_own_bounds() {
    let dir = in_memory();
    let desk = Desk::new(dir.path(), AMPLE);
    for n in 0..20 {
        desk.append(&batch(n, 1, 10_000), at(n)).unwrap();
    }
    let smaller = Bounds { bytes_max: 60_000, ..AMPLE };
    // As a reload makes it, which may be refused.
    let reloaded = desk.spool.queue("central", smaller);
    desk.append(&batch(20, 1, 10_000), at(20)).unwrap();
    assert_eq!((reloaded.contents().batches, desk.queue.bounds()), (21, AMPLE));
    assert_eq!(desk.queue.take_lost(), lost(0, 0, 0));

    let reloaded = Desk { queue: reloaded, ..desk };
    reloaded.append(&batch(21, 1, 10_000), at(21)).unwrap();
    let samples = reloaded.samples(at(21));
    assert_eq!(samples.last(), Some(&21));
    assert!((4..=6).contains(&samples.len()), "{samples:?}");
    assert!(reloaded.queue.contents().bytes <= 60_000);
    assert_eq!(reloaded.queue.take_lost(), lost(22 - samples.len() as u64, 0, 0));
}
