//! Attributes the self usage of cgroups, and network traffic, to owners.

use std::sync::Arc;

use super::account::{
    Account, ContainerUsage, DiskUsage, ExitedUsage, NetworkSource, NetworkUsage, PodUsage,
    UnitKind, UnitUsage, Usage,
};
use super::balance::{UnlistedSums, balance};
use super::cgroup_delta::CgroupDelta;
use super::counters::Counters;
use super::delta::unsigned;
use super::interfaces::{Earlier, HostInterfaces, interfaces_delta};
use super::namespaces::{Inside, NamespaceHomes};
use super::owner_entry::{OwnerEntry, pod_of};
use super::passed_down::PassedDown;
use super::room::{make_room, push};
use super::self_usage::SelfUsage;
use super::sockets::CgroupsByInode;
use super::uncharged_memory::{own_memory_of_root, uncharged_kernel_memory};
use crate::attribution::{Owner, QosClass};
use crate::identity::{ContainerId, PodUid};
use crate::quantity::{Bytes, CpuTime};
use crate::snapshot::gaps::Gaps;
use crate::snapshot::roots::Units;
use crate::snapshot::{CgroupReading, MemoryReading, PidsReading, Snapshot};
use crate::source::proc::net_dev::InterfaceName;

/// The memory that attribution reuses in each interval.
#[derive(Debug, Default)]
pub(super) struct Attribution {
    pub passed_down: PassedDown,
    /// In the order of the account's pods.
    pods: Vec<SelfUsage>,
    /// The network traffic of each entry.
    networks: Vec<Option<NetworkUsage>>,
    /// The interface of each entry's own namespace.
    interfaces: Vec<Option<InterfaceName>>,
    homes: NamespaceHomes,
    /// The part of each entry's traffic that an owner above has as well.
    repeated: Vec<NetworkUsage>,
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
        self.passed_down.settle(snapshot, cgroups, entries);
        account.pods.clear();
        account.containers.clear();
        account.units.clear();
        account.exited.clear();
        self.pods.clear();
        self.units.clear();
        let kernel_memory = uncharged_kernel_memory(snapshot);
        let mut totals = UnlistedSums { kernel_memory, ..UnlistedSums::default() };
        for (entry, repeated) in entries.iter().zip(&self.repeated) {
            match entry.owner {
                Owner::Pod { .. } | Owner::PodContainer { .. } => {
                    totals.pods_repeated.add(repeated)
                }
                owner if is_host_owner(&owner) => totals.units_repeated.add(repeated),
                _ => {}
            }
        }
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
            usage.interface = self.interfaces.get(at).copied().flatten();
            usage.started = entry.self_usage.oldest_ticks.map(|ticks| units.since_boot(ticks));
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
                    account.node.events = cgroup.events;
                    totals.kernel_usec += unsigned(entry.self_usage.kernel_usec);
                    let mut strays = entry.self_usage;
                    strays.cpu.usage = strays.cpu.usage.saturating_sub(strays.kernel_usec);
                    strays.processes -= strays.kernel_threads;
                    strays.processes_usec -= unsigned(strays.kernel_usec);
                    strays.write_to(&mut usage);
                    let own = own_memory_of_root(snapshot, cgroups);
                    // The figures of its file are those of the whole tree.
                    usage.memory = own.unwrap_or_default();
                    let own = usage.memory.current.map(Bytes::as_bytes);
                    if strays.processes == 0 {
                        totals.kernel_network = usage.network.unwrap_or_default();
                        totals.kernel_memory += own.unwrap_or(0);
                    } else {
                        totals.units_memory += own.unwrap_or(unsigned(strays.memory_bytes));
                        add_served(&mut totals.units_served, &strays);
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
                        let exited = false;
                        push(&mut account.units, UnitUsage { path: path(), kind, exited, usage });
                    }
                    add_served(&mut totals.inner_served, &entry.self_usage);
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
                    add_served(&mut totals.units_served, &entry.self_usage);
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
                    push(&mut account.units, UnitUsage { path: path(), kind, exited, usage });
                }
                Owner::Pod { uid, qos } => {
                    self.add_to_pod(account, entry, uid, qos, usage, reading)
                }
                Owner::PodContainer { uid, qos, id, runtime } => {
                    self.add_to_pod(account, entry, uid, qos, usage, reading);
                    let path = path();
                    // The namespace is the pod's, whichever container it was read through.
                    usage.network = None;
                    usage.interface = None;
                    let exited = reading.removed;
                    let container = ContainerUsage { pod: uid, id, runtime, path, exited, usage };
                    push(&mut account.containers, container);
                }
            }
        }
        account.containers.sort_unstable_by_key(|container| (container.pod, container.id));
        self.finish_pods(units, account, &mut totals);
        account.conservation = balance(account, &totals);
        if let (Some(cpu), Some(all)) = (&mut account.node.cpu, account.conservation.cpu_usec) {
            cpu.busy = CpuTime::from_usec(all.node);
        }
    }

    /// Attributes the traffic of each namespace once, to the highest pod, container or unit in it.
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
        self.interfaces.clear();
        self.interfaces.resize(entries.len(), None);
        for cgroup in snapshot.cgroups.iter().zip(cgroups) {
            let (reading, cgroup) = cgroup;
            let Some(id) = reading.namespace else { continue };
            let found = snapshot.namespaces.binary_search_by_key(&id, |entry| entry.id);
            let namespace = found.ok().and_then(|at| snapshot.namespaces.get(at));
            if let (Some(namespace), Some(entry)) = (namespace, entries.get_mut(cgroup.entry)) {
                entry.self_usage.in_host_namespace |= namespace.is_host;
                entry.self_usage.in_own_namespace |= !namespace.is_host;
            }
        }
        self.homes.find(snapshot, cgroups, entries);
        self.repeated.clear();
        self.repeated.resize(entries.len(), NetworkUsage::default());
        let Some(last) = last else { return };
        let host_before = last.interfaces.as_ref().filter(|_| snapshot.node.interfaces_readable);
        let host = HostInterfaces {
            before: host_before.map_or(&[], |host| &host.rows),
            now: &snapshot.node.interfaces,
        };
        for (place, namespace) in snapshot.namespaces.iter().enumerate() {
            let Some(home) = self.homes.home(place).filter(|_| !namespace.is_host) else {
                continue;
            };
            let (Some(entry), Some(reading)) =
                (entries.get(home.entry), snapshot.cgroups.get(home.cgroup))
            else {
                continue;
            };
            // A container's namespace is created with it. A unit can join an old one.
            let is_created = || {
                let leader = reading.own_processes().next();
                !matches!(entry.owner, Owner::Unit | Owner::Named)
                    && leader.is_some_and(|leader| last.precedes(leader.key, units))
            };
            let earlier = match last.namespace(namespace.id) {
                _ if !namespace.readable => continue,
                // If it was not readable last time, the rows are those of the last reading.
                Some(before) if before.readable || !before.rows.is_empty() => {
                    Earlier::Known(&before.rows)
                }
                None if is_created() => Earlier::Created(host),
                Some(_) | None => continue,
            };
            let since = last.namespace(namespace.id).map_or(last.ended_at, |before| before.read_at);
            let over_usec = namespace.read_at.usec_since(since);
            let interfaces = &namespace.interfaces;
            let delta = interfaces_delta(
                earlier,
                interfaces,
                over_usec,
                |_| None,
                |gains, name| {
                    gains.report(gaps, &[&reading.key.path, b" ", name]);
                },
            );
            let Some(delta) = delta else { continue };
            let counted = match home.inside {
                // The owner's other namespace has the rest.
                Inside::SameOwner => delta.hardware,
                Inside::Host | Inside::OtherOwner => delta.all,
            };
            if home.inside == Inside::OtherOwner
                && let Some(repeated) = self.repeated.get_mut(home.entry)
            {
                repeated.add(&delta.all.less(&delta.hardware));
            }
            if home.inside == Inside::SameOwner && counted == NetworkUsage::default() {
                continue;
            }
            if let Some(network) = self.networks.get_mut(home.entry) {
                network.get_or_insert_default().add(&counted);
            }
            if home.inside != Inside::SameOwner
                && let Some(interface) = self.interfaces.get_mut(home.entry)
            {
                *interface = delta.carrier;
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
                make_room(&mut account.pods);
                account.pods.insert(at, PodUsage { uid, qos, path, exited, host_network, usage });
                make_room(&mut self.pods);
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
            pod.usage.interface = pod.usage.interface.or(usage.interface);
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

    fn finish_pods(&mut self, units: Units, account: &mut Account, totals: &mut UnlistedSums) {
        account.empty_pod_cgroups = 0;
        let mut tallies = self.pods.iter();
        let containers = &account.containers;
        let empty = &mut account.empty_pod_cgroups;
        account.pods.retain_mut(|pod| {
            let Some(self_usage) = tallies.next() else { return false };
            totals.pods_memory += unsigned(self_usage.memory_bytes);
            add_served(&mut totals.pods_served, self_usage);
            self_usage.write_to(&mut pod.usage);
            pod.usage.started = self_usage.oldest_ticks.map(|ticks| units.since_boot(ticks));
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

fn add_served(sum: &mut [i64; 2], usage: &SelfUsage) {
    for (sum, served) in sum.iter_mut().zip(usage.served) {
        *sum = sum.saturating_add(served);
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
        self.cpu_weight = reading.cpu_weight;
        self.cpu_counters = reading.cpu;
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
                stat.file_mapped = sum(stat.file_mapped, aside.file_mapped);
                Some(stat)
            }
            (main, aside) => main.or(aside),
        };
        let memory = MemoryReading {
            current: sum(main.memory.current, aside.memory.current),
            stat,
            swap_current: sum(main.memory.swap_current, aside.memory.swap_current),
            huge_pages: sum(main.memory.huge_pages, aside.memory.huge_pages),
            ..main.memory
        };
        let pids =
            PidsReading { current: sum(main.pids.current, aside.pids.current), max: main.pids.max };
        *self = Self {
            memory,
            pids,
            events: main.events.plus(aside.events),
            network: self.network,
            interface: self.interface,
            ..*main
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::CgroupKey;
    use crate::ledger::counters::{KnownInterface, NamespaceCounters};
    use crate::ledger::event_counts::EventCounts;
    use crate::quantity::BootTime;
    use crate::snapshot::topology::{InterfaceFacts, InterfaceKind};
    use crate::snapshot::{InterfaceReading, NamespaceReading, PressureReading};
    use crate::source::cgroup::memory_stat::MemoryStat;
    use crate::source::proc::net_dev::InterfaceRow;

    /// A figure in each place, times `by`.
    fn gauges(by: u64) -> Usage {
        let bytes = |figure: u64| Some(Bytes::from_bytes(figure * by));
        let stat = MemoryStat {
            anon: bytes(2),
            file: bytes(3),
            shmem: bytes(4),
            inactive_file: bytes(5),
            active_file: bytes(6),
            kernel: bytes(7),
            ..MemoryStat::default()
        };
        let memory = MemoryReading {
            current: bytes(10),
            swap_current: bytes(8),
            huge_pages: bytes(11),
            stat: Some(stat),
            ..MemoryReading::default()
        };
        Usage {
            memory,
            pids: PidsReading { current: Some(9 * by), max: None },
            events: EventCounts { oom_kills: Some(by), ..EventCounts::default() },
            ..Usage::default()
        }
    }

    fn same(a: &Usage, b: &Usage) -> bool {
        (a.memory, a.pids, a.events) == (b.memory, b.pids, b.events)
    }

    /// A kubelet can leave two trees for a pod. Limits and pressure are those of the busier one.
    #[test]
    fn the_gauges_of_a_pods_two_cgroups_add_up() {
        use crate::quantity::Limit;
        let limited = |by: u64, max: u64| {
            let mut usage = gauges(by);
            usage.memory.max = Some(Limit::At(Bytes::from_bytes(max)));
            usage.pids.max = Some(Limit::At(max));
            usage.network = Some(NetworkUsage { rx_packets: by, ..NetworkUsage::default() });
            usage
        };
        for (first, second) in [(1, 2), (2, 1)] {
            let mut usage = limited(first, 10 * first);
            usage.merge_gauges(&limited(second, 10 * second));
            let mut right = limited(3, 20);
            right.network = usage.network;
            assert!(same(&usage, &right), "{usage:?}");
            assert_eq!(usage.network.unwrap().rx_packets, first, "added elsewhere");
            assert_eq!(usage.pressure, PressureReading::default());
        }
        // What one of them lacks is the other's.
        for (mut usage, other) in [(gauges(2), Usage::default()), (Usage::default(), gauges(2))] {
            usage.merge_gauges(&other);
            assert!(same(&usage, &gauges(2)), "{usage:?}");
        }
    }

    #[test]
    fn a_pod_is_one_that_has_a_process_or_a_container_or_used_something() {
        let uid = |digit: u8| PodUid::parse(&[digit; 32]).unwrap();
        let io =
            |read, written| crate::ledger::delta::IoDelta { read, written, ..Default::default() };
        let cpu = |usage| crate::ledger::delta::CpuDelta { usage, ..Default::default() };
        for (usage, has_container, is_pod) in [
            (SelfUsage::default(), false, false),
            (SelfUsage::default(), true, true),
            (SelfUsage { processes: 1, ..SelfUsage::default() }, false, true),
            (SelfUsage { cpu: cpu(1), ..SelfUsage::default() }, false, true),
            (SelfUsage { io: io(1, 0), ..SelfUsage::default() }, false, true),
            (SelfUsage { io: io(0, 1), ..SelfUsage::default() }, false, true),
            (SelfUsage { io: io(-1, -1), cpu: cpu(-1), ..SelfUsage::default() }, false, false),
        ] {
            let path = || Arc::from(&b"/"[..]);
            let container = |digit| ContainerUsage {
                pod: uid(digit),
                id: ContainerId::parse(&[b'a'; 64]).unwrap(),
                runtime: crate::attribution::Runtime::Containerd,
                path: path(),
                exited: false,
                usage: Usage::default(),
            };
            // Others have containers too.
            let mut containers = vec![container(b'1'), container(b'3')];
            if has_container {
                containers.insert(1, container(b'2'));
            }
            let (qos, host_network) = (QosClass::Burstable, None);
            let pod = PodUsage {
                uid: uid(b'2'),
                qos,
                path: path(),
                exited: false,
                host_network,
                usage: Usage::default(),
            };
            let mut account = Account { pods: vec![pod], containers, ..Account::default() };
            let mut attribution = Attribution { pods: vec![usage], ..Attribution::default() };
            let units = Units { ticks_per_second: 100, page_size_bytes: 4096 };
            attribution.finish_pods(units, &mut account, &mut UnlistedSums::default());
            assert_eq!(account.pods.len(), usize::from(is_pod), "{usage:?}");
            assert_eq!(account.empty_pod_cgroups, u32::from(!is_pod), "{usage:?}");
        }
    }

    /// A unit with a namespace of its own and another one below, as of Docker in it. What software
    /// of the second carries has left by the first. Its hardware has a wire of its own.
    #[test]
    fn an_owners_second_namespace_adds_its_hardware_alone() {
        const BEFORE: u64 = 5000;
        let reading = |name: &str, kind, gained: u64| {
            let row = InterfaceRow {
                name: InterfaceName::new(name.as_bytes()).unwrap(),
                rx_bytes: BEFORE + gained,
                rx_packets: 0,
                rx_errors: 0,
                rx_dropped: 0,
                tx_bytes: 0,
                tx_packets: 0,
                tx_errors: 0,
                tx_dropped: 0,
                is_odd: false,
            };
            InterfaceReading { row, facts: InterfaceFacts { index: None, kind } }
        };
        // Of the first namespace; software and hardware of the second; the unit's.
        for (own, software, hardware, received) in [
            (Some(50), 100, 7, Some(57)),
            (Some(50), 100, 0, Some(50)),
            (Some(0), 100, 0, Some(0)),
            (Some(0), 0, 7, Some(7)),
            // The first cannot be read.
            (None, 100, 7, Some(7)),
            (None, 100, 0, None),
        ] {
            let namespace = |id, interfaces: Vec<InterfaceReading>| NamespaceReading {
                id,
                is_host: false,
                leader_pid: 1,
                read_at: BootTime::from_nanos(20_000_000_000),
                readable: !interfaces.is_empty(),
                interfaces,
            };
            let first = own.map(|own| reading("eth0", InterfaceKind::Virtual, own));
            let second = vec![
                reading("eth0", InterfaceKind::Virtual, software),
                reading("net1", InterfaceKind::Hardware, hardware),
            ];
            let namespaces =
                vec![namespace(10, first.into_iter().collect()), namespace(20, second)];
            let mut snapshot = Snapshot { namespaces, ..Snapshot::default() };
            let mut cgroups = Vec::new();
            for (path, parent, entry, namespace) in
                [("/", None, 0, None), ("/u", Some(0), 1, Some(10)), ("/u/x", Some(1), 1, Some(20))]
            {
                let key = CgroupKey { path: path.as_bytes().into(), inode: 1 };
                let reading = CgroupReading { parent, namespace, ..CgroupReading::unread(key) };
                snapshot.cgroups.push(reading);
                cgroups.push(CgroupDelta { entry, ..CgroupDelta::nothing() });
            }
            let entry = |owner, top| OwnerEntry {
                owner,
                parent: None,
                top,
                starts: 0,
                self_usage: SelfUsage::default(),
            };
            let mut entries = [entry(Owner::Root, 0), entry(Owner::Unit, 1)];
            let known = |name: &str| KnownInterface {
                index: None,
                row: reading(name, InterfaceKind::Virtual, 0).row,
            };
            let before = |id, rows| NamespaceCounters {
                id,
                read_at: BootTime::from_nanos(10_000_000_000),
                readable: true,
                rows,
            };
            let last = Counters {
                namespaces: vec![
                    before(10, vec![known("eth0")]),
                    before(20, vec![known("eth0"), known("net1")]),
                ],
                ..Counters::default()
            };
            let units = Units { ticks_per_second: 100, page_size_bytes: 4096 };
            let mut attribution = Attribution::default();
            let gaps = &mut Gaps::default();
            attribution.attribute_networks(
                Some(&last),
                units,
                &snapshot,
                &cgroups,
                &mut entries,
                gaps,
            );
            let case = format!("{own:?} {software} {hardware}");
            let found = attribution.networks[1].map(|network| network.rx.as_bytes());
            assert_eq!(found, received, "{case}");
            let name = attribution.interfaces[1].map(|name| name.as_bytes().to_vec());
            assert_eq!(name, own.map(|_| b"eth0".to_vec()), "{case}");
            assert_eq!(attribution.repeated[1], NetworkUsage::default(), "{case}");
        }
    }
}
