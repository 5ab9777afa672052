//! The lane as it runs: its thread, and what others have of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nodetally::clock;
use nodetally::disk_usage::target::{Target, UsageOptions};
use nodetally::disk_usage::worker::{UsageFigures, UsageLane, UsageTable};

use crate::pod_filesystem::host::{Host, empty_dirs, fill, pod_uid};

const PATIENCE: Duration = Duration::from_secs(60);

fn options() -> UsageOptions {
    UsageOptions {
        entries_per_second: 100_000,
        refresh: Duration::from_millis(50),
        ..UsageOptions::default()
    }
}

/// Waits for a table of which `is_so` holds.
fn until(figures: &mut UsageFigures, is_so: impl Fn(&UsageTable) -> bool) -> Arc<UsageTable> {
    let begun = Instant::now();
    loop {
        let table = figures.latest();
        if is_so(table) {
            return Arc::clone(table);
        }
        assert!(begun.elapsed() < PATIENCE, "{table:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn tell(lane: &UsageLane, mut targets: Vec<Target>) {
    let begun = Instant::now();
    while let Err(back) = lane.want(targets) {
        targets = back;
        assert!(begun.elapsed() < PATIENCE, "the lane takes nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn figures_come_with_their_age_follow_what_is_written_and_go_with_their_pod() {
    let mut host = Host::new();
    let targets = vec![host.add_simple_pod(1, 10_000), host.add_simple_pod(2, 50_000)];
    let before = clock::boot_time();
    let lane = UsageLane::start(host.roots(), options(), clock::boot_time).unwrap();
    let mut figures = lane.figures();
    assert_eq!(**figures.latest(), UsageTable::default());
    tell(&lane, targets.clone());
    let table = until(&mut figures, |table| table.pods.len() == 2);
    assert!(table.entries > 0);
    let first = table.pods[&pod_uid(1)];
    let expected = host.count("/layers/101/fs");
    assert_eq!(first.writable_layer_bytes, Some(expected.bytes));
    assert_eq!(
        first.empty_dir_bytes,
        Some(host.count(&format!("{}/cache", empty_dirs(pod_uid(1)))).bytes)
    );
    assert!(before <= first.begun_at && first.begun_at <= first.as_of);
    assert!(first.as_of <= clock::boot_time());
    // The room is that of the filesystem that the tree lies on.
    let disk = nix::sys::statvfs::statvfs(&host.root()).unwrap();
    assert_eq!(first.capacity_bytes, Some(disk.blocks() * disk.fragment_size()));
    assert!(first.available_bytes < first.capacity_bytes);

    host.file("/layers/101/fs/more", 200_000);
    let more = host.count("/layers/101/fs").bytes;
    let table =
        until(&mut figures, |table| table.pods[&pod_uid(1)].writable_layer_bytes == Some(more));
    assert!(table.pods[&pod_uid(1)].as_of > first.as_of);

    tell(&lane, targets[1..].to_vec());
    until(&mut figures, |table| table.pods.keys().eq([&pod_uid(2)]));
}

/// One pod with many files at a low rate, one with few.
#[test]
fn small_figures_are_there_while_a_large_one_is_under_way() {
    let mut host = Host::new();
    let targets = vec![host.add_simple_pod(1, 1000), host.add_simple_pod(2, 1000)];
    fill(&host.at(&format!("{}/cache", empty_dirs(pod_uid(1)))), 20);
    let slow = UsageOptions { entries_per_second: 2000, ..options() };
    let lane = UsageLane::start(host.roots(), slow, clock::boot_time).unwrap();
    let mut figures = lane.figures();
    tell(&lane, targets);
    let table = until(&mut figures, |table| table.pods.contains_key(&pod_uid(2)));
    // Twenty thousand take ten seconds; the small one came in its first turn.
    assert!(!table.pods.contains_key(&pod_uid(1)), "{table:?}");
}

#[test]
fn sending_targets_and_reading_usage_never_wait() {
    let mut host = Host::new();
    let target = host.add_simple_pod(1, 1000);
    let lane = UsageLane::start(host.roots(), options(), clock::boot_time).unwrap();
    let mut figures = lane.figures();
    let mut refused = 0;
    for _ in 0..10_000 {
        refused += u32::from(lane.want(vec![target.clone()]).is_err());
        figures.latest();
    }
    // Told faster than it can take, some come back; what was taken last is in force.
    tell(&lane, vec![target]);
    until(&mut figures, |table| table.pods.len() == 1);
    // The figures outlive the lane.
    drop(lane);
    assert_eq!(figures.latest().pods.len(), 1, "{refused} came back");
}
