//! Gains as signed figures, so that parts can be taken from wholes and given to others without
//! losing what a late read puts on the wrong side of an interval.

use super::account::{CpuSplit, CpuUsage, DiskSource, DiskUsage, ProcessUsage, Usage};
use super::delta::gained;
use crate::quantity::{Bytes, CpuTime};
use crate::source::cgroup::cpu_stat::CpuStat;

/// CPU microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CpuFlow {
    pub usage: i64,
    pub user: i64,
    pub system: i64,
}

impl CpuFlow {
    pub fn add(&mut self, other: Self) {
        self.usage = self.usage.saturating_add(other.usage);
        self.user = self.user.saturating_add(other.user);
        self.system = self.system.saturating_add(other.system);
    }

    pub fn less(self, other: Self) -> Self {
        Self {
            usage: self.usage.saturating_sub(other.usage),
            user: self.user.saturating_sub(other.user),
            system: self.system.saturating_sub(other.system),
        }
    }

    /// This, but in no part less than `other`.
    pub fn at_least(self, other: Self) -> Self {
        Self {
            usage: self.usage.max(other.usage),
            user: self.user.max(other.user),
            system: self.system.max(other.system),
        }
    }

    /// What `now` has more than `before`; all of it, where there is no before.
    pub fn between(before: Option<&CpuStat>, now: &CpuStat) -> Self {
        let gain = |part: fn(&CpuStat) -> CpuTime| {
            signed(gained(before.map_or(0, |stat| part(stat).as_usec()), part(now).as_usec()))
        };
        Self {
            usage: gain(|stat| stat.usage),
            user: gain(|stat| stat.user),
            system: gain(|stat| stat.system),
        }
    }
}

/// Disk bytes and operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct IoFlow {
    pub read: i64,
    pub written: i64,
    pub read_ops: i64,
    pub write_ops: i64,
}

impl IoFlow {
    pub fn add(&mut self, other: Self) {
        self.read = self.read.saturating_add(other.read);
        self.written = self.written.saturating_add(other.written);
        self.read_ops = self.read_ops.saturating_add(other.read_ops);
        self.write_ops = self.write_ops.saturating_add(other.write_ops);
    }

    pub fn less(self, other: Self) -> Self {
        Self {
            read: self.read.saturating_sub(other.read),
            written: self.written.saturating_sub(other.written),
            read_ops: self.read_ops.saturating_sub(other.read_ops),
            write_ops: self.write_ops.saturating_sub(other.write_ops),
        }
    }

    /// This, but in no part less than `other`.
    pub fn at_least(self, other: Self) -> Self {
        Self {
            read: self.read.max(other.read),
            written: self.written.max(other.written),
            read_ops: self.read_ops.max(other.read_ops),
            write_ops: self.write_ops.max(other.write_ops),
        }
    }

    pub fn to_usage(self, from: DiskSource) -> DiskUsage {
        DiskUsage {
            read: Bytes::from_bytes(unsigned(self.read)),
            written: Bytes::from_bytes(unsigned(self.written)),
            read_ops: unsigned(self.read_ops),
            write_ops: unsigned(self.write_ops),
            from,
        }
    }
}

/// What a cgroup has of its own, or the sum of that over an owner's cgroups.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub cpu: CpuFlow,
    pub io: IoFlow,
    pub memory_bytes: i64,
    pub cpu_known: bool,
    pub cpu_from_processes: bool,
    pub io_known: bool,
    pub io_from: DiskSource,
    pub over_usec: u64,
    pub resident: Bytes,
    pub processes: u32,
    pub processes_usec: u64,
    /// Of `cpu.usage` and of `processes`, kernel threads; counted in cgroups that have no counters
    /// of their own.
    pub kernel_usec: i64,
    pub kernel_threads: u32,
    pub in_host_namespace: bool,
    pub in_own_namespace: bool,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.cpu.add(other.cpu);
        self.io.add(other.io);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.cpu_known |= other.cpu_known;
        self.cpu_from_processes |= other.cpu_from_processes;
        self.io_known |= other.io_known;
        if other.io_known && other.io_from == DiskSource::Processes {
            self.io_from = DiskSource::Processes;
        }
        self.over_usec = self.over_usec.max(other.over_usec);
        self.resident += other.resident;
        self.processes += other.processes;
        self.processes_usec += other.processes_usec;
        self.kernel_usec = self.kernel_usec.saturating_add(other.kernel_usec);
        self.kernel_threads += other.kernel_threads;
        self.in_host_namespace |= other.in_host_namespace;
        self.in_own_namespace |= other.in_own_namespace;
    }

    /// Adds a process of the cgroup itself. Where the cgroup has no counters, its processes stand
    /// for them.
    pub fn count(&mut self, process: &ProcessUsage, stands_for_cpu: bool, stands_for_io: bool) {
        self.processes += 1;
        self.kernel_threads += u32::from(process.kernel_thread);
        self.resident += process.resident;
        if let Some(cpu) = process.cpu {
            self.processes_usec += cpu.usage.as_usec();
            if stands_for_cpu {
                let usage = signed(cpu.usage.as_usec());
                self.cpu_known = true;
                self.cpu_from_processes = true;
                self.cpu.usage = self.cpu.usage.saturating_add(usage);
                if process.kernel_thread {
                    self.kernel_usec = self.kernel_usec.saturating_add(usage);
                }
            }
        }
        if let Some(disk) = process.disk.filter(|_| stands_for_io) {
            self.io_known = true;
            self.io_from = DiskSource::Processes;
            self.io.add(IoFlow {
                read: signed(disk.read.as_bytes()),
                written: signed(disk.written.as_bytes()),
                read_ops: 0,
                write_ops: 0,
            });
        }
    }

    /// The flows and process counts of `usage`; its gauges come from the owner's first cgroup.
    pub fn put_into(&self, usage: &mut Usage) {
        usage.cpu = self.cpu_known.then(|| CpuUsage {
            usage: CpuTime::from_usec(unsigned(self.cpu.usage)),
            split: (!self.cpu_from_processes).then(|| CpuSplit {
                user: CpuTime::from_usec(unsigned(self.cpu.user)),
                system: CpuTime::from_usec(unsigned(self.cpu.system)),
            }),
            over_usec: self.over_usec,
        });
        usage.disk = self.io_known.then(|| self.io.to_usage(self.io_from));
        usage.resident = self.resident;
        usage.processes = self.processes;
        usage.processes_cpu = CpuTime::from_usec(self.processes_usec);
    }
}

pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A part that came out below 0 is timing or rounding, and stands in the remainder.
pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
