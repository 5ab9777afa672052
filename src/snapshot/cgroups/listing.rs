//! The subdirectories of a cgroup.

use std::ffi::CStr;

use crate::source::root::{Dir, EntryKinds, ReadFailure};

/// Limit of names that are kept: four times as many as cgroups are followed.
const NAMES_MAX: usize = 65_536;

/// The names of a directory's subdirectories in order, in memory that is reused.
#[derive(Debug, Default)]
pub(super) struct Listing {
    bytes: Vec<u8>,
    ranges: Vec<(usize, usize)>,
}

impl Listing {
    pub fn fill(&mut self, dir: &Dir) -> Result<(), ReadFailure> {
        let Self { bytes, ranges } = self;
        bytes.clear();
        ranges.clear();
        dir.entries(EntryKinds::Dirs, |name| {
            if ranges.len() == NAMES_MAX {
                return;
            }
            let start = bytes.len();
            bytes.extend_from_slice(name.to_bytes_with_nul());
            ranges.push((start, bytes.len()));
        })?;
        ranges.sort_unstable_by(|a, b| bytes[a.0..a.1].cmp(&bytes[b.0..b.1]));
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = &CStr> {
        self.ranges
            .iter()
            .filter_map(|(start, end)| CStr::from_bytes_with_nul(&self.bytes[*start..*end]).ok())
    }
}
