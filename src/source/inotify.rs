//! What the kernel tells of changes in directories and files without being asked: inotify(7).
//!
//! On cgroup2 a new child directory is told of by IN_CREATE on its parent, and a cgroup that gets
//! its first process or loses its last by IN_MODIFY on its `cgroup.events`
//! (Documentation/admin-guide/cgroup-v2.rst, "(Un)populated Notification").

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init, remove_watch};

use super::root::Failure;

/// What is watched, by the number that the kernel gave it. Numbers are not given again within one
/// [`Inotify`] before they have all been used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watch(i32);

/// As many as the kernel's queue holds by default: one drain ends, however fast new ones come.
const NOTICES_MAX: usize = 16_384;

/// A queue of notices.
#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
}

/// Why something cannot be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwatched {
    /// The user has no more instances (EMFILE, fs.inotify.max_user_instances, or the process's own
    /// open files) or watches (ENOSPC, fs.inotify.max_user_watches) left.
    LimitReached,
    Other(Failure),
}

impl From<rustix::io::Errno> for Unwatched {
    fn from(errno: rustix::io::Errno) -> Self {
        match Errno::from_raw(errno.raw_os_error()) {
            Errno::EMFILE | Errno::ENFILE | Errno::ENOSPC => Self::LimitReached,
            other => Self::Other(other.into()),
        }
    }
}

impl Inotify {
    pub fn open() -> Result<Self, Unwatched> {
        Ok(Self { fd: init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)? })
    }

    /// Tells of children that come into `dir`.
    pub fn watch_children(&self, dir: &Path) -> Result<Watch, Unwatched> {
        let flags = WatchFlags::CREATE | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        Ok(Watch(add_watch(&self.fd, dir, flags)?))
    }

    /// Tells of a `cgroup.events` that changes.
    pub fn watch_changes(&self, file: &Path) -> Result<Watch, Unwatched> {
        let flags = WatchFlags::MODIFY | WatchFlags::DONT_FOLLOW;
        Ok(Watch(add_watch(&self.fd, file, flags)?))
    }

    /// No more notices of this one. The kernel may have dropped it already, with what it watched.
    pub fn forget(&self, watch: Watch) {
        let _ = remove_watch(&self.fd, watch.0);
    }

    /// Calls `each` for every notice that waits, up to `NOTICES_MAX`; several of one watch may
    /// come as several. Where the kernel's queue overflowed, some were lost. Waits for nothing,
    /// allocates nothing.
    pub fn drain(&self, mut each: impl FnMut(Watch)) {
        let mut space = [MaybeUninit::<u8>::uninit(); 4 << 10];
        let mut reader = Reader::new(&self.fd, &mut space);
        for _ in 0..NOTICES_MAX {
            // An error is EAGAIN: nothing waits any more.
            let Ok(event) = reader.next() else { return };
            each(Watch(event.wd()));
        }
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_and_changes_are_told_of_until_they_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "populated 0\n").unwrap();
        let inotify = Inotify::open().unwrap();
        let drain = || {
            let mut told = Vec::new();
            inotify.drain(|watch| told.push(watch));
            told.dedup();
            told
        };
        let children = inotify.watch_children(folder.path()).unwrap();
        let changes = inotify.watch_changes(&file).unwrap();
        assert_eq!(drain(), []);
        std::fs::create_dir(folder.path().join("child")).unwrap();
        std::fs::write(&file, "populated 1\n").unwrap();
        assert_eq!(drain(), [children, changes]);
        inotify.forget(children);
        // The kernel says that a watch is gone.
        assert_eq!(drain(), [children]);
        std::fs::create_dir(folder.path().join("another")).unwrap();
        assert_eq!(drain(), []);
        inotify.forget(children);
    }

    #[test]
    fn what_is_not_there_cannot_be_watched() {
        let folder = tempfile::tempdir().unwrap();
        let inotify = Inotify::open().unwrap();
        let absent = folder.path().join("absent");
        let expected = Err(Unwatched::Other(Failure::Absent));
        assert_eq!(inotify.watch_children(&absent), expected);
        assert_eq!(inotify.watch_changes(&absent), expected);
    }
}
