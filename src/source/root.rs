//! The only place that opens the kernel's files.
//!
//! Directories are held as descriptors and files are opened below them. So a cgroup that is removed
//! and created again is never mistaken for the earlier one. Every error is one of [`ReadFailure`].

use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::sys::uio::pread;
use rustix::fs::{FileType, RawDir};
use rustix::ioctl::{Getter, Opcode, ioctl};

/// The reason why a file could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFailure {
    /// The kernel does not have the file here: an older version, or a controller that is off
    /// (ENOENT; EOPNOTSUPP from a pressure file of a kernel started with psi=0).
    Absent,
    /// The object behind the file is gone: ENODEV from a removed cgroup, ESRCH from a process
    /// that has exited.
    Gone,
    /// EACCES or EPERM: the agent lacks a right.
    Denied,
    /// The file is larger than [`FILE_BYTES_MAX`].
    TooLarge,
    /// Any other errno.
    Failed(i32),
}

impl ReadFailure {
    /// True if the process (EMFILE) or the system (ENFILE) has no descriptor left.
    #[must_use]
    pub fn is_out_of_descriptors(self) -> bool {
        self == Self::Failed(Errno::EMFILE as i32) || self == Self::Failed(Errno::ENFILE as i32)
    }
}

impl From<Errno> for ReadFailure {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::EOPNOTSUPP => Self::Absent,
            // std has no stable ErrorKind for ENODEV, which is why the raw errno is matched.
            Errno::ENODEV | Errno::ESRCH => Self::Gone,
            Errno::EACCES | Errno::EPERM => Self::Denied,
            other => Self::Failed(other as i32),
        }
    }
}

/// The largest file that is read whole. The kernel's largest here, a `cgroup.procs` of a hundred
/// thousand processes, stays below.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// The smallest page of any architecture.
const PAGE_BYTES_MIN: usize = 4096;

/// Longer than any record of a file of short records: a line of `net/dev` has 16 figures and a name of 15
/// bytes.
const RECORD_BYTES_MAX: usize = 1024;

/// The longest piece of a path that is opened in one step. Up to here nix copies it to the stack.
const PATH_PIECE_BYTES_MAX: usize = 1000;

/// The reused read buffer of the sampler. It grows to the largest file read so far.
pub struct Buffer {
    bytes: Vec<u8>,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { bytes: vec![0; 16 << 10] }
    }
}

impl Buffer {
    fn grow(&mut self) -> Result<(), ReadFailure> {
        let grown = self.bytes.len() * 2;
        if grown > FILE_BYTES_MAX {
            return Err(ReadFailure::TooLarge);
        }
        self.bytes.resize(grown, 0);
        Ok(())
    }

    /// Reads until `is_last` is true of the length of a read. Each read has room for `room` bytes at least.
    fn fill(
        &mut self,
        room: usize,
        is_last: impl Fn(usize) -> bool,
        mut read_at: impl FnMut(&mut [u8], usize) -> Result<usize, ReadFailure>,
    ) -> Result<&[u8], ReadFailure> {
        let mut filled = 0;
        loop {
            if self.bytes.len() - filled < room {
                self.grow()?;
            }
            let read = read_at(&mut self.bytes[filled..], filled)?;
            filled += read;
            if is_last(read) {
                return Ok(&self.bytes[..filled]);
            }
        }
    }
}

/// True if a read of this length left room for another record in the kernel's page.
fn is_last_of_short_records(read: usize) -> bool {
    read < PAGE_BYTES_MIN - RECORD_BYTES_MAX
}

/// A file held open and read repeatedly from its start.
#[derive(Debug)]
pub struct KernelFile {
    fd: OwnedFd,
}

