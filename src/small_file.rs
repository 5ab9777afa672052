//! Files of a few lines that are read now and then: tokens, certificates, keys, the file of names.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

/// What changes when a file is written or put in another's place.
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

    /// The stamp of what lies there now, links followed.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&std::fs::metadata(path)?))
    }
}

/// The whole of a regular file with its stamp of before it was read.
///
/// # Errors
/// It cannot be opened or read, is no regular file, or is larger than `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: usize) -> io::Result<(Vec<u8>, Stamp)> {
    // Without O_NONBLOCK a fifo in the file's place would hold up everything on this thread.
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

/// A bearer token: the file's text without the white space around it. It is read for each request,
/// since projected tokens rotate.
///
/// # Errors
/// One line without anything of the file's text.
pub(crate) fn read_token(path: &Path) -> Result<String, String> {
    let (bytes, _) = read(path, TOKEN_BYTES_MAX)
        .map_err(|error| format!("the token file {} cannot be read: {error}", path.display()))?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("the token file {} holds no token", path.display()));
    }
    Ok(token.to_owned())
}

/// Service-account tokens have some 1200 bytes.
const TOKEN_BYTES_MAX: usize = 64 << 10;

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
            let error = token(bad).unwrap_err();
            assert!(error.ends_with("holds no token") && !error.contains("hunter2"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read_token(&path).unwrap_err().contains("cannot be read: No such file"));
    }
}
