//! The cold files of a cgroup: those that are read only if something changed.

use std::ffi::CString;
use std::sync::Arc;

use super::slot::{CgroupSlot, keep};
use crate::quantity::{Bytes, Limit};
use crate::snapshot::CgroupReading;
use crate::snapshot::held::{DescriptorBudget, FileReader, Held};
use crate::snapshot::processes::ProcessReader;
use crate::snapshot::read_context::{Outcome, ReadContext};
use crate::source::cgroup::{cpu_max, memory_events, memory_stat, pressure, procs, single};
use crate::source::root::Dir;

/// One reading of a cgroup's cold files and processes.
pub(super) struct ColdFiles<'a> {
    /// The root cgroup's directory.
    pub root: &'a Dir,
    pub slot: &'a mut CgroupSlot,
    pub reading: &'a mut CgroupReading,
    pub budget: &'a mut DescriptorBudget,
    pub pids: &'a mut Vec<u32>,
    pub huge_pages: &'a [CString],
    /// Read what hardly ever changes. Its files do not stay open.
    pub settings: bool,
    pub detail: bool,
    pub refresh: bool,
    /// It is idle, and was read in full when it last changed. Only files that can change without
    /// its hot files are read, since each has to be opened first, which costs more than the read.
    pub idle: bool,
    pub hold: bool,
    pub is_root: bool,
}

impl ColdFiles<'_> {
    pub fn read(&mut self, processes: &ProcessReader<'_>, context: &mut ReadContext<'_>) {
        let path = Arc::clone(&self.reading.key.path);
        let files = &mut self.slot.files.cold;
        let mut reader = FileReader {
            root: self.root,
            dir: &mut self.slot.dir,
            path: &path,
            hold: self.hold,
            ask_again: self.refresh,
            budget: self.budget,
            context,
        };
        let memory = &mut self.reading.memory;
        let has_memory = memory.current.is_some();
        // The root has no memory.current, and memory.stat since Linux 5.8.
        if has_memory || self.is_root {
            let stat = reader.record(&mut files.memory_stat, c"memory.stat", memory_stat::parse);
            keep(&mut memory.stat, stat);
        }
        if has_memory && !self.idle {
            let events =
                reader.record(&mut files.memory_events, c"memory.events", memory_events::parse);
            keep(&mut memory.events, events);
        }
        let bytes = |text: &[u8]| single::parse_figure(text).map(Bytes::from_bytes);
        let limit = |text: &[u8]| {
            single::parse_limit(text).map(|limit| match limit {
                Limit::Max => Limit::Max,
                Limit::At(bytes) => Limit::At(Bytes::from_bytes(bytes)),
            })
        };
        if self.detail && has_memory {
            keep(&mut memory.max, reader.record(&mut files.memory_max, c"memory.max", limit));
            if !self.idle {
                let peak = reader.record(&mut files.memory_peak, c"memory.peak", bytes);
                keep(&mut memory.peak, peak);
                let swap =
                    reader.record(&mut files.memory_swap_current, c"memory.swap.current", bytes);
                keep(&mut memory.swap_current, swap);
            }
        }
        if self.detail && !self.is_root {
            // Few hosts have any, so their files are not kept open.
            reader.hold = false;
            let mut all: Outcome<Bytes> = Outcome::Absent;
            for name in self.huge_pages {
                all = match (all, reader.record(&mut Held::Unopened, name, bytes)) {
                    (Outcome::Present(all), Outcome::Present(one)) => Outcome::Present(all + one),
                    (Outcome::Absent, one) => one,
                    (all, Outcome::Absent) => all,
                    // A sum without one of them would be too small.
                    _ => Outcome::Unreadable,
                };
            }
            keep(&mut memory.huge_pages, all);
            reader.hold = self.hold;
        }
        if self.detail && !self.is_root {
            let pids = &mut self.reading.pids;
            if !self.idle {
                let figure = single::parse_figure;
                let current = reader.record(&mut files.pids_current, c"pids.current", figure);
                keep(&mut pids.current, current);
            }
            let limit = single::parse_limit;
            keep(&mut pids.max, reader.record(&mut files.pids_max, c"pids.max", limit));
            let cpu_max = reader.record(&mut files.cpu_max, c"cpu.max", cpu_max::parse);
            keep(&mut self.reading.cpu_max, cpu_max);
        }
        if self.settings && !self.is_root {
            reader.hold = false;
            let [mut weight, mut min, mut swap] = [const { Held::Unopened }; 3];
            let figure = single::parse_figure;
            let weight = reader.record(&mut weight, c"cpu.weight", figure);
            keep(&mut self.reading.cpu_weight, weight);
            if has_memory {
                keep(&mut memory.min, reader.record(&mut min, c"memory.min", limit));
                let swap_max = reader.record(&mut swap, c"memory.swap.max", limit);
                keep(&mut memory.swap_max, swap_max);
            }
            reader.hold = self.hold;
        }
        if self.detail {
            let pressures = &mut self.reading.pressure;
            let psi = pressure::parse;
            keep(&mut pressures.cpu, reader.record(&mut files.cpu_pressure, c"cpu.pressure", psi));
            let memory = reader.record(&mut files.memory_pressure, c"memory.pressure", psi);
            keep(&mut pressures.memory, memory);
            keep(&mut pressures.io, reader.record(&mut files.io_pressure, c"io.pressure", psi));
            pressures.read_at = reader.context.now();
        }
        let pids = &mut *self.pids;
        let listed =
            reader.records(&mut files.procs, c"cgroup.procs", |text| procs::parse(text, pids));
        match listed {
            Outcome::Present(listed) => {
                if listed.foreign > 0 {
                    context.gaps.add_foreign(&path);
                }
            }
            // A threaded cgroup answers EOPNOTSUPP; its processes are its domain's.
            Outcome::Absent | Outcome::Gone => pids.clear(),
            Outcome::Unreadable => return,
        }
        pids.sort_unstable();
        pids.dedup();
        let known = &mut self.reading.processes;
        let same = known.iter().map(|process| process.key.pid).eq(pids.iter().copied());
        // Without a memory controller the processes' resident sets are the memory figure.
        if self.idle && has_memory && same {
            // They used no CPU until now.
            for process in known.iter_mut() {
                process.read_at = self.reading.read_at;
            }
            context.counts.processes_skipped += pids.len() as u64;
        } else {
            let held = &mut self.slot.stats;
            processes.read(pids, known, held, self.budget, self.hold, context);
        }
        self.find_namespace(processes, context);
    }

    /// Finds the namespace again if the first process changed, and at each refresh, since a process
    /// can move. The root cgroup's processes are the host's.
    fn find_namespace(&mut self, reader: &ProcessReader<'_>, context: &mut ReadContext<'_>) {
        let first = self.reading.processes.first().map(|process| process.key.pid);
        let Some(first) = first.filter(|_| !self.is_root) else {
            self.slot.namespace_leader = 0;
            self.reading.namespace = None;
            return;
        };
        if self.slot.namespace_leader == first && !self.refresh {
            return;
        }
        match reader.namespaces.namespace_of(reader.procfs, first) {
            Ok(inode) => {
                self.reading.namespace = inode;
                self.slot.namespace_leader = first;
            }
            Err(failure) => context.gaps.add_once(b"/proc/<pid>/ns/net", failure),
        }
    }
}
