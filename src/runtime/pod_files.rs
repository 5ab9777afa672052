//! The sampling thread's link to the disk usage worker: pods to measure, and their usage.

use std::collections::BTreeMap;

use crate::attribution::Owner;
use crate::disk_usage::target::{Target, TargetContainer};
use crate::disk_usage::worker::{UsageFigures, UsageLane};
use crate::identity::{ContainerId, PodUid, ProcessKey};
use crate::ledger::Account;
use crate::payload::entities::{NodeFilesystem, PodFilesystem};
use crate::quantity::BootTime;
use crate::source::tree::Space;

/// Ticks between two updates of the targets while a container has no known process.
const LOOK_AGAIN_TICKS: u32 = 8;

/// Disk usage of the node and its pods, as payloads report it.
#[derive(Debug, Default)]
pub struct Files {
    pub pods: BTreeMap<PodUid, PodFilesystem>,
    pub node: Option<NodeFilesystem>,
}

/// The sampling thread's end of the lane. It never waits for the lane.
#[derive(Debug, Default)]
pub struct PodFiles {
    /// `None`: disk usage is not configured.
    lane: Option<(UsageLane, UsageFigures)>,
    /// The containers of the last target list.
    targeted: Vec<(PodUid, ContainerId)>,
    /// Targets that the lane has not accepted yet.
    unsent: Option<Vec<Target>>,
    /// A container in the last target list had no known process.
    lacks_process: bool,
    ticks: u32,
    files: Files,
}

impl PodFiles {
    #[must_use]
    pub fn new(lane: Option<UsageLane>) -> Self {
        let with_figures = |lane: UsageLane| {
            let figures = lane.figures();
            (lane, figures)
        };
        Self { lane: lane.map(with_figures), ..Self::default() }
    }

    /// Sends the lane a new target list if pods have changed. Returns the newest usage.
    pub fn follow(&mut self, account: &Account, now: BootTime) -> &Files {
        let Some((lane, figures)) = &mut self.lane else { return &self.files };
        let live = || account.containers.iter().filter(|container| !container.exited);
        let is_current =
            live().map(|container| (container.pod, container.id)).eq(self.targeted.iter().copied());
        self.ticks = self.ticks.wrapping_add(1);
        // A container may have been seen before its first process.
        let look_again = self.lacks_process && self.ticks.is_multiple_of(LOOK_AGAIN_TICKS);
        if !is_current || look_again {
            self.targeted = live().map(|container| (container.pod, container.id)).collect();
            let targets = targets(account);
            let mut containers = targets.iter().flat_map(|target| &target.containers);
            self.lacks_process = containers.any(|container| container.process.is_none());
            self.unsent = Some(targets);
        }
        if let Some(targets) = self.unsent.take() {
            self.unsent = lane.want(targets).err();
        }
        let table = figures.latest();
        self.files.pods.clear();
        self.files.pods.extend(table.pods.iter().map(|(uid, usage)| {
            let filesystem = PodFilesystem {
                usage_bytes: usage.used_bytes,
                capacity_bytes: usage.capacity_bytes,
                age_millis: now.usec_since(usage.as_of) / 1000,
                incomplete: usage.incomplete,
            };
            (*uid, filesystem)
        }));
        self.files.node = table.node.map(node);
        &self.files
    }
}

fn node(space: Space) -> NodeFilesystem {
    NodeFilesystem {
        usage_bytes: space.capacity_bytes.saturating_sub(space.free_bytes),
        capacity_bytes: space.capacity_bytes,
        available_bytes: space.available_bytes,
        inodes_used: space.inodes.saturating_sub(space.inodes_free),
        inodes_free: space.inodes_free,
    }
}

/// Every pod with its live containers, each with its oldest process, which has the container's own
/// root.
fn targets(account: &Account) -> Vec<Target> {
    let mut oldest: BTreeMap<ContainerId, ProcessKey> = BTreeMap::new();
    for process in &account.processes {
        if let Owner::PodContainer { id, .. } = Owner::of_path(&process.cgroup) {
            let key = process.key;
            let age = |key: &ProcessKey| (key.start_ticks, key.pid);
            let one = oldest.entry(id).or_insert(key);
            if age(&key) < age(one) {
                *one = key;
            }
        }
    }
    let pods = account.pods.iter().filter(|pod| !pod.exited);
    pods.map(|pod| {
        let live = account.containers_of(pod.uid).iter().filter(|container| !container.exited);
        let containers = live.map(|container| TargetContainer {
            id: container.id,
            process: oldest.get(&container.id).copied(),
        });
        Target { pod: pod.uid, containers: containers.collect() }
    })
    .collect()
}
