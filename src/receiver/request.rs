//! Extractors that all APIs share: names in the path, and a JSON body with the identity of its post.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Path, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Refusal;
use super::content_coding::ContentCoding;
use super::idempotency::{id_of, key_of};
use super::listener::Peer;
use super::rights::Rights;
use super::store::PostId;
use crate::payload::resource_api::check_name;

/// The largest body that is read at once. Larger ones wait for one of a few permits, so that the memory
/// they take is bounded.
const SMALL_BODY_BYTES_MAX: usize = 64 << 10;

/// The most large bodies that are read at the same time.
const LARGE_BODIES_MAX: usize = 8;

/// The time a client has for a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The names in the path, decoded.
pub(super) struct PathNames<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathNames<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(rejection) => Err(Refusal::new(rejection.status(), rejection.body_text())),
        }
    }
}

pub(super) fn checked_name<'a>(what: &str, name: &'a str) -> Result<&'a str, Refusal> {
    check_name(name)
        .map_err(|error| Refusal::bad_request(format!("{what} in the path is {error}")))?;
    Ok(name)
}

/// A post without its body.
#[derive(Debug)]
pub(super) struct PostHead {
    /// The token's name, else the address at the other end; empty where there is neither.
    pub(super) sender: String,
    pub(super) rights: Rights,
    /// `None` where the client sent no `Idempotency-Key`.
    pub(super) id: Option<PostId>,
}

/// The permits of large bodies.
#[derive(Debug, Clone)]
pub(super) struct LargeBodies(Arc<Semaphore>);

impl Default for LargeBodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BODIES_MAX)))
    }
}

impl LargeBodies {
    /// Waits until a large body may be read.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

/// A body of a JSON type, of at most `BYTES_MAX` bytes both as sent and decoded. It is not parsed yet.
pub(super) struct JsonBody<const BYTES_MAX: usize> {
    /// The body without its content coding.
    pub(super) bytes: Bytes,
    pub(super) head: PostHead,
    /// The permit of a large body, held as long as the body.
    _permit: Option<OwnedSemaphorePermit>,
}

impl<S: Send + Sync, const BYTES_MAX: usize> FromRequest<S> for JsonBody<BYTES_MAX>
where
    LargeBodies: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, state: &S) -> Result<Self, Refusal> {
        let coding = ContentCoding::of(request.headers())?;
        check_type(request.headers())?;
        let key = key_of(request.headers())?;
        let rights = request.extensions().get::<Rights>().cloned().unwrap_or(Rights::NONE);
        let sender = sender_of(&request, &rights);
        let path = key.is_some().then(|| request.uri().path().to_owned());
        let timed_out = |_| {
            Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()),
            )
        };
        let large_bodies = LargeBodies::from_ref(state);
        let read = read(request, &large_bodies, coding, BYTES_MAX);
        let (bytes, permit) =
            tokio::time::timeout(BODY_TIMEOUT, read).await.map_err(timed_out)??;
        // The decoded body is hashed, so that a replay may be compressed in another way.
        let id = path.zip(key).map(|(path, key)| id_of(&path, &key, rights.token_name(), &bytes));
        Ok(Self { bytes, head: PostHead { sender, rights, id }, _permit: permit })
    }
}

fn sender_of(request: &Request, rights: &Rights) -> String {
    if let Some(name) = rights.token_name() {
        return name.to_owned();
    }
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0);
    peer.map(|peer| peer.to_string()).unwrap_or_default()
}

/// Reads the body of a refused request and keeps nothing, since a client that is still sending may not
/// see an answer. Ends after a second or 8 MiB: whoever has no rights holds no connection for long.
pub(super) async fn discard_body(mut body: Body) {
    const BYTES_MAX: usize = 8 << 20;
    const TIMEOUT: Duration = Duration::from_secs(1);
    let read = async {
        let mut length: usize = 0;
        while let Some(Ok(frame)) = body.frame().await {
            length = length.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            if length > BYTES_MAX {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(TIMEOUT, read).await;
}

async fn read(
    request: Request<Body>,
    large_bodies: &LargeBodies,
    coding: Option<ContentCoding>,
    bytes_max: usize,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let announced: usize = announced.unwrap_or(0);
    let too_large = || {
        let message = format!("the body is larger than {bytes_max} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    // A body that is a little too large is read to its end, since a client that is still sending may
    // not see an answer. A body that is much too large is not.
    let discarded_max = bytes_max.saturating_mul(4);
    if announced > discarded_max {
        return Err(too_large());
    }
    let mut permit = None;
    let mut body = request.into_body();
    let mut bytes = BytesMut::new();
    let mut length: usize = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Refusal::bad_request(format!("the body could not be read: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > discarded_max {
            return Err(too_large());
        }
        if length > bytes_max {
            bytes = BytesMut::new();
        } else {
            if length > SMALL_BODY_BYTES_MAX && permit.is_none() {
                permit = large_bodies.permit().await;
            }
            bytes.extend_from_slice(&data);
        }
    }
    if length > bytes_max {
        return Err(too_large());
    }
    let Some(coding) = coding else { return Ok((bytes.freeze(), permit)) };
    // The decoded size is not known before decoding.
    if bytes_max > SMALL_BODY_BYTES_MAX && permit.is_none() {
        permit = large_bodies.permit().await;
    }
    let decoded = coding.decoded(&bytes, bytes_max)?;
    Ok((decoded.ok_or_else(too_large)?, permit))
}

fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")) {
        return Ok(());
    }
    // 400 and not 415: the clients of these APIs expect it for a wrong type.
    Err(Refusal::bad_request("Content-Type must be application/json"))
}
