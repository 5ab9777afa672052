//! Tells the slow lane which pods there are, and what it has found out to whoever sends.

use std::collections::BTreeMap;

use super::usage_lane::{Container, Target, UsageFigures, UsageLane};
use crate::attribution::Owner;
use crate::identity::{ContainerId, PodUid, ProcessKey};
use crate::ledger::Account;
use crate::payload::subjects::{NodeFilesystem, PodFilesystem};
use crate::quantity::BootTime;
use crate::source::tree::Space;

/// What of files the payloads tell.
#[derive(Debug, Default)]
pub struct Files {
    pub pods: BTreeMap<PodUid, PodFilesystem>,
    pub node: Option<NodeFilesystem>,
}

/// The sampling thread's end of the lane. Nothing here waits for it.
#[derive(Debug, Default)]
pub struct PodFiles {
    /// `None`: it is not wanted.
    lane: Option<(UsageLane, UsageFigures)>,
    /// What the lane was told of last.
    told: Vec<(PodUid, ContainerId)>,
    /// Targets that the lane had no ear for yet.
    untaken: Option<Vec<Target>>,
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

    /// Tells the lane of pods that are new or gone, and answers with the newest figures.
    pub fn follow(&mut self, account: &Account, now: BootTime) -> &Files {
        let Some((lane, figures)) = &mut self.lane else { return &self.files };
        let live = || account.containers.iter().filter(|container| !container.exited);
        let is_told =
            live().map(|container| (container.pod, container.id)).eq(self.told.iter().copied());
        if !is_told {
            self.told = live().map(|container| (container.pod, container.id)).collect();
            self.untaken = Some(targets(account));
        }
        if let Some(targets) = self.untaken.take() {
            self.untaken = lane.want(targets).err();
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

/// Every pod with its live containers, each with its oldest process: that one stands in the
/// container's own root.
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
        let containers = account.containers_of(pod.uid).iter().filter_map(|container| {
            Some(Container { id: container.id, process: *oldest.get(&container.id)? })
        });
        Target { pod: pod.uid, containers: containers.collect() }
    })
    .collect()
}