impl KernelFile {
    /// The whole of a file that the kernel writes as one record, in one system call: every cgroup
    /// file but the process lists, and `/proc/<pid>/*` files of one line. Such a file's read stops
    /// short only where the text ends or the buffer does.
    pub fn read_record<'b>(&self, buffer: &'b mut Buffer) -> Result<&'b [u8], ReadFailure> {
        loop {
            let read = self.pread(&mut buffer.bytes, 0)?;
            if read < buffer.bytes.len() {
                return Ok(&buffer.bytes[..read]);
            }
            buffer.grow()?;
        }
    }

    /// The whole of a file of many short records: `cgroup.procs`, `net/dev`. The kernel hands out as many
    /// records a read as fit into its page, so a read that left room for another was the last
    /// (fs/seq_file.c).
    pub fn read_short_records<'b>(&self, buffer: &'b mut Buffer) -> Result<&'b [u8], ReadFailure> {
        // Less room than a page would end a read early.
        buffer.fill(PAGE_BYTES_MIN, is_last_of_short_records, |into, at| self.pread(into, at))
    }

    /// The whole of a file of records of any length (`mountinfo`, `cmdline`; `diskstats`, where a disk is one
    /// record with all of its partitions): only an empty read is the end.
    pub fn read_records<'b>(&self, buffer: &'b mut Buffer) -> Result<&'b [u8], ReadFailure> {
        buffer.fill(1, |read| read == 0, |into, at| self.pread(into, at))
    }

    /// Passes the file's text on piece by piece, so that it may be of any length.
    pub fn for_each_piece(
        &self,
        buffer: &mut Buffer,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), ReadFailure> {
        let mut at = 0;
        loop {
            let read = self.pread(&mut buffer.bytes, at)?;
            if read == 0 {
                return Ok(());
            }
            take(&buffer.bytes[..read]);
            at += read;
        }
    }

    /// The number of the namespace behind a file of `/proc/<pid>/ns`: NS_GET_ID, since Linux 6.18.
    /// Unlike the file's inode it is not given out again within a boot.
    pub fn namespace_number(&self) -> Result<u64, ReadFailure> {
        /// `_IOR(0xb7, 13, __u64)` of include/uapi/linux/nsfs.h.
        const NS_GET_ID: Opcode = rustix::ioctl::opcode::read::<u64>(0xb7, 13);
        // SAFETY: the kernel writes one u64 for this opcode, and a file of another kind refuses it.
        #[expect(unsafe_code, reason = "no safe call of the kernel has the number")]
        let number = unsafe { ioctl(&self.fd, Getter::<NS_GET_ID, u64>::new()) };
        number.map_err(|errno| Errno::from_raw(errno.raw_os_error()).into())
    }

    fn pread(&self, into: &mut [u8], offset: usize) -> Result<usize, ReadFailure> {
        loop {
            match pread(&self.fd, into, offset as i64) {
                Err(Errno::EINTR) => {}
                outcome => return Ok(outcome?),
            }
        }
    }
}

/// A directory held open; names are looked up below its descriptor.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

/// `fstat` of a directory.
#[derive(Debug, Clone, Copy)]
pub struct DirStatus {
    pub inode: u64,
    /// The number of its filesystem. With `inode` it is the directory's identity.
    pub device: u64,
    /// Kernfs keeps this at 2 + subdirectories; other filesystems need not.
    pub links: u64,
    /// The directory is on a cgroup2 filesystem, so `links` and `inode` mean what they say there.
    pub is_cgroup2: bool,
}

