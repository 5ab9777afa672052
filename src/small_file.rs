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

/// The largest token, in bytes. Service-account tokens have some 1200 bytes.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// The reason why a text is no token that a header can hold. It repeats nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("it has a line break inside")]
    LineBreak,
    #[error("it has white space inside")]
    WhiteSpace,
    #[error("it has a control character inside")]
    ControlCharacter,
    #[error("it has a character that is not ASCII")]
    NotAscii,
}

/// Errors of a token file. They hold nothing of its text.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token file {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the token file {} holds no token: {fault}", path.display())]
    NoToken { path: PathBuf, fault: TokenFault },
}

/// The text without the white space around it, if that is a token. Every token passes here, from
/// whatever place, before it becomes a header.
///
/// # Errors
/// The text is empty, too long or no ASCII word.
pub(crate) fn trimmed_token(text: &str) -> Result<&str, TokenFault> {
    let token = text.trim();
    if token.is_empty() {
        return Err(TokenFault::Empty);
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenFault::TooLong);
    }
    match token.chars().find(|c| !c.is_ascii_graphic()) {
        None => Ok(token),
        Some('\n' | '\r') => Err(TokenFault::LineBreak),
        Some(c) if c.is_whitespace() => Err(TokenFault::WhiteSpace),
        Some(c) if c.is_control() => Err(TokenFault::ControlCharacter),
        Some(_) => Err(TokenFault::NotAscii),
    }
}

/// A bearer token: the file's text without the white space around it.
///
/// # Errors
/// The file cannot be read, or its text is no token.
pub(crate) fn read_token(path: &Path) -> Result<String, TokenError> {
    let (bytes, _) = read(path, TOKEN_BYTES_MAX)
        .map_err(|source| TokenError::Unreadable { path: path.to_owned(), source })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| TokenFault::NotUtf8);
    let token = text.and_then(trimmed_token);
    let token = token.map_err(|fault| TokenError::NoToken { path: path.to_owned(), fault })?;
    Ok(token.to_owned())
}

/// The value of a header: the file's text without the white space around it, which may have spaces
/// inside.
///
/// # Errors
/// The file cannot be read, or its text is no value of a header.
pub(crate) fn read_header_value(path: &Path) -> Result<String, TokenError> {
    let (bytes, _) = read(path, TOKEN_BYTES_MAX)
        .map_err(|source| TokenError::Unreadable { path: path.to_owned(), source })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| TokenFault::NotUtf8).map(str::trim);
    let words = text.and_then(|text| {
        trimmed_token(&text.replace(' ', ""))?;
        Ok(text.to_owned())
    });
    words.map_err(|fault| TokenError::NoToken { path: path.to_owned(), fault })
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
        for (bad, fault) in [
            (&b""[..], "it is empty"),
            (b" \r\n", "it is empty"),
            (b"hunter2\nhunter2\n", "it has a line break inside"),
            (b"hunter2\rhunter2", "it has a line break inside"),
            (b"Bearer hunter2", "it has white space inside"),
            (b"hunter2\x1b", "it has a control character inside"),
            (b"hunter2\0", "it has a control character inside"),
            ("hunter2é".as_bytes(), "it has a character that is not ASCII"),
            ("\u{feff}hunter2".as_bytes(), "it has a character that is not ASCII"),
            (b"hunter2\xff", "it is not UTF-8"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let error = read_token(&path).unwrap_err().to_string();
            assert!(error.ends_with(&format!("holds no token: {fault}")), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(
            read_token(&path).unwrap_err().to_string().contains("cannot be read: No such file")
        );
    }
}
