//! The answer of a watch: one event a line, over minutes.

use std::time::Duration;

use http_body_util::BodyExt as _;
use kube::client::Body;
use tokio::time::Instant;
use tracing::instrument::WithSubscriber as _;

use super::access::ApiAccess;
use super::error::{ApiError, ApiErrorKind, ApiRequest};
use crate::clock;
use crate::directory::objects::{ObjectLimits, WatchEvent, watch_event};

/// The longest line; etcd holds no object of more than 1.5 MiB.
const LINE_BYTES_MAX: usize = 4 << 20;

/// The most buffer space that is kept between events.
const IDLE_BYTES_MAX: usize = 64 << 10;

pub(super) struct PodWatch {
    body: Body,
    limits: ObjectLimits,
    /// Received bytes that are no whole line yet.
    buffer: Vec<u8>,
    /// The number of bytes in `buffer` that were searched for a newline.
    searched: usize,
    silence_max: Duration,
    /// The limit after the first event.
    silence_after_event_max: Duration,
    last_heard: Instant,
}

impl PodWatch {
    pub(super) fn new(
        body: Body,
        limits: ObjectLimits,
        silence_max: Duration,
        now: Instant,
    ) -> Self {
        Self {
            body,
            limits,
            buffer: Vec::new(),
            searched: 0,
            silence_max,
            silence_after_event_max: silence_max,
            last_heard: now,
        }
    }

    /// Sets a shorter limit of silence after the first event or bookmark.
    pub(super) fn silence_after_event(self, silence_max: Duration) -> Self {
        Self { silence_after_event_max: silence_max.min(self.silence_max), ..self }
    }

    /// The next event; `None` once the server has ended the watch. A dropped future loses no bytes.
    pub(super) async fn next(
        &mut self,
        access: &ApiAccess,
    ) -> Result<Option<WatchEvent>, ApiError> {
        loop {
            if let Some(event) = self.whole_line()? {
                self.silence_max = self.silence_after_event_max;
                return Ok(Some(event));
            }
            let frame = self.body.frame().with_subscriber(tracing::Dispatch::none());
            let deadline = self.last_heard + self.silence_max;
            let Ok(frame) = tokio::time::timeout_at(deadline, frame).await else {
                return Err(ApiError::timeout(ApiRequest::WatchPods, access, self.silence_max));
            };
            self.last_heard = clock::timer_now();
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(ApiError::of_body(ApiRequest::WatchPods, &error)),
                None if self.buffer.is_empty() => return Ok(None),
                None => {
                    let text = "the API server's watch ended in the middle of an event";
                    return Err(ApiError::new(ApiErrorKind::Cut, text));
                }
            }
        }
    }

    fn whole_line(&mut self) -> Result<Option<WatchEvent>, ApiError> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(end) = memchr::memchr(b'\n', unsearched).map(|at| self.searched + at) else {
                self.searched = self.buffer.len();
                if self.searched > LINE_BYTES_MAX {
                    return Err(ApiError::too_long(ApiRequest::WatchPods, LINE_BYTES_MAX));
                }
                return Ok(None);
            };
            let event = match self.buffer.get(..end).unwrap_or_default().trim_ascii() {
                b"" => None,
                line => Some(watch_event(line, &self.limits)),
            };
            self.buffer.drain(..=end);
            self.searched = 0;
            if self.buffer.capacity() > IDLE_BYTES_MAX {
                self.buffer.shrink_to(IDLE_BYTES_MAX);
            }
            if let Some(event) = event {
                let unreadable = |error| ApiError::unreadable(ApiRequest::WatchPods, error);
                return event.map(Some).map_err(unreadable);
            }
        }
    }
}
