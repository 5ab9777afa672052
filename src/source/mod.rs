//! The kernel's files: one module per file, with its line format above a pure `parse`.
//!
//! Reading and parsing are separate. Only [`root`] opens files; every other module turns bytes into
//! figures. No module here knows what a pod is, and none subtracts.

pub mod cgroup;
pub mod inotify;
pub mod netlink;
pub mod proc;
pub mod root;
pub mod text;
pub mod tree;

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
