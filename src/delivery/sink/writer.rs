//! Appends whole lines to standard output or a file, and rotates the file.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{Access, Mode, OFlags, access, open};
use thiserror::Error;

/// The wait where standard output is full and does not block.
const FULL_WAIT: Duration = Duration::from_millis(20);

const IS_LINK: &str = "it is a link, and links are not followed there";
const IS_IRREGULAR: &str = "it is no regular file";
const IS_DIRECTORY: &str = "it is a directory; name a file in it";

/// The reason why a file cannot be opened or made, and what would change that.
fn reason(path: &Path, error: &io::Error) -> String {
    let dir = path.parent().unwrap_or(path).display();
    match error.kind() {
        // Of the file itself it would be no error: it is made.
        ErrorKind::NotFound => format!("its directory {dir} does not exist; make it"),
        ErrorKind::NotADirectory => format!("{dir} is no directory"),
        ErrorKind::IsADirectory => IS_DIRECTORY.to_owned(),
        ErrorKind::PermissionDenied => {
            format!(
                "permission denied; the agent's user must be allowed to write to it and to {dir}"
            )
        }
        ErrorKind::ReadOnlyFilesystem => {
            format!("{dir} is read-only for the agent; name a directory that it may write to")
        }
        _ => error.to_string(),
    }
}

/// The place that lines are appended to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkTarget {
    Stdout,
    File {
        path: PathBuf,
        /// `None`: the file grows until another program moves or empties it.
        rotation: Option<Rotation>,
    },
}

impl SinkTarget {
    /// Tries whether lines could be appended. A file that is missing is not made.
    ///
    /// # Errors
    /// The reason why not, in words.
    pub fn check(&self) -> Result<(), String> {
        let Self::File { path, rotation } = self else { return Ok(()) };
        let dir = path.parent().unwrap_or(path);
        let may_write = |path: &Path| access(path, Access::WRITE_OK).map_err(io::Error::from);
        let tried = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => Err(io::Error::other(IS_LINK)),
            Ok(metadata) if metadata.is_dir() => Err(io::Error::other(IS_DIRECTORY)),
            Ok(metadata) if !metadata.is_file() => Err(io::Error::other(IS_IRREGULAR)),
            Ok(_) => may_write(path).and_then(|()| match rotation {
                Some(_) => may_write(dir),
                None => Ok(()),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => may_write(dir),
            Err(error) => Err(error),
        };
        tried.map_err(|error| format!("cannot be written to: {}", reason(path, &error)))
    }
}

/// The path, or the words for standard output.
impl fmt::Display for SinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::File { path, .. } => path.display().fmt(f),
        }
    }
}

/// The rotation of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// The size that a file does not exceed, unless one sample does.
    pub bytes_max: u64,
    /// The older files that are kept, as `PATH.1` (the newest), `PATH.2`, …; at least 1.
    pub kept: usize,
}

/// The reason why lines are not there.
#[derive(Debug, Error)]
pub(super) enum SinkError {
    #[error("cannot be opened: {0}")]
    Open(String),
    #[error("cannot be written to: {0}")]
    Write(io::Error),
    #[error("cannot be rotated: {0}")]
    Rotate(io::Error),
    #[error("has no thread to write to it: {0}")]
    Thread(io::Error),
}

/// Appends to one target. Each call may block for as long as the target does.
#[derive(Debug)]
pub(super) struct LineWriter {
    target: SinkTarget,
    /// `None`: it is to be opened.
    open: Option<File>,
    /// Standard output ends within a line.
    within_line: bool,
}

impl LineWriter {
    pub(super) const fn new(target: SinkTarget) -> Self {
        Self { target, open: None, within_line: false }
    }

    /// Appends lines, all or none of them as far as the target allows.
    ///
    /// # Errors
    /// They are not there, or not all of them. The next call opens the file anew.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), SinkError> {
        match &self.target {
            SinkTarget::Stdout => self.append_to_stdout(lines),
            SinkTarget::File { path, rotation } => {
                // Moved or removed by another program, such as logrotate.
                let current = self.open.take().filter(|file| is_at(file, path));
                let file = append_to_file(current, path, *rotation, lines)?;
                self.open = Some(file);
                Ok(())
            }
        }
    }

    fn append_to_stdout(&mut self, lines: &[u8]) -> Result<(), SinkError> {
        let out = match self.open.take() {
            Some(out) => out,
            // Without the buffer of `Stdout`, which would write half a line later.
            None => {
                let own = io::stdout().as_fd().try_clone_to_owned();
                File::from(own.map_err(|error| SinkError::Open(error.to_string()))?)
            }
        };
        let out = self.open.insert(out);
        if self.within_line {
            write_all(out, b"\n").1.map_err(SinkError::Write)?;
            self.within_line = false;
        }
        let (written, outcome) = write_all(out, lines);
        self.within_line = written > 0 && lines.get(written - 1) != Some(&b'\n');
        outcome.map_err(SinkError::Write)
    }
}

/// The number of bytes that were written, and why it was not all.
fn write_all(mut out: &File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match out.write(rest) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_WAIT),
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Appends to the file, which is opened if there is no `current` one, and returns it.
fn append_to_file(
    current: Option<File>,
    path: &Path,
    rotation: Option<Rotation>,
    lines: &[u8],
) -> Result<File, SinkError> {
    let opened = || open_at(path).map_err(|error| SinkError::Open(reason(path, &error)));
    let mut file = current.map_or_else(opened, Ok)?;
    let length_of = |file: &File| file.metadata().map(|it| it.len()).map_err(SinkError::Write);
    let mut length = length_of(&file)?;
    if let Some(Rotation { bytes_max, kept }) = rotation
        && length > 0
        && length.saturating_add(lines.len() as u64) > bytes_max
    {
        rotate(path, kept).map_err(SinkError::Rotate)?;
        file = opened()?;
        length = length_of(&file)?;
    }
    match write_all(&file, lines) {
        (_, Ok(())) => Ok(file),
        (_, Err(error)) => {
            // Half a line would spoil the next. Where it stays, opening the file ends it.
            let _ = file.set_len(length);
            Err(SinkError::Write(error))
        }
    }
}

