//! From own parts to owners, and the balance of it all.

use std::sync::Arc;

use super::account::{
    Account, ContainerUsage, DiskUsage, ExitedUsage, NetworkSource, NetworkUsage, PodUsage,
    UnitKind, UnitUsage, Usage,
};
use super::balance::{Totals, balance};
use super::counters::Counters;
use super::flow::{Tally, unsigned};
use super::line::{Line, network_gain};
use super::sockets::ByInode;
use crate::attribution::{Owner, QosClass};
use crate::identity::PodUid;
use crate::quantity::{Bytes, CpuTime};
use crate::snapshot::roots::Units;
use crate::snapshot::{CgroupReading, MemoryReading, PidsReading, Snapshot};

/// An owner: the cgroup at which it starts, and what its cgroups' own parts sum up to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub owner: Owner,
    /// The owner of the cgroup above its first.
    pub parent: Option<Owner>,
    /// Its first cgroup.
    pub top: usize,
    pub tally: Tally,
}

/// The memory that handing out uses again each time.
#[derive(Debug, Default)]
pub(super) struct HandOut {
    /// In the order of the account's pods.
    pods: Vec<Tally>,
    /// What each entry got of the network.
    networks: Vec<Option<NetworkUsage>>,
    /// Namespaces that somebody has been given, by their place in the snapshot.
    given: Vec<bool>,
    /// The account's unit of each entry, where it is one.
    units: Vec<Option<usize>>,
    by_inode: ByInode,
}

