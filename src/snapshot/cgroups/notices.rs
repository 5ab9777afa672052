//! What happens between two samples, as far as the kernel tells of it: cgroups that come, and those
//! that lose their last process.
//!
//! Nothing depends on it. A cgroup that came and went unnoticed is in its parent's counters; one
//! that was noticed and read before it was removed has a name as well. So a full queue or a spent
//! limit costs names, and no figures.

use std::path::{Path, PathBuf};

use super::{CgroupTree, Moved, Slot, Walk, keep};
use crate::snapshot::gaps::{Gap, GapReason};
use crate::snapshot::held::FileReader;
use crate::snapshot::pass::Pass;
use crate::source::cgroup::memory_events;
use crate::source::inotify::{Inotify, Unwatched, Watch};
use crate::source::root::{Failure, below};

/// Cgroups that are watched, at most. The kernel keeps two watches and one inode more of each, a
/// good KiB, which is charged to the agent.
pub(super) const WATCHED_MAX: usize = 4096;

/// The two watches of one cgroup.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched {
    children: Watch,
    events: Option<Watch>,
}

/// What a notice asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Children,
    Counters,
}

#[derive(Debug)]
pub(super) struct Notices {
    pub inotify: Inotify,
    mount: PathBuf,
    left: usize,
    /// It has been said that some are not watched.
    told: bool,
    /// Which cgroup a watch is of, by watch.
    index: Vec<(Watch, usize, Wanted)>,
    todo: Vec<(usize, Wanted)>,
}

/// The gap that says why some cgroups, or all, are not watched.
pub(super) fn gap(unwatched: Unwatched) -> Gap {
    let consequence = "the limit of inotify watches or instances is used up \
        (fs.inotify.max_user_watches, max_user_instances): what lives and dies between two samples \
        is counted without its name";
    let reason = match unwatched {
        Unwatched::LimitReached => GapReason::NotOffered { consequence },
        Unwatched::Other(Failure::Failed(errno)) => GapReason::Failed { errno },
        Unwatched::Other(_) => GapReason::Denied,
    };
    Gap { path: NAME.into(), reason }
}

/// What the gaps call it.
const NAME: &[u8] = b"inotify";

impl Notices {
    /// `mount`: where the tree's root is mounted.
    pub fn open(mount: &Path) -> Result<Self, Unwatched> {
        Ok(Self {
            inotify: Inotify::open()?,
            mount: mount.to_owned(),
            left: WATCHED_MAX,
            told: false,
            index: Vec::new(),
            todo: Vec::new(),
        })
    }

    /// Watches the cgroup at `path`, if that is possible.
    pub fn watch(&mut self, path: &[u8], is_root: bool, pass: &mut Pass<'_>) -> Option<Watched> {
        if self.left == 0 {
            let reason = GapReason::Bounded { limit: WATCHED_MAX };
            self.tell(pass, Gap { path: NAME.into(), reason });
            return None;
        }
        let dir = below(&self.mount, path);
        let children = self.inotify.watch_children(&dir);
        // The root cgroup has no cgroup.events, and always some process.
        let events = (!is_root && children.is_ok())
            .then(|| self.inotify.watch_changes(&dir.join("cgroup.events")));
        let failed = [children.err(), events.and_then(Result::err)];
        // One that went while it was found is nothing to tell of.
        let went =
            |why: &Unwatched| matches!(why, Unwatched::Other(Failure::Absent | Failure::Gone));
        if let Some(why) = failed.into_iter().flatten().find(|why| !went(why)) {
            self.tell(pass, gap(why));
        }
        let watched = Watched { children: children.ok()?, events: events.and_then(Result::ok) };
        self.left -= 1;
        Some(watched)
    }

    /// Once, whatever the reason.
    fn tell(&mut self, pass: &mut Pass<'_>, gap: Gap) {
        if !std::mem::replace(&mut self.told, true) {
            pass.gaps.standing.push(gap);
        }
    }

    pub fn forget(&mut self, watched: Watched) {
        self.left += 1;
        self.inotify.forget(watched.children);
        if let Some(events) = watched.events {
            self.inotify.forget(events);
        }
    }

    /// Finds the cgroups' new places.
    pub fn learn(&mut self, slots: &[Slot]) {
        self.index.clear();
        for (at, slot) in slots.iter().enumerate() {
            let Some(watched) = slot.watched else { continue };
            self.index.push((watched.children, at, Wanted::Children));
            self.index.extend(watched.events.map(|events| (events, at, Wanted::Counters)));
        }
        self.index.sort_unstable();
    }

    /// Fills `todo` with what the waiting notices ask for, deeper cgroups last.
    fn collect(&mut self) {
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

impl CgroupTree {
    /// Takes in what has happened since it was last asked: new cgroups get their places, and those
    /// whose processes came or went are read, perhaps for the last time.
    pub fn attend(&mut self, walk: &mut Walk<'_, '_>) {
        let Some(notices) = &mut self.notices else { return };
        notices.collect();
        let todo = std::mem::take(&mut notices.todo);
        self.attending = true;
        // Children before parents, as in every walk.
        for (at, wanted) in todo.iter().rev() {
            match wanted {
                Wanted::Children => {
                    self.find_children(*at, walk);
                }
                Wanted::Counters => self.read_news(*at, walk),
            }
        }
        self.attending = false;
        if let Some(notices) = &mut self.notices {
            notices.todo = todo;
        }
        if !self.born.is_empty() {
            self.rebuild(walk.readings);
        }
    }

    fn read_news(&mut self, at: usize, walk: &mut Walk<'_, '_>) {
        // One that is gone keeps what was last read of it; the next walk finds that out.
        if self.read_hot(at, walk) == Moved::Gone {
            return;
        }
        let Some(slot) = self.slots.get_mut(at) else { return };
        let Some(reading) = walk.readings.get_mut(at) else { return };
        if reading.memory.current.is_none() {
            return;
        }
        let mut reader = FileReader {
            dir: &slot.dir,
            path: &reading.key.path,
            hold: false,
            ask_again: false,
            budget: &mut self.budget,
            pass: walk.pass,
        };
        let held = &mut slot.files.rest.memory_events;
        let events = reader.record(held, c"memory.events", memory_events::parse);
        keep(&mut reading.memory.events, events);
    }
}
