//! The disk usage of a directory tree, counted in steps.
//!
//! A tree can hold tens of millions of files, so a walk looks at a given number of entries and
//! continues from there the next time. Between two steps it can let go of every descriptor: it finds back by
//! the names and inodes of the directories that it stands in, and by the place in each of them. A
//! directory is listed one buffer at a time; what is below it is walked before the next.
//!
//! A tree that is in use changes while it is walked. What has vanished is not counted, what comes
//! behind the walk's back is not either, and neither is a flaw of the figure.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::descriptors;
use crate::source::root::ReadFailure;
use crate::source::tree::{EntryStatus, Filesystem, ListingEnd, TreeDir};

/// Deeper directories are counted, but not what is in them. A path that can be written has half as
/// many components as its 4096 bytes.
pub const DEPTH_MAX: usize = 1024;

/// Directories that a walk holds open at once; those above are opened again on the way back.
pub const OPEN_MAX: usize = 16;

/// The same, where the process may have fewer descriptors than is usual.
fn open_max() -> usize {
    (descriptors::limit() / 16).clamp(2, OPEN_MAX)
}

/// The memory that all walks of the default [`Workspace`] may use between their steps, in bytes.
pub const SHARED_BYTES_MAX: usize = 8 << 20;

/// The part of it that one walk may use: 40,000 files with several names.
const WALK_BYTES_MAX: usize = 1 << 20;

/// The memory of a directory on the way down, beside its name; below, of a file with several names.
const LEVEL_BYTES: usize = 128;
const LINK_BYTES: usize = 24;

/// Some hundred entries with names of usual length; the longest name takes 280 bytes.
const LISTING_BYTES: usize = 8 << 10;

/// The buffer that all walks share, and the limit of their memory.
pub struct Workspace {
    buffer: Box<[MaybeUninit<u8>]>,
    bytes_left: usize,
}

impl Workspace {
    /// With room for so many bytes of names, directories and files with several names.
    #[must_use]
    pub fn with_room_for(bytes: usize) -> Self {
        let buffer = vec![MaybeUninit::uninit(); LISTING_BYTES].into_boxed_slice();
        Self { buffer, bytes_left: bytes }
    }

    /// The bytes that no walk uses.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        self.bytes_left
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::with_room_for(SHARED_BYTES_MAX)
    }
}

/// The disk usage of a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeUsage {
    /// Allocated, not apparent: sparse files and small ones as the disk has them. Directories are
    /// counted, the tree's own among them.
    pub bytes: u64,
    /// Files, directories, links and all else with a name; what has several names once.
    pub inodes: u64,
    /// A directory could not be read, was too deep, or there was no room to keep its name.
    pub incomplete: bool,
    /// There was no room to keep every file with several names: some count once a name.
    pub overcounted: bool,
}

/// The progress of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    More,
    Done(TreeUsage),
    /// The tree itself cannot be opened.
    Failed(ReadFailure),
}

/// A directory that the walk stands in.
#[derive(Debug)]
struct Level {
    /// Empty for the root.
    name: CString,
    inode: u64,
    /// Where its listing goes on.
    cookie: u64,
    listed: bool,
    /// Its subdirectories out of the buffer that was listed last, each ended by NUL.
    below: Vec<u8>,
    dir: Option<TreeDir>,
}

/// A walk through one tree; it does nothing but in [`Self::step`].
#[derive(Debug)]
pub struct Walk {
    host_root: PathBuf,
    path: PathBuf,
    filesystem: Option<Filesystem>,
    levels: Vec<Level>,
    /// Device and inode of the files with several names that were counted.
    links: HashSet<((u32, u32), u64)>,
    usage: TreeUsage,
    entries: u64,
    held_bytes: usize,
}

impl Walk {
    /// Of the directory `path` on the host whose root is `host_root`.
    #[must_use]
    pub fn new(host_root: PathBuf, path: PathBuf) -> Self {
        Self {
            host_root,
            path,
            filesystem: None,
            levels: Vec::new(),
            links: HashSet::new(),
            usage: TreeUsage::default(),
            entries: 0,
            held_bytes: 0,
        }
    }

    /// Entries asked for and directories opened up to now: what it has cost the disk.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Looks at up to `entries_max` more entries, at least one. Directories that have to be opened
    /// once more to go on come on top of it.
    pub fn step(&mut self, entries_max: u64, workspace: &mut Workspace) -> Progress {
        if self.filesystem.is_none()
            && let Err(failure) = self.enter_root()
        {
            return Progress::Failed(failure);
        }
        if let Err(failure) = self.find_back(workspace) {
            self.end(workspace);
            return Progress::Failed(failure);
        }
        let enough = self.entries.saturating_add(entries_max.max(1));
        while self.entries < enough {
            let Some(top) = self.levels.last_mut() else { break };
            if !top.below.is_empty() {
                self.descend(workspace);
            } else if !top.listed {
                self.list(enough, workspace);
            } else {
                self.leave(workspace);
                if let Err(failure) = self.find_back(workspace) {
                    self.end(workspace);
                    return Progress::Failed(failure);
                }
            }
        }
        if !self.levels.is_empty() {
            return Progress::More;
        }
        self.end(workspace);
        Progress::Done(self.usage)
    }