impl HandOut {
    pub fn run(
        &mut self,
        last: Option<&Counters>,
        units: Units,
        snapshot: &Snapshot,
        lines: &[Line],
        entries: &mut [Entry],
        account: &mut Account,
    ) {
        self.give_networks(last, units, snapshot, lines, entries);
        self.give_sockets(last, snapshot, lines, entries);
        for line in lines {
            if let Some(entry) = entries.get_mut(line.entry) {
                entry.tally.add(&line.own);
            }
        }
        account.pods.clear();
        account.containers.clear();
        account.units.clear();
        account.exited.clear();
        self.pods.clear();
        self.units.clear();
        let mut totals = Totals::default();
        for (at, entry) in entries.iter().enumerate() {
            let (Some(line), Some(reading)) =
                (lines.get(entry.top), snapshot.cgroups.get(entry.top))
            else {
                continue;
            };
            let mut usage = Usage::default();
            usage.add_gauges(reading, line);
            entry.tally.put_into(&mut usage);
            usage.network = self.networks.get(at).copied().flatten();
            // What stands below a unit and is not its own is not shown as its memory either.
            let above = reading.parent.and_then(|above| lines.get(above));
            let unit_above = above.and_then(|above| *self.units.get(above.entry)?);
            if let Some(unit) = unit_above.and_then(|at| account.units.get_mut(at)) {
                unit.usage.memory.leave_out(&reading.memory);
            }
            let is_unit = matches!(entry.owner, Owner::Unit | Owner::Container { .. });
            self.units.push(is_unit.then_some(account.units.len()));
            let path = || match reading.parent {
                Some(_) => Arc::clone(&reading.key.path),
                // Without a tree the first path of an owner may lie below the one at which it
                // starts.
                None => match Owner::locate(&reading.key.path).starts_at {
                    b"" => Arc::clone(&reading.key.path),
                    starts_at => Arc::from(starts_at),
                },
            };
            match entry.owner {
                Owner::Root => {
                    totals.kernel_usec += unsigned(entry.tally.kernel_usec);
                    let mut strays = entry.tally;
                    strays.cpu.usage = strays.cpu.usage.saturating_sub(strays.kernel_usec);
                    strays.processes -= strays.kernel_threads;
                    strays.processes_usec -= unsigned(strays.kernel_usec);
                    strays.put_into(&mut usage);
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
                    totals.inner_memory += unsigned(entry.tally.memory_bytes);
                    let cpu = CpuTime::from_usec(unsigned(entry.tally.cpu.usage));
                    let disk = entry.tally.io.to_usage(entry.tally.io_from);
                    let no_disk = disk == DiskUsage { from: disk.from, ..DiskUsage::default() };
                    let network = usage.network.unwrap_or_default();
                    let no_network = network.rx == Bytes::ZERO && network.tx == Bytes::ZERO;
                    if cpu > CpuTime::ZERO || !no_disk || !no_network {
                        account.exited.push(ExitedUsage { path: path(), node, cpu, disk, network });
                    }
                }
                Owner::Unit | Owner::Container { .. } => {
                    totals.units_memory += unsigned(entry.tally.memory_bytes);
                    let kind = match entry.owner {
                        Owner::Container { id, runtime } => UnitKind::Container { id, runtime },
                        _ => UnitKind::Unit,
                    };
                    let exited = reading.departed;
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
                        exited: reading.departed,
                        usage,
                    });
                }
            }
        }
        account.containers.sort_unstable_by_key(|container| (container.pod, container.id));
        self.finish_pods(account, &mut totals);
        account.conservation = balance(account, &totals);
    }

    /// A namespace's traffic goes once, to the first owner in it that is a pod, a container or a
    /// unit; the host's to nobody.
    fn give_networks(
        &mut self,
        last: Option<&Counters>,
        units: Units,
        snapshot: &Snapshot,
        lines: &[Line],
        entries: &mut [Entry],
    ) {
        self.networks.clear();
        self.networks.resize(entries.len(), None);
        self.given.clear();
        self.given.resize(snapshot.namespaces.len(), false);
        for (reading, line) in snapshot.cgroups.iter().zip(lines) {
            let Some(inode) = reading.namespace else { continue };
            let found = snapshot.namespaces.binary_search_by_key(&inode, |entry| entry.inode);
            let Some((namespace, given)) = found
                .ok()
                .and_then(|at| Some((snapshot.namespaces.get(at)?, self.given.get_mut(at)?)))
            else {
                continue;
            };
            let Some(entry) = entries.get_mut(line.entry) else { continue };
            if namespace.is_host {
                entry.tally.in_host_namespace = true;
                continue;
            }
            entry.tally.in_own_namespace = true;
            if *given || !namespace.readable || matches!(entry.owner, Owner::Root | Owner::Inner(_))
            {
                continue;
            }
            *given = true;
            let Some(last) = last else { continue };
            let born = || {
                // A container's namespace comes with it; a unit can be put into one that is old.
                if entry.owner == Owner::Unit {
                    return None;
                }
                let leader = reading.processes.first()?;
                last.precedes(leader.key, units).then_some(&[][..])
            };
            let before = match last.namespace(inode) {
                // One that was not readable last time has the rows of when it was.
                Some(before) if before.readable || !before.rows.is_empty() => {
                    Some(&before.rows[..])
                }
                Some(_) => None,
                None => born(),
            };
            let gain = before.map(|before| network_gain(before, namespace.interfaces.iter()));
            if let (Some(gain), Some(network)) = (gain, self.networks.get_mut(line.entry)) {
                match network {
                    // An owner with processes in several namespaces.
                    Some(network) => network.add(&gain),
                    None => *network = Some(gain),
                }
            }
        }
    }

    /// What the sockets of the host's namespace carried goes to the owners of the cgroups that they
    /// were made in.
    fn give_sockets(
        &mut self,
        last: Option<&Counters>,
        snapshot: &Snapshot,
        lines: &[Line],
        entries: &[Entry],
    ) {
        let Some(last) = last.filter(|last| last.sockets.is_some()) else { return };
        let networks = &mut self.networks;
        let readable = snapshot.sockets.readable;
        for (network, entry) in networks.iter_mut().zip(entries).filter(|_| readable) {
            // None carried is a figure too.
            let in_hosts = entry.tally.in_host_namespace && !entry.tally.in_own_namespace;
            if in_hosts && network.is_none() {
                let from = NetworkSource::TcpSockets;
                *network = Some(NetworkUsage { from, ..NetworkUsage::default() });
            }
        }
        self.by_inode.each_gain(last, snapshot, |place, gain| {
            let entry = lines.get(place).map(|line| line.entry);
            if let Some(network) = entry.and_then(|entry| networks.get_mut(entry)) {
                network.get_or_insert_default().add(&gain);
            }
        });
    }

    fn add_to_pod(
        &mut self,
        account: &mut Account,
        entry: &Entry,
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
                self.pods.insert(at, Tally::default());
                at
            }
        };
        let (Some(pod), Some(tally)) = (account.pods.get_mut(at), self.pods.get_mut(at)) else {
            return;
        };
        tally.add(&entry.tally);
        pod.exited &= reading.departed;
        if let Some(gain) = &usage.network {
            pod.usage.network.get_or_insert_default().add(gain);
        }
        let is_top = entry.parent.is_none_or(|parent| pod_of(&parent) != Some(uid));
        if is_top {
            // One kubelet can leave two trees for a pod, of which one is empty: where both have
            // gauges they add up, and the busier one is where the pod is.
            let busier = usage.memory.current > pod.usage.memory.current;
            pod.usage.merge_gauges(&usage);
            if busier {
                pod.path = Arc::clone(&reading.key.path);
                pod.qos = qos;
            }
        }
    }

    fn finish_pods(&mut self, account: &mut Account, totals: &mut Totals) {
        account.empty_pod_cgroups = 0;
        let mut tallies = self.pods.iter();
        let containers = &account.containers;
        let empty = &mut account.empty_pod_cgroups;
        account.pods.retain_mut(|pod| {
            let Some(tally) = tallies.next() else { return false };
            totals.pods_memory += unsigned(tally.memory_bytes);
            tally.put_into(&mut pod.usage);
            pod.host_network = match (tally.in_own_namespace, tally.in_host_namespace) {
                (true, _) => Some(false),
                (false, true) => Some(true),
                (false, false) => None,
            };
            let first = containers.partition_point(|container| container.pod < pod.uid);
            let has_containers =
                containers.get(first).is_some_and(|container| container.pod == pod.uid);
            let used = tally.cpu.usage > 0 || tally.io.read > 0 || tally.io.written > 0;
            let live = tally.processes > 0 || has_containers || used;
            *empty += u32::from(!live);
            live
        });
    }
}

