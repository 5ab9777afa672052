//! The counters of one snapshot, without its gauges. The next snapshot's usage is the difference to
//! them, and the state file holds them over a restart of the agent.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event_counts::EventCounts;
use super::room::push;
use crate::identity::{BootId, CgroupKey, DeviceNumber, ProcessKey};
use crate::quantity::{BootTime, CpuTime, Ticks};
use crate::snapshot::cgroups::tree_order;
use crate::snapshot::known_sockets::MISSING_MAX;
use crate::snapshot::roots::Units;
use crate::snapshot::sockets::SOCKETS_MAX;
use crate::snapshot::{CountedAt, InterfaceReading, Snapshot};
use crate::source::cgroup::cpu_stat::CpuStat;
use crate::source::cgroup::io_stat::IoRow;
use crate::source::netlink::inet_diag::TcpTraffic;
use crate::source::proc::diskstats::DiskstatsRow;
use crate::source::proc::net_dev::InterfaceRow;
use crate::source::proc::pid_io::ProcessIo;
use crate::source::proc::stat::NodeStat;

const TICK_SLACK_USEC: u64 = 10_000;

/// All counters of one snapshot, in memory that is reused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    pub boot: Option<BootId>,
    pub begun_at: BootTime,
    pub ended_at: BootTime,
    pub node_cpu: Option<NodeStat>,
    pub node_cpu_read_at: BootTime,
    pub node_cpu_awake: Option<Duration>,
    #[serde(default)]
    pub disks_read_at: BootTime,
    pub disks: Option<Vec<DiskstatsRow>>,
    /// With `disks`: see [`NodeReading::disk_sequence`](crate::snapshot::node::NodeReading).
    #[serde(default)]
    pub disk_sequences: Vec<(DeviceNumber, u64)>,
    pub interfaces: Option<InterfaceCounters>,
    /// In tree order ([`tree_order`]).
    pub cgroups: Vec<CgroupCounters>,
    /// `None`: they could not be read.
    pub sockets: Option<SocketsCounters>,
    /// Sorted by identity.
    pub namespaces: Vec<NamespaceCounters>,
    /// Sorted by key.
    pub processes: Vec<ProcessCounters>,
}

/// The interfaces of the host's network namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct InterfaceCounters {
    #[serde(default)]
    pub read_at: BootTime,
    pub rows: Vec<KnownInterface>,
}

/// One interface of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KnownInterface {
    /// Its number in the namespace; `None`: not known, and the name tells it from others.
    pub index: Option<u32>,
    pub row: InterfaceRow,
}

