//! Directories of the host's disks: opened below one another, listed, and measured.
//!
//! No link is followed, no automount is triggered, and no network server is asked: attributes are
//! those that the kernel has cached. [`super::root`] is for the kernel's own files.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, Statx, StatxAttributes, StatxFlags,
};

use super::root::ReadFailure;

/// The kind and size of one file or directory (statx(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryStatus {
    /// Two entries of one [`Filesystem`] with one inode number are hard links to one file.
    pub filesystem: Filesystem,
    pub inode: u64,
    pub links: u64,
    pub is_directory: bool,
    /// Blocks that are taken, in units of 512 bytes whatever the filesystem's are; a hole in a
    /// sparse file takes none.
    pub allocated_bytes: u64,
    /// Something is mounted on it; `false` where the kernel does not say (before 5.8).
    pub is_mount_point: bool,
}

/// The filesystem of an entry, and the mount through which it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filesystem {
    pub device: (u32, u32),
    /// `None` before Linux 5.8.
    pub mount_id: Option<u64>,
}

/// A directory held open.
#[derive(Debug)]
pub struct TreeDir {
    fd: OwnedFd,
}

/// The size of a filesystem (statfs(2)). For a directory with a project quota, ext4 and XFS give
/// the quota and the space left in it, if it is smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub capacity_bytes: u64,
    pub free_bytes: u64,
    /// Available to users without privileges.
    pub available_bytes: u64,
    /// 0 where the filesystem makes inodes as it needs them.
    pub inodes: u64,
    pub inodes_free: u64,
}

/// The end of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListingEnd {
    /// There may be more.
    Some,
    /// The directory has no more entries.
    All,
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

impl TreeDir {
    /// The directory at `path` of the host whose root is `root`. Links on the way there lead to
    /// where they lead on that host, also where `root` is not the agent's own; the last component
    /// is no link.
    ///
    /// # Errors
    /// It is not there, is no directory, or a right is lacking.
    pub fn open(root: &Path, path: &Path) -> Result<Self, ReadFailure> {
        Ok(Self { fd: open_of_host(root, path, DIRECTORY)? })
    }

    /// Opens a configured directory: like [`Self::open`], but the last component may be a link too.
    ///
    /// # Errors
    /// It does not exist, is no directory, or a right is missing.
    pub fn open_place(root: &Path, path: &Path) -> Result<Self, ReadFailure> {
        Ok(Self { fd: open_of_host(root, path, DIRECTORY.difference(OFlags::NOFOLLOW))? })
    }

    /// The directory `name` below this one.
    ///
    /// # Errors
    /// It does not exist, is no directory, or a right is missing. A link is [`ReadFailure::Absent`] or
    /// `Failed`.
    pub fn open_below(&self, name: &CStr) -> Result<Self, ReadFailure> {
        Ok(Self { fd: open_dir(&self.fd, name, DIRECTORY)? })
    }

    /// The status of the directory itself.
    ///
    /// # Errors
    /// The disk's.
    pub fn status(&self) -> Result<EntryStatus, ReadFailure> {
        status(&self.fd, c"", AtFlags::EMPTY_PATH)
    }

