//! Attributes the self usage of cgroups, and network traffic, to owners.

use std::sync::Arc;

use super::account::{
    Account, ContainerUsage, DiskUsage, ExitedUsage, NetworkSource, NetworkUsage, PodUsage,
    UnitKind, UnitUsage, Usage,
};
use super::balance::{UnlistedSums, balance};
use super::cgroup_delta::{CgroupDelta, network_delta};
use super::counters::Counters;
use super::delta::unsigned;
use super::self_usage::SelfUsage;
use super::sockets::CgroupsByInode;
use crate::attribution::{Owner, QosClass};
use crate::identity::{ContainerId, PodUid};
use crate::quantity::{Bytes, CpuTime};
use crate::snapshot::gaps::Gaps;
use crate::snapshot::roots::Units;
use crate::snapshot::{CgroupReading, MemoryReading, PidsReading, Snapshot};

/// An owner: the cgroup at which it starts, and the self usage of its cgroups together.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnerEntry {
    pub owner: Owner,
    /// The owner of the cgroup above its first.
    pub parent: Option<Owner>,
    /// Index of its first cgroup.
    pub top: usize,
    /// Length of the part of that cgroup's path up to which the owner starts. Without a tree, the
    /// first known path of an owner can lie below its start.
    pub starts: usize,
    pub self_usage: SelfUsage,
}

/// The memory that attribution reuses in each interval.
#[derive(Debug, Default)]
pub(super) struct Attribution {
    /// In the order of the account's pods.
    pods: Vec<SelfUsage>,
    /// The network traffic of each entry.
    networks: Vec<Option<NetworkUsage>>,
    /// The namespaces that already have an owner, by index in the snapshot.
    attributed: Vec<bool>,
    /// Index in the account's units of each entry that is a unit.
    units: Vec<Option<usize>>,
    by_inode: CgroupsByInode,
}

