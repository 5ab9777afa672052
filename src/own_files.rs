//! Files of the agent's own, in its state directory and its spool.
//!
//! The agent may run as root, and it writes and removes here without asking. So nobody else may write
//! to these directories, no link is followed in them, and only regular files of a limited size are
//! read: a link would lead to foreign files, a FIFO would block the thread, a device has no end.

use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock, open};

const WRITE_BY_GROUP: u32 = 0o020;
const WRITE_BY_OTHERS: u32 = 0o002;
/// In such a directory, users can remove and rename only their own files (the root of a tmpfs).
const STICKY: u32 = 0o1000;

/// The name of the file that an agent locks while it uses a directory.
const LOCK_NAME: &str = "lock";

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// Checks that only root and the agent's own user can write to a file or directory.
fn check_owner(metadata: &Metadata) -> io::Result<()> {
    let (own_user, own_group) = (rustix::process::geteuid(), rustix::process::getegid());
    let owner = metadata.uid();
    if owner != 0 && owner != own_user.as_raw() {
        return Err(refused(format!(
            "it belongs to user {owner}, and only root and the agent's own user may own it"
        )));
    }
    let is_own_group = metadata.gid() == 0 || metadata.gid() == own_group.as_raw();
    let mode = metadata.mode();
    if metadata.is_dir() && mode & STICKY != 0 {
        // What others put there is theirs, and refused.
        return Ok(());
    }
    if mode & WRITE_BY_OTHERS != 0 || mode & WRITE_BY_GROUP != 0 && !is_own_group {
        let mode = mode & 0o7777;
        return Err(refused(format!("other users may write to it (mode {mode:04o})")));
    }
    Ok(())
}

/// Makes a directory of the agent's own, with its parents, if it is missing, and checks it. The
/// directory may be reached through a link of its owner, as under systemd's `DynamicUser=`.
///
/// # Errors
/// It cannot be made, is no directory, or other users may write to it.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    check_dir(dir)
}

/// Checks a directory as [`make_dir`] does.
///
/// Others may be allowed to write to a directory that belongs to the agent's user: that of an
/// emptyDir volume has the mode 0777. It gets the sticky bit then, so that they can remove or
/// replace nothing of the agent's.
///
/// # Errors
/// It is missing, is no directory, or other users may write to it.
pub(crate) fn check_dir(dir: &Path) -> io::Result<()> {
    let entry = std::fs::symlink_metadata(dir)?;
    if entry.is_symlink() {
        // Its mode says nothing.
        let own_user = rustix::process::geteuid().as_raw();
        if entry.uid() != 0 && entry.uid() != own_user {
            return Err(refused(format!("it is a link of user {}", entry.uid())));
        }
    }
    let metadata = std::fs::metadata(dir)?;
    if !metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    check_owner(&metadata).or_else(|refusal| match set_sticky(dir) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(refusal),
    })
}

/// Sets the sticky bit of a directory of the agent's user; false if it belongs to another one.
fn set_sticky(dir: &Path) -> io::Result<bool> {
    let opened = File::from(open(dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?);
    let metadata = opened.metadata()?;
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
    if is_own {
        fchmod(&opened, Mode::from_raw_mode(metadata.mode() | STICKY))?;
    }
    Ok(is_own)
}

/// Checks a directory within one of the agent's own: it is no link.
///
/// # Errors
/// It is missing, is a link or no directory, or other users may write to it.
pub(crate) fn check_inner_dir(dir: &Path) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(dir)?;
    if metadata.is_symlink() {
        return Err(refused("it is a link, and links are not followed there".to_owned()));
    }
    if !metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    check_owner(&metadata)
}

fn opened(path: &Path, flags: OFlags) -> io::Result<File> {
    // Without O_NONBLOCK a FIFO would block this thread.
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => {
            return Err(refused("it is a link, and links are not followed there".to_owned()));
        }
        Err(rustix::io::Errno::NXIO) => return Err(refused("it is no regular file".to_owned())),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refused("it is no regular file".to_owned()));
    }
    check_owner(&metadata)?;
    Ok(file)
}

/// Opens a regular file for reading.
///
/// # Errors
/// It is missing, is a link or no regular file, or other users may write to it.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    opened(path, OFlags::RDONLY)
}

/// Opens a regular file for writing over parts of it.
///
/// # Errors
/// It is missing, is a link or no regular file, or other users may write to it.
pub(crate) fn open_to_write(path: &Path) -> io::Result<File> {
    opened(path, OFlags::WRONLY)
}

/// The bytes of a regular file.
///
/// # Errors
/// It is missing, is a link or no regular file, is larger than `bytes_max`, or other users may write
/// to it.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = open_to_read(path)?;
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {bytes_max} bytes"),
        ));
    }
    Ok(bytes)
}

/// Creates a file for its owner only. What has its name is removed first, and never written to: a
/// link is removed itself.
///
/// # Errors
/// It cannot be created, or a directory has its name.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let new = || open(path, flags, Mode::RUSR | Mode::WUSR);
    match new() {
        Err(rustix::io::Errno::EXIST) => {
            std::fs::remove_file(path)?;
            Ok(File::from(new()?))
        }
        created => Ok(File::from(created?)),
    }
}

/// The lock of a directory, which one agent holds while it runs. The kernel releases it with the
/// process, however that ends.
#[derive(Debug)]
pub struct DirLock {
    _file: OwnedFd,
}

/// A reason why a directory cannot be locked.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process has it, with this pid if the file says so.
    Held {
        pid: Option<u32>,
    },
    Io(io::Error),
}

