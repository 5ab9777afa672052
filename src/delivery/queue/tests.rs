use super::*;
use crate::clock;
use crate::identity::BootId;
use crate::quantity::{BootTime, WallTime};

fn moment(nanos: u64) -> Moment {
    let (since_boot, wall) = (BootTime::from_nanos(nanos), WallTime::from_unix_millis(nanos));
    Moment { boot: BootId::from_bits(1), since_boot, wall }
}

fn batch(number: u64, bodies: &[usize]) -> Batch {
    let post = |len: &usize| (String::new(), vec![b'x'; *len].into());
    Batch::new(moment(number), bodies.iter().map(post))
}

fn handle(bytes_max: usize, samples_max: usize) -> Handle {
    handing_over(bytes_max, samples_max, None)
}

fn handing_over(bytes_max: usize, samples_max: usize, journal: Option<Journal>) -> Handle {
    let (spread, grace) = (Duration::ZERO, Duration::from_millis(200));
    Handle::new(QueueLimits { bytes_max, samples_max, spread, grace }, journal)
}

fn figures(handle: &Handle) -> Statistics {
    let figures = handle.statistics(&moment(1000));
    let accounted = figures.accepted_posts
        + figures.dropped_posts.total()
        + figures.merged_posts
        + figures.waiting_posts;
    assert_eq!(figures.offered_posts, accounted);
    assert_eq!(figures.waiting_posts, figures.in_memory_posts as u64);
    figures
}

#[test]
fn the_oldest_makes_room_by_bytes_and_by_samples() {
    let per_post = size_of::<QueuedPost>();
    let by_bytes = handle(3 * (per_post + 100), 1000);
    for number in 0..5 {
        by_bytes.offer(batch(number, &[100]), false);
    }
    assert_eq!(by_bytes.order(), [2, 3, 4]);
    assert_eq!(figures(&by_bytes).dropped_posts.queue_full, 2);
    assert_eq!(figures(&by_bytes).in_memory_bytes, 3 * (per_post + 100));

    let by_samples = handle(1 << 20, 2);
    for number in 0..5 {
        by_samples.offer(batch(number, &[1, 1]), false);
    }
    assert_eq!(by_samples.order(), [3, 4]);
    assert_eq!(figures(&by_samples).dropped_posts.queue_full, 6);
}

#[test]
fn a_batch_larger_than_the_queue_is_dropped_and_counted() {
    let handle = handle(1000, 10);
    handle.offer(batch(0, &[2000]), false);
    assert_eq!(handle.order(), [0_u64; 0]);
    assert_eq!(figures(&handle).dropped_posts.queue_full, 1);
}

#[test]
fn what_is_under_way_counts_against_the_bound() {
    let per_post = size_of::<QueuedPost>();
    let handle = handle(2 * (per_post + 100), 1000);
    handle.offer(batch(0, &[100]), false);
    let in_flight = handle.lease_fresh(None).unwrap();
    handle.offer(batch(1, &[100]), false);
    handle.offer(batch(2, &[100]), false);
    assert_eq!(handle.order(), [2]);
    figures(&handle);
    handle.put_back(in_flight);
    assert_eq!(handle.order(), [0, 2]);
    handle.offer(batch(3, &[100]), false);
    assert_eq!(handle.order(), [2, 3], "what came back is the oldest");
    figures(&handle);
}

#[test]
fn what_is_on_disk_counts_no_longer_against_the_bound() {
    let per_post = size_of::<QueuedPost>();
    let handle = handle(2 * (per_post + 100), 1000);
    handle.offer(batch(0, &[100]), false);
    let in_flight = handle.lease_fresh(None).unwrap();
    handle.no_longer_in_memory(&in_flight.to_batch().posts);
    handle.offer(batch(1, &[100]), false);
    handle.offer(batch(2, &[100]), false);
    assert_eq!(handle.order(), [1, 2]);
    let figures = handle.statistics(&moment(1000));
    assert_eq!((figures.waiting_posts, figures.in_memory_posts), (3, 2));
}

#[test]
fn only_what_an_endpoint_left_of_a_batch_goes_along_with_the_next() {
    let handle = handle(1 << 20, 10);
    handle.offer(batch(0, &[1]), false);
    let mut left = handle.lease_fresh(None).unwrap();
    left.partially_accepted = true;
    handle.put_back(left);
    handle.offer(batch(1, &[2, 3]), false);
    assert_eq!(handle.lease_partial().unwrap().sampled_at, moment(0));
    assert!(handle.lease_partial().is_none());
    assert_eq!(figures(&handle).waiting_posts, 3);
}

#[test]
fn what_is_taken_over_stands_in_front_and_is_the_first_to_make_room() {
    let handle = handle(1 << 20, 3);
    handle.offer(batch(7, &[1]), false);
    handle.prepend(vec![batch(5, &[1]), batch(6, &[1, 1])], false);
    assert_eq!(handle.order(), [5, 6, 7]);
    figures(&handle);
    handle.prepend(vec![batch(3, &[1]), batch(4, &[1])], false);
    assert_eq!(handle.order(), [5, 6, 7]);
    assert_eq!(figures(&handle).dropped_posts.queue_full, 2);
}

#[test]
fn late_samples_become_one_and_their_posts_are_counted() {
    let handle = handle(1 << 20, 10);
    handle.prepend((0..4).map(|number| batch(number, &[1, 1])).collect(), false);
    let merge = |older: &Batch, newer: &Batch| {
        let is_stale = newer.sampled_at.since_boot.as_nanos() < 3;
        is_stale.then(|| Batch { posts: older.posts.clone(), ..newer.clone() })
    };
    handle.merge_oldest(10, &merge);
    assert_eq!(handle.order(), [2, 3]);
    let figures = figures(&handle);
    assert_eq!((figures.merged_posts, figures.waiting_posts), (4, 4));
}

