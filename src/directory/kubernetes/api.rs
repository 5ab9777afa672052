//! Requests to the API server, with limits of time and size.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tracing::instrument::WithSubscriber as _;

use super::access::ApiAccess;
use super::connect::NewClient;
use super::credentials::Credentials;
use super::error::{ApiError, ApiErrorKind, ApiRequest};
use super::options::KubernetesOptions;
use crate::directory::objects::{self, ErrorStatus};
use crate::quantity::BootTime;
use crate::retry_after::asked_wait;

pub(super) const JSON: &str = "application/json";

/// Jobs without specification and status.
pub(super) const METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// The `User-Agent` of all requests.
const AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// The longest `Retry-After` that is honoured.
pub(super) const ASKED_WAIT_MAX: Duration = Duration::from_secs(300);

/// The largest answer: a page of pods.
const BODY_BYTES_MAX: usize = 32 << 20;

/// The time limit of a whole answer, also one that arrives slowly.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(300);

/// The longest path of a request, in bytes. It holds a token of the server, `continue`.
const PATH_BYTES_MAX: usize = 32 << 10;

/// The part of an error's body that is read for its text, in bytes.
const ERROR_BYTES_MAX: usize = 16 << 10;

/// A client with the limits of its requests.
#[derive(Clone)]
pub(super) struct ApiClient {
    client: Client,
    credentials: Arc<Mutex<Credentials>>,
    pub access: Arc<ApiAccess>,
    silence_max: Duration,
    clock: fn() -> BootTime,
    wall_clock: fn() -> crate::quantity::WallTime,
    /// No request is sent before this time, as `Retry-After` asks. Answers of status 200 may have it.
    not_before: Arc<Mutex<BootTime>>,
}

impl ApiClient {
    pub(super) fn new(made: NewClient, options: &KubernetesOptions) -> Self {
        Self {
            client: made.client,
            credentials: Arc::new(Mutex::new(made.credentials)),
            access: Arc::new(options.access.clone()),
            silence_max: options.answer_timeout,
            clock: options.clock,
            wall_clock: options.wall_clock,
            not_before: Arc::new(Mutex::new(BootTime::from_nanos(0))),
        }
    }

    fn credentials(&self) -> MutexGuard<'_, Credentials> {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if new credentials are due, and so a new client.
    pub(super) fn is_expired(&self) -> bool {
        self.credentials().is_expired((self.wall_clock)())
    }

    /// The text of a server without the secrets of requests, which it may repeat.
    pub(super) fn masked(&self, text: &str) -> String {
        self.credentials().mask().apply(text)
    }

    /// The error for an `ERROR` event of a watch.
    pub(super) fn error_of_event(&self, status: &ErrorStatus) -> ApiError {
        ApiError::of_event(&self.without_secrets(status.clone()), &self.access)
    }

    fn without_secrets(&self, status: ErrorStatus) -> ErrorStatus {
        ErrorStatus { message: self.masked(&status.message).into(), ..status }
    }

    /// The body of an answer of status 200.
    pub(super) async fn get(
        &self,
        asked: ApiRequest,
        path: &str,
        accept: &'static str,
    ) -> Result<Vec<u8>, ApiError> {
        let body = self.open(asked, path, accept).await?;
        self.whole(asked, body).await
    }

    /// The body of the answer to an object that is posted.
    pub(super) async fn post(
        &self,
        asked: ApiRequest,
        path: &str,
        json: String,
    ) -> Result<Vec<u8>, ApiError> {
        let request = Request::builder().method(Method::POST).uri(path).header(ACCEPT, JSON);
        let request = request.header(CONTENT_TYPE, JSON).body(Body::from(json.into_bytes()));
        let body = self.send(asked, request).await?;
        self.whole(asked, body).await
    }

    /// The unread body of an answer of status 200.
    pub(super) async fn open(
        &self,
        asked: ApiRequest,
        path: &str,
        accept: &'static str,
    ) -> Result<Body, ApiError> {
        // The client library panics on a URL of more than 64 KiB.
        if path.len() > PATH_BYTES_MAX {
            let noun = asked.noun();
            let text = format!("the API server's token for the next page is too long ({noun})");
            return Err(ApiError::new(ApiErrorKind::Other, text));
        }
        let request = Request::builder().method(Method::GET).uri(path).header(ACCEPT, accept);
        self.send(asked, request.body(Body::empty())).await
    }

    /// Sends a request with the credentials, once the server wants one.
    async fn send(
        &self,
        asked: ApiRequest,
        request: Result<Request<Body>, hyper::http::Error>,
    ) -> Result<Body, ApiError> {
        let wait = self.not_before().since((self.clock)());
        tokio::time::sleep(wait.min(ASKED_WAIT_MAX)).await;
        let mut request =
            request.map_err(|error| ApiError::new(ApiErrorKind::Other, error.to_string()))?;
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(authorization) = self.credentials().header() {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        // kube logs each failure; here only changes are logged.
        let sent = self.client.send(request).with_subscriber(tracing::Dispatch::none());
        let answer = match tokio::time::timeout(self.silence_max, sent).await {
            Ok(answer) => answer.map_err(|error| ApiError::of_client(&error, &self.access))?,
            Err(_) => return Err(ApiError::timeout(asked, &self.access, self.silence_max)),
        };
        let wait = self.note_asked_wait(&answer);
        // What is created is answered 201.
        if matches!(answer.status(), hyper::StatusCode::OK | hyper::StatusCode::CREATED) {
            return Ok(answer.into_body());
        }
        let code = answer.status();
        // An error while reading the explanation must not hide the status.
        let body = self.whole(asked, answer.into_body()).await.unwrap_or_default();
        let status = objects::status(&body).ok().map(|status| self.without_secrets(status));
        let text = String::from_utf8_lossy(body.get(..ERROR_BYTES_MAX).unwrap_or(&body));
        let text = self.masked(&text);
        Err(ApiError::of_answer(asked, code, status.as_ref(), &text, wait, &self.access))
    }

    fn note_asked_wait(&self, answer: &Response<Body>) -> Option<Duration> {
        let wait = asked_wait(answer.headers(), (self.wall_clock)());
        if let Some(wait) = wait {
            let until = (self.clock)().plus(wait.min(ASKED_WAIT_MAX));
            *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = until;
        }
        wait
    }

    fn not_before(&self) -> BootTime {
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn whole(&self, asked: ApiRequest, mut body: Body) -> Result<Vec<u8>, ApiError> {
        let reading = async {
            let mut whole = Vec::new();
            loop {
                let frame = body.frame().with_subscriber(tracing::Dispatch::none());
                let Ok(frame) = tokio::time::timeout(self.silence_max, frame).await else {
                    return Err(ApiError::timeout(asked, &self.access, self.silence_max));
                };
                let Some(frame) = frame else { return Ok(whole) };
                let frame = frame.map_err(|error| ApiError::of_body(asked, &error))?;
                let Ok(data) = frame.into_data() else { continue };
                if whole.len() + data.len() > BODY_BYTES_MAX {
                    return Err(ApiError::too_long(asked, BODY_BYTES_MAX));
                }
                whole.extend_from_slice(&data);
            }
        };
        match tokio::time::timeout(ANSWER_TIME_MAX, reading).await {
            Ok(whole) => whole,
            Err(_) => Err(ApiError::timeout(asked, &self.access, ANSWER_TIME_MAX)),
        }
    }
}