impl Attribution {
    pub fn run(
        &mut self,
        last: Option<&Counters>,
        units: Units,
        snapshot: &Snapshot,
        cgroups: &[CgroupDelta],
        entries: &mut [OwnerEntry],
        account: &mut Account,
    ) {
        self.attribute_networks(last, units, snapshot, cgroups, entries, &mut account.gaps);
        self.attribute_sockets(last, snapshot, cgroups, entries, &mut account.gaps);
        for cgroup in cgroups {
            if let Some(entry) = entries.get_mut(cgroup.entry) {
                entry.self_usage.add(&cgroup.self_usage);
            }
        }
        account.pods.clear();
        account.containers.clear();
        account.units.clear();
        account.exited.clear();
        self.pods.clear();
        self.units.clear();
        let mut totals = UnlistedSums::default();
        for (at, entry) in entries.iter().enumerate() {
            let (Some(cgroup), Some(reading)) =
                (cgroups.get(entry.top), snapshot.cgroups.get(entry.top))
            else {
                continue;
            };
            let mut usage = Usage::default();
            usage.add_gauges(reading, cgroup);
            entry.self_usage.write_to(&mut usage);
            usage.network = self.networks.get(at).copied().flatten();
            // Memory of an owner below a unit is not the unit's.
            let above = reading.parent.and_then(|above| cgroups.get(above));
            let unit_above = above.and_then(|above| *self.units.get(above.entry)?);
            if let Some(unit) = unit_above.and_then(|at| account.units.get_mut(at)) {
                unit.usage.memory.subtract(&reading.memory);
            }
            let is_unit = is_host_owner(&entry.owner);
            self.units.push(is_unit.then_some(account.units.len()));
            let path = || match reading.key.path.get(..entry.starts) {
                None | Some(b"") => Arc::clone(&reading.key.path),
                Some(all) if all.len() == reading.key.path.len() => Arc::clone(&reading.key.path),
                Some(starts_at) => Arc::from(starts_at),
            };
            match entry.owner {
                Owner::Root => {
                    totals.kernel_usec += unsigned(entry.self_usage.kernel_usec);
                    let mut strays = entry.self_usage;
                    strays.cpu.usage = strays.cpu.usage.saturating_sub(strays.kernel_usec);
                    strays.processes -= strays.kernel_threads;
                    strays.processes_usec -= unsigned(strays.kernel_usec);
                    strays.write_to(&mut usage);
                    if strays.processes == 0 {
                        totals.kernel_network = usage.network.unwrap_or_default();
                    } else {
                        totals.units_memory += unsigned(strays.memory_bytes);
                        account.units.push(UnitUsage {
                            path: path(),
                            kind: UnitKind::Root,
                            exited: false,
                            usage,
                        });
                    }
                }
                Owner::Inner(node) => {
                    let (live, ended) = entry.self_usage.split_live();
                    let mut network = usage.network.unwrap_or_default();
                    if live.processes > 0 {
                        totals.units_memory += unsigned(live.memory_bytes);
                        let mut usage = Usage { network: usage.network, ..Usage::default() };
                        live.write_to(&mut usage);
                        network = NetworkUsage::default();
                        let kind = UnitKind::Slice;
                        account.units.push(UnitUsage { path: path(), kind, exited: false, usage });
                    }
                    totals.inner_memory += unsigned(ended.memory_bytes);
                    let cpu = CpuTime::from_usec(unsigned(ended.cpu.usage));
                    let disk = DiskUsage::of_delta(ended.io, ended.io_from);
                    let no_disk = disk == DiskUsage { from: disk.from, ..DiskUsage::default() };
                    let no_network = network.rx == Bytes::ZERO && network.tx == Bytes::ZERO;
                    if cpu > CpuTime::ZERO || !no_disk || !no_network {
                        account.exited.push(ExitedUsage { path: path(), node, cpu, disk, network });
                    }
                }
                Owner::Unit | Owner::Container { .. } | Owner::Guest(_) | Owner::Named => {
                    totals.units_memory += unsigned(entry.self_usage.memory_bytes);
                    // A user can give the id of another's container to a cgroup of his own. The
                    // host's stand before those of user.slice.
                    let is_taken = |wanted: ContainerId| {
                        account.units.iter().any(|unit| {
                            matches!(unit.kind, UnitKind::Container { id, .. } if id == wanted)
                        })
                    };
                    let kind = match entry.owner {
                        Owner::Container { id, .. } if is_taken(id) => UnitKind::Unit,
                        Owner::Container { id, runtime } => UnitKind::Container { id, runtime },
                        Owner::Guest(kind) => UnitKind::Guest(kind),
                        Owner::Named => UnitKind::Named,
                        _ => UnitKind::Unit,
                    };
                    let exited = reading.removed;
                    account.units.push(UnitUsage { path: path(), kind, exited, usage });
                }
                Owner::Pod { uid, qos } => {
                    self.add_to_pod(account, entry, uid, qos, usage, reading)
                }
                Owner::PodContainer { uid, qos, id, runtime } => {
                    self.add_to_pod(account, entry, uid, qos, usage, reading);
                    let path = path();
                    // The namespace is the pod's, whichever container it was read through.
                    usage.network = None;
                    account.containers.push(ContainerUsage {
                        pod: uid,
                        id,
                        runtime,
                        path,
                        exited: reading.removed,
                        usage,
                    });
                }
            }
        }
        account.containers.sort_unstable_by_key(|container| (container.pod, container.id));
        self.finish_pods(account, &mut totals);
        account.conservation = balance(account, &totals);
        if let (Some(cpu), Some(all)) = (&mut account.node.cpu, account.conservation.cpu_usec) {
            cpu.busy = CpuTime::from_usec(all.node);
        }
    }

