//! Settings of cgroups that no capture has, and what disks do beside their transfers.

use std::fs;
use std::sync::Arc;

use nodetally::metrics::sample::MetricSample;
use nodetally::payload::open_metrics::TextFormat;

use super::names::text_of;
use super::{fixtures, sample_of};
use crate::support::scratch::{copy_tree, in_memory};

const HOST: &str = "7.2-containerd-cgroupfs";
const POD: &str = "kubepods/pod94b72f17-32c1-4c96-a8d0-bca9b197a6b1";
const CONTAINER: &str = "5ed61b4c59828b74ecf3cbef0a56ecdaafc852c65a33f3d0ae4ad74f4f424ae1";

/// A copy of a captured host whose pod and container have these values in cpu.weight, memory.min and
/// memory.swap.max.
fn with_settings(pod: [&str; 3], container: [&str; 3]) -> Arc<MetricSample> {
    let dir = in_memory();
    copy_tree(&fixtures().join("hosts").join(HOST), dir.path());
    for (cgroup, values) in [(POD.to_owned(), pod), (format!("{POD}/{CONTAINER}"), container)] {
        let cgroup = dir.path().join("t1/sys/fs/cgroup").join(cgroup);
        for (file, value) in ["cpu.weight", "memory.min", "memory.swap.max"].iter().zip(values) {
            fs::write(cgroup.join(file), format!("{value}\n")).unwrap();
        }
    }
    sample_of(dir.path())
}

pub fn sample() -> Arc<MetricSample> {
    with_settings(["1", "0", "0"], ["100", "max", "max"])
}

/// The value of a family in the row whose labels hold `label`.
fn value(text: &str, family: &str, label: &str) -> Option<String> {
    let is_it = |line: &&str| line.starts_with(&format!("{family}{{")) && line.contains(label);
    let row = text.lines().find(is_it)?;
    row.rsplit_once("} ").map(|(_, value)| value.split(' ').next().unwrap().to_owned())
}

fn cadvisor(sample: Arc<MetricSample>) -> String {
    text_of(sample, "/metrics/cadvisor", TextFormat::Prometheus)
}

/// The shares are those that cAdvisor writes. What has no limit has no row.
#[test]
fn weight_reservation_and_limit_of_swap() {
    const SHARES: &str = "container_spec_cpu_shares";
    const RESERVATION: &str = "container_spec_memory_reservation_limit_bytes";
    const SWAP: &str = "container_spec_memory_swap_limit_bytes";
    let of_container = format!("name=\"{CONTAINER}\"");
    let of_pod = format!("id=\"/{POD}\"");
    for (weight, shares) in [
        ("0", Some("0")),
        ("1", Some("2")),
        ("4", Some("80")),
        ("39", Some("998")),
        ("100", Some("2597")),
        ("9999", Some("262117")),
        ("10000", Some("262144")),
        ("10001", None),
    ] {
        let text = cadvisor(with_settings([weight, "0", "0"], [weight, "4096", "8192"]));
        for label in [&of_pod, &of_container] {
            assert_eq!(value(&text, SHARES, label).as_deref(), shares, "{weight}");
        }
        let both = |family| [&of_pod, &of_container].map(|label| value(&text, family, label));
        let text = |figures: [&str; 2]| figures.map(|figure| Some(figure.to_owned()));
        assert_eq!(both(RESERVATION), text(["0", "4096"]));
        assert_eq!(both(SWAP), text(["0", "8192"]));
    }
    let text = cadvisor(with_settings(["7", "max", "max"], ["7", "max", "max"]));
    for family in [RESERVATION, SWAP] {
        assert_eq!(value(&text, family, &of_container), None, "{family}");
    }
    // /proc/meminfo SwapTotal.
    assert_eq!(value(&text, SWAP, "id=\"/\"").as_deref(), Some("0"));
}

/// The row of ubda in /proc/diskstats, second less first instant:
///
/// ```text
/// 4530 362 227926 558 16680 1486 475936 20170 0 1048 20815
/// 4531 362 227942 558 18401 1688 503944 21076 0 1124 21729
/// ```
#[test]
fn the_node_has_the_times_of_its_disk() {
    let text = cadvisor(sample());
    for (family, right) in [
        ("container_fs_reads_merged_total", "0"),
        ("container_fs_writes_merged_total", "202"),
        ("container_fs_read_seconds_total", "0"),
        ("container_fs_write_seconds_total", "0.906"),
        ("container_fs_io_current", "0"),
        ("container_fs_io_time_seconds_total", "0.076"),
        ("container_fs_io_time_weighted_seconds_total", "0.914"),
    ] {
        let rows = text.lines().filter(|line| line.starts_with(&format!("{family}{{")));
        assert_eq!(rows.count(), 1, "{family}");
        let found = value(&text, family, "id=\"/\"");
        assert_eq!(found.as_deref(), Some(right), "{family}");
        assert!(value(&text, family, "device=\"/dev/ubda\"").is_some(), "{family}");
    }
}
