//! Events between two samples: cgroups that are created, and cgroups that lose their last process.
//!
//! No figure depends on them. A cgroup that was created and removed without an event is in its
//! parent's counters. With an event, and if it was read before its removal, it has a name too. So a
//! full queue or a used-up limit costs names only.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::slot::{CgroupSlot, CgroupWatch};
use crate::descriptors;
use crate::snapshot::gaps::{Gap, GapReason};
use crate::snapshot::read_context::ReadContext;
use crate::source::inotify::{Inotify, Unwatched, WatchDescriptor};
use crate::source::root::{ReadFailure, below};

/// Limit of watched cgroups. For each, the kernel keeps two watches and one more inode, somewhat
/// over 1 KiB, charged to the agent.
pub(super) const WATCHED_MAX: usize = 4096;

/// The work that an event calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Todo {
    Children,
    Counters,
}

/// The inotify queue, and the cgroups that its watches belong to.
#[derive(Debug)]
pub(super) struct CgroupEvents {
    pub inotify: Inotify,
    mount: PathBuf,
    left: usize,
    /// A gap says already that some cgroups are not watched.
    gap_added: bool,
    /// The cgroup of each watch, sorted by watch.
    index: Vec<(WatchDescriptor, usize, Todo)>,
    pub todo: Vec<(usize, Todo)>,
}

/// The gap that says why some cgroups, or all, are not watched.
pub(super) fn gap(unwatched: Unwatched) -> Gap {
    let reason = match unwatched {
        Unwatched::NoInstanceLeft if descriptors::present_shortage().is_some() => {
            GapReason::Failed { errno: Errno::EMFILE as i32 }
        }
        Unwatched::NoInstanceLeft => GapReason::NotOffered { consequence: NO_INSTANCE },
        Unwatched::NoWatchLeft => GapReason::NotOffered { consequence: NO_WATCH },
        Unwatched::Other(ReadFailure::Failed(errno)) => GapReason::Failed { errno },
        Unwatched::Other(_) => GapReason::Denied,
    };
    Gap { path: NAME.into(), reason }
}

const NO_INSTANCE: &str = "the agent's user has no inotify instance left (raise the sysctl \
    fs.inotify.max_user_instances): cgroups that are created and removed between two samples are \
    counted without a name";

const NO_WATCH: &str = "the agent's user has no inotify watch left for some cgroups (raise the \
    sysctl fs.inotify.max_user_watches): what is created and removed in them between two samples \
    is counted without a name";

/// The name in gaps.
const NAME: &[u8] = b"inotify";

impl CgroupEvents {
    /// Opens a queue. `mount`: the mount point of the tree's root.
    pub fn open(mount: &Path) -> Result<Self, Unwatched> {
        Ok(Self {
            inotify: Inotify::open()?,
            mount: mount.to_owned(),
            left: WATCHED_MAX,
            gap_added: false,
            index: Vec::new(),
            todo: Vec::new(),
        })
    }

    /// Watches the cgroup at `path`; `None` if that is not possible, with a gap.
    pub fn watch(
        &mut self,
        path: &[u8],
        is_root: bool,
        context: &mut ReadContext<'_>,
    ) -> Option<CgroupWatch> {
        if self.left == 0 {
            let reason = GapReason::Bounded { limit: WATCHED_MAX };
            self.add_gap_once(context, Gap { path: NAME.into(), reason });
            return None;
        }
        let dir = below(&self.mount, path);
        let children = self.inotify.watch_children(&dir);
        // The root cgroup has no cgroup.events, and always some process.
        let events = (!is_root && children.is_ok())
            .then(|| self.inotify.watch_changes(&dir.join("cgroup.events")));
        let failed = [children.err(), events.and_then(Result::err)];
        // A cgroup that was removed meanwhile is no gap.
        let is_removed = |why: &Unwatched| {
            matches!(why, Unwatched::Other(ReadFailure::Absent | ReadFailure::Gone))
        };
        if let Some(why) = failed.into_iter().flatten().find(|why| !is_removed(why)) {
            self.add_gap_once(context, gap(why));
        }
        let watched = CgroupWatch { children: children.ok()?, events: events.and_then(Result::ok) };
        self.left -= 1;
        Some(watched)
    }

    /// True if as many cgroups are watched as may be.
    pub fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Adds a gap, once for all reasons.
    fn add_gap_once(&mut self, context: &mut ReadContext<'_>, gap: Gap) {
        if !std::mem::replace(&mut self.gap_added, true) {
            context.gaps.standing.push(gap);
        }
    }

    pub fn forget(&mut self, watched: CgroupWatch) {
        self.left += 1;
        self.inotify.forget(watched.children);
        if let Some(events) = watched.events {
            self.inotify.forget(events);
        }
    }

    /// Indexes the watches anew, after the cgroups' indices changed.
    pub fn index_watches(&mut self, slots: &[CgroupSlot]) {
        self.index.clear();
        for (at, slot) in slots.iter().enumerate() {
            let Some(watched) = slot.watched else { continue };
            self.index.push((watched.children, at, Todo::Children));
            self.index.extend(watched.events.map(|events| (events, at, Todo::Counters)));
        }
        self.index.sort_unstable();
    }

    /// Fills `todo` from the waiting events, deeper cgroups last.
    pub fn collect(&mut self) {
        let Self { inotify, index, todo, .. } = self;
        todo.clear();
        inotify.drain(|watch| {
            if let Ok(at) = index.binary_search_by_key(&watch, |(watch, ..)| *watch)
                && let Some((_, slot, wanted)) = index.get(at)
            {
                todo.push((*slot, *wanted));
            }
        });
        todo.sort_unstable();
        todo.dedup();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// inotify(7): EMFILE is for instances, ENOSPC for watches.
    #[test]
    fn the_gap_names_the_limit_that_was_reached() {
        use rustix::io::Errno;
        for (errno, named, other) in [
            (Errno::MFILE, "max_user_instances", "max_user_watches"),
            (Errno::NOSPC, "max_user_watches", "max_user_instances"),
            (Errno::NFILE, "fs.file-max", "inotify instance"),
        ] {
            let text = gap(Unwatched::from(errno)).reason.to_string();
            assert!(text.contains(named) && !text.contains(other), "{errno:?}: {text}");
        }
    }
}
