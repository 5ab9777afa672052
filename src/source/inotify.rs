//! Events of changes in directories and files: inotify(7).
//!
//! On cgroup2 a new child directory causes IN_CREATE on its parent. A cgroup that gets its first
//! process or loses its last causes IN_MODIFY on its `cgroup.events`
//! (Documentation/admin-guide/cgroup-v2.rst, "(Un)populated Notification").

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init, remove_watch};

use super::root::ReadFailure;

/// The kernel's number of a watch. It is not reused within one [`Inotify`] before all were used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchDescriptor(i32);

/// The default length of the kernel's queue. It ends one drain however fast new events come.
const EVENTS_MAX: usize = 16_384;

/// A queue of events.
#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
}

/// The reason why something cannot be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwatched {
    /// EMFILE: the user has no instance left (fs.inotify.max_user_instances), or the process no
    /// descriptor.
    NoInstanceLeft,
    /// ENOSPC: the user has no watch left (fs.inotify.max_user_watches).
    NoWatchLeft,
    Other(ReadFailure),
}

impl From<rustix::io::Errno> for Unwatched {
    fn from(errno: rustix::io::Errno) -> Self {
        match Errno::from_raw(errno.raw_os_error()) {
            Errno::EMFILE => Self::NoInstanceLeft,
            Errno::ENOSPC => Self::NoWatchLeft,
            other => Self::Other(other.into()),
        }
    }
}

impl Inotify {
    pub fn open() -> Result<Self, Unwatched> {
        Ok(Self { fd: init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)? })
    }

    /// Watches for new children of `dir`.
    pub fn watch_children(&self, dir: &Path) -> Result<WatchDescriptor, Unwatched> {
        let flags = WatchFlags::CREATE | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        Ok(WatchDescriptor(add_watch(&self.fd, dir, flags)?))
    }

    /// Watches for changes of `file`.
    pub fn watch_changes(&self, file: &Path) -> Result<WatchDescriptor, Unwatched> {
        let flags = WatchFlags::MODIFY | WatchFlags::DONT_FOLLOW;
        Ok(WatchDescriptor(add_watch(&self.fd, file, flags)?))
    }

    /// Ends a watch. The kernel may have dropped it already, with the watched file.
    pub fn forget(&self, watch: WatchDescriptor) {
        let _ = remove_watch(&self.fd, watch.0);
    }

    /// Calls `each` for every waiting event, up to `EVENTS_MAX`; one watch can have several. If the
    /// kernel's queue overflowed, some were lost. Does not wait and allocates nothing.
    pub fn drain(&self, mut each: impl FnMut(WatchDescriptor)) {
        let mut space = [MaybeUninit::<u8>::uninit(); 4 << 10];
        let mut reader = Reader::new(&self.fd, &mut space);
        for _ in 0..EVENTS_MAX {
            // The error is EAGAIN: no event waits.
            let Ok(event) = reader.next() else { return };
            each(WatchDescriptor(event.wd()));
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
    fn children_and_changes_cause_events_until_their_watch_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "populated 0\n").unwrap();
        let inotify = Inotify::open().unwrap();
        let drain = || {
            let mut events = Vec::new();
            inotify.drain(|watch| events.push(watch));
            events.dedup();
            events
        };
        let children = inotify.watch_children(folder.path()).unwrap();
        let changes = inotify.watch_changes(&file).unwrap();
        assert_eq!(drain(), []);
        std::fs::create_dir(folder.path().join("child")).unwrap();
        std::fs::write(&file, "populated 1\n").unwrap();
        assert_eq!(drain(), [children, changes]);
        inotify.forget(children);
        // The kernel reports that the watch ended.
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
        let expected = Err(Unwatched::Other(ReadFailure::Absent));
        assert_eq!(inotify.watch_children(&absent), expected);
        assert_eq!(inotify.watch_changes(&absent), expected);
    }
}