    /// The status of `name` in this directory; of a link, that of the link itself.
    ///
    /// # Errors
    /// It is gone, or a right is missing.
    pub fn status_of(&self, name: &CStr) -> Result<EntryStatus, ReadFailure> {
        status(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The space of its filesystem, or of its project quota.
    ///
    /// # Errors
    /// The disk's.
    pub fn space(&self) -> Result<Space, ReadFailure> {
        let stat = rustix::fs::fstatvfs(&self.fd).map_err(failure)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Space {
            capacity_bytes: bytes(stat.f_blocks),
            free_bytes: bytes(stat.f_bfree),
            available_bytes: bytes(stat.f_bavail),
            inodes: stat.f_files,
            inodes_free: stat.f_ffree,
        })
    }

    /// Makes the next listing begin at `cookie`, which an earlier one returned; 0 is the start.
    ///
    /// # Errors
    /// The filesystem cannot do it.
    pub fn seek(&self, cookie: u64) -> Result<(), ReadFailure> {
        rustix::fs::seek(&self.fd, SeekFrom::Start(cookie)).map_err(failure)?;
        Ok(())
    }

    /// Calls `each` with one buffer full of entries but `.` and `..`, each with the cookie of the
    /// place behind it; when told to break, the listing's own place is behind that buffer.
    ///
    /// # Errors
    /// The directory is gone, or the disk's.
    pub fn list(
        &self,
        buffer: &mut [MaybeUninit<u8>],
        mut each: impl FnMut(&CStr, u64) -> ControlFlow<()>,
    ) -> Result<ListingEnd, ReadFailure> {
        let mut entries = RawDir::new(self.fd.as_fd(), buffer);
        loop {
            match entries.next() {
                None => return Ok(ListingEnd::All),
                // A directory that was removed while it was held.
                Some(Err(rustix::io::Errno::NOENT)) => return Ok(ListingEnd::All),
                Some(Err(errno)) => return Err(failure(errno)),
                Some(Ok(entry)) => {
                    let name = entry.file_name();
                    if !matches!(name.to_bytes(), b"." | b"..")
                        && each(name, entry.next_entry_cookie()).is_break()
                    {
                        return Ok(ListingEnd::Some);
                    }
                }
            }
            if entries.is_buffer_empty() {
                return Ok(ListingEnd::Some);
            }
        }
    }
}

fn open_of_host(root: &Path, path: &Path, flags: OFlags) -> Result<OwnedFd, ReadFailure> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    if root == Path::new("/") || relative.as_os_str().is_empty() {
        return open_dir(CWD, &root.join(relative), flags);
    }
    let top = open_dir(CWD, root, DIRECTORY.difference(OFlags::NOFOLLOW))?;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&top, relative, flags, Mode::empty(), within) {
        // Kernels before 5.6, and filters of system calls that are as old.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => open_dir(&top, relative, flags),
        opened => opened.map_err(failure),
    }
}

fn open_dir<P: rustix::path::Arg + Copy>(
    below: impl AsFd,
    path: P,
    flags: OFlags,
) -> Result<OwnedFd, ReadFailure> {
    // Reading a directory would date its last access, which is a write. Only its owner and
    // CAP_FOWNER may leave that out.
    match rustix::fs::openat(&below, path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(rustix::io::Errno::PERM) => {
            rustix::fs::openat(&below, path, flags, Mode::empty()).map_err(failure)
        }
        opened => opened.map_err(failure),
    }
}

fn status(fd: &OwnedFd, name: &CStr, flags: AtFlags) -> Result<EntryStatus, ReadFailure> {
    let flags = flags | AtFlags::NO_AUTOMOUNT;
    let wanted = StatxFlags::TYPE
        | StatxFlags::NLINK
        | StatxFlags::INO
        | StatxFlags::BLOCKS
        | StatxFlags::MNT_ID;
    match rustix::fs::statx(fd, name, flags | AtFlags::STATX_DONT_SYNC, wanted) {
        Ok(status) => Ok(of_statx(&status)),
        // Kernels before 4.11, and filters of system calls that are as old.
        Err(rustix::io::Errno::NOSYS) => {
            let stat = rustix::fs::statat(fd, name, flags).map_err(failure)?;
            let device = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
            Ok(EntryStatus {
                filesystem: Filesystem { device, mount_id: None },
                inode: stat.st_ino,
                links: u64::from(stat.st_nlink as u32),
                is_directory: is_directory(stat.st_mode),
                allocated_bytes: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
                is_mount_point: false,
            })
        }
        Err(errno) => Err(failure(errno)),
    }
}

fn of_statx(status: &Statx) -> EntryStatus {
    let has_mount = status.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    EntryStatus {
        filesystem: Filesystem {
            device: (status.stx_dev_major, status.stx_dev_minor),
            mount_id: has_mount.then_some(status.stx_mnt_id),
        },
        inode: status.stx_ino,
        links: u64::from(status.stx_nlink),
        is_directory: is_directory(u32::from(status.stx_mode)),
        allocated_bytes: status.stx_blocks.saturating_mul(512),
        is_mount_point: status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
    }
}

fn is_directory(mode: u32) -> bool {
    rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::Directory
}

fn failure(errno: rustix::io::Errno) -> ReadFailure {
    Errno::from_raw(errno.raw_os_error()).into()
}
