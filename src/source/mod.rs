//! The kernel's files: one module per file, with its line format above a pure `parse`.
//!
//! Reading and parsing are separate. Only [`root`] opens files; every other module turns bytes into
//! figures. No module here knows what a pod is, and none subtracts.

pub mod cgroup;
pub mod inotify;
pub mod netlink;
pub mod own_process;
pub mod proc;
pub mod root;
pub mod text;
pub mod tree;

/// A parsed file.
pub trait Parsed {
    /// A row or figure of the file that was left out because it is not what the kernel writes. The
    /// others are valid.
    fn odd(&self) -> Option<Malformed> {
        None
    }
}

impl Parsed for u64 {}

impl<T> Parsed for crate::quantity::Limit<T> {}

impl Parsed for crate::quantity::Bytes {}

/// The rows of a file went into the caller's list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rows {
    pub odd: Option<Malformed>,
}

impl Parsed for Rows {
    fn odd(&self) -> Option<Malformed> {
        self.odd
    }
}

/// Text that is not what the kernel writes into this file: a gap, never a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The text that was expected and not found.
    pub expected: &'static str,
}

impl Malformed {
    pub(crate) const fn expected(expected: &'static str) -> Self {
        Self { expected }
    }
}
