//! The context that all readers of one tick share.

use std::ffi::CStr;

use super::gaps::Gaps;
use crate::quantity::BootTime;
use crate::source::root::{Buffer, Dir, KernelFile, ReadFailure};
use crate::source::{Malformed, Parsed};

/// The result of reading one kernel file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<T> {
    Present(T),
    /// The kernel does not have the file.
    Absent,
    /// The object behind it is gone.
    Gone,
    /// Denied, malformed or failed; a gap was added.
    Unreadable,
}

impl<T> Outcome<T> {
    pub fn present(self) -> Option<T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Gone | Self::Unreadable => None,
        }
    }
}

/// The form in which the kernel writes a file: see [`KernelFile::read_record`],
/// [`KernelFile::read_short_records`] and [`KernelFile::read_records`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    OneRecord,
    ShortRecords,
    AnyRecords,
}

/// Counts of the reads that one tick did and skipped, for measurements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadCounts {
    pub files_read: u64,
    /// The part of `files_read` that had to be opened first, which costs more than the read.
    pub files_opened: u64,
    pub cgroups_visited: u64,
    /// Cgroups that are unchanged because an ancestor's counters are.
    pub cgroups_skipped: u64,
    pub processes_read: u64,
    /// Processes of cgroups that used no CPU.
    pub processes_skipped: u64,
}

/// The buffer, gaps, counts and clock of one tick.
pub struct ReadContext<'a> {
    pub buffer: &'a mut Buffer,
    pub gaps: &'a mut Gaps,
    pub counts: &'a mut ReadCounts,
    pub clock: &'a dyn Fn() -> BootTime,
    /// Number of the tick; decides which files are due that are not read in every tick.
    pub tick: u64,
}

impl ReadContext<'_> {
    pub fn now(&self) -> BootTime {
        (self.clock)()
    }

    /// Reads and parses an open file. An odd row or figure is a gap. `path` names it in a gap, in pieces that are joined only for
    /// a gap.
    pub fn read<T: Parsed>(
        &mut self,
        file: &KernelFile,
        shape: Shape,
        path: &[&[u8]],
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Outcome<T> {
        self.counts.files_read += 1;
        let text = match shape {
            Shape::OneRecord => file.read_record(self.buffer),
            Shape::ShortRecords => file.read_short_records(self.buffer),
            Shape::AnyRecords => file.read_records(self.buffer),
        };
        match text {
            Ok(text) => match parse(text) {
                Ok(value) => {
                    if let Some(odd) = value.odd() {
                        self.gaps.add_odd(path, odd);
                    }
                    Outcome::Present(value)
                }
                Err(malformed) => {
                    self.gaps.add_malformed(path, malformed);
                    Outcome::Unreadable
                }
            },
            Err(failure) => self.failed(path, failure),
        }
    }

    /// Opens, reads, parses and closes a file below `dir`.
    pub fn read_at<T: Parsed>(
        &mut self,
        dir: &Dir,
        name: &CStr,
        shape: Shape,
        path: &[&[u8]],
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Outcome<T> {
        match dir.open_file(name) {
            Ok(file) => {
                self.counts.files_opened += 1;
                self.read(&file, shape, path, parse)
            }
            Err(failure) => self.failed(path, failure),
        }
    }

    pub fn failed<T>(&mut self, path: &[&[u8]], failure: ReadFailure) -> Outcome<T> {
        match failure {
            ReadFailure::Absent => Outcome::Absent,
            ReadFailure::Gone => Outcome::Gone,
            ReadFailure::Denied | ReadFailure::TooLarge | ReadFailure::Failed(_) => {
                self.gaps.add_failure(path, failure);
                Outcome::Unreadable
            }
        }
    }
}
