//! Self usage: what a cgroup used beyond its children.

use super::account::{CpuSplit, CpuUsage, DiskSource, DiskUsage, ProcessUsage, Usage};
use super::delta::{CpuDelta, IoDelta, signed, unsigned};
use crate::quantity::{Bytes, CpuTime};

/// The self usage of one cgroup, or its sum over an owner's cgroups.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SelfUsage {
    pub cpu: CpuDelta,
    pub io: IoDelta,
    pub memory_bytes: i64,
    pub cpu_known: bool,
    /// A figure was there and is not known. The sum is then not 0 but unknown; a part of it that is
    /// known stays.
    pub cpu_unknown: bool,
    /// User and system are not known.
    pub cpu_unsplit: bool,
    pub cpu_from_processes: bool,
    pub io_known: bool,
    pub io_unknown: bool,
    pub io_from: DiskSource,
    /// Bytes read and written of `io` on devices that a program or another host serves.
    pub served: [i64; 2],
    pub over_usec: u64,
    pub resident: Bytes,
    pub processes: u32,
    pub processes_usec: u64,
    /// Disk traffic of the live processes, as far as it is known.
    pub processes_io: IoDelta,
    pub processes_io_known: bool,
    /// The kernel threads' part of `cpu.usage` and of `processes`; counted only in cgroups without
    /// counters of their own.
    pub kernel_usec: i64,
    pub kernel_threads: u32,
    pub in_host_namespace: bool,
    pub in_own_namespace: bool,
}

impl SelfUsage {
    pub fn add(&mut self, other: &Self) {
        self.cpu.add(other.cpu);
        self.io.add(other.io);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.cpu_known |= other.cpu_known;
        self.cpu_unknown |= other.cpu_unknown;
        self.cpu_unsplit |= other.cpu_unsplit;
        self.cpu_from_processes |= other.cpu_from_processes;
        self.io_known |= other.io_known;
        self.io_unknown |= other.io_unknown;
        if other.io_known && other.io_from == DiskSource::Processes {
            self.io_from = DiskSource::Processes;
        }
        for (sum, other) in self.served.iter_mut().zip(other.served) {
            *sum = sum.saturating_add(other);
        }
        self.over_usec = self.over_usec.max(other.over_usec);
        self.resident += other.resident;
        self.processes += other.processes;
        self.processes_usec += other.processes_usec;
        self.processes_io.add(other.processes_io);
        self.processes_io_known |= other.processes_io_known;
        self.kernel_usec = self.kernel_usec.saturating_add(other.kernel_usec);
        self.kernel_threads += other.kernel_threads;
        self.in_host_namespace |= other.in_host_namespace;
        self.in_own_namespace |= other.in_own_namespace;
    }

    /// Adds a process of the cgroup itself. `replaces_cpu`, `replaces_io`: the cgroup has no such
    /// counter, so its processes' usage counts for it.
    pub fn count(&mut self, process: &ProcessUsage, replaces_cpu: bool, replaces_io: bool) {
        self.processes += 1;
        self.kernel_threads += u32::from(process.kernel_thread);
        self.resident += process.resident.unwrap_or_default();
        if let Some(cpu) = process.cpu {
            self.processes_usec += cpu.usage.as_usec();
            if replaces_cpu {
                let usage = signed(cpu.usage.as_usec());
                self.cpu_known = true;
                self.cpu_from_processes = true;
                self.cpu.usage = self.cpu.usage.saturating_add(usage);
                if process.kernel_thread {
                    self.kernel_usec = self.kernel_usec.saturating_add(usage);
                }
            }
        }
        if let Some(disk) = process.disk {
            let io = IoDelta {
                read: signed(disk.read.as_bytes()),
                written: signed(disk.written.as_bytes()),
                ..IoDelta::default()
            };
            self.processes_io_known = true;
            self.processes_io.add(io);
            if replaces_io {
                self.io_known = true;
                self.io_from = DiskSource::Processes;
                self.io.add(io);
            }
        }
    }

    /// Splits the self usage of a slice into that of the live processes in it, and that of cgroups
    /// that ended. The former is at most the whole, and its disk traffic is unknown unless that of
    /// processes is read.
    pub fn split_live(&self) -> (Self, Self) {
        let mut live = Self { cpu_from_processes: true, ..*self };
        let processes = CpuDelta { usage: signed(self.processes_usec), ..CpuDelta::default() };
        live.cpu = self.cpu.at_most(processes).at_least(CpuDelta::default());
        live.io = self.io.at_most(self.processes_io);
        live.io_known &= self.processes_io_known;
        let resident = signed(self.resident.as_bytes());
        live.memory_bytes = self.memory_bytes.min(resident).max(0);
        if self.processes == 0 {
            live = Self::default();
        }
        let ended = Self {
            cpu: self.cpu.less(live.cpu),
            io: self.io.less(live.io),
            memory_bytes: self.memory_bytes.saturating_sub(live.memory_bytes),
            ..*self
        };
        (live, ended)
    }

    /// Writes the CPU, disk and process figures into `usage`, and leaves its gauges alone.
    pub fn write_to(&self, usage: &mut Usage) {
        let cpu_known = self.cpu_known && !(self.cpu_unknown && self.cpu.usage == 0);
        usage.cpu = cpu_known.then(|| CpuUsage {
            usage: CpuTime::from_usec(unsigned(self.cpu.usage)),
            split: (!self.cpu_from_processes && !self.cpu_unsplit).then(|| CpuSplit {
                user: CpuTime::from_usec(unsigned(self.cpu.user)),
                system: CpuTime::from_usec(unsigned(self.cpu.system)),
            }),
            over_usec: self.over_usec,
        });
        let io_known = self.io_known && !(self.io_unknown && self.io == IoDelta::default());
        usage.disk = io_known.then(|| DiskUsage::of_delta(self.io, self.io_from));
        usage.resident = self.resident;
        usage.processes = self.processes;
        usage.processes_cpu = CpuTime::from_usec(self.processes_usec);
        // A process that came from another cgroup has its whole time with it, and the ticks of all
        // can run ahead of the cgroup's own clock.
        let whole = usage.cpu.filter(|_| !self.cpu_from_processes && !self.cpu_unknown);
        if let Some(whole) = whole {
            usage.processes_cpu = usage.processes_cpu.min(whole.usage);
        }
    }
}
