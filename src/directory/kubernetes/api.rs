//! Requests to the API server, with limits of time and size.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::header::{ACCEPT, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tracing::instrument::WithSubscriber as _;

use super::access::ApiAccess;
use super::error::{ApiError, ApiErrorKind, ApiRequest};
use super::options::KubernetesOptions;
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

/// A client with the limits of its requests.
#[derive(Clone)]
pub(super) struct ApiClient {
    client: Client,
    pub access: Arc<ApiAccess>,
    silence_max: Duration,
    clock: fn() -> BootTime,
    wall_clock: fn() -> crate::quantity::WallTime,
    /// No request is sent before this time, as `Retry-After` asks. Answers of status 200 may have it.
    not_before: Arc<Mutex<BootTime>>,
}

impl ApiClient {
    pub(super) fn new(client: Client, options: &KubernetesOptions) -> Self {
        Self {
            client,
            access: Arc::new(options.access.clone()),
            silence_max: options.answer_timeout,
            clock: options.clock,
            wall_clock: options.wall_clock,
            not_before: Arc::new(Mutex::new(BootTime::from_nanos(0))),
        }
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

    /// The unread body of an answer of status 200.
    pub(super) async fn open(
        &self,
        asked: ApiRequest,
        path: &str,
        accept: &'static str,
    ) -> Result<Body, ApiError> {
        let wait = self.not_before().since((self.clock)());
        tokio::time::sleep(wait.min(ASKED_WAIT_MAX)).await;
        let request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header(ACCEPT, HeaderValue::from_static(accept))
            .header(USER_AGENT, HeaderValue::from_static(AGENT))
            .body(Body::empty())
            .map_err(|error| ApiError::new(ApiErrorKind::Other, error.to_string()))?;
        // kube logs each failure; here only changes are logged.
        let sent = self.client.send(request).with_subscriber(tracing::Dispatch::none());
        let answer = match tokio::time::timeout(self.silence_max, sent).await {
            Ok(answer) => answer.map_err(|error| ApiError::of_client(&error, &self.access))?,
            Err(_) => return Err(ApiError::timeout(asked, &self.access, self.silence_max)),
        };
        let wait = self.note_asked_wait(&answer);
        if answer.status() == hyper::StatusCode::OK {
            return Ok(answer.into_body());
        }
        let code = answer.status();
        // An error while reading the explanation must not hide the status.
        let body = self.whole(asked, answer.into_body()).await.unwrap_or_default();
        Err(ApiError::of_answer(asked, code, &body, wait, &self.access))
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
