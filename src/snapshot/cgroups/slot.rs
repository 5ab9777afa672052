//! One cgroup between ticks.

use crate::snapshot::held::{DescriptorBudget, HeldDir, HeldFiles};
use crate::snapshot::processes::HeldStats;
use crate::snapshot::read_context::Outcome;
use crate::source::inotify::WatchDescriptor;

/// The two watches of one cgroup.
#[derive(Debug, Clone, Copy)]
pub(super) struct CgroupWatch {
    pub children: WatchDescriptor,
    pub events: Option<WatchDescriptor>,
}

/// The open files and state of one cgroup between ticks. Its figures are in the reading of the same
/// index.
#[derive(Debug)]
pub(super) struct CgroupSlot {
    pub dir: HeldDir,
    /// One past the last slot of its subtree.
    pub end: usize,
    pub depth: usize,
    /// The number of followed cgroups in its subtree, itself included, and the limit of that.
    pub followed: usize,
    pub share: usize,
    /// It leaves a part of the budget of descriptors to others.
    pub is_beyond_share: bool,
    /// Children beyond the share of this cgroup or of one above it.
    pub left_out: usize,
    pub gone: bool,
    /// It was read since the last walk and changed something.
    pub dirty: bool,
    /// It changed while its children were read in the last walk, so the next one visits them.
    pub revisit: bool,
    /// No walk has read it in full yet. What made it may not have set everything before.
    pub is_new: bool,
    pub watched: Option<CgroupWatch>,
    pub activity: Activity,
    /// Hard links give the number of children: true on cgroup2, false on a copy of one.
    pub links_count_children: bool,
    /// Subdirectories that are no cgroups, but mounts of other filesystems.
    pub foreign: u64,
    pub files: HeldFiles,
    pub stats: HeldStats,
    /// The process through which the namespace was found; 0: find it again.
    pub namespace_leader: u32,
}

impl CgroupSlot {
    /// Closes everything.
    pub fn release(&mut self, budget: &mut DescriptorBudget) {
        self.stats.release(budget);
        self.files.release_all(budget);
        self.dir.release(budget);
    }
}

/// The activity of a cgroup, which decides which of its files stay open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    Active,
    /// Idle below an active parent: the hot files stay open.
    IdleTop,
    /// Idle below an idle parent: no file stays open.
    IdleBelow,
}

/// Replaces `value` by what was read. An absent file makes it `None`; an unreadable one leaves it.
pub(super) fn keep<T>(value: &mut Option<T>, outcome: Outcome<T>) {
    match outcome {
        Outcome::Present(new) => *value = Some(new),
        Outcome::Absent => *value = None,
        Outcome::Gone | Outcome::Unreadable => {}
    }
}