impl Dir {
    pub fn open(path: &Path) -> Result<Self, ReadFailure> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        Ok(Self { fd: open(path, flags, Mode::empty())? })
    }

    /// The directory `name` below this one; a symlink is not followed.
    pub fn open_dir(&self, name: &CStr) -> Result<Self, ReadFailure> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        Ok(Self { fd: openat(&self.fd, name, flags, Mode::empty())? })
    }

    /// The directory at `path` below this one, which may begin with a slash, at any depth. The last
    /// component is no symlink. Allocates nothing.
    pub fn open_path(&self, path: &[u8]) -> Result<Self, ReadFailure> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let mut above: Option<OwnedFd> = None;
        let mut rest = path;
        loop {
            while let [b'/', below @ ..] = rest {
                rest = below;
            }
            // The kernel takes no path beyond PATH_MAX, so a long one is opened in pieces.
            let slash = |upto: &[u8]| upto.iter().rposition(|byte| *byte == b'/');
            let end = match rest.get(..PATH_PIECE_BYTES_MAX) {
                Some(start) => slash(start).unwrap_or(rest.len()),
                None => rest.len(),
            };
            let (piece, below) = rest.split_at(end);
            let name = if piece.is_empty() { b"." } else { piece };
            let opened = match &above {
                Some(above) => openat(above, name, flags, Mode::empty())?,
                None => openat(&self.fd, name, flags, Mode::empty())?,
            };
            if below.is_empty() {
                return Ok(Self { fd: opened });
            }
            (above, rest) = (Some(opened), below);
        }
    }

    pub fn open_file(&self, name: &CStr) -> Result<KernelFile, ReadFailure> {
        // O_NONBLOCK: a fifo in a captured tree must not hang the sampler.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        Ok(KernelFile { fd: openat(&self.fd, name, flags, Mode::empty())? })
    }

    /// Opens, reads and closes a one-record file.
    pub fn read_record<'b>(
        &self,
        name: &CStr,
        buffer: &'b mut Buffer,
    ) -> Result<&'b [u8], ReadFailure> {
        self.open_file(name)?.read_record(buffer)
    }

    /// Opens, reads and closes a file of many records.
    pub fn read_records<'b>(
        &self,
        name: &CStr,
        buffer: &'b mut Buffer,
    ) -> Result<&'b [u8], ReadFailure> {
        self.open_file(name)?.read_records(buffer)
    }

    /// Calls `use_target` with the target of the symlink `name`. A target beyond 512 bytes is cut;
    /// namespace and sysfs links are shorter.
    pub fn with_link<T>(
        &self,
        name: &CStr,
        use_target: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, ReadFailure> {
        let mut space = [MaybeUninit::<u8>::uninit(); 512];
        match rustix::fs::readlinkat_raw(&self.fd, name, &mut space) {
            Ok((target, _)) => Ok(use_target(target)),
            Err(errno) => Err(Errno::from_raw(errno.raw_os_error()).into()),
        }
    }

    /// True if `name` exists below this directory, a dangling symlink included.
    pub fn has(&self, name: &CStr) -> bool {
        fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// `stat` of `name`, with links followed.
    pub fn stat(&self, name: &CStr) -> Result<FileStat, ReadFailure> {
        Ok(fstatat(&self.fd, name, AtFlags::empty())?)
    }

    pub fn status(&self) -> Result<DirStatus, ReadFailure> {
        let stat = fstat(&self.fd)?;
        Ok(DirStatus {
            inode: stat.st_ino,
            device: stat.st_dev,
            links: stat.st_nlink as u64,
            is_cgroup2: self.is_cgroup2(),
        })
    }

    /// The number of hard links: a cheap check if subdirectories came or went.
    pub fn links(&self) -> Result<u64, ReadFailure> {
        Ok(fstat(&self.fd)?.st_nlink as u64)
    }

    fn is_cgroup2(&self) -> bool {
        nix::sys::statfs::fstatfs(&self.fd)
            .is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC)
    }

    /// Calls `each` with the name of every entry but `.` and `..` that is a directory, or, where
    /// `symlinks` is set, of every symlink as well (sysfs lists its devices as links). Allocates
    /// nothing. The order is the filesystem's.
    pub fn entries(
        &self,
        kinds: EntryKinds,
        mut each: impl FnMut(&CStr),
    ) -> Result<(), ReadFailure> {
        // Seeking the held descriptor would be shared state, so the listing gets its own.
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let listing = openat(&self.fd, c".", flags, Mode::empty())?;
        let mut space = [MaybeUninit::<u8>::uninit(); 8 << 10];
        let mut entries = RawDir::new(listing.as_fd(), &mut space);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => return Err(Errno::from_raw(errno.raw_os_error()).into()),
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let wanted = match entry.file_type() {
                FileType::Directory => true,
                FileType::Symlink => kinds == EntryKinds::DirsAndLinks,
                FileType::Unknown => fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| {
                        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
                            SFlag::S_IFDIR => true,
                            SFlag::S_IFLNK => kinds == EntryKinds::DirsAndLinks,
                            _ => false,
                        }
                    }),
                _ => false,
            };
            if wanted {
                each(name);
            }
        }
        Ok(())
    }
}

/// The kinds of entries that [`Dir::entries`] lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKinds {
    Dirs,
    DirsAndLinks,
}

