//! Directories and files of cgroups kept open from one tick to the next, as long as the budget
//! lasts.
//!
//! Opening and closing a file costs twice as much as reading it. Keeping it open costs the kernel a
//! page for the text, and the process a descriptor. So there is one budget of descriptors. Those of
//! idle cgroups are closed. Beyond the budget everything is opened for each reading, by its path,
//! with the same figures.

use std::ffi::CStr;

use super::read_context::{Outcome, ReadContext, Shape};
use crate::source::root::{Dir, DirStatus, KernelFile, ReadFailure};
use crate::source::{Malformed, Parsed};

/// Limit of files that stay open: each costs the kernel 4.6 KiB.
pub const HELD_FILES_MAX: usize = 4096;

/// Descriptors of the process that the sampler leaves alone beside one half of its limit: standard
/// streams, the node's files, the event queues, and what one reading opens.
const ALWAYS_FREE: usize = 32;

/// The files that a cgroup keeps open on average: idle ones keep one to three, active ones fifteen.
const FILES_OF_CGROUP: usize = 4;

/// The number of descriptors that the sampler may keep open between ticks.
#[derive(Debug, Clone, Copy)]
pub struct DescriptorBudget {
    /// Files that may still be kept.
    files: usize,
    /// Files and directories that may still be kept.
    all: usize,
    /// The parts of `files` and `all` that are kept back from cgroups beyond their share.
    kept_back: (usize, usize),
    /// The cgroup that is read now is beyond its share.
    is_beyond_share: bool,
}

impl DescriptorBudget {
    /// A budget of `files` files beside directories, within what a process with `limit` descriptors
    /// can spare: a half less some, so that sockets, the spool and the state file are never refused
    /// one.
    #[must_use]
    pub fn of_limit(files: usize, limit: usize) -> Self {
        let all = (limit / 2).saturating_sub(ALWAYS_FREE);
        let kept_back = (files / 4, all / 4);
        Self { files, all, kept_back, is_beyond_share: false }
    }

    /// A budget that keeps nothing open.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { files: 0, all: 0, kept_back: (0, 0), is_beyond_share: false }
    }

    /// The number of cgroups that can keep everything open, about.
    #[must_use]
    pub fn cgroups(&self) -> usize {
        4 * self.kept_back.0.min(self.kept_back.1) / FILES_OF_CGROUP
    }

    /// Begins to read a cgroup. One beyond its share leaves a quarter of the budget to others.
    pub fn begin(&mut self, is_beyond_share: bool) {
        self.is_beyond_share = is_beyond_share;
    }

    /// Takes one file from the budget; false if it is used up.
    pub fn take_file(&mut self) -> bool {
        let kept_back = if self.is_beyond_share { self.kept_back.0 } else { 0 };
        let granted = self.files > kept_back && self.take_dir();
        self.files -= usize::from(granted);
        granted
    }

    pub fn give_back_files(&mut self, files: usize) {
        self.files += files;
        self.all += files;
    }

    fn take_dir(&mut self) -> bool {
        let kept_back = if self.is_beyond_share { self.kept_back.1 } else { 0 };
        let granted = self.all > kept_back;
        self.all -= usize::from(granted);
        granted
    }

    fn give_back_dir(&mut self) {
        self.all += 1;
    }

    /// Halves the budget, once everything was given back: others use more than the half that is
    /// theirs.
    pub fn halve(&mut self) {
        self.all /= 2;
    }
}

/// The directory of one cgroup, open or closed.
#[derive(Debug)]
pub(super) struct HeldDir {
    inode: u64,
    device: u64,
    open: Option<Dir>,
    /// It is open and in the budget.
    is_kept: bool,
}

impl HeldDir {
    /// The directory that `dir` is; it is not in the budget yet.
    pub fn new(dir: Dir, status: &DirStatus) -> Self {
        Self { inode: status.inode, device: status.device, open: Some(dir), is_kept: false }
    }

    /// The open directory. If it was closed, it is opened again at `path` below `root`, the root
    /// cgroup.
    ///
    /// # Errors
    /// `Gone` if nothing is there or another directory is; else the kernel's.
    pub fn open(&mut self, root: &Dir, path: &[u8]) -> Result<&Dir, ReadFailure> {
        if self.open.is_none() {
            let opened = root.open_path(path).and_then(|dir| Ok((dir.status()?, dir)));
            let (status, dir) = opened.map_err(|failure| match failure {
                ReadFailure::Absent => ReadFailure::Gone,
                other => other,
            })?;
            // The same path can be another cgroup by now.
            if (status.inode, status.device) != (self.inode, self.device) {
                return Err(ReadFailure::Gone);
            }
            self.open = Some(dir);
        }
        self.open.as_ref().ok_or(ReadFailure::Gone)
    }