#[test]
fn late_samples_that_became_one_are_all_in_its_file_until_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::new(dir.path(), "central");
    let handle = handing_over(1 << 20, 10, Some(journal.clone()));
    let batches: Vec<Batch> = (0..3).map(|number| batch(number, &[1])).collect();
    assert!(batches.iter().all(|batch| handle.journal(batch)));
    handle.prepend(batches, true);
    let merge = |older: &Batch, newer: &Batch| {
        let posts = older.posts.iter().chain(&newer.posts).cloned().collect();
        Some(Batch { posts, ..newer.clone() })
    };
    handle.merge_oldest(10, &merge);
    let left = || journal.recover(&moment(9), None, usize::MAX).batches;
    assert_eq!(left().iter().map(|batch| batch.posts.len()).collect::<Vec<_>>(), [3]);
    let both = handle.lease_backlog().unwrap();
    assert_eq!((both.sampled_at, both.posts.len()), (moment(2), 3));
    handle.forget(&both);
    assert_eq!(left(), []);
}

fn add_up(older: &Batch, newer: &Batch) -> Option<Batch> {
    let posts = older.posts.iter().chain(&newer.posts).cloned().collect();
    Some(Batch { posts, ..newer.clone() })
}

/// On a full disk, for one: so nothing can be written under that name.
#[test]
fn late_samples_whose_sum_cannot_be_written_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::new(dir.path(), "central");
    let handle = handing_over(1 << 20, 10, Some(journal.clone()));
    let batches: Vec<Batch> = (0..2).map(|number| batch(number, &[1])).collect();
    assert!(batches.iter().all(|batch| handle.journal(batch)));
    handle.prepend(batches.clone(), true);
    for name in ["1.new", "1-0.new"] {
        std::fs::create_dir(dir.path().join("central").join(name)).unwrap();
    }
    handle.merge_oldest(10, &add_up);
    assert_eq!(handle.order(), [0, 1]);
    assert_eq!(figures(&handle).merged_posts, 0);
    assert_eq!(journal.recover(&moment(9), None, usize::MAX).batches, batches);
}

#[test]
fn what_was_tried_is_added_to_nothing_whoever_tried_it() {
    let handle = handle(1 << 20, 10);
    let attempted = |number| Batch { attempted: true, ..batch(number, &[1]) };
    handle.prepend(vec![attempted(0), batch(1, &[1]), attempted(2), batch(3, &[1])], false);
    handle.merge_oldest(10, &add_up);
    assert_eq!(handle.order(), [0, 1, 2, 3]);
    assert!(handle.lease_backlog().unwrap().to_batch().attempted);
    assert!(!handle.lease_backlog().unwrap().to_batch().attempted);
}

#[test]
fn no_more_of_an_earlier_run_is_taken_over_than_there_is_room_for() {
    const BYTES: usize = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::new(dir.path(), "central");
    let batches: Vec<Batch> = (0..5).map(|number| batch(number, &[BYTES, 1, 1])).collect();
    assert!(batches.iter().all(|batch| journal.write_batch(batch)));
    let handle = handing_over(5 * BYTES / 2, 1000, Some(journal.clone()));
    assert_eq!(handle.recover(&moment(9), None), 2);
    assert_eq!(handle.order(), [3, 4]);
    let figures = figures(&handle);
    assert_eq!((figures.offered_posts, figures.dropped_posts.queue_full), (15, 9));
    assert_eq!(journal.recover(&moment(9), None, usize::MAX).batches, batches[3..]);
}

#[test]
fn the_oldest_age_is_that_of_the_oldest_wherever_it_is() {
    let handle = handle(1 << 20, 10);
    let age = |handle: &Handle| figures(handle).oldest_age.map(|age| age.as_nanos());
    assert_eq!(age(&handle), None);
    handle.offer(batch(900, &[1]), false);
    assert_eq!(age(&handle), Some(100));
    handle.prepend(vec![batch(700, &[1])], false);
    assert_eq!(age(&handle), Some(300));
    handle.set_oldest_in_flight(Some(moment(400)));
    assert_eq!(age(&handle), Some(600));
}

#[tokio::test]
async fn what_is_fresh_waits_for_its_time() {
    let (spread, grace) = (Duration::from_millis(30), Duration::ZERO);
    let limits = QueueLimits { bytes_max: 1 << 20, samples_max: 10, spread, grace };
    let handle = Handle::new(limits, None);
    handle.offer(batch(0, &[1]), false);
    let first = handle.lease_fresh(Some(clock::timer_now()));
    assert!(first.is_some(), "somebody is looking");
    handle.offer(batch(1, &[1]), false);
    assert!(handle.lease_fresh(Some(clock::timer_now())).is_none());
    handle.fresh_due().await;
    assert!(handle.lease_fresh(Some(clock::timer_now())).is_some());
}

#[tokio::test]
async fn flush_without_a_worker_returns_all_at_the_deadline_and_closes() {
    let handle = handle(1 << 20, 10);
    handle.offer(batch(0, &[1]), false);
    handle.offer(batch(1, &[2]), false);
    let left = handle.flush(clock::timer_now() + Duration::from_millis(20)).await;
    assert_eq!(left, [batch(0, &[1]), batch(1, &[2])]);
    handle.offer(batch(2, &[1]), false);
    let figures = handle.statistics(&moment(1000));
    assert_eq!(figures.dropped_posts.closed, 1);
    assert_eq!(figures.waiting_posts, 0);
}
