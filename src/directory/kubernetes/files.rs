//! The files that a client was made from, and whether they have changed since.

use std::path::{Path, PathBuf};

use crate::small_file::Stamp;

/// Files with their stamps from before they were read.
#[derive(Debug, Default)]
pub(super) struct WatchedFiles(Vec<(PathBuf, Option<Stamp>)>);

impl WatchedFiles {
    /// To be called before the file is read.
    pub(super) fn add(&mut self, path: &Path) {
        self.0.push((path.to_owned(), Stamp::read(path).ok()));
    }

    /// True if one of them was changed, replaced, removed or made.
    pub(super) fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, stamp)| Stamp::read(path).ok() != *stamp)
    }
}
