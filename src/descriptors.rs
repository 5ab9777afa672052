//! The limit of file descriptors of the process (RLIMIT_NOFILE), and the text of an error where it
//! is the cause.
//!
//! An error for lack of descriptors comes up wherever a file is opened or a server is reached. It is
//! never that file's or server's fault, so the text names the limit and the remedy.

use std::error::Error;
use std::io;
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The largest useful limit: a file and a directory for each followed cgroup, and connections.
const USEFUL: u64 = 65_536;

/// The number of descriptors that the process may have.
#[must_use]
pub fn limit() -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    usize::try_from(soft).unwrap_or(usize::MAX)
}

/// Raises the soft limit to the hard one, up to the largest useful. Where that is denied, the limit
/// stays, and the sampler opens more files for each reading.
pub fn raise_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(USEFUL).max(soft), hard);
    }
}

const NONE_LEFT: &str = "the agent has no file descriptor left (RLIMIT_NOFILE): raise LimitNOFILE= \
    of its unit, or `ulimit -n`";
const NONE_LEFT_OF_SYSTEM: &str =
    "the system has no file descriptor left: raise the sysctl fs.file-max";

/// True for a text that begins with that of a lack of descriptors, as the functions here write it.
#[must_use]
pub fn is_shortage(text: &str) -> bool {
    [NONE_LEFT, NONE_LEFT_OF_SYSTEM].iter().any(|start| text.starts_with(start))
}

/// The text of an errno that means a lack of descriptors; `None` for any other.
#[must_use]
pub fn shortage_of(errno: i32) -> Option<&'static str> {
    match Errno::from_raw(errno) {
        Errno::EMFILE => Some(NONE_LEFT),
        Errno::ENFILE => Some(NONE_LEFT_OF_SYSTEM),
        _ => None,
    }
}

/// The text of an error that a lack of descriptors caused; `None` for any other.
#[must_use]
pub fn shortage(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if let Some(text) = io.and_then(io::Error::raw_os_error).and_then(shortage_of) {
            return Some(text);
        }
        // An io::Error hides the error that it wraps: its source is that error's source.
        cause = match io.and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// The text where the process has no descriptor left right now, for errors without an errno: of
/// SQLite, or of a name that could not be looked up.
#[must_use]
pub fn present_shortage() -> Option<&'static str> {
    let tried = io::stderr().as_fd().try_clone_to_owned();
    tried.err().and_then(|error| shortage(&error))
}

/// The text of an error of the system, with the remedy if it is for lack of descriptors.
#[must_use]
pub fn describe(error: &io::Error) -> String {
    shortage(error).map_or_else(|| error.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_found_in_any_depth_of_causes_and_nothing_else_is() {
        let short = || io::Error::from_raw_os_error(Errno::EMFILE as i32);
        let expected = shortage_of(Errno::EMFILE as i32);
        assert!(expected.is_some_and(|text| text.contains("LimitNOFILE=")));
        assert_eq!(shortage(&short()), expected);
        assert_eq!(shortage(&io::Error::other(short())), expected);
        assert_eq!(shortage(&io::Error::other(io::Error::other(short()))), expected);
        let file_table = io::Error::from_raw_os_error(Errno::ENFILE as i32);
        assert!(describe(&file_table).contains("fs.file-max"));
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(shortage(&refused), None);
        assert_eq!(describe(&refused), "connection refused");
        assert_eq!(present_shortage(), None);
        assert!(is_shortage(&describe(&short())) && is_shortage(&describe(&file_table)));
        assert!(!is_shortage(&describe(&refused)));
    }
}
