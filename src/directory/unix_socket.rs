//! Connections to sockets of the host, and why there is none.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

/// `None`: there is no such socket.
///
/// # Errors
/// One line with the path: no right to it, nobody behind it, or nobody takes the connection.
pub(super) async fn connect(path: &Path, within: Duration) -> Result<Option<UnixStream>, String> {
    let error = match timeout(within, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => return Ok(Some(stream)),
        Ok(Err(error)) => error,
        Err(_) => return Err(format!("{}: {}", path.display(), no_answer(within))),
    };
    let reason = match error.kind() {
        io::ErrorKind::NotFound => return Ok(None),
        io::ErrorKind::PermissionDenied => {
            "permission denied; run as root or as a member of the socket's group".to_owned()
        }
        io::ErrorKind::ConnectionRefused => {
            "connection refused; it is no socket, or nobody listens on it".to_owned()
        }
        _ => error.to_string(),
    };
    Err(format!("{}: {reason}", path.display()))
}

pub(super) fn absent(path: &Path) -> String {
    format!("{}: there is no such socket", path.display())
}

pub(super) fn no_answer(within: Duration) -> String {
    format!("no answer within {}", humantime::format_duration(within))
}