    /// Closes every directory until the next step.
    pub fn park(&mut self) {
        for level in &mut self.levels {
            level.dir = None;
        }
    }

    /// Gives back what the walk holds of `workspace`: for one that is not walked to its end.
    pub fn end(&mut self, workspace: &mut Workspace) {
        self.levels = Vec::new();
        self.links = HashSet::new();
        workspace.bytes_left += self.held_bytes;
        self.held_bytes = 0;
    }

    fn enter_root(&mut self) -> Result<(), ReadFailure> {
        self.entries += 1;
        let dir = TreeDir::open(&self.host_root, &self.path)?;
        let status = dir.status()?;
        self.filesystem = Some(status.filesystem);
        self.usage.bytes = status.allocated_bytes;
        self.usage.inodes = 1;
        self.levels.push(Level::of(CString::default(), status.inode, dir));
        Ok(())
    }

    /// Opens what was closed of the way down to where the walk stands. Where that has been removed,
    /// or put elsewhere, the walk goes on above it.
    fn find_back(&mut self, workspace: &mut Workspace) -> Result<(), ReadFailure> {
        let open = self.levels.iter().rposition(|level| level.dir.is_some());
        if open.is_none()
            && let Some(root) = self.levels.first_mut()
        {
            self.entries += 1;
            let dir = TreeDir::open(&self.host_root, &self.path)?;
            if !root.takes(dir, self.filesystem) {
                return Err(ReadFailure::Gone);
            }
        }
        self.find_back_below(open.unwrap_or(0), workspace);
        Ok(())
    }

    fn find_back_below(&mut self, from: usize, workspace: &mut Workspace) {
        for at in from + 1..self.levels.len() {
            self.entries += 1;
            let (above, rest) = self.levels.split_at_mut(at);
            let (Some(Level { dir: Some(above), .. }), Some(level)) =
                (above.last_mut(), rest.first_mut())
            else {
                break;
            };
            let found = match above.open_below(&level.name) {
                Ok(dir) => level.takes(dir, self.filesystem),
                Err(ReadFailure::Absent | ReadFailure::Gone) => false,
                Err(_) => {
                    self.usage.incomplete = true;
                    false
                }
            };
            if !found {
                while self.levels.len() > at {
                    self.leave(workspace);
                }
                break;
            }
            if let Some(far) = at.checked_sub(open_max()) {
                self.levels[far].dir = None;
            }
        }
    }

    /// Enters the next subdirectory of the innermost directory.
    fn descend(&mut self, workspace: &mut Workspace) {
        let Some(top) = self.levels.last_mut() else { return };
        let Some(name) = top.next_below() else { return };
        let name_bytes = name.as_bytes_with_nul().len();
        self.give_back(name_bytes, workspace);
        self.entries += 1;
        let Some(Level { dir: Some(above), .. }) = self.levels.last() else { return };
        let opened = above.open_below(&name).and_then(|dir| Ok((dir.status()?, dir)));
        let (status, dir) = match opened {
            Ok(opened) => opened,
            Err(ReadFailure::Absent | ReadFailure::Gone) => return,
            // It was a directory when it was listed, and may have become a link since, which is
            // ELOOP or ENOTDIR and as good as gone; all else is there and was not read.
            Err(ReadFailure::Failed(errno)) if errno == nix::errno::Errno::ELOOP as i32 => return,
            Err(_) => {
                self.usage.incomplete = true;
                return;
            }
        };
        if self.is_elsewhere(&status) {
            return;
        }
        if self.levels.len() >= DEPTH_MAX || !self.take(LEVEL_BYTES + name_bytes, workspace) {
            self.usage.incomplete = true;
            return;
        }
        self.levels.push(Level::of(name, status.inode, dir));
        if let Some(far) = self.levels.len().checked_sub(open_max() + 1) {
            self.levels[far].dir = None;
        }
    }

