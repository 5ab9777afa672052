//! Requests to the API server and their answers, all within bounds of time and size.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::header::{ACCEPT, HeaderValue};
use hyper::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tracing::instrument::WithSubscriber as _;

use super::error::{ApiError, ApiRequest};
use super::{ApiAccess, KubernetesOptions};
use crate::quantity::BootTime;
use crate::retry_after::asked_wait;

/// A page of pods.
const BODY_BYTES_MAX: usize = 32 << 20;

/// All of an answer, however steadily it drips.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(300);

const REST_MAX: Duration = Duration::from_secs(300);

const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as one part of a path or a query.
pub(super) fn part(text: &str) -> String {
    utf8_percent_encode(text, IN_PATH).to_string()
}

/// One client and what is true for all that it asks.
#[derive(Clone)]
pub(super) struct ApiClient {
    client: Client,
    pub access: Arc<ApiAccess>,
    silence_max: Duration,
    clock: fn() -> BootTime,
    wall_clock: fn() -> crate::quantity::WallTime,
    /// Until when the server wants to hear nothing, as a good answer's headers may say too.
    rest_until: Arc<Mutex<BootTime>>,
}

impl ApiClient {
    pub(super) fn new(client: Client, options: &KubernetesOptions) -> Self {
        Self {
            client,
            access: Arc::new(options.access.clone()),
            silence_max: options.answer_timeout,
            clock: options.clock,
            wall_clock: options.wall_clock,
            rest_until: Arc::new(Mutex::new(BootTime::from_nanos(0))),
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

    /// An answer of status 200 whose body is still to come.
    pub(super) async fn open(
        &self,
        asked: ApiRequest,
        path: &str,
        accept: &'static str,
    ) -> Result<Body, ApiError> {
        let rest = self.resting_until().since((self.clock)());
        tokio::time::sleep(rest.min(REST_MAX)).await;
        let request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header(ACCEPT, HeaderValue::from_static(accept))
            .body(Body::empty())
            .map_err(|error| ApiError::new(super::error::ApiErrorKind::Other, error.to_string()))?;
        // kube logs each failure; what is logged here is each change.
        let sent = self.client.send(request).with_subscriber(tracing::Dispatch::none());
        let answer = match tokio::time::timeout(self.silence_max, sent).await {
            Ok(answer) => answer.map_err(|error| ApiError::of_client(&error, &self.access))?,
            Err(_) => return Err(ApiError::late(asked, &self.access, self.silence_max)),
        };
        let wait = self.hear(&answer);
        if answer.status() == hyper::StatusCode::OK {
            return Ok(answer.into_body());
        }
        let code = answer.status();
        // Why it went wrong is worth less than that it did.
        let body = self.whole(asked, answer.into_body()).await.unwrap_or_default();
        Err(ApiError::of_answer(asked, code, &body, wait, &self.access))
    }

    fn hear(&self, answer: &Response<Body>) -> Option<Duration> {
        let wait = asked_wait(answer.headers(), (self.wall_clock)());
        if let Some(wait) = wait {
            let until = (self.clock)().plus(wait.min(REST_MAX));
            *self.rest_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        }
        wait
    }

    fn resting_until(&self) -> BootTime {
        *self.rest_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn whole(&self, asked: ApiRequest, mut body: Body) -> Result<Vec<u8>, ApiError> {
        let reading = async {
            let mut whole = Vec::new();
            loop {
                let frame = body.frame().with_subscriber(tracing::Dispatch::none());
                let Ok(frame) = tokio::time::timeout(self.silence_max, frame).await else {
                    return Err(ApiError::late(asked, &self.access, self.silence_max));
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
            Err(_) => Err(ApiError::late(asked, &self.access, ANSWER_TIME_MAX)),
        }
    }
}
