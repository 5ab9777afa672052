//! The counters of one snapshot, without its gauges: what the next one is subtracted from, and what
//! is kept on disk over a restart of the agent.

use std::sync::Arc;
use std::time::Duration;

use crate::identity::{BootId, CgroupKey, ProcessKey};
use crate::quantity::{BootTime, CpuTime, Ticks};
use crate::snapshot::Snapshot;
use crate::snapshot::cgroups::tree_order;
use crate::snapshot::roots::Units;
use crate::source::cgroup::cpu_stat::CpuStat;
use crate::source::cgroup::io_stat::IoRow;
use crate::source::proc::diskstats::DiskRow;
use crate::source::proc::net_dev::InterfaceRow;
use crate::source::proc::pid_io::ProcessIo;
use crate::source::proc::stat::NodeStat;

const TICK_SLACK_USEC: u64 = 10_000;

/// Filled again and again in the same memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters {
    pub boot: Option<BootId>,
    pub begun_at: BootTime,
    pub ended_at: BootTime,
    pub node_cpu: Option<NodeStat>,
    pub node_cpu_read_at: BootTime,
    pub node_cpu_awake: Option<Duration>,
    pub disks: Option<Vec<DiskRow>>,
    pub interfaces: Option<InterfaceCounters>,
    /// In tree order.
    pub cgroups: Vec<CgroupCounters>,
    /// By inode.
    pub namespaces: Vec<NamespaceCounters>,
    /// By key.
    pub processes: Vec<ProcessCounters>,
}

/// Of the host's network namespace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InterfaceCounters {
    pub rows: Vec<InterfaceRow>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CgroupCounters {
    pub key: CgroupKey,
    pub read_at: BootTime,
    pub cpu: Option<CpuStat>,
    pub io: Option<Vec<IoRow>>,
    pub oom_kills: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NamespaceCounters {
    pub inode: u64,
    pub readable: bool,
    pub rows: Vec<InterfaceRow>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessCounters {
    pub key: ProcessKey,
    pub read_at: BootTime,
    pub cpu: CpuTime,
    pub io: Option<ProcessIo>,
}

impl Counters {
    /// Takes the counters of `snapshot`.
    pub(super) fn fill(&mut self, snapshot: &Snapshot) {
        let node = &snapshot.node;
        self.boot = snapshot.boot;
        self.begun_at = snapshot.begun_at;
        self.ended_at = snapshot.ended_at;
        self.node_cpu = node.cpu;
        self.node_cpu_read_at = node.cpu_read_at;
        self.node_cpu_awake = node.cpu_awake;
        copy_if(node.disks_readable, &mut self.disks, &node.disks);
        let interfaces = self.interfaces.get_or_insert_default();
        interfaces.rows.clear();
        interfaces.rows.extend_from_slice(&node.interfaces);
        if !node.interfaces_readable {
            self.interfaces = None;
        }

        let cgroups = &snapshot.cgroups;
        // Nothing will be subtracted from what is gone.
        let staying = || cgroups.iter().filter(|reading| !reading.departed);
        self.cgroups.truncate(staying().count());
        for (at, reading) in staying().enumerate() {
            let oom_kills = reading.memory.events.map(|events| events.oom_kill);
            match self.cgroups.get_mut(at) {
                Some(kept) => {
                    // Mostly the same cgroup at the same place.
                    if !Arc::ptr_eq(&kept.key.path, &reading.key.path) {
                        kept.key.path = Arc::clone(&reading.key.path);
                    }
                    kept.key.inode = reading.key.inode;
                    kept.read_at = reading.read_at;
                    kept.cpu = reading.cpu;
                    kept.oom_kills = oom_kills;
                    match (&mut kept.io, &reading.io) {
                        (Some(kept), Some(rows)) => kept.clone_from(rows),
                        (kept, rows) => kept.clone_from(rows),
                    }
                }
                None => self.cgroups.push(CgroupCounters {
                    key: reading.key.clone(),
                    read_at: reading.read_at,
                    cpu: reading.cpu,
                    io: reading.io.clone(),
                    oom_kills,
                }),
            }
        }

        let namespaces = &snapshot.namespaces;
        self.namespaces.truncate(namespaces.len());
        for (at, reading) in namespaces.iter().enumerate() {
            match self.namespaces.get_mut(at) {
                Some(kept) => {
                    kept.inode = reading.inode;
                    kept.readable = reading.readable;
                    kept.rows.clone_from(&reading.interfaces);
                }
                None => self.namespaces.push(NamespaceCounters {
                    inode: reading.inode,
                    readable: reading.readable,
                    rows: reading.interfaces.clone(),
                }),
            }
        }

        self.processes.clear();
        self.processes.extend(cgroups.iter().flat_map(|cgroup| &cgroup.processes).map(|process| {
            ProcessCounters {
                key: process.key,
                read_at: process.read_at,
                cpu: process.cpu,
                io: process.io,
            }
        }));
        self.processes.sort_unstable_by_key(|process| process.key);
        // A process that was moved out of a resting cgroup stands in both until that one is read
        // again; its later figure is the larger.
        self.processes.dedup_by(|next, kept| {
            let same = next.key == kept.key;
            if same && next.cpu > kept.cpu {
                *kept = *next;
            }
            same
        });
    }

    /// Keeps what could not be read this time from `before`, so that the next reading is held
    /// against the last there was.
    pub(super) fn keep_unread(&mut self, before: &mut Self) {
        if before.boot != self.boot {
            return;
        }
        if self.node_cpu.is_none() {
            self.node_cpu = before.node_cpu;
            self.node_cpu_read_at = before.node_cpu_read_at;
            self.node_cpu_awake = before.node_cpu_awake;
        }
        if self.disks.is_none() {
            self.disks = before.disks.take();
        }
        if self.interfaces.is_none() {
            self.interfaces = before.interfaces.take();
        }
    }

    /// Puts the lists into the order that they are searched in.
    pub fn sort(&mut self) {
        self.cgroups.sort_by(|a, b| tree_order(&a.key.path, &b.key.path));
        self.namespaces.sort_by_key(|namespace| namespace.inode);
        self.processes.sort_by_key(|process| process.key);
    }

    /// Whether a process started after these counters were begun to be read. One that did not and
    /// is not among them is only new to the agent; what it used until now is nobody's gain.
    pub(super) fn precedes(&self, process: ProcessKey, units: Units) -> bool {
        let ticks = Ticks::from_ticks(process.start_ticks);
        let started_usec = ticks.to_cpu_time(units.ticks_per_second).as_usec();
        // The start is rounded down to a tick.
        started_usec.saturating_add(TICK_SLACK_USEC) >= self.begun_at.as_nanos() / 1000
    }

    pub(super) fn process(&self, key: ProcessKey) -> Option<&ProcessCounters> {
        let at = self.processes.binary_search_by_key(&key, |process| process.key).ok()?;
        self.processes.get(at)
    }

    pub(super) fn namespace(&self, inode: u64) -> Option<&NamespaceCounters> {
        let at = self.namespaces.binary_search_by_key(&inode, |kept| kept.inode).ok()?;
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
