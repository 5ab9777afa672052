//! The unix socket that the agent answers on: for its own user and root alone.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::time::timeout;

/// Reads and writes of the owner, which is what it takes to connect.
const MODE: u32 = 0o600;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;

/// The longest wait for a connection to another agent's socket.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The file of a socket that is bound. It goes with this, unless another has taken its place.
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

/// Binds to `path`. A socket that a dead agent left there is replaced; one that somebody answers
/// on is not, nor is anything that is no socket.
///
/// # Errors
/// In a few words, why not.
pub(super) async fn bind(path: &Path) -> Result<(UnixListener, SocketFile), String> {
    match listen(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        bound => return bound.map_err(|error| error.to_string()),
    }
    let left_behind = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !left_behind.file_type().is_socket() {
        return Err("it is there and no socket".to_owned());
    }
    match timeout(ALIVE_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Ok(Err(error)) => return Err(error.to_string()),
        Ok(Ok(_)) | Err(_) => return Err("another agent answers there".to_owned()),
    }
    fs::remove_file(path).map_err(|error| error.to_string())?;
    listen(path).map_err(|error| error.to_string())
}

fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let socket = UnixSocket::new_stream()?;
    // What is bound takes the mode of the socket, so that at no moment another may connect. Where
    // it does not, the second is all there is.
    let _ = rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(MODE));
    socket.bind(path)?;
    let file = SocketFile::of(path);
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    Ok((socket.listen(BACKLOG)?, file))
}
