//! Connections to unix sockets of the host.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

use super::error::SocketError;

/// Connects to the socket at `path`.
///
/// # Errors
/// [`SocketError::Absent`]: there is no such socket. Else there is no right to it, or nothing accepts
/// the connection.
pub(super) async fn connect(path: &Path, within: Duration) -> Result<UnixStream, SocketError> {
    let connecting = timeout(within, UnixStream::connect(path));
    let connected = connecting.await.map_err(|_| SocketError::NoAnswer(within))?;
    connected.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SocketError::Absent,
        io::ErrorKind::PermissionDenied => SocketError::PermissionDenied(error),
        io::ErrorKind::ConnectionRefused => SocketError::Refused(error),
        _ => SocketError::Io(error),
    })
}
