//! Whose turn it is, and where a pod's files are found, on a clock that the tests set.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nodetally::disk_usage::pace::Pace;
use nodetally::disk_usage::rounds::{Counted, Rounds};
use nodetally::disk_usage::target::{Target, TargetContainer, UsageOptions};
use nodetally::disk_usage::usage::UsageSource;
use nodetally::identity::{PodUid, ProcessKey};
use nodetally::quantity::BootTime;

use crate::pod_filesystem::host::{Host, container_id, empty_dirs, fill, pod_uid};

fn seconds(seconds: u64) -> BootTime {
    BootTime::default().plus(Duration::from_secs(seconds))
}

fn options() -> UsageOptions {
    UsageOptions { refresh: Duration::from_secs(60), ..UsageOptions::default() }
}

/// Goes on at one moment until a pod is done.
fn next_counted(rounds: &mut Rounds, now: BootTime) -> (PodUid, Counted) {
    for _ in 0..10_000 {
        if let Some(counted) = rounds.slice(now).counted {
            return counted;
        }
    }
    panic!("no pod is ever done");
}

fn counted_alone(host: &Host, target: Target) -> Counted {
    let mut rounds = Rounds::new(host.roots(), &options());
    let pod = target.pod;
    rounds.want(vec![target], seconds(1));
    let (done, counted) = next_counted(&mut rounds, seconds(1));
    assert_eq!(done, pod);
    counted
}

#[test]
fn a_pods_layers_volumes_and_logs_are_found_and_counted_each_for_itself() {
    let mut host = Host::new();
    let pod = pod_uid(1);
    let containers = vec![
        host.add_container(1, "/var/lib/containerd/snapshots/41/fs"),
        // A space and a comma, as the kernel writes them.
        host.add_container(2, "/var/lib/run\\040time/4\\0542/diff"),
    ];
    host.file("/var/lib/containerd/snapshots/41/fs/usr/bin/tool", 40_000);
    host.file("/var/lib/run time/4,2/diff/tmp/file", 90_000);
    host.file("/layers/1/fs/image", 500_000);
    host.file(&format!("{}/cache/a/b", empty_dirs(pod)), 10_000);
    host.file(&format!("{}/scratch/c", empty_dirs(pod)), 20_000);
    host.file(&format!("{}/memory/d", empty_dirs(pod)), 30_000);
    // As the host has it; that nothing is mounted here makes no difference.
    host.add_mount(&format!(
        "90 22 0:71 / {}/memory rw,relatime shared:40 - tmpfs tmpfs rw,size=65536k",
        empty_dirs(pod)
    ));
    let volumes = format!("/var/lib/kubelet/pods/{pod}/volumes");
    host.file(&format!("{volumes}/kubernetes.io~csi/disk/mount/e"), 60_000);
    host.file(&format!("/var/log/pods/default_web_{pod}/main/0.log"), 7_000);
    host.file(&format!("/var/log/pods/default_web_{}/main/0.log", pod_uid(2)), 70_000);

    let counted = counted_alone(&host, Target { pod, containers });
    let parts = [
        host.count("/var/lib/containerd/snapshots/41/fs"),
        host.count("/var/lib/run time/4,2/diff"),
        host.count(&format!("{}/cache", empty_dirs(pod))),
        host.count(&format!("{}/scratch", empty_dirs(pod))),
        host.count(&format!("/var/log/pods/default_web_{pod}")),
    ];
    let bytes: Vec<u64> = parts.iter().map(|part| part.bytes).collect();
    assert_eq!(counted.writable_layer_bytes, Some(bytes[0] + bytes[1]));
    assert_eq!(counted.empty_dir_bytes, Some(bytes[2] + bytes[3]));
    assert_eq!(counted.logs_bytes, Some(bytes[4]));
    assert_eq!(counted.used_bytes(), Some(bytes.iter().sum()));
    assert_eq!(counted.inodes, Some(parts.iter().map(|part| part.inodes).sum()));
    assert!(!counted.incomplete && !counted.overcounted);
    assert_eq!((counted.from, counted.begun_at), (UsageSource::Walk, seconds(1)));
}

