//! Small files that are read again when they change: tokens, certificates, keys, the file of names.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

/// The identity of a file's content: it changes when the file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size_bytes: u64,
    mtime: (i64, i64),
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// The stamp of the file at `path` now; links are followed.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&std::fs::metadata(path)?))
    }
}

/// A regular file's bytes and its stamp from before they were read.
///
/// # Errors
/// The file cannot be opened or read, is no regular file, or is larger than `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: usize) -> io::Result<(Vec<u8>, Stamp)> {
    // Without O_NONBLOCK a fifo in the file's place would block this thread.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::other(format!("larger than {bytes_max} bytes")));
    }
    Ok((bytes, Stamp::of(&metadata)))
}

/// The largest token file, in bytes. Service-account tokens have some 1200 bytes.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// Errors of a token file. They hold nothing of its text.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token file {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the token file {} holds no token", .0.display())]
    NoToken(PathBuf),
}

/// A bearer token: the file's text without the white space around it.
///
/// # Errors
/// The file cannot be read, or its text is empty or no ASCII word.
pub(crate) fn read_token(path: &Path) -> Result<String, TokenError> {
    let (bytes, _) = read(path, TOKEN_BYTES_MAX)
        .map_err(|source| TokenError::Unreadable { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::NoToken(path.to_owned()));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_or_no_file_is_refused_and_a_rewrite_shows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("names");
        std::fs::write(&path, "four").unwrap();
        let (bytes, stamp) = read(&path, 4).unwrap();
        assert_eq!(bytes, b"four");
        assert_eq!(Stamp::read(&path).unwrap(), stamp);
        assert!(read(&path, 3).unwrap_err().to_string().contains("larger than 3 bytes"));
        assert_eq!(
            read(dir.path(), 10).unwrap_err().to_string(),
            "not a regular file",
            "a directory opens"
        );
        let other = dir.path().join("other");
        std::fs::write(&other, "five").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(Stamp::read(&path).unwrap(), stamp);
    }

    #[test]
    fn a_token_is_trimmed_and_never_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let token = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_token(&path)
        };
        assert_eq!(token("abc.def\n").unwrap(), "abc.def");
        for bad in ["", "\n", "hunter2 hunter2", "hunter2\u{1b}", "hunter2é"] {
            let error = token(bad).unwrap_err().to_string();
            assert!(error.ends_with("holds no token") && !error.contains("hunter2"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(
            read_token(&path).unwrap_err().to_string().contains("cannot be read: No such file")
        );
    }
}
