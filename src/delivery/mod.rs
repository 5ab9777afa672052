//! Bytes to endpoints over HTTP: a bounded queue and a worker per endpoint, nothing shared.
//!
//! ```text
//! sampler thread ── Handle::offer ──▶ queue (bounded, oldest dropped) ──▶ Worker ──▶ endpoint
//! ```
//!
//! What is promised: a post is sent at least once or counted as dropped, by reason; one endpoint
//! never delays another or the sampler; posts that were accepted are not sent again. What is not:
//! nothing survives the process, and a post whose answer was lost may arrive twice.
//!
//! This side sees paths, bytes and headers, and knows nothing of what they mean.

mod backoff;
mod http;
mod queue;
mod worker;

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use thiserror::Error;

pub use http::{BaseUrl, Getter, UrlError, secret_header};
pub use queue::{Drops, Handle, Statistics};
pub use worker::Worker;

use crate::quantity::WallTime;

/// One POST of a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// The path below the endpoint's base URL: begins with `/`, already percent-encoded, no query.
    pub path: String,
    /// May share one allocation with the other posts of its batch.
    pub body: Bytes,
    /// For an endpoint that finds the body too large (413); `None`: then it is dropped.
    pub split: Option<Split>,
}

/// How a body falls into two that mean the same together; `None`: it cannot be smaller.
#[derive(Debug, Clone, Copy)]
pub struct Split(pub fn(&[u8]) -> Option<(Bytes, Bytes)>);

impl PartialEq for Split {
    /// Posts are told apart by what they carry.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Split {}

impl Post {
    fn halves(&self) -> Option<[Self; 2]> {
        let Split(split) = self.split?;
        let (first, second) = split(&self.body)?;
        let post = |body| Self { path: self.path.clone(), body, split: self.split };
        Some([post(first), post(second)])
    }
}

/// All posts of one sample for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The sample's number, for the log.
    pub sequence: u64,
    /// When the sample was taken.
    pub taken_at: WallTime,
    pub posts: Vec<Post>,
}

impl Batch {
    /// What the batch takes in memory, in bytes: bodies, paths and what holds them.
    #[must_use]
    pub fn cost_bytes(&self) -> usize {
        self.posts.iter().map(queue::cost_bytes).sum()
    }
}

/// How one endpoint is spoken to. [`Settings::new`] has the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The endpoint's name in the log.
    pub name: String,
    pub url: BaseUrl,
    /// Sent with every post, credentials among them ([`secret_header`] keeps those out of `Debug`).
    pub headers: HeaderMap,
    /// The most that may wait, in bytes (16 MiB).
    pub queue_bytes_max: usize,
    /// The most samples that may wait (4096).
    pub queue_samples_max: usize,
    /// The most posts under way at once (8).
    pub concurrency_max: usize,
    /// From sending a post to the end of its answer (10 s).
    pub request_timeout: Duration,
    /// The first retry comes within this time, each further one within twice the last (500 ms).
    pub backoff_base: Duration,
    /// ... but within this time at most (60 s).
    pub backoff_max: Duration,
    /// The longest `Retry-After` that is honoured (5 min).
    pub retry_after_max: Duration,
    /// How often a post is sent that the endpoint fails on while it is otherwise well (3): 500
    /// always counts, since servers of the resource API answer it for good to what they cannot
    /// parse; other failures count when the endpoint accepted something else meanwhile.
    pub tries_max: u32,
    /// Whether a 4xx that is otherwise for good (all but 408, 425 and 429) is tried again like a 5xx
    /// (`false`).
    pub retry_client_errors: bool,
    /// Samples that have waited longer are dropped (`None`: they wait until the queue is full).
    pub age_max: Option<Duration>,
    /// Where the retries' random numbers begin; two nodes with the same seed retry in step.
    pub seed: u64,
}

impl Settings {
    #[must_use]
    pub fn new(name: impl Into<String>, url: BaseUrl, seed: u64) -> Self {
        Self {
            name: name.into(),
            url,
            headers: HeaderMap::new(),
            queue_bytes_max: 16 << 20,
            queue_samples_max: 4096,
            concurrency_max: 8,
            request_timeout: Duration::from_secs(10),
            backoff_base: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
            retry_after_max: Duration::from_secs(300),
            tries_max: 3,
            retry_client_errors: false,
            age_max: None,
            seed,
        }
    }
}

/// Why an endpoint's client could not be made: mostly that the system has no certificates.
#[derive(Debug, Error)]
#[error("endpoint {name}: the HTTP client cannot be made: {reason}")]
pub struct ClientError {
    name: String,
    reason: String,
}

/// The two ends of one endpoint's delivery: the handle for whoever has batches, the worker to be
/// run ([`Worker::run`]) on a Tokio runtime with time and I/O.
///
/// # Errors
/// The HTTP client cannot be made.
pub fn endpoint(settings: Settings) -> Result<(Handle, Worker), ClientError> {
    let sender = http::Sender::new(&settings)
        .map_err(|reason| ClientError { name: settings.name.clone(), reason })?;
    let handle = Handle::new(settings.queue_bytes_max, settings.queue_samples_max);
    let worker = Worker::new(settings, sender, handle.clone());
    Ok((handle, worker))
}

/// Asks whether anybody answers at an endpoint: the status of a GET of its base, or why there was
/// no answer.
pub async fn probe(settings: &Settings) -> Result<u16, String> {
    http::Sender::new(settings)?.probe().await
}
