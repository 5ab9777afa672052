//! The hot files of a cgroup: those that are read in each visit, and tell if anything changed.

use std::sync::Arc;

use super::slot::{Activity, CgroupSlot};
use crate::quantity::{BootTime, Bytes};
use crate::snapshot::CgroupReading;
use crate::snapshot::held::{DescriptorBudget, FileReader};
use crate::snapshot::read_context::{Outcome, ReadContext};
use crate::snapshot::roots::CapturedInstant;
use crate::source::cgroup::io_stat::IoRow;
use crate::source::cgroup::{cpu_stat, io_stat, single};
use crate::source::root::Dir;

/// The result of reading the hot files of a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    No,
    Yes,
    Gone,
}

/// One reading of a cgroup's hot files.
pub(super) struct HotFiles<'a> {
    /// The root cgroup's directory.
    pub root: &'a Dir,
    pub slot: &'a mut CgroupSlot,
    pub reading: &'a mut CgroupReading,
    pub budget: &'a mut DescriptorBudget,
    /// Memory that is reused.
    pub rows: &'a mut Vec<IoRow>,
    pub captured: Option<&'a CapturedInstant>,
    /// Looks for files again that were absent.
    pub ask_again: bool,
    /// The reading is between two walks, so the next walk has to know of a change.
    pub between_walks: bool,
}

impl HotFiles<'_> {
    pub fn read(self, context: &mut ReadContext<'_>) -> Moved {
        let Self { root, slot, reading, budget, rows, captured, ask_again, between_walks } = self;
        let path = Arc::clone(&reading.key.path);
        let mut moved = false;
        // Files opened here must be released when it is idle again.
        if slot.activity == Activity::IdleBelow {
            slot.activity = Activity::Active;
        }
        let files = &mut slot.files.hot;
        let mut reader = FileReader {
            root,
            dir: &mut slot.dir,
            path: &path,
            hold: true,
            ask_again,
            budget,
            context,
        };

        let cpu = reader.record(&mut files.cpu_stat, c"cpu.stat", cpu_stat::parse);
        if cpu != Outcome::Gone {
            reading.read_at = match captured {
                Some(captured) => captured.read_at(&path),
                None => reader.context.now(),
            };
        }
        match cpu {
            Outcome::Gone => return Moved::Gone,
            Outcome::Present(cpu) => {
                reading.cpu_unreadable = false;
                moved |= reading.cpu.replace(cpu) != Some(cpu);
            }
            // Keeping the earlier reading would mean that nothing was used.
            Outcome::Unreadable => {
                reading.cpu = None;
                reading.cpu_unreadable = true;
                moved = true;
            }
            Outcome::Absent => {
                reading.cpu_unreadable = false;
                // A removed directory gives the same error if the file was not open. An existing
                // one has its process list.
                if !reader.has(c"cgroup.procs") {
                    return Moved::Gone;
                }
                reading.cpu = None;
                moved = true;
            }
        }
        let current =
            reader.record(&mut files.memory_current, c"memory.current", single::parse_figure);
        match current {
            Outcome::Gone => {
                // It was removed between two reads; these are its last figures.
                slot.dirty |= moved;
                return Moved::Gone;
            }
            Outcome::Present(bytes) => {
                let current = Some(Bytes::from_bytes(bytes));
                moved |= reading.memory.current != current;
                reading.memory.current = current;
            }
            // A gauge of before is not that of now.
            Outcome::Unreadable => {
                reading.memory.current = None;
                moved = true;
            }
            Outcome::Absent => reading.memory.current = None,
        }
        let io = reader.record(&mut files.io_stat, c"io.stat", |text| io_stat::parse(text, rows));
        match io {
            Outcome::Gone => {
                slot.dirty |= moved;
                return Moved::Gone;
            }
            Outcome::Present(_) => {
                reading.io_unreadable = false;
                let held = reading.io.get_or_insert_default();
                if *held != *rows {
                    moved = true;
                    held.clear();
                    held.extend_from_slice(rows);
                }
            }
            Outcome::Unreadable => {
                reading.io = None;
                reading.io_unreadable = true;
                moved = true;
            }
            Outcome::Absent => (reading.io, reading.io_unreadable) = (None, false),
        }
        slot.dirty |= moved && between_walks;
        if moved { Moved::Yes } else { Moved::No }
    }
}

impl CapturedInstant {
    fn read_at(&self, path: &[u8]) -> BootTime {
        self.cgroups.get(path).map_or(self.at, |cgroup| cgroup.read_at)
    }
}
