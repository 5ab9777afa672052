//! Self usage: what a cgroup used beyond its children.

use super::account::{CpuSplit, CpuUsage, DiskSource, DiskUsage, ProcessUsage, Usage};
use super::delta::{CpuDelta, IoDelta, signed, unsigned};
use crate::quantity::{Bytes, CpuTime};

/// The earlier of two times that may not be known.
fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

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
    /// The start of the oldest process.
    pub oldest_ticks: Option<u64>,
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
        self.oldest_ticks = earlier(self.oldest_ticks, other.oldest_ticks);
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
        self.oldest_ticks = earlier(self.oldest_ticks, Some(process.key.start_ticks));
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::ProcessKey;
    use crate::source::proc::pid_stat::Comm;

    fn cpu(usage: i64) -> CpuDelta {
        CpuDelta { usage, user: usage / 2, system: usage / 4 }
    }

    fn io(written: i64) -> IoDelta {
        IoDelta { read: written / 2, written, read_ops: 3, write_ops: 4 }
    }

    fn process(usec: Option<u64>, written: Option<u64>, resident: u64) -> ProcessUsage {
        ProcessUsage {
            key: ProcessKey { pid: 7, start_ticks: 1 },
            comm: Comm::default(),
            parent_pid: 1,
            threads: None,
            kernel_thread: false,
            cgroup: Arc::from(&b"/"[..]),
            named: None,
            cpu: usec
                .map(|usec| CpuUsage { usage: CpuTime::from_usec(usec), ..CpuUsage::default() }),
            disk: written.map(|written| DiskUsage {
                read: Bytes::from_bytes(written * 10),
                written: Bytes::from_bytes(written),
                from: DiskSource::Processes,
                ..DiskUsage::default()
            }),
            resident: Some(Bytes::from_bytes(resident)),
            cmdline: None,
        }
    }

    #[test]
    fn a_sum_has_all_of_both_and_knows_what_either_does() {
        let one = SelfUsage {
            cpu: cpu(400),
            io: io(40),
            memory_bytes: 1000,
            cpu_known: true,
            served: [1, 2],
            over_usec: 15,
            resident: Bytes::from_bytes(7),
            processes: 2,
            processes_usec: 300,
            processes_io: io(8),
            kernel_usec: 5,
            kernel_threads: 1,
            in_host_namespace: true,
            ..SelfUsage::default()
        };
        let other = SelfUsage {
            cpu_unknown: true,
            cpu_unsplit: true,
            cpu_from_processes: true,
            io_known: true,
            io_unknown: true,
            io_from: DiskSource::Processes,
            over_usec: 9,
            processes_io_known: true,
            in_own_namespace: true,
            in_host_namespace: false,
            cpu_known: false,
            ..one
        };
        let mut sum = one;
        sum.add(&other);
        assert_eq!((sum.cpu, sum.io.written, sum.io.read_ops), (cpu(800), 80, 6));
        assert_eq!((sum.memory_bytes, sum.served, sum.over_usec), (2000, [2, 4], 15));
        assert_eq!((sum.resident.as_bytes(), sum.processes, sum.processes_usec), (14, 4, 600));
        assert_eq!((sum.processes_io.written, sum.kernel_usec, sum.kernel_threads), (16, 10, 2));
        assert!(sum.cpu_known && sum.cpu_unknown && sum.cpu_unsplit && sum.cpu_from_processes);
        assert!(sum.io_known && sum.io_unknown && sum.processes_io_known);
        assert!(sum.in_host_namespace && sum.in_own_namespace);
        assert_eq!(sum.io_from, DiskSource::Processes);
        // What is known of one stays known, and what is not known of the disk tells no source.
        let mut sum = other;
        sum.add(&SelfUsage::default());
        assert!(sum.cpu_unknown && sum.cpu_unsplit && sum.cpu_from_processes && sum.io_known);
        assert!(sum.io_unknown && sum.processes_io_known && sum.in_own_namespace);
        let mut sum = one;
        sum.add(&SelfUsage { io_from: DiskSource::Processes, ..SelfUsage::default() });
        assert_eq!(sum.io_from, DiskSource::IoStat);
        let mut sum = one;
        sum.add(&SelfUsage { io_known: true, ..SelfUsage::default() });
        assert_eq!(sum.io_from, DiskSource::IoStat);
        assert!(sum.cpu_known && sum.in_host_namespace && !sum.in_own_namespace);
    }

    /// Where the cgroup has a counter, its processes are only listed.
    #[test]
    fn a_process_counts_for_a_cgroup_without_a_counter_only() {
        for (replaces_cpu, replaces_io) in [(false, false), (true, false), (false, true)] {
            let mut usage = SelfUsage::default();
            usage.count(&process(Some(300), Some(20), 4096), replaces_cpu, replaces_io);
            usage.count(&process(Some(400), Some(30), 4096), replaces_cpu, replaces_io);
            usage.count(&process(None, None, 4096), replaces_cpu, replaces_io);
            let kernel = ProcessUsage { kernel_thread: true, ..process(Some(5), None, 0) };
            usage.count(&kernel, replaces_cpu, replaces_io);
            assert_eq!((usage.processes, usage.kernel_threads), (4, 1));
            assert_eq!((usage.processes_usec, usage.resident.as_bytes()), (705, 12_288));
            assert_eq!((usage.processes_io.read, usage.processes_io.written), (500, 50));
            assert!(usage.processes_io_known);
            assert_eq!(usage.cpu.usage, if replaces_cpu { 705 } else { 0 });
            assert_eq!(usage.kernel_usec, if replaces_cpu { 5 } else { 0 });
            assert_eq!((usage.cpu_known, usage.cpu_from_processes), (replaces_cpu, replaces_cpu));
            assert_eq!(usage.io.written, if replaces_io { 50 } else { 0 });
            assert_eq!(
                (usage.io_known, usage.io_from == DiskSource::Processes),
                (replaces_io, replaces_io)
            );
        }
    }

    #[test]
    fn a_slice_is_split_into_its_live_processes_and_what_ended() {
        let slice = SelfUsage {
            cpu: cpu(1000),
            io: io(100),
            memory_bytes: 5000,
            cpu_known: true,
            io_known: true,
            resident: Bytes::from_bytes(3000),
            processes: 1,
            processes_usec: 400,
            processes_io: IoDelta { written: 30, ..IoDelta::default() },
            processes_io_known: true,
            ..SelfUsage::default()
        };
        let (live, ended) = slice.split_live();
        assert_eq!((live.cpu.usage, live.cpu.user, live.cpu_from_processes), (400, 0, true));
        assert_eq!((live.io.written, live.io.read, live.memory_bytes), (30, 0, 3000));
        assert!(live.io_known);
        assert_eq!((ended.cpu.usage, ended.io.written, ended.memory_bytes), (600, 70, 2000));
        assert!(!ended.cpu_from_processes);
        // More than the whole is not its processes'.
        let (live, ended) = SelfUsage { processes_usec: 1300, ..slice }.split_live();
        assert_eq!((live.cpu.usage, ended.cpu.usage), (1000, 0));
        let (live, _) = SelfUsage { processes_io_known: false, ..slice }.split_live();
        assert!(!live.io_known);
        let (live, ended) = SelfUsage { processes: 0, ..slice }.split_live();
        assert_eq!((live.cpu.usage, live.memory_bytes, live.cpu_known), (0, 0, false));
        assert_eq!((ended.cpu.usage, ended.memory_bytes), (1000, 5000));
    }

    /// An unknown figure is absent, and never 0.
    #[test]
    fn a_figure_is_written_where_it_is_known() {
        let known = SelfUsage {
            cpu: cpu(1000),
            io: io(100),
            cpu_known: true,
            io_known: true,
            over_usec: 15,
            resident: Bytes::from_bytes(3000),
            processes: 2,
            processes_usec: 1200,
            ..SelfUsage::default()
        };
        let written = |usage: SelfUsage| {
            let mut to = Usage::default();
            usage.write_to(&mut to);
            to
        };
        let usage = written(known);
        let of_cpu = usage.cpu.unwrap();
        assert_eq!((of_cpu.usage.as_usec(), of_cpu.over_usec), (1000, 15));
        let split = of_cpu.split.map(|split| (split.user.as_usec(), split.system.as_usec()));
        assert_eq!(split, Some((500, 250)));
        assert_eq!(usage.disk.map(|disk| disk.written.as_bytes()), Some(100));
        assert_eq!((usage.resident.as_bytes(), usage.processes), (3000, 2));
        // Ticks run ahead of the cgroup's own clock.
        assert_eq!(usage.processes_cpu.as_usec(), 1000);
        let unsplit = [
            SelfUsage { cpu_unsplit: true, ..known },
            SelfUsage { cpu_from_processes: true, ..known },
        ];
        assert!(unsplit.iter().all(|usage| written(*usage).cpu.unwrap().split.is_none()));
        assert_eq!(written(unsplit[1]).processes_cpu.as_usec(), 1200);
        let part = SelfUsage { cpu_unknown: true, io_unknown: true, ..known };
        let usage = written(part);
        assert_eq!(usage.processes_cpu.as_usec(), 1200);
        assert!(usage.cpu.is_some() && usage.disk.is_some(), "a part of it is known");
        for none in [
            SelfUsage { cpu_known: false, io_known: false, ..known },
            SelfUsage { cpu: CpuDelta::default(), io: IoDelta::default(), ..part },
        ] {
            let usage = written(none);
            assert!(usage.cpu.is_none() && usage.disk.is_none());
        }
        let zero = SelfUsage { cpu: CpuDelta::default(), io: IoDelta::default(), ..known };
        let usage = written(zero);
        assert!(usage.cpu.is_some() && usage.disk.is_some(), "0 is known");
    }
}