    /// Attributes the traffic of each namespace once, to the first pod, container or unit in it.
    /// The host's namespace has no owner.
    fn attribute_networks(
        &mut self,
        last: Option<&Counters>,
        units: Units,
        snapshot: &Snapshot,
        cgroups: &[CgroupDelta],
        entries: &mut [OwnerEntry],
        gaps: &mut Gaps,
    ) {
        self.networks.clear();
        self.networks.resize(entries.len(), None);
        self.attributed.clear();
        self.attributed.resize(snapshot.namespaces.len(), false);
        for (reading, cgroup) in snapshot.cgroups.iter().zip(cgroups) {
            let Some(inode) = reading.namespace else { continue };
            let found = snapshot.namespaces.binary_search_by_key(&inode, |entry| entry.inode);
            let Some((namespace, attributed)) = found
                .ok()
                .and_then(|at| Some((snapshot.namespaces.get(at)?, self.attributed.get_mut(at)?)))
            else {
                continue;
            };
            let Some(entry) = entries.get_mut(cgroup.entry) else { continue };
            if namespace.is_host {
                entry.self_usage.in_host_namespace = true;
                continue;
            }
            entry.self_usage.in_own_namespace = true;
            if *attributed
                || !namespace.readable
                || matches!(entry.owner, Owner::Root | Owner::Inner(_))
            {
                continue;
            }
            *attributed = true;
            let Some(last) = last else { continue };
            let created = || {
                // A container's namespace is created with it. A unit can join an old one.
                if matches!(entry.owner, Owner::Unit | Owner::Named) {
                    return None;
                }
                let leader = reading.own_processes().next()?;
                last.precedes(leader.key, units).then_some(&[][..])
            };
            let before = match last.namespace(inode) {
                // If it was not readable last time, the rows are those of the last reading.
                Some(before) if before.readable || !before.rows.is_empty() => {
                    Some(&before.rows[..])
                }
                Some(_) => None,
                None => created(),
            };
            let since = last.namespace(inode).map_or(last.ended_at, |before| before.read_at);
            let over_usec = namespace.read_at.usec_since(since);
            let delta = before.and_then(|before| {
                let interfaces = namespace.interfaces.iter();
                network_delta(before, interfaces, over_usec, |_| None, &reading.key.path, gaps)
            });
            if let (Some(delta), Some(network)) = (delta, self.networks.get_mut(cgroup.entry)) {
                match network {
                    // The owner has processes in several namespaces.
                    Some(network) => network.add(&delta),
                    None => *network = Some(delta),
                }
            }
        }
    }

    /// Attributes the traffic of sockets in the host's namespace to the owners of the cgroups that
    /// they were created in.
    fn attribute_sockets(
        &mut self,
        last: Option<&Counters>,
        snapshot: &Snapshot,
        cgroups: &[CgroupDelta],
        entries: &[OwnerEntry],
        gaps: &mut Gaps,
    ) {
        let Some(last) = last.filter(|last| last.sockets.is_some()) else { return };
        let networks = &mut self.networks;
        let readable = snapshot.sockets.readable;
        for (network, entry) in networks.iter_mut().zip(entries).filter(|_| readable) {
            // Without a socket the traffic is 0, not unknown.
            let in_host = entry.self_usage.in_host_namespace && !entry.self_usage.in_own_namespace;
            if in_host && network.is_none() {
                let from = NetworkSource::TcpSockets;
                *network = Some(NetworkUsage { from, ..NetworkUsage::default() });
            }
        }
        self.by_inode.each_delta(last, snapshot, gaps, |place, delta| {
            let entry = cgroups.get(place).map(|cgroup| cgroup.entry);
            if let Some(network) = entry.and_then(|entry| networks.get_mut(entry)) {
                network.get_or_insert_default().add(&delta);
            }
        });
    }

    fn add_to_pod(
        &mut self,
        account: &mut Account,
        entry: &OwnerEntry,
        uid: PodUid,
        qos: QosClass,
        usage: Usage,
        reading: &CgroupReading,
    ) {
        let at = match account.pods.binary_search_by_key(&uid, |pod| pod.uid) {
            Ok(at) => at,
            Err(at) => {
                let path = Arc::clone(&reading.key.path);
                let usage = Usage::default();
                let (host_network, exited) = (None, true);
                account.pods.insert(at, PodUsage { uid, qos, path, exited, host_network, usage });
                self.pods.insert(at, SelfUsage::default());
                at
            }
        };
        let (Some(pod), Some(self_usage)) = (account.pods.get_mut(at), self.pods.get_mut(at))
        else {
            return;
        };
        self_usage.add(&entry.self_usage);
        pod.exited &= reading.removed;
        if let Some(delta) = &usage.network {
            pod.usage.network.get_or_insert_default().add(delta);
        }
        let is_top = entry.parent.is_none_or(|parent| pod_of(&parent) != Some(uid));
        if is_top {
            // A kubelet can leave two trees for a pod, one of them empty. Gauges of both add up,
            // and the path is that of the busier one.
            let busier = usage.memory.current > pod.usage.memory.current;
            pod.usage.merge_gauges(&usage);
            if busier {
                pod.path = Arc::clone(&reading.key.path);
                pod.qos = qos;
            }
        }
    }