/// `path` below `root`, whether or not it starts with a slash.
#[must_use]
pub fn below(root: &Path, path: &[u8]) -> std::path::PathBuf {
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    root.join(OsStr::from_bytes(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_longer_than_the_kernel_takes_is_opened_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let root = Dir::open(folder.path()).unwrap();
        let component = "c".repeat(200);
        let mut path = Vec::new();
        let mut dir = root.open_path(b"/").unwrap();
        for _ in 0..40 {
            let flags = Mode::from_bits_truncate(0o755);
            nix::sys::stat::mkdirat(&dir.fd, component.as_str(), flags).unwrap();
            path.push(b'/');
            path.extend_from_slice(component.as_bytes());
            dir = root.open_path(&path).unwrap();
        }
        assert!(path.len() > 8000);
        let inode = dir.status().unwrap().inode;
        assert_eq!(root.open_path(&path[1..]).unwrap().status().unwrap().inode, inode);
        path.extend_from_slice(b"/absent");
        assert_eq!(root.open_path(&path).unwrap_err(), ReadFailure::Absent);
    }

    #[test]
    fn files_of_any_length_come_whole_either_way() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        let half = Buffer::default().bytes.len() / 2;
        for length in [0, 1, 3071, 3072, 4096, half, 2 * half - 1, 2 * half, 5 * half + 1] {
            let text: Vec<u8> = (0..length).map(|at| b'a' + (at % 23) as u8).collect();
            std::fs::write(folder.path().join("file"), &text).unwrap();
            let file = dir.open_file(c"file").unwrap();
            let mut buffer = Buffer::default();
            assert_eq!(file.read_record(&mut buffer).unwrap(), text, "{length}");
            assert_eq!(file.read_records(&mut buffer).unwrap(), text, "{length}");
            let mut buffer = Buffer::default();
            assert_eq!(file.read_short_records(&mut buffer).unwrap(), text, "{length}");
        }
    }

    /// A file of these records as the kernel hands it out: as many whole records a read as fit into a page,
    /// and the first one in any case (fs/seq_file.c).
    fn handed_out(records: &[usize]) -> impl FnMut(&mut [u8], usize) -> Result<usize, ReadFailure> {
        let ends: Vec<usize> = records
            .iter()
            .scan(0, |end, length| {
                *end += length;
                Some(*end)
            })
            .collect();
        move |into, at| {
            let mut to = at;
            for end in ends.iter().copied().filter(|end| *end > at) {
                if to > at && end - at > PAGE_BYTES_MIN {
                    break;
                }
                to = end;
            }
            let read = (to - at).min(into.len());
            into[..read].fill(b'x');
            Ok(read)
        }
    }

    #[test]
    fn records_of_any_length_come_whole_however_the_kernel_hands_them_out() {
        // A disk with 40 partitions behind a small one is where a short read is no end.
        let cases: [&[usize]; 6] = [
            &[],
            &[100; 200],
            &[100, 4000, 100],
            &[2000, 9000, 70],
            &[5000; 9],
            &[3071, 1026, 3071, 1026],
        ];
        for records in cases {
            let mut buffer = Buffer::default();
            let all = buffer.fill(1, |read| read == 0, handed_out(records)).unwrap().len();
            assert_eq!(all, records.iter().sum::<usize>(), "{records:?}");
            if records.iter().all(|length| *length < RECORD_BYTES_MAX) {
                let mut buffer = Buffer::default();
                let short = buffer
                    .fill(PAGE_BYTES_MIN, is_last_of_short_records, handed_out(records))
                    .unwrap();
                assert_eq!(short.len(), all, "{records:?}");
            }
        }
    }

    #[test]
    fn a_file_of_several_pages_of_short_records_is_not_taken_for_its_first_page() {
        // A stack a thread makes two lines each.
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Arc::new(std::sync::Mutex::new(wait));
        let threads: Vec<_> = (0..120)
            .map(|_| {
                let wait = std::sync::Arc::clone(&wait);
                std::thread::spawn(move || {
                    let _ = wait.lock().map(|wait| wait.recv());
                })
            })
            .collect();
        let dir = Dir::open(Path::new("/proc")).unwrap();
        let (mut short, mut any) = (Buffer::default(), Buffer::default());
        let file = dir.open_file(c"self/maps").unwrap();
        let short = file.read_short_records(&mut short).unwrap().len();
        let any = file.read_records(&mut any).unwrap().len();
        drop(done);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(short > 2 * PAGE_BYTES_MIN, "{short} bytes");
        // Other tests map and unmap beside this one.
        assert!(any.abs_diff(short) < PAGE_BYTES_MIN, "{short} and {any} bytes");
    }
}
