//! One request for the status of a running agent, over its unix socket or a URL.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::delivery::{self, BaseUrl, Getter, HttpError};
use crate::payload::status::{PATH, StatusError, StatusReport};

/// The longest time for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer, in bytes. The status of 32 endpoints has about 64 KiB.
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

/// The reason why an agent does not answer with its status, in a few words.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("no answer within {}", humantime::format_duration(TIMEOUT))]
    Timeout,
    #[error("{}", connect_error(.0))]
    Connect(#[source] io::Error),
    #[error("no HTTP server: {0}")]
    NoHttp(#[source] hyper::Error),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    #[error("status {} to GET {PATH}", .0.as_u16())]
    StatusCode(StatusCode),
    #[error("an answer of more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("the answer broke off: {0}")]
    BrokenOff(Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Http(HttpError),
    #[error(transparent)]
    Malformed(#[from] StatusError),
}

/// The status of the agent at `address`, and the text of the answer.
pub(super) async fn ask(address: &StatusAddress) -> Result<(StatusReport, Vec<u8>), AskError> {
    let body = match address {
        StatusAddress::Socket(path) => {
            timeout(TIMEOUT, get(path)).await.map_err(|_| AskError::Timeout)??
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

async fn get(path: &Path) -> Result<Vec<u8>, AskError> {
    let stream = UnixStream::connect(path).await.map_err(AskError::Connect)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(AskError::NoHttp)?;
    let request = Request::get(PATH)
        .header(HOST, "localhost")
        .header(USER_AGENT, concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())?;
    let answer = async move {
        let answer = sender.send_request(request).await.map_err(AskError::NoHttp)?;
        if answer.status() != StatusCode::OK {
            return Err(AskError::StatusCode(answer.status()));
        }
        match Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await {
            Ok(body) => Ok(body.to_bytes().into()),
            Err(error) if error.is::<LengthLimitError>() => Err(AskError::TooLong),
            Err(error) => Err(AskError::BrokenOff(error)),
        }
    };
    // An error of the connection shows in the answer too.
    let (answer, _) = tokio::join!(answer, connection);
    answer
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