    /// Counts what one buffer of the innermost directory's listing holds, up to `enough`.
    fn list(&mut self, enough: u64, workspace: &mut Workspace) {
        let Some(mut level) = self.levels.pop() else { return };
        let Some(dir) = level.dir.take() else { return };
        let mut buffer = std::mem::take(&mut workspace.buffer);
        let mut cut_short = false;
        let listed = dir.list(&mut buffer, |name, cookie| {
            self.entries += 1;
            level.cookie = cookie;
            match dir.status_of(name) {
                Ok(status) => self.count(name, &status, &mut level.below, workspace),
                Err(ReadFailure::Absent | ReadFailure::Gone) => {}
                Err(_) => self.usage.incomplete = true,
            }
            if self.entries < enough {
                return ControlFlow::Continue(());
            }
            cut_short = true;
            ControlFlow::Break(())
        });
        workspace.buffer = buffer;
        match listed {
            Ok(ListingEnd::Some) => {
                // What stands behind the last entry in the buffer has to be listed again.
                if cut_short && dir.seek(level.cookie).is_err() {
                    self.usage.incomplete = true;
                    level.listed = true;
                }
            }
            Ok(ListingEnd::All) | Err(ReadFailure::Absent | ReadFailure::Gone) => {
                level.listed = true
            }
            Err(_) => {
                self.usage.incomplete = true;
                level.listed = true;
            }
        }
        // An empty directory costs a listing too.
        self.entries += u64::from(level.listed);
        level.dir = Some(dir);
        self.levels.push(level);
    }

    fn count(
        &mut self,
        name: &CStr,
        status: &EntryStatus,
        below: &mut Vec<u8>,
        workspace: &mut Workspace,
    ) {
        // Something else is mounted on it: another disk, memory, or another part of this one.
        if self.is_elsewhere(status) {
            return;
        }
        if !status.is_directory && status.links > 1 {
            let file = (status.filesystem.device, status.inode);
            if self.links.contains(&file) {
                return;
            }
            if self.take(LINK_BYTES, workspace) {
                self.links.insert(file);
            } else {
                self.usage.overcounted = true;
            }
        }
        self.usage.bytes = self.usage.bytes.saturating_add(status.allocated_bytes);
        self.usage.inodes += 1;
        if !status.is_directory {
            return;
        }
        let name = name.to_bytes_with_nul();
        if self.take(name.len(), workspace) {
            below.extend_from_slice(name);
        } else {
            self.usage.incomplete = true;
        }
    }

    /// `true` if it was reached over a mount. Directories of one mount lie on one device, but for
    /// subvolumes, which are filesystems of their own; files of one overlay may not.
    fn is_elsewhere(&self, status: &EntryStatus) -> bool {
        let Some(root) = self.filesystem else { return true };
        match (status.filesystem.mount_id, root.mount_id) {
            (Some(mount), Some(of_root)) if mount != of_root => true,
            (Some(_), Some(_)) if !status.is_directory => false,
            _ => status.filesystem.device != root.device,
        }
    }

    /// Lets go of the innermost directory.
    fn leave(&mut self, workspace: &mut Workspace) {
        let Some(level) = self.levels.pop() else { return };
        if !self.levels.is_empty() {
            let name_bytes = level.name.as_bytes_with_nul().len();
            self.give_back(LEVEL_BYTES + name_bytes + level.below.len(), workspace);
        }
    }

    fn take(&mut self, bytes: usize, workspace: &mut Workspace) -> bool {
        if self.held_bytes + bytes > WALK_BYTES_MAX || bytes > workspace.bytes_left {
            return false;
        }
        self.held_bytes += bytes;
        workspace.bytes_left -= bytes;
        true
    }

    fn give_back(&mut self, bytes: usize, workspace: &mut Workspace) {
        let bytes = bytes.min(self.held_bytes);
        self.held_bytes -= bytes;
        workspace.bytes_left += bytes;
    }
}

impl Level {
    fn of(name: CString, inode: u64, dir: TreeDir) -> Self {
        Self { name, inode, cookie: 0, listed: false, below: Vec::new(), dir: Some(dir) }
    }

    /// Goes on in `dir`, if that is the directory of before.
    fn takes(&mut self, dir: TreeDir, filesystem: Option<Filesystem>) -> bool {
        let is_same = dir.status().is_ok_and(|status| {
            status.inode == self.inode && Some(status.filesystem) == filesystem
        });
        if !is_same || self.cookie != 0 && dir.seek(self.cookie).is_err() {
            return false;
        }
        self.dir = Some(dir);
        true
    }

    /// Takes the last of the subdirectories that are still to be walked.
    fn next_below(&mut self) -> Option<CString> {
        let bytes = self.below.split_last()?.1;
        let from = bytes.iter().rposition(|byte| *byte == 0).map_or(0, |at| at + 1);
        let name = CStr::from_bytes_with_nul(self.below.get(from..)?).ok().map(CStr::to_owned);
        self.below.truncate(from);
        name
    }
}
