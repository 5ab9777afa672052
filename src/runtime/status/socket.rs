//! The unix socket of the status server, for the agent's own user and root only.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::time::timeout;

use crate::runtime::error::SocketBindError;

/// Read and write for the owner, which connecting needs.
const MODE: u32 = 0o600;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;

/// The longest wait for a connection to another agent's socket.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The file of a bound socket. Dropping it removes the file, unless another has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    is: Option<(u64, u64)>,
}

impl SocketFile {
    fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), is: identity(path).ok() }
    }

    /// True if the path still names the bound socket.
    pub(super) fn is_there(&self) -> bool {
        self.is.is_some() && identity(&self.path).ok() == self.is
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Binds to `path`. The socket of an agent that has ended is replaced.
///
/// # Errors
/// Another agent answers there, or another kind of file has the path.
pub(super) async fn bind(path: &Path) -> Result<(UnixListener, SocketFile), SocketBindError> {
    match listen(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        bound => return Ok(bound?),
    }
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(SocketBindError::NoSocket);
    }
    match timeout(ALIVE_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Ok(Err(error)) => return Err(error.into()),
        Ok(Ok(_)) | Err(_) => return Err(SocketBindError::OtherAgent),
    }
    fs::remove_file(path)?;
    Ok(listen(path)?)
}

fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let socket = UnixSocket::new_stream()?;
    // The file gets the mode of the socket, so that no other user can ever connect. Some kernels
    // ignore it; then the mode is set only after the bind.
    let _ = rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(MODE));
    socket.bind(path)?;
    let file = SocketFile::of(path);
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    Ok((socket.listen(BACKLOG)?, file))
}
