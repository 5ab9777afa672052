//! What all dialects ask of a request: names in the path, a body that may be read as JSON, and which
//! post it is.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use super::encoding::Encoding;
use super::repeats;
use super::routes::{App, json};
use crate::payload::resource_api::check_name;

/// A body up to this size is read at once; larger ones wait for one of a few places, so that what
/// is held of them is bounded.
const SMALL_BODY_BYTES_MAX: usize = 64 << 10;

/// How many bodies larger than that are read at the same time.
pub(super) const LARGE_BODIES_MAX: usize = 8;

/// The time a client has for a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a request is not taken. As an answer it is `{"error": "…"}`, which is the resource API's way
/// of saying it; the other dialects have their own.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl ToString) -> Self {
        Self { status, message: message.to_string() }
    }

    pub(super) fn bad_request(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        json(self.status, &serde_json::json!({ "error": self.message }))
    }
}

/// The names in the path, decoded.
pub(super) struct Names<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Names<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(rejection) => Err(Refusal::new(rejection.status(), rejection.body_text())),
        }
    }
}

pub(super) fn name_of<'a>(what: &str, name: &'a str) -> Result<&'a str, Refusal> {
    check_name(name)
        .map_err(|error| Refusal::bad_request(format!("{what} in the path is {error}")))?;
    Ok(name)
}

/// A body that may be read as JSON: of the right type and of at most `BYTES_MAX`, as it is and as it
/// was sent.
pub(super) struct JsonBody<const BYTES_MAX: usize> {
    /// Not compressed any more.
    pub(super) bytes: Bytes,
    /// `None`: the client does not say which post it is.
    pub(super) post: Option<repeats::Post>,
    /// The place of a large body, held while it is.
    _place: Option<OwnedSemaphorePermit>,
}

impl<const BYTES_MAX: usize> FromRequest<App> for JsonBody<BYTES_MAX> {
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, app: &App) -> Result<Self, Refusal> {
        let encoding = Encoding::of(request.headers())?;
        check_type(request.headers())?;
        let key = repeats::key_of(request.headers())?;
        let path = key.is_some().then(|| request.uri().path().to_owned());
        let late = |_| {
            Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()),
            )
        };
        let read = read(request, app, encoding, BYTES_MAX);
        let (bytes, place) = tokio::time::timeout(BODY_TIMEOUT, read).await.map_err(late)??;
        // Of what was meant, so that a repeat may be compressed in another way.
        let post = path.zip(key).map(|(path, key)| app.hashes().of(&path, &key, &bytes));
        Ok(Self { bytes, post, _place: place })
    }
}

async fn read(
    request: Request<Body>,
    app: &App,
    encoding: Option<Encoding>,
    bytes_max: usize,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let announced: usize = announced.unwrap_or(0);
    let too_large = || {
        let message = format!("the body is larger than {bytes_max} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    // What is a little too large is read to its end, since a client that is still sending may not
    // see an answer; what is much too large is not.
    let discarded_max = bytes_max.saturating_mul(4);
    if announced > discarded_max {
        return Err(too_large());
    }
    let mut place = None;
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
            if length > SMALL_BODY_BYTES_MAX && place.is_none() {
                place = app.place_for_large_body().await;
            }
            bytes.extend_from_slice(&data);
        }
    }
    if length > bytes_max {
        return Err(too_large());
    }
    let Some(encoding) = encoding else { return Ok((bytes.freeze(), place)) };
    // How large it is shows only once it is decoded.
    if bytes_max > SMALL_BODY_BYTES_MAX && place.is_none() {
        place = app.place_for_large_body().await;
    }
    let decoded = encoding.decoded(&bytes, bytes_max)?;
    Ok((decoded.ok_or_else(too_large)?, place))
}

fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")) {
        return Ok(());
    }
    // 400 and not 415: what the clients of these APIs know a wrong type by.
    Err(Refusal::bad_request("Content-Type must be application/json"))
}