#[test]
fn a_static_pod_is_found_by_its_bare_hash() {
    let host = Host::new();
    let pod = PodUid::parse(b"72dd719cb36a6d92769b0e001945c7b5").unwrap();
    host.file(&format!("{}/cache/file", empty_dirs(pod)), 10_000);
    let log = "/var/log/pods/kube-system_etcd-node_72dd719cb36a6d92769b0e001945c7b5";
    host.file(&format!("{log}/etcd/0.log"), 20_000);
    let counted = counted_alone(&host, Target { pod, containers: Vec::new() });
    assert_eq!(counted.logs_bytes, Some(host.count(log).bytes));
    assert!(counted.empty_dir_bytes.is_some_and(|bytes| bytes >= 10_000));
    assert_eq!(counted.writable_layer_bytes, Some(0));
}

#[test]
fn an_empty_pod_is_zero_and_an_unknown_one_has_no_value() {
    let mut host = Host::new();
    let pod = pod_uid(1);
    let bare = counted_alone(&host, Target { pod, containers: Vec::new() });
    assert_eq!(bare.empty_dir_bytes.zip(bare.logs_bytes), Some((0, 0)));
    assert!(!bare.incomplete);
    // Logs on a server that may never answer, and pods that are kept nobody knows where.
    host.add_mount("91 22 0:72 / /var/log rw - nfs4 server:/log rw");
    fs::remove_dir_all(host.at("/var/lib/kubelet")).unwrap();
    let untold = counted_alone(&host, Target { pod, containers: Vec::new() });
    assert_eq!((untold.empty_dir_bytes, untold.logs_bytes), (None, None));
    assert_eq!(untold.writable_layer_bytes, Some(0));
    assert!(untold.incomplete);
}

#[test]
fn a_layer_that_cannot_be_found_leaves_the_figure_incomplete() {
    let mut host = Host::new();
    host.file("/layers/7/fs/file", 30_000);
    let options = "lowerdir=/layers/1/fs,upperdir=/layers/7/fs,workdir=/w";
    let well = host.add_process(&format!("overlay overlay rw,{options}"));
    let relative = host.add_process("overlay overlay rw,lowerdir=1:2,upperdir=7/fs,workdir=7/w");
    let btrfs = host.add_process("btrfs /dev/sdb rw,subvol=/containers/7");
    let read_only = host.add_process("overlay overlay ro,lowerdir=/layers/1/fs:/layers/2/fs");
    let reused = ProcessKey { start_ticks: 778, ..well };
    let ended = ProcessKey { pid: 9999, ..well };
    let of = |process: Option<ProcessKey>| {
        let containers = vec![TargetContainer { id: container_id(1), process }];
        let counted = counted_alone(&host, Target { pod: pod_uid(1), containers });
        (counted.writable_layer_bytes, counted.incomplete)
    };
    assert_eq!(of(Some(well)), (Some(host.count("/layers/7/fs").bytes), false));
    let unseen = [Some(relative), Some(btrfs), Some(reused), Some(ended), None];
    for untold in unseen {
        assert_eq!(of(untold), (None, true), "{untold:?}");
    }
    assert_eq!(of(Some(read_only)), (Some(0), false));
    // One that is there no more takes up nothing.
    fs::remove_dir_all(host.at("/layers/7")).unwrap();
    assert_eq!(of(Some(well)), (Some(0), false));
}

#[test]
fn a_layer_stays_known_after_its_process_has_ended() {
    let mut host = Host::new();
    let target = host.add_simple_pod(1, 10_000);
    let mut rounds = Rounds::new(host.roots(), &options());
    rounds.want(vec![target.clone()], seconds(1));
    let (_, first) = next_counted(&mut rounds, seconds(1));
    let pid = target.containers[0].process.unwrap().pid;
    fs::remove_dir_all(host.roots().procfs.join(pid.to_string())).unwrap();
    host.file("/layers/101/fs/more", 100_000);
    let (_, second) = next_counted(&mut rounds, seconds(100));
    assert!(!second.incomplete);
    assert!(second.writable_layer_bytes >= first.writable_layer_bytes.map(|was| was + 100_000));
}

