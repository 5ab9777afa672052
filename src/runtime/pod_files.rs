//! The sampling thread's link to the disk usage worker: pods to measure, and their usage.

use std::collections::BTreeMap;

use crate::attribution::Owner;
use crate::directory::Catalog;
use crate::directory::pod::Pod;
use crate::disk_usage::target::{Target, TargetContainer};
use crate::disk_usage::usage::{NodeFilesystem, PodFilesystem};
use crate::disk_usage::worker::{UsageFigures, UsageLane};
use crate::identity::{ContainerId, PodUid, ProcessKey};
use crate::ledger::Account;
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
    /// The containers of the last target list; `None` for a completed pod itself.
    targeted: Vec<(PodUid, Option<ContainerId>)>,
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
    pub fn follow(&mut self, account: &Account, catalog: &Catalog, now: BootTime) -> &Files {
        let Some((lane, figures)) = &mut self.lane else { return &self.files };
        let wanted = || {
            let live = account.containers.iter().filter(|container| !container.exited);
            let live = live.map(|container| (container.pod, Some(container.id)));
            live.chain(completed(account, catalog).flat_map(|pod| {
                let containers = pod.containers.iter().filter_map(|container| container.id);
                let containers = containers.map(|id| (pod.uid, Some(id)));
                std::iter::once((pod.uid, None)).chain(containers)
            }))
        };
        let is_current = wanted().eq(self.targeted.iter().copied());
        self.ticks = self.ticks.wrapping_add(1);
        // A container may have been seen before its first process.
        let look_again = self.lacks_process && self.ticks.is_multiple_of(LOOK_AGAIN_TICKS);
        if !is_current || look_again {
            self.targeted = wanted().collect();
            let live = live_targets(account);
            let mut containers = live.iter().flat_map(|target| &target.containers);
            self.lacks_process = containers.any(|container| container.process.is_none());
            let mut targets = live;
            targets.extend(completed(account, catalog).map(completed_target));
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
                available_bytes: usage.available_bytes,
                inodes: usage.inodes,
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

/// The pods that have ended and are in the directory still. Their logs and volumes are there until the
/// kubelet removes the pod, and the layers until it removes the containers.
fn completed<'a>(account: &'a Account, catalog: &'a Catalog) -> impl Iterator<Item = &'a Pod> {
    let is_live = |uid: PodUid| {
        let at = account.pods.binary_search_by_key(&uid, |pod| pod.uid);
        at.ok().and_then(|at| account.pods.get(at)).is_some_and(|pod| !pod.exited)
    };
    let ended = catalog.pods().iter().filter(move |pod| pod.phase.is_final() && !is_live(pod.uid));
    ended.map(|pod| &**pod)
}

/// A container without a process is found where it was found while it ran.
fn completed_target(pod: &Pod) -> Target {
    let ids = pod.containers.iter().filter_map(|container| container.id);
    let containers = ids.map(|id| TargetContainer { id, process: None }).collect();
    Target { pod: pod.uid, containers }
}

/// Every pod with its live containers, each with its oldest process, which has the container's own
/// root.
fn live_targets(account: &Account) -> Vec<Target> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::QosClass;
    use crate::directory::objects::{ObjectLimits, pods_of_list};
    use crate::directory::{Directory, SourceKind};
    use crate::ledger::account::{PodUsage, Usage};

    #[test]
    fn a_completed_pod_is_counted_until_the_directory_drops_it() {
        let body = include_bytes!("../../fixtures/kubernetes/recorded/api/pods-of-node.body");
        let limits = ObjectLimits { annotation_bytes_max: 0 };
        let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes]);
        let pods = pods_of_list(body, &limits).unwrap().pods;
        publishers[0].replace_pods(pods, BootTime::default());
        let catalog = directory.catalog();
        let names = |account: &Account| -> Vec<String> {
            completed(account, &catalog).map(|pod| pod.name.to_string()).collect()
        };
        // One has succeeded, one was evicted; the other six run or start.
        let mut account = Account::default();
        let mut found = names(&account);
        found.sort();
        assert_eq!(found, ["gone", "import-57q8w"]);
        let import = catalog.pods().iter().find(|pod| &*pod.name == "import-57q8w").unwrap();
        let target = completed_target(import);
        let id = import.containers[0].id.unwrap();
        assert_eq!(target.containers, [TargetContainer { id, process: None }]);
        // While its cgroup is there it is a target like the others.
        account.pods.push(PodUsage {
            uid: import.uid,
            qos: QosClass::BestEffort,
            path: (&b"/p"[..]).into(),
            exited: false,
            host_network: None,
            usage: Usage::default(),
        });
        assert_eq!(names(&account), ["gone"]);
        account.pods[0].exited = true;
        assert_eq!(names(&account).len(), 2);
    }
}
