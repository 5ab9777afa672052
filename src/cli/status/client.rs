//! One question to an agent, over its unix socket or a URL.

use std::io;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::delivery::{self, BaseUrl, Getter};
use crate::payload::status::PATH;

/// How long an agent may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Of 32 endpoints with all their figures it takes some 64 KiB.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// # Errors
/// In a few words, what keeps it from answering.
pub(super) async fn over_socket(path: &Path) -> Result<Vec<u8>, String> {
    match timeout(TIMEOUT, get(path)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {}", humantime::format_duration(TIMEOUT))),
    }
}

async fn get(path: &Path) -> Result<Vec<u8>, String> {
    let stream = UnixStream::connect(path).await.map_err(|error| why_not(&error))?;
    let no_http = |error: hyper::Error| format!("no HTTP server: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
    let request = Request::get(PATH)
        .header(HOST, "localhost")
        .header(USER_AGENT, concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = async move {
        let answer = sender.send_request(request).await.map_err(no_http)?;
        if answer.status() != StatusCode::OK {
            return Err(format!("status {} to GET {PATH}", answer.status().as_u16()));
        }
        match Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await {
            Ok(body) => Ok(body.to_bytes().into()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(format!("an answer of more than {ANSWER_BYTES_MAX} bytes"))
            }
            Err(error) => Err(format!("the answer broke off: {error}")),
        }
    };
    // What ails the connection, the answer tells as well.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}

fn why_not(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; the agent's user and root may ask".to_owned()
        }
        io::ErrorKind::ConnectionRefused => "nobody listens on it; its agent has ended".to_owned(),
        _ => error.to_string(),
    }
}

/// # Errors
/// Likewise.
pub(super) async fn over_url(url: BaseUrl) -> Result<Vec<u8>, String> {
    let mut settings = delivery::DeliverySettings::new("status", url, 0);
    settings.request_timeout = TIMEOUT;
    Getter::new(&settings)?.get(PATH, ANSWER_BYTES_MAX).await
}