/// Opens a regular file for appending, or makes it, and ends a line that an earlier run began.
fn open_at(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK a FIFO would block until somebody reads it.
    let flags = OFlags::RDWR
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::RUSR | Mode::WUSR | Mode::RGRP) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => {
            return Err(io::Error::other(IS_LINK));
        }
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(IS_IRREGULAR));
    }
    let mut last = [b'\n'];
    if let Some(at) = metadata.len().checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    if last != [b'\n'] {
        write_all(&file, b"\n").1?;
    }
    Ok(file)
}

/// `true` where the open file is the one at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let open = file.metadata().map(id).ok();
    open.is_some() && open == fs::symlink_metadata(path).map(id).ok()
}

/// Renames the file to `PATH.1`, and older ones to the next number. The oldest goes.
fn rotate(path: &Path, kept: usize) -> io::Result<()> {
    let numbered = |number: usize| {
        let mut name = OsString::from(path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..kept).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test reads the files that it made")]

    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn writer(path: &Path, rotation: Option<Rotation>) -> LineWriter {
        LineWriter::new(SinkTarget::File { path: path.to_owned(), rotation })
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_are_appended_and_half_a_line_of_before_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ndjson");
        writer(&path, None).append(b"1\n2\n").unwrap();
        writer(&path, None).append(b"3\n").unwrap();
        assert_eq!(text(&path), "1\n2\n3\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
        fs::write(&path, "1\n{\"cut").unwrap();
        writer(&path, None).append(b"4\n").unwrap();
        assert_eq!(text(&path), "1\n{\"cut\n4\n");
    }

    #[test]
    fn a_file_is_renamed_before_it_would_be_too_large_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut writer = writer(&path, Some(Rotation { bytes_max: 8, kept: 2 }));
        let lines = |number: usize| format!("{number}ab\n").into_bytes();
        for number in 0..9 {
            writer.append(&lines(number)).unwrap();
        }
        let at = |name: &str| text(&dir.path().join(name));
        assert_eq!(
            (at("x"), at("x.1"), at("x.2")),
            ("8ab\n".into(), "6ab\n7ab\n".into(), "4ab\n5ab\n".into())
        );
        // More than a file may have, as one sample.
        writer.append(b"0123456789\n").unwrap();
        writer.append(b"z\n").unwrap();
        assert_eq!(
            (at("x"), at("x.1"), at("x.2")),
            ("z\n".into(), "0123456789\n".into(), "8ab\n".into())
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_that_another_program_moves_removes_or_empties_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut writer = writer(&path, None);
        writer.append(b"1\n").unwrap();
        fs::rename(&path, dir.path().join("old")).unwrap();
        writer.append(b"2\n").unwrap();
        assert_eq!((text(&dir.path().join("old")), text(&path)), ("1\n".into(), "2\n".into()));
        fs::remove_file(&path).unwrap();
        writer.append(b"3\n").unwrap();
        assert_eq!(text(&path), "3\n");
        fs::write(&path, "").unwrap();
        writer.append(b"4\n").unwrap();
        assert_eq!(text(&path), "4\n");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink(dir.path().join("target"), &link).unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (path, part) in [
            (link, "it is a link"),
            (fifo, "no regular file"),
            (dir.path().to_owned(), "it is a directory; name a file in it"),
            (dir.path().join("no/such"), "/no does not exist; make it"),
            (PathBuf::from("/dev/null"), "no regular file"),
            (PathBuf::from("/dev/null/x"), "/dev/null is no directory"),
        ] {
            let error = writer(&path, None).append(b"1\n").unwrap_err().to_string();
            assert!(error.contains("cannot be opened") && error.contains(part), "{error}");
            // What is asked beforehand says the same.
            let target = SinkTarget::File { path: path.clone(), rotation: None };
            let error = target.check().unwrap_err();
            assert!(error.contains("cannot be written to: ") && error.contains(part), "{error}");
        }
        assert!(!dir.path().join("target").exists());
    }

    /// Root is denied nothing, so the errors are made here.
    #[test]
    fn an_error_says_what_would_change_it() {
        use nix::libc::{EACCES, EIO, EISDIR, ENOENT, ENOTDIR, EROFS};
        for (errno, expected) in [
            (ENOENT, "its directory /var/log/a does not exist; make it"),
            (ENOTDIR, "/var/log/a is no directory"),
            (EISDIR, "it is a directory; name a file in it"),
            (
                EACCES,
                "permission denied; the agent's user must be allowed to write to it and to /var/log/a",
            ),
            (EROFS, "/var/log/a is read-only for the agent; name a directory that it may write to"),
            (EIO, "Input/output error (os error 5)"),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(reason(Path::new("/var/log/a/x"), &error), expected);
        }
    }

    #[test]
    fn lines_without_room_leave_no_half_line() {
        // A limit of this process would be that of all tests; a full device is no regular file.
        let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else { return };
        let (written, outcome) = write_all(&full, b"1\n");
        assert_eq!((written, outcome.unwrap_err().kind()), (0, ErrorKind::StorageFull));
    }
}