/// Locks a directory of the agent's own. The pid is in the file `lock` for whoever looks.
///
/// # Errors
/// Another process has locked it, or the file cannot be written.
pub(crate) fn lock(dir: &Path) -> Result<DirLock, LockError> {
    let mut file =
        opened(&dir.join(LOCK_NAME), OFlags::RDWR | OFlags::CREATE).map_err(LockError::Io)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // What cannot be read leaves the pid unknown.
            let _ = (&file).take(16).read_to_string(&mut text);
            return Err(LockError::Held { pid: text.trim().parse().ok() });
        }
        Err(error) => return Err(LockError::Io(error.into())),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(LockError::Io)?;
    Ok(DirLock { _file: file.into() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test reads the files that it made")]

    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn fifo(path: &Path) {
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    #[test]
    fn only_regular_files_of_a_limited_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "four").unwrap();
        assert_eq!(read(&at("file"), 4).unwrap(), b"four");
        let error = |name: &str| read(&at(name), 3).unwrap_err().to_string();
        assert_eq!(error("file"), "it is larger than 3 bytes");
        symlink(at("file"), at("link")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink("nothing", at("dangling")).unwrap();
        for link in ["link", "zero", "dangling"] {
            assert_eq!(error(link), "it is a link, and links are not followed there");
        }
        fifo(&at("fifo"));
        std::fs::create_dir(at("dir")).unwrap();
        for other in ["fifo", "dir"] {
            assert_eq!(error(other), "it is no regular file");
        }
        assert_eq!(open_to_write(&at("fifo")).unwrap_err().to_string(), "it is no regular file");
        std::fs::set_permissions(at("file"), PermissionsExt::from_mode(0o606)).unwrap();
        assert_eq!(error("file"), "other users may write to it (mode 0606)");
        assert_eq!(read(&at("none"), 3).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_has_the_name_of_a_new_file_is_never_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("foreign"), "foreign").unwrap();
        symlink(at("foreign"), at("link")).unwrap();
        std::fs::hard_link(at("foreign"), at("hard")).unwrap();
        fifo(&at("fifo"));
        for name in ["link", "hard", "fifo", "new"] {
            create(&at(name)).unwrap().write_all(b"own").unwrap();
            assert_eq!(read(&at(name), 9).unwrap(), b"own", "{name}");
            let mode = std::fs::symlink_metadata(at(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(std::fs::read_to_string(at("foreign")).unwrap(), "foreign");
        std::fs::create_dir(at("dir")).unwrap();
        assert!(create(&at("dir")).is_err());
    }

    #[test]
    fn a_directory_that_others_may_write_to_gets_the_sticky_bit() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("deep/own");
        make_dir(&own).unwrap();
        assert_eq!(std::fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o700);
        symlink(&own, dir.path().join("link")).unwrap();
        make_dir(&dir.path().join("link")).unwrap();
        assert!(check_inner_dir(&dir.path().join("link")).is_err());
        check_inner_dir(&own).unwrap();
        let mode_of = || std::fs::metadata(&own).unwrap().permissions().mode() & 0o7777;
        // An emptyDir volume, one with an fsGroup, and one of a careless hand.
        for mode in [0o777, 0o2777, 0o702] {
            std::fs::set_permissions(&own, PermissionsExt::from_mode(mode)).unwrap();
            // Within a directory of the agent's own, nobody else has put it there.
            let error = check_inner_dir(&own).unwrap_err().to_string();
            assert_eq!(error, format!("other users may write to it (mode {mode:04o})"));
            make_dir(&own).unwrap();
            assert_eq!(mode_of(), mode | 0o1000);
            check_dir(&own).unwrap();
        }
        std::fs::set_permissions(&own, PermissionsExt::from_mode(0o755)).unwrap();
        make_dir(&own).unwrap();
        assert_eq!(mode_of(), 0o755, "what is right stays as it is");
        std::fs::set_permissions(&own, PermissionsExt::from_mode(0o1777)).unwrap();
        make_dir(&own).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(make_dir(&dir.path().join("file")).is_err());
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let foreign = dir.path().join("foreign");
        std::fs::create_dir(&foreign).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        symlink(&foreign, dir.path().join("link")).unwrap();
        for name in ["foreign", "file", "link"] {
            std::os::unix::fs::lchown(dir.path().join(name), Some(1234), Some(0)).unwrap();
        }
        let error = check_dir(&foreign).unwrap_err().to_string();
        assert!(error.starts_with("it belongs to user 1234"), "{error}");
        let error = read(&dir.path().join("file"), 9).unwrap_err().to_string();
        assert!(error.starts_with("it belongs to user 1234"), "{error}");
        let error = check_dir(&dir.path().join("link")).unwrap_err().to_string();
        assert_eq!(error, "it is a link of user 1234");
    }

    #[test]
    fn a_lock_names_its_holder_and_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        // Of an agent that is dead.
        std::fs::write(dir.path().join("lock"), "4711\n").unwrap();
        let first = lock(dir.path()).unwrap();
        let second = lock(dir.path());
        let own = Some(std::process::id());
        assert!(matches!(&second, Err(LockError::Held { pid }) if *pid == own), "{second:?}");
        drop(first);
        lock(dir.path()).unwrap();
        std::fs::remove_file(dir.path().join("lock")).unwrap();
        symlink("/etc/hostname", dir.path().join("lock")).unwrap();
        assert!(matches!(lock(dir.path()), Err(LockError::Io(_))));
    }
}
