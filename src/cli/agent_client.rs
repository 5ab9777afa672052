//! Requests to a running agent: for its status over its unix socket or a URL, and for its newest sample
//! over the socket.

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ETAG, HOST, IF_NONE_MATCH, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::delivery::{self, BaseUrl, Getter, HttpError};
use crate::payload::status::{PATH, SAMPLE_BYTES_MAX, SAMPLE_PATH, StatusError, StatusReport};

/// The longest time for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest status, in bytes. The status of 32 endpoints has about 64 KiB.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The address of an agent's status server.
pub(super) enum StatusAddress {
    Socket(PathBuf),
    Url(BaseUrl),
}

impl fmt::Display for StatusAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

/// The reason why an agent does not answer, in a few words.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("no answer within {}", humantime::format_duration(TIMEOUT))]
    Timeout,
    #[error("{}", connect_error(.0))]
    Connect(#[source] io::Error),
    #[error("it is a directory; name the socket in it, such as {}", .0.display())]
    Directory(PathBuf),
    #[error("there is a file of that name, which is no socket")]
    NoSocket,
    #[error("no HTTP server: {0}")]
    NoHttp(#[source] hyper::Error),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    #[error("status {} to GET {path}", status.as_u16())]
    StatusCode { path: &'static str, status: StatusCode },
    #[error("an answer of more than {0} bytes")]
    TooLong(usize),
    #[error("the answer broke off: {0}")]
    BrokenOff(Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Http(HttpError),
    #[error(transparent)]
    Malformed(#[from] StatusError),
}

impl AskError {
    /// The agent has just started, and has no sample yet.
    pub(super) fn is_too_early(&self) -> bool {
        matches!(self, Self::StatusCode { status: StatusCode::SERVICE_UNAVAILABLE, .. })
    }

    /// There is a socket, and this user may not ask.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self, Self::Connect(error) if error.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// The status of the agent at `address`, and the text of the answer.
pub(super) async fn ask(address: &StatusAddress) -> Result<(StatusReport, Vec<u8>), AskError> {
    let body = match address {
        StatusAddress::Socket(path) => {
            if let Some(fault) = no_socket(path) {
                return Err(fault);
            }
            let get = get(path, PATH, None, ANSWER_BYTES_MAX);
            timeout(TIMEOUT, get).await.map_err(|_| AskError::Timeout)??.body
        }
        StatusAddress::Url(url) => {
            let mut settings = delivery::DeliverySettings::new("status", url.clone(), 0);
            settings.request_timeout = TIMEOUT;
            let getter = Getter::new(&settings).map_err(AskError::Http)?;
            getter.get(PATH, ANSWER_BYTES_MAX).await.map_err(AskError::Http)?
        }
    };
    Ok((StatusReport::from_json(&body)?, body))
}

/// A sample as lines of a dump, and the tag that names it.
pub(super) struct SampleLines {
    pub tag: Option<String>,
    pub lines: Vec<u8>,
}

/// The newest sample of the agent at `socket`; `None`: it is the one that `known` names.
pub(super) async fn newest_sample(
    socket: &Path,
    known: Option<&str>,
) -> Result<Option<SampleLines>, AskError> {
    // The agent itself waits five seconds for the sample.
    let get = get(socket, SAMPLE_PATH, known, SAMPLE_BYTES_MAX);
    match timeout(2 * TIMEOUT, get).await.map_err(|_| AskError::Timeout)? {
        Err(AskError::StatusCode { status: StatusCode::NOT_MODIFIED, .. }) => Ok(None),
        Err(error) => Err(error),
        Ok(Answered { headers, body }) => {
            let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
            Ok(Some(SampleLines { tag, lines: body }))
        }
    }
}

struct Answered {
    headers: HeaderMap,
    body: Vec<u8>,
}

async fn get(
    socket: &Path,
    path: &'static str,
    known: Option<&str>,
    bytes_max: usize,
) -> Result<Answered, AskError> {
    let stream = UnixStream::connect(socket).await.map_err(AskError::Connect)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(AskError::NoHttp)?;
    let mut request = Request::get(path)
        .header(HOST, "localhost")
        .header(USER_AGENT, concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));
    if let Some(known) = known {
        request = request.header(IF_NONE_MATCH, known);
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let answer = async move {
        let answer = sender.send_request(request).await.map_err(AskError::NoHttp)?;
        if answer.status() != StatusCode::OK {
            return Err(AskError::StatusCode { path, status: answer.status() });
        }
        let headers = answer.headers().clone();
        match Limited::new(answer.into_body(), bytes_max).collect().await {
            Ok(body) => Ok(Answered { headers, body: body.to_bytes().into() }),
            Err(error) if error.is::<LengthLimitError>() => Err(AskError::TooLong(bytes_max)),
            Err(error) => Err(AskError::BrokenOff(error)),
        }
    };
    // An error of the connection shows in the answer too.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}

/// The fault of a path that names something other than a socket. The kernel refuses a connection
/// there as it does where a socket's agent has ended.
fn no_socket(path: &Path) -> Option<AskError> {
    let kind = std::fs::metadata(path).ok()?.file_type();
    if kind.is_dir() {
        return Some(AskError::Directory(path.join("status.sock")));
    }
    (!kind.is_socket()).then_some(AskError::NoSocket)
}

fn connect_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; the agent's user and root may ask".to_owned()
        }
        io::ErrorKind::ConnectionRefused => {
            "no process listens on it; its agent has ended".to_owned()
        }
        _ => error.to_string(),
    }
}
