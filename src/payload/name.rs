//! Names of nodes, namespaces and pods as segments of a path.

use thiserror::Error;

/// The longest name of a node, namespace or pod, in characters: the longest DNS subdomain, which is
/// what Kubernetes allows.
pub const NAME_CHARS_MAX: usize = 253;

/// The reason why a name cannot be a segment of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    #[error("an empty name")]
    Empty,
    #[error("a name longer than {NAME_CHARS_MAX} characters")]
    TooLong,
    /// Clients and proxies resolve `.` and `..` away, percent-encoded or not.
    #[error("a name that is `.` or `..`")]
    DotSegment,
    #[error("a name with a control character")]
    Control,
}

/// Checks that `name` can be one segment of a path.
///
/// # Errors
/// Says what is wrong with the name.
pub fn check_name(name: &str) -> Result<(), NameError> {
    match name {
        "" => Err(NameError::Empty),
        "." | ".." => Err(NameError::DotSegment),
        _ if name.chars().count() > NAME_CHARS_MAX => Err(NameError::TooLong),
        _ if name.chars().any(char::is_control) => Err(NameError::Control),
        _ => Ok(()),
    }
}