    fn finish_pods(&mut self, account: &mut Account, totals: &mut UnlistedSums) {
        account.empty_pod_cgroups = 0;
        let mut tallies = self.pods.iter();
        let containers = &account.containers;
        let empty = &mut account.empty_pod_cgroups;
        account.pods.retain_mut(|pod| {
            let Some(self_usage) = tallies.next() else { return false };
            totals.pods_memory += unsigned(self_usage.memory_bytes);
            self_usage.write_to(&mut pod.usage);
            pod.host_network = if self_usage.in_own_namespace {
                Some(false)
            } else {
                self_usage.in_host_namespace.then_some(true)
            };
            let first = containers.partition_point(|container| container.pod < pod.uid);
            let has_containers =
                containers.get(first).is_some_and(|container| container.pod == pod.uid);
            let used =
                self_usage.cpu.usage > 0 || self_usage.io.read > 0 || self_usage.io.written > 0;
            let live = self_usage.processes > 0 || has_containers || used;
            *empty += u32::from(!live);
            live
        });
    }
}

fn pod_of(owner: &Owner) -> Option<PodUid> {
    match owner {
        Owner::Pod { uid, .. } | Owner::PodContainer { uid, .. } => Some(*uid),
        Owner::Root
        | Owner::Inner(_)
        | Owner::Unit
        | Owner::Container { .. }
        | Owner::Guest(_)
        | Owner::Named => None,
    }
}

/// True if the owner has a row among the host's units.
fn is_host_owner(owner: &Owner) -> bool {
    matches!(owner, Owner::Unit | Owner::Container { .. } | Owner::Guest(_) | Owner::Named)
}

impl Usage {
    fn add_gauges(&mut self, reading: &CgroupReading, cgroup: &CgroupDelta) {
        self.memory = reading.memory;
        self.pids = reading.pids;
        self.pressure = reading.pressure;
        self.cpu_max = reading.cpu_max;
        self.throttling = cgroup.throttling;
        self.events = cgroup.events;
    }

    /// Adds the gauges of a second cgroup of the same pod.
    fn merge_gauges(&mut self, other: &Self) {
        fn sum<T: std::ops::Add<Output = T>>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            }
        }
        let busier = other.memory.current > self.memory.current;
        let (main, aside) = if busier { (other, &*self) } else { (&*self, other) };
        let stat = match (main.memory.stat, aside.memory.stat) {
            (Some(mut stat), Some(aside)) => {
                stat.anon = sum(stat.anon, aside.anon);
                stat.file = sum(stat.file, aside.file);
                stat.shmem = sum(stat.shmem, aside.shmem);
                stat.inactive_file = sum(stat.inactive_file, aside.inactive_file);
                stat.active_file = sum(stat.active_file, aside.active_file);
                stat.kernel = sum(stat.kernel, aside.kernel);
                Some(stat)
            }
            (main, aside) => main.or(aside),
        };
        let memory = MemoryReading {
            current: sum(main.memory.current, aside.memory.current),
            stat,
            swap_current: sum(main.memory.swap_current, aside.memory.swap_current),
            ..main.memory
        };
        let pids =
            PidsReading { current: sum(main.pids.current, aside.pids.current), max: main.pids.max };
        *self = Self {
            memory,
            pids,
            events: main.events.plus(aside.events),
            network: self.network,
            ..*main
        };
    }
}

impl NetworkUsage {
    pub(super) fn add(&mut self, other: &Self) {
        let before = *self;
        self.rx += other.rx;
        self.tx += other.tx;
        self.rx_packets += other.rx_packets;
        self.tx_packets += other.tx_packets;
        self.rx_errors += other.rx_errors;
        self.tx_errors += other.tx_errors;
        self.rx_dropped += other.rx_dropped;
        self.tx_dropped += other.tx_dropped;
        // A part without traffic does not change the source of the sum.
        let is_zero = |one: &Self| one.rx == Bytes::ZERO && one.tx == Bytes::ZERO;
        if is_zero(&before) || !is_zero(other) {
            self.from = self.from.max(other.from);
        }
    }
}