fn pod_of(owner: &Owner) -> Option<PodUid> {
    match owner {
        Owner::Pod { uid, .. } | Owner::PodContainer { uid, .. } => Some(*uid),
        Owner::Root | Owner::Inner(_) | Owner::Unit | Owner::Container { .. } => None,
    }
}

impl Usage {
    fn add_gauges(&mut self, reading: &CgroupReading, line: &Line) {
        self.memory = reading.memory;
        self.pids = reading.pids;
        self.pressure = reading.pressure;
        self.cpu_max = reading.cpu_max;
        self.throttling = line.throttling;
        self.oom_kills = line.oom_kills;
    }

    /// Gauges of a second cgroup of the same pod.
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
                stat.anon += aside.anon;
                stat.file += aside.file;
                stat.shmem += aside.shmem;
                stat.inactive_file += aside.inactive_file;
                stat.active_file += aside.active_file;
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
            oom_kills: sum(main.oom_kills, aside.oom_kills),
            network: self.network,
            ..*main
        };
    }
}

impl NetworkUsage {
    fn add(&mut self, other: &Self) {
        let before = *self;
        self.rx += other.rx;
        self.tx += other.tx;
        self.rx_packets += other.rx_packets;
        self.tx_packets += other.tx_packets;
        self.rx_errors += other.rx_errors;
        self.tx_errors += other.tx_errors;
        self.rx_dropped += other.rx_dropped;
        self.tx_dropped += other.tx_dropped;
        // One that carried nothing does not make it another's kind of figure.
        let is_nothing = |one: &Self| one.rx == Bytes::ZERO && one.tx == Bytes::ZERO;
        if is_nothing(&before) || !is_nothing(other) {
            self.from = self.from.max(other.from);
        }
    }
}
