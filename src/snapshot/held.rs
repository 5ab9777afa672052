//! Files of a cgroup kept open from one tick to the next, as long as the budget lasts.
//!
//! Opening and closing a file costs twice as much as reading it. Keeping it open costs the kernel a
//! page for the text. So there is a budget, and the files of idle cgroups are closed.

use std::ffi::CStr;

use nix::sys::resource::{Resource, getrlimit};

use super::read_context::{Outcome, ReadContext, Shape};
use crate::source::root::{Dir, KernelFile, ReadFailure};
use crate::source::{Malformed, Parsed};

/// The number of files that the agent may still keep open between ticks.
#[derive(Debug, Clone, Copy)]
pub struct FileBudget {
    pub left: usize,
}

impl FileBudget {
    /// A budget of `files`, but at most half of what the process may have open, since the cgroups'
    /// directories stay open as well.
    #[must_use]
    pub fn within_limit(files: usize) -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        Self { left: files.min(usize::try_from(limit / 2).unwrap_or(usize::MAX)) }
    }

    /// Takes one file from the budget; false if it is used up.
    pub fn take(&mut self) -> bool {
        let granted = self.left > 0;
        self.left -= usize::from(granted);
        granted
    }

    pub fn give_back(&mut self, files: usize) {
        self.left += files;
    }
}

/// A file that is kept open once it was found.
#[derive(Debug, Default)]
pub(super) enum Held {
    #[default]
    Unopened,
    Open(KernelFile),
    /// Its controller is off. It is not tried again before the next refresh.
    Absent,
}

impl Held {
    fn release(&mut self, budget: &mut FileBudget) {
        if matches!(self, Self::Open(_)) {
            *self = Self::Unopened;
            budget.give_back(1);
        }
    }
}

/// The files of one cgroup.
#[derive(Debug, Default)]
pub(super) struct HeldFiles {
    pub hot: HotFileSet,
    pub cold: ColdFileSet,
}

macro_rules! file_set {
    ($(#[$doc:meta])* $name:ident { $($file:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name {
            $(pub $file: Held,)*
        }

        impl $name {
            fn release(&mut self, budget: &mut FileBudget) {
                $(self.$file.release(budget);)*
            }
        }
    };
}

file_set! {
    /// The hot files, which show if anything changed.
    HotFileSet { cpu_stat, memory_current, io_stat, }
}

file_set! {
    /// The cold files, which are read only if something changed.
    ColdFileSet {
        memory_stat,
        memory_events,
        memory_peak,
        memory_max,
        memory_swap_current,
        pids_current,
        pids_max,
        cpu_max,
        cpu_pressure,
        memory_pressure,
        io_pressure,
        procs,
    }
}

impl HeldFiles {
    pub fn release_all(&mut self, budget: &mut FileBudget) {
        self.hot.release(budget);
        self.release_cold(budget);
    }

    pub fn release_cold(&mut self, budget: &mut FileBudget) {
        self.cold.release(budget);
    }
}

/// Reads the files of one cgroup in one tick.
pub(super) struct FileReader<'a, 'p> {
    pub dir: &'a Dir,
    /// The cgroup's, to name a file in a gap.
    pub path: &'a [u8],
    /// Keep what is opened: the cgroup is likely to be read again in the next tick.
    pub hold: bool,
    /// Try files again that were absent.
    pub ask_again: bool,
    pub budget: &'a mut FileBudget,
    pub context: &'a mut ReadContext<'p>,
}

impl FileReader<'_, '_> {
    pub fn record<T: Parsed>(
        &mut self,
        held: &mut Held,
        name: &CStr,
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Outcome<T> {
        self.read(held, name, Shape::OneRecord, parse)
    }

    pub fn records<T: Parsed>(
        &mut self,
        held: &mut Held,
        name: &CStr,
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Outcome<T> {
        self.read(held, name, Shape::ManyRecords, parse)
    }

    fn read<T: Parsed>(
        &mut self,
        held: &mut Held,
        name: &CStr,
        shape: Shape,
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Outcome<T> {
        let full: &[&[u8]] = &[self.path, b"/", name.to_bytes()];
        match held {
            Held::Open(file) => self.context.read(file, shape, full, parse),
            Held::Absent if !self.ask_again => Outcome::Absent,
            Held::Absent | Held::Unopened => match self.dir.open_file(name) {
                Ok(file) => {
                    self.context.counts.files_opened += 1;
                    let outcome = self.context.read(&file, shape, full, parse);
                    *held = match outcome {
                        Outcome::Absent => Held::Absent,
                        _ if self.hold && self.budget.take() => Held::Open(file),
                        _ => Held::Unopened,
                    };
                    outcome
                }
                Err(ReadFailure::Absent) => {
                    *held = Held::Absent;
                    Outcome::Absent
                }
                Err(failure) => self.context.failed(full, failure),
            },
        }
    }
}