#[test]
fn a_pod_is_counted_again_a_while_after_it_was_and_not_before() {
    let mut host = Host::new();
    let target = host.add_simple_pod(1, 10_000);
    let mut rounds = Rounds::new(host.roots(), &options());
    assert_eq!(rounds.next_due(), None);
    rounds.want(vec![target.clone()], seconds(5));
    assert_eq!(rounds.next_due(), Some(seconds(5)));
    next_counted(&mut rounds, seconds(7));
    assert_eq!(rounds.next_due(), Some(seconds(67)));
    let idle = rounds.slice(seconds(66));
    assert_eq!((idle.entries, idle.counted), (0, None));
    // Being told of it again changes nothing.
    rounds.want(vec![target], seconds(66));
    assert_eq!(rounds.next_due(), Some(seconds(67)));
    next_counted(&mut rounds, seconds(67));
}

/// A pod of 200,000 files beside ten small ones, at 2000 entries a second.
#[test]
fn a_huge_pod_has_one_turn_a_round_and_delays_no_other() {
    let mut host = Host::new();
    let mut targets: Vec<Target> = (0..=10).map(|pod| host.add_simple_pod(pod, 10_000)).collect();
    let huge = targets[0].pod;
    fill(&host.at(&format!("{}/cache", empty_dirs(huge))), 200);
    let expected = host.count(&format!("{}/cache", empty_dirs(huge)));
    assert!(expected.inodes > 200_000);

    let options = options();
    let mut rounds = Rounds::new(host.roots(), &options);
    let mut pace = Pace::new(options.entries_per_second);
    let start = seconds(10);
    let mut now = start;
    rounds.want(targets.clone(), now);
    let (mut entries, mut done_at) = (0, Vec::new());
    let late = loop {
        let slice = rounds.slice(now);
        // Never more than the rate allows, but for the slice under way.
        let allowed = now.usec_since(start) * options.entries_per_second / 1_000_000 + 300;
        entries += slice.entries;
        assert!(entries <= allowed, "{entries} entries where {allowed} are allowed");
        assert!(slice.entries <= 300, "{slice:?}");
        // As fast as a disk can be, since the clock is the test's.
        pace.spent(slice.entries, now, now);
        if let Some((pod, counted)) = slice.counted {
            done_at.push((pod, now.since(start)));
            if pod == huge {
                break counted;
            }
        }
        now = now.max(pace.ready_at());
        // A pod that comes while the huge one is under way is none the later for it.
        if done_at.len() == 10 && targets.len() == 11 {
            targets.push(host.add_simple_pod(11, 10_000));
            rounds.want(targets.clone(), now);
            done_at.push((pod_uid(99), now.since(start)));
        }
    };
    assert_eq!(late.empty_dir_bytes, Some(expected.bytes));
    for (pod, after) in &done_at[..10] {
        assert_ne!(*pod, huge);
        assert!(*after < Duration::from_secs(2), "{pod} after {after:?}");
    }
    let (_, came) = done_at[10];
    let new = done_at.iter().find(|(pod, _)| *pod == pod_uid(11)).unwrap().1;
    assert!(new - came < Duration::from_secs(1), "{:?} after it came", new - came);
    // The small ones were counted again in time, while the huge one was under way.
    let again = done_at.iter().filter(|(pod, _)| *pod == pod_uid(1)).map(|(_, at)| *at);
    let again: Vec<Duration> = again.collect();
    assert!(again.len() >= 2, "{again:?}");
    for pair in again.windows(2) {
        let between = pair[1] - pair[0];
        assert!((60..63).contains(&between.as_secs()), "{between:?}");
    }
    let took = done_at.last().unwrap().1;
    assert!(took >= Duration::from_secs(100), "{took:?}");
}

#[test]
fn a_pod_that_is_gone_is_not_gone_on_with() {
    let mut host = Host::new();
    let (small, large) = (host.add_simple_pod(1, 1000), host.add_simple_pod(2, 1000));
    fill(&host.at(&format!("{}/cache", empty_dirs(large.pod))), 3);
    let mut rounds = Rounds::new(host.roots(), &options());
    rounds.want(vec![large.clone()], seconds(1));
    assert_eq!(rounds.slice(seconds(1)).counted, None);
    rounds.want(vec![small.clone()], seconds(1));
    assert!(!rounds.wants(large.pod) && rounds.wants(small.pod));
    assert_eq!(next_counted(&mut rounds, seconds(1)).0, small.pod);
    assert_eq!(rounds.next_due(), Some(seconds(61)));
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let mut open = open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    let left: Option<PathBuf> = open.find(|target| target.starts_with(host.root()));
    assert_eq!(left, None);
}
