//! One pass over the sources: what every reader of a tick shares.

use std::ffi::CStr;

use super::Work;
use super::gaps::Gaps;
use crate::quantity::BootTime;
use crate::source::Malformed;
use crate::source::root::{Buffer, Dir, Failure, KernelFile};

/// How a read of one kernel file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<T> {
    Present(T),
    /// The kernel does not have the file.
    Absent,
    /// The object behind it is no more.
    Gone,
    /// Denied, malformed or failed: a gap has been noted.
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

/// Whether the kernel writes the file as one record or as many; see
/// [`KernelFile::read_record`] and [`KernelFile::read_short_records`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    OneRecord,
    ManyRecords,
}

pub struct Pass<'a> {
    pub buffer: &'a mut Buffer,
    pub gaps: &'a mut Gaps,
    pub work: &'a mut Work,
    pub clock: &'a dyn Fn() -> BootTime,
    /// Counts up; decides what is read only now and then.
    pub tick: u64,
}

impl Pass<'_> {
    pub fn now(&self) -> BootTime {
        (self.clock)()
    }

    /// Reads and parses an open file. `path` names it in a gap, in pieces so that nothing is put
    /// together while all goes well.
    pub fn read<T>(
        &mut self,
        file: &KernelFile,
        shape: Shape,
        path: &[&[u8]],
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Outcome<T> {
        self.work.files_read += 1;
        let text = match shape {
            Shape::OneRecord => file.read_record(self.buffer),
            Shape::ManyRecords => file.read_short_records(self.buffer),
        };
        match text {
            Ok(text) => match parse(text) {
                Ok(value) => Outcome::Present(value),
                Err(malformed) => {
                    self.gaps.add_malformed(path, malformed);
                    Outcome::Unreadable
                }
            },
            Err(failure) => self.failed(path, failure),
        }
    }

    /// Opens, reads, parses and closes a file below `dir`.
    pub fn read_at<T>(
        &mut self,
        dir: &Dir,
        name: &CStr,
        shape: Shape,
        path: &[&[u8]],
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Outcome<T> {
        match dir.open_file(name) {
            Ok(file) => {
                self.work.files_opened += 1;
                self.read(&file, shape, path, parse)
            }
            Err(failure) => self.failed(path, failure),
        }
    }

    pub fn failed<T>(&mut self, path: &[&[u8]], failure: Failure) -> Outcome<T> {
        match failure {
            Failure::Absent => Outcome::Absent,
            Failure::Gone => Outcome::Gone,
            Failure::Denied | Failure::TooLarge | Failure::Failed(_) => {
                self.gaps.add_failure(path, failure);
                Outcome::Unreadable
            }
        }
    }
}
