//! The kubelet's paths, held against what four nodes with a real kubelet answered.

mod examples;
mod left_out;
mod names;
mod served;
mod settings;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nodetally::disk_usage::usage::{NodeFilesystem, PodFilesystem};
use nodetally::ledger::{Account, Ledger};
use nodetally::metrics::sample::{MetricSample, NodeAttributes};
use nodetally::metrics::store::{MetricStore, StoreInput, StoreOptions};
use nodetally::payload::kubelet::MachineFacts;
use nodetally::runtime::capture;
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};

/// The captured hosts that have their kubelet's answers beside them.
const HOSTS: [&str; 3] =
    ["7.2-containerd-cgroupfs", "7.2-containerd-systemd", "7.2-containerd-systemd-static"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The metrics of a captured host between its two instants. Space of disks is made up: a capture
/// has none.
fn sample(host: &str) -> Arc<MetricSample> {
    sample_of(&fixtures().join("hosts").join(host))
}

fn sample_of(dir: &Path) -> Arc<MetricSample> {
    let instants = capture::load(dir).unwrap();
    let mut ledger = Ledger::new(instants[0].units);
    let mut account = Account::default();
    for roots in instants {
        let captured = roots.captured.clone().unwrap();
        let mut sampler = Sampler::open(roots, SamplerOptions::default()).unwrap();
        ledger.settle(sampler.sample(&|| captured.at, captured.wall), &mut account);
    }
    let catalog = capture::load_catalog(dir).unwrap();
    let space = PodFilesystem {
        usage_bytes: 8192,
        capacity_bytes: Some(1 << 30),
        available_bytes: Some(1 << 29),
        inodes: Some(4),
        ..PodFilesystem::default()
    };
    let node_filesystem = NodeFilesystem {
        usage_bytes: 3 << 30,
        capacity_bytes: 8 << 30,
        available_bytes: 4 << 30,
        inodes_used: 1000,
        inodes_free: 9000,
    };
    let pod_filesystems: BTreeMap<_, _> = account.pods.iter().map(|pod| (pod.uid, space)).collect();
    let node =
        NodeAttributes { name: "worker-1".into(), in_kubernetes: true, cluster: Box::default() };
    let mut store = MetricStore::new(StoreOptions { node, ..StoreOptions::default() });
    Arc::new(store.add(&StoreInput {
        account: &account,
        catalog: &catalog,
        pod_filesystems: &pod_filesystems,
        node_filesystem: Some(node_filesystem),
        filesystems: &[],
        seen_by_all: None,
    }))
}

fn machine() -> MachineFacts {
    MachineFacts {
        boot_id: "b".to_owned(),
        machine_id: "m".to_owned(),
        system_uuid: "u".to_owned(),
        kernel_version: "7.2.13".to_owned(),
        os_version: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        physical_cores: Some(2),
        sockets: Some(1),
        pid_max: Some(4_194_304),
    }
}

/// A family of a text: its type, help, and the names of the labels of its rows.
#[derive(Debug, Default, PartialEq, Eq)]
struct FamilyShape {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The families of a text of format 0.0.4. Panics on a row without a head, or two rows with the same
/// labels.
fn shapes(text: &str) -> BTreeMap<String, FamilyShape> {
    let mut shapes: BTreeMap<String, FamilyShape> = BTreeMap::new();
    let mut rows: BTreeSet<(&str, &str)> = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            let help = help.split_once("] ").map_or(help, |(_, help)| help);
            let shape = FamilyShape { help: help.to_owned(), ..FamilyShape::default() };
            assert!(shapes.insert(name.to_owned(), shape).is_none(), "{name} twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            kind.clone_into(&mut shapes.get_mut(name).unwrap().kind);
        } else {
            let (name, labels) = match line.split_once('{') {
                Some((name, rest)) => (name, rest.split_once("\"}").unwrap().0),
                None => (line.split(' ').next().unwrap(), ""),
            };
            assert!(rows.insert((name, labels)), "two rows: {line}");
            let mut names: Vec<&str> =
                labels.split("\",").filter_map(|label| Some(label.split_once("=\"")?.0)).collect();
            names.sort_unstable();
            shapes.get_mut(name).unwrap_or_else(|| panic!("{line}")).labels.insert(names.join(","));
        }
    }
    shapes
}