    /// Ends a reading: an open directory stays open if the budget has room.
    pub fn rest(&mut self, budget: &mut DescriptorBudget) {
        if self.open.is_some() && !self.is_kept {
            self.is_kept = budget.take_dir();
            if !self.is_kept {
                self.open = None;
            }
        }
    }

    pub fn release(&mut self, budget: &mut DescriptorBudget) {
        self.open = None;
        if std::mem::take(&mut self.is_kept) {
            budget.give_back_dir();
        }
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
    fn release(&mut self, budget: &mut DescriptorBudget) {
        if matches!(self, Self::Open(_)) {
            *self = Self::Unopened;
            budget.give_back_files(1);
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
            fn release(&mut self, budget: &mut DescriptorBudget) {
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
    pub fn release_all(&mut self, budget: &mut DescriptorBudget) {
        self.hot.release(budget);
        self.release_cold(budget);
    }

    pub fn release_cold(&mut self, budget: &mut DescriptorBudget) {
        self.cold.release(budget);
    }
}

/// Reads the files of one cgroup in one tick.
pub(super) struct FileReader<'a, 'p> {
    /// The root cgroup's directory.
    pub root: &'a Dir,
    pub dir: &'a mut HeldDir,
    /// The cgroup's, to open its directory and to name a file in a gap.
    pub path: &'a [u8],
    /// Keep what is opened: the cgroup is likely to be read again in the next tick.
    pub hold: bool,
    /// Try files again that were absent.
    pub ask_again: bool,
    pub budget: &'a mut DescriptorBudget,
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
        self.read(held, name, Shape::ShortRecords, parse)
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
            Held::Absent | Held::Unopened => {
                let dir = self.dir.open(self.root, self.path);
                match dir.and_then(|dir| dir.open_file(name)) {
                    Ok(file) => {
                        self.context.counts.files_opened += 1;
                        let outcome = self.context.read(&file, shape, full, parse);
                        *held = match outcome {
                            Outcome::Absent => Held::Absent,
                            _ if self.hold && self.budget.take_file() => Held::Open(file),
                            _ => Held::Unopened,
                        };
                        outcome
                    }
                    Err(ReadFailure::Absent) => {
                        *held = Held::Absent;
                        Outcome::Absent
                    }
                    Err(failure) => self.context.failed(full, failure),
                }
            }
        }
    }

    /// True if the cgroup has `name`.
    pub fn has(&mut self, name: &CStr) -> bool {
        self.dir.open(self.root, self.path).is_ok_and(|dir| dir.has(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_limit_and_what_is_always_needed_stay_free() {
        let kept = |limit: usize| {
            let mut budget = DescriptorBudget::of_limit(HELD_FILES_MAX, limit);
            std::iter::from_fn(|| budget.take_dir().then_some(())).count()
        };
        let expected = [(64, 0), (256, 96), (1024, 480), (65_536, 32_736)];
        for (limit, expected) in expected {
            assert_eq!(kept(limit), expected, "{limit}");
        }
        let mut budget = DescriptorBudget::of_limit(HELD_FILES_MAX, 65_536);
        assert_eq!(std::iter::from_fn(|| budget.take_file().then_some(())).count(), 4096);
        assert!(budget.take_dir(), "directories are kept beside as many files as may be");
    }

    #[test]
    fn a_cgroup_beyond_its_share_leaves_a_quarter() {
        let mut budget = DescriptorBudget::of_limit(HELD_FILES_MAX, 1024);
        budget.begin(true);
        assert_eq!(std::iter::from_fn(|| budget.take_file().then_some(())).count(), 360);
        assert!(!budget.take_dir());
        budget.begin(false);
        assert_eq!(std::iter::from_fn(|| budget.take_file().then_some(())).count(), 120);
        budget.give_back_files(480);
        budget.begin(true);
        assert!(budget.take_file());
    }

    #[test]
    fn a_closed_directory_is_opened_again_only_if_it_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let root = Dir::open(folder.path()).unwrap();
        let path = folder.path().join("a/b");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("file"), "").unwrap();
        let mut budget = DescriptorBudget::nothing();
        let dir = root.open_path(b"/a/b").unwrap();
        let status = dir.status().unwrap();
        let mut held = HeldDir::new(dir, &status);
        held.rest(&mut budget);
        assert!(held.open.is_none(), "the budget has no room");
        assert!(held.open(&root, b"/a/b").unwrap().has(c"file"));
        held.rest(&mut budget);
        // Another one takes the path while the first still exists.
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        assert_eq!(held.open(&root, b"/a/b").unwrap_err(), ReadFailure::Gone);
        std::fs::create_dir(&path).unwrap();
        assert_eq!(held.open(&root, b"/a/b").unwrap_err(), ReadFailure::Gone);
    }
}