impl KnownInterface {
    fn of(reading: &InterfaceReading) -> Self {
        Self { index: reading.facts.index, row: reading.row }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CgroupCounters {
    pub key: CgroupKey,
    pub read_at: BootTime,
    pub cpu: Option<CpuStat>,
    pub io: Option<Vec<IoRow>>,
    pub events: EventCounts,
}

/// The TCP sockets of the host's network namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SocketsCounters {
    /// True if no socket is missing.
    pub complete: bool,
    /// Sorted by cookie.
    pub rows: Vec<SocketCounters>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SocketCounters {
    pub cookie: u64,
    /// Inode of its cgroup.
    pub cgroup: u64,
    pub traffic: TcpTraffic,
    /// Number of samples in which it was missing without an event of its end. A dump of a table
    /// that changes meanwhile can skip a socket, which is not new when it is back. More than
    /// [`MISSING_MAX`] drop it.
    pub missing: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamespaceCounters {
    pub id: u64,
    #[serde(default)]
    pub read_at: BootTime,
    pub readable: bool,
    pub rows: Vec<KnownInterface>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProcessCounters {
    pub key: ProcessKey,
    pub read_at: BootTime,
    pub cpu: Option<CpuTime>,
    pub io: Option<ProcessIo>,
    /// Its CPU time was part of a cgroup's counters.
    #[serde(default)]
    pub in_counters: bool,
    #[serde(default)]
    pub parent_pid: u32,
    /// Of its ended children that it has waited for.
    #[serde(default)]
    pub children: Option<CpuTime>,
    /// Usage of its ended children that was counted while they lived, and that `children` does not
    /// have yet.
    #[serde(default)]
    pub expected: CpuTime,
}

impl Counters {
    /// Copies the counters of `snapshot`.
    pub(super) fn fill(&mut self, snapshot: &Snapshot) {
        let node = &snapshot.node;
        self.boot = snapshot.boot;
        self.begun_at = snapshot.begun_at;
        self.ended_at = snapshot.ended_at;
        self.node_cpu = node.cpu;
        self.node_cpu_read_at = node.cpu_read_at;
        self.node_cpu_awake = node.cpu_awake;
        self.disks_read_at = node.disks_read_at;
        copy_if(node.disks_readable, &mut self.disks, &node.disks);
        self.disk_sequences.clone_from(&node.disk_sequences);
        let interfaces = self.interfaces.get_or_insert_default();
        interfaces.read_at = node.interfaces_read_at;
        interfaces.rows.clear();
        interfaces.rows.extend(node.interfaces.iter().map(KnownInterface::of));
        if !node.interfaces_readable {
            self.interfaces = None;
        }

        let cgroups = &snapshot.cgroups;
        // A removed cgroup has no next reading, and a placed one no counters.
        let staying = || cgroups.iter().filter(|reading| !reading.removed && !reading.placed);
        self.cgroups.truncate(staying().count());
        for (at, reading) in staying().enumerate() {
            let events = EventCounts::of(reading);
            match self.cgroups.get_mut(at) {
                Some(kept) => {
                    // In most cases it is the same cgroup.
                    if !Arc::ptr_eq(&kept.key.path, &reading.key.path) {
                        kept.key.path = Arc::clone(&reading.key.path);
                    }
                    kept.key.inode = reading.key.inode;
                    kept.read_at = reading.read_at;
                    kept.cpu = reading.cpu;
                    kept.events = events;
                    match (&mut kept.io, &reading.io) {
                        (Some(kept), Some(rows)) => kept.clone_from(rows),
                        (kept, rows) => kept.clone_from(rows),
                    }
                }
                None => {
                    let (key, io) = (reading.key.clone(), reading.io.clone());
                    let (read_at, cpu) = (reading.read_at, reading.cpu);
                    push(&mut self.cgroups, CgroupCounters { key, read_at, cpu, io, events });
                }
            }
        }

        let sockets = &snapshot.sockets;
        let kept = self.sockets.get_or_insert_default();
        kept.complete = sockets.complete;
        kept.rows.clear();
        kept.rows.extend(sockets.rows.iter().map(|row| SocketCounters {
            cookie: row.cookie,
            cgroup: row.cgroup,
            traffic: row.traffic,
            missing: 0,
        }));
        if !sockets.readable {
            self.sockets = None;
        }

        let namespaces = &snapshot.namespaces;
        self.namespaces.truncate(namespaces.len());
        for (at, reading) in namespaces.iter().enumerate() {
            match self.namespaces.get_mut(at) {
                Some(kept) => {
                    kept.id = reading.id;
                    kept.read_at = reading.read_at;
                    kept.readable = reading.readable;
                    kept.rows.clear();
                    kept.rows.extend(reading.interfaces.iter().map(KnownInterface::of));
                }
                None => self.namespaces.push(NamespaceCounters {
                    id: reading.id,
                    read_at: reading.read_at,
                    readable: reading.readable,
                    rows: reading.interfaces.iter().map(KnownInterface::of).collect(),
                }),
            }
        }

        self.processes.clear();
        for cgroup in cgroups {
            let has_counters = cgroup.cpu.is_some() && cgroup.parent.is_some();
            for process in cgroup.own_processes() {
                let counters = ProcessCounters {
                    key: process.key,
                    read_at: process.read_at,
                    cpu: process.cpu,
                    io: process.io,
                    parent_pid: process.parent_pid,
                    children: process.children,
                    expected: CpuTime::ZERO,
                    in_counters: match process.place {
                        CountedAt::CountedIn(other) => cgroups
                            .get(other)
                            .is_some_and(|other| other.cpu.is_some() && other.parent.is_some()),
                        CountedAt::Here | CountedAt::Elsewhere => has_counters,
                    },
                };
                push(&mut self.processes, counters);
            }
        }
        self.processes.sort_unstable_by_key(|process| process.key);
        // A process that was moved out of an idle cgroup is in both until that one is read again.
        // The later figure is the larger.
        self.processes.dedup_by(|next, kept| {
            let same = next.key == kept.key;
            if same && next.cpu > kept.cpu {
                *kept = *next;
            }
            same
        });
    }

    /// Copies from `before` what could not be read this time, so that the next delta is to the last
    /// reading there was.
    pub(super) fn keep_unread(&mut self, before: &mut Self, snapshot: &Snapshot) {
        if before.boot != self.boot {
            return;
        }
        if self.node_cpu.is_none() {
            self.node_cpu = before.node_cpu;
            self.node_cpu_read_at = before.node_cpu_read_at;
            self.node_cpu_awake = before.node_cpu_awake;
        }
        let has_ended = |row: &SocketCounters| {
            let ended = &snapshot.sockets.ended;
            ended.binary_search_by_key(&row.cookie, |ended| ended.cookie).is_ok()
        };
        match (&mut self.sockets, &mut before.sockets) {
            (Some(sockets), Some(before)) => {
                let seen = sockets.rows.len();
                for row in before.rows.iter().filter(|row| row.missing < MISSING_MAX) {
                    let is_seen = sockets.rows.get(..seen).is_some_and(|seen| {
                        seen.binary_search_by_key(&row.cookie, |seen| seen.cookie).is_ok()
                    });
                    if !is_seen && !has_ended(row) && sockets.rows.len() < SOCKETS_MAX {
                        sockets.rows.push(SocketCounters { missing: row.missing + 1, ..*row });
                    }
                }
                if sockets.rows.len() > seen {
                    sockets.rows.sort_unstable_by_key(|row| row.cookie);
                }
            }
            (sockets @ None, before) => {
                *sockets = before.take();
                if let Some(sockets) = sockets {
                    sockets.rows.retain(|row| !has_ended(row));
                }
            }
            (Some(_), None) => {}
        }
        if self.disks.is_none() {
            self.disks = before.disks.take();
            self.disks_read_at = before.disks_read_at;
        }
        if self.interfaces.is_none() {
            self.interfaces = before.interfaces.take();
        }
    }

    /// Sorts the lists, as their lookups need it.
    pub fn sort(&mut self) {
        self.cgroups.sort_by(|a, b| tree_order(&a.key.path, &b.key.path));
        self.namespaces.sort_by_key(|namespace| namespace.id);
        if let Some(sockets) = &mut self.sockets {
            sockets.rows.sort_by_key(|row| row.cookie);
        }
        self.processes.sort_by_key(|process| process.key);
    }

    /// True if the process started after the reading of these counters began. If it did not and is
    /// not among them, it is only new to the agent, and its past is nobody's usage.
    pub(super) fn precedes(&self, process: ProcessKey, units: Units) -> bool {
        let ticks = Ticks::from_ticks(process.start_ticks);
        let started_usec = ticks.to_cpu_time(units.ticks_per_second).as_usec();
        // The start is rounded down to a tick.
        started_usec.saturating_add(TICK_SLACK_USEC) >= self.begun_at.as_nanos() / 1000
    }

    /// True unless the kernel shows that the disk of this number is another one by now.
    pub(super) fn is_same_disk(&self, device: DeviceNumber, snapshot: &Snapshot) -> bool {
        let before = self.disk_sequences.iter().find(|(known, _)| *known == device);
        let now = snapshot.node.disk_sequence(device);
        before.zip(now).is_none_or(|((_, before), now)| *before == now)
    }

    pub(super) fn place_of(&self, key: ProcessKey) -> Option<usize> {
        self.processes.binary_search_by_key(&key, |process| process.key).ok()
    }

    pub(super) fn process(&self, key: ProcessKey) -> Option<&ProcessCounters> {
        let at = self.processes.binary_search_by_key(&key, |process| process.key).ok()?;
        self.processes.get(at)
    }

    pub(super) fn namespace(&self, id: u64) -> Option<&NamespaceCounters> {
        let at = self.namespaces.binary_search_by_key(&id, |kept| kept.id).ok()?;
        self.namespaces.get(at)
    }
}

fn copy_if<T: Clone>(readable: bool, kept: &mut Option<Vec<T>>, rows: &Vec<T>) {
    if readable {
        kept.get_or_insert_default().clone_from(rows);
    } else {
        *kept = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: Units = Units { ticks_per_second: 100, page_size_bytes: 4096 };

    fn process(pid: u32, start_ticks: u64) -> ProcessKey {
        ProcessKey { pid, start_ticks }
    }

    /// A start is rounded down to a tick.
    #[test]
    fn a_process_is_new_if_it_started_after_the_reading_began() {
        let counters =
            Counters { begun_at: BootTime::from_nanos(20_000_000_000), ..Counters::default() };
        for (start_ticks, is_new) in [(1998, false), (1999, true), (2000, true), (2500, true)] {
            assert_eq!(counters.precedes(process(7, start_ticks), UNITS), is_new, "{start_ticks}");
        }
    }

    #[test]
    fn what_a_state_file_has_in_any_order_is_found() {
        let counters = |key| ProcessCounters {
            key,
            read_at: BootTime::default(),
            cpu: None,
            io: None,
            in_counters: false,
            parent_pid: key.pid,
            children: None,
            expected: CpuTime::ZERO,
        };
        let namespace = |id| NamespaceCounters {
            id,
            read_at: BootTime::default(),
            readable: true,
            rows: Vec::new(),
        };
        let cgroup = |path: &str| CgroupCounters {
            key: CgroupKey { path: path.as_bytes().into(), inode: 1 },
            read_at: BootTime::default(),
            cpu: None,
            io: None,
            events: EventCounts::default(),
        };
        let socket = |cookie| SocketCounters {
            cookie,
            cgroup: 1,
            traffic: TcpTraffic::default(),
            missing: 0,
        };
        let mut all = Counters {
            processes: [process(9, 1), process(7, 5), process(7, 2)].map(counters).into(),
            namespaces: [30, 10, 20].map(namespace).into(),
            // A slash sorts before all else that a name can have.
            cgroups: ["/a-b", "/a/x", "/", "/a"].map(cgroup).into(),
            sockets: Some(SocketsCounters { complete: true, rows: [8, 3].map(socket).into() }),
            ..Counters::default()
        };
        all.sort();
        for (at, key) in [process(7, 2), process(7, 5), process(9, 1)].into_iter().enumerate() {
            assert_eq!(all.place_of(key), Some(at));
            assert_eq!(all.process(key).map(|found| found.key), Some(key));
        }
        assert_eq!(all.place_of(process(8, 1)), None);
        for id in [10, 20, 30] {
            assert_eq!(all.namespace(id).map(|found| found.id), Some(id));
        }
        let paths: Vec<_> = all.cgroups.iter().map(|cgroup| &*cgroup.key.path).collect();
        assert_eq!(paths, [&b"/"[..], b"/a", b"/a/x", b"/a-b"]);
        let cookies: Vec<_> = all.sockets.unwrap().rows.iter().map(|row| row.cookie).collect();
        assert_eq!(cookies, [3, 8]);
    }

    /// Those that a dump missed make room for those that it has.
    #[test]
    fn sockets_that_a_dump_missed_are_kept_while_there_is_room() {
        let row = |cookie| SocketCounters {
            cookie,
            cgroup: 1,
            traffic: TcpTraffic::default(),
            missing: 0,
        };
        let counters = |cookies: std::ops::Range<u64>| Counters {
            sockets: Some(SocketsCounters { complete: true, rows: cookies.map(row).collect() }),
            ..Counters::default()
        };
        let max = SOCKETS_MAX as u64;
        for (now, kept) in [(0..10, max - 10), (0..max - 1, 1), (0..max, 0), (0..max + 5, 0)] {
            let seen = now.end;
            let (mut next, mut before) = (counters(now), counters(max * 2..max * 4));
            next.keep_unread(&mut before, &Snapshot::default());
            let rows = next.sockets.unwrap().rows;
            assert_eq!(rows.len() as u64, seen + kept);
            assert!(rows.iter().all(|row| row.missing == u8::from(row.cookie >= max * 2)));
        }
    }

    /// A process that was moved stands in both cgroups until the one it left is read again.
    #[test]
    fn of_two_readings_of_a_process_the_later_one_is_kept() {
        use crate::snapshot::{CgroupReading, ProcessReading};
        for usecs in [[300, 500], [500, 300]] {
            let mut snapshot = Snapshot::default();
            for (at, usec) in usecs.into_iter().enumerate() {
                let key = CgroupKey { path: [b'/', b'a' + at as u8].as_slice().into(), inode: 1 };
                let process = ProcessReading {
                    key: process(7, 1),
                    comm: Default::default(),
                    parent_pid: 1,
                    kernel_thread: false,
                    threads: None,
                    resident: None,
                    cpu: Some(CpuTime::from_usec(usec)),
                    children: None,
                    io: None,
                    cmdline: None,
                    read_at: BootTime::default(),
                    place: CountedAt::Here,
                };
                let processes = vec![process];
                snapshot.cgroups.push(CgroupReading { processes, ..CgroupReading::unread(key) });
            }
            let mut counters = Counters::default();
            counters.fill(&snapshot);
            let [kept] = counters.processes.as_slice() else { panic!("one process") };
            assert_eq!(kept.cpu, Some(CpuTime::from_usec(500)), "{usecs:?}");
        }
    }
}
