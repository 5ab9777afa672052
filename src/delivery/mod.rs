//! Bytes to endpoints over HTTP: a bounded queue and a worker per endpoint, nothing shared.
//!
//! ```text
//! sampler thread ── Handle::offer ──▶ queue (bounded, oldest dropped) ──▶ Worker ──▶ endpoint
//! ```
//!
//! What is promised: a post is sent at least once or counted as dropped, by reason; it carries a key
//! by which a server recognises it when it comes twice; one endpoint never delays another or the
//! sampler; what an endpoint does not take promptly is on disk, if there is one.
//!
//! This side sees paths, bytes and headers, and knows nothing of what they mean.

mod disk;
mod http;
mod log;
mod queue;
mod round;
mod stale;
mod statistics;
mod worker;

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub use http::{
    BaseUrl, BodyEncoding, ClientCertificate, Credential, EndpointTrust, Getter, Proxies,
    SecretText, Tls, TokenSource, UrlError, secret_header,
};
pub use queue::Handle;
pub use stale::{MergeBodies, StaleAction, StaleRule};
pub use statistics::{Drops, Health, OnDisk, Statistics};
pub use worker::{MomentClock, Worker};

use crate::spool::{Journal, Queue};

/// How a body falls into two that mean the same together; `None`: it cannot be smaller.
#[derive(Debug, Clone, Copy)]
pub struct Split(pub fn(&[u8]) -> Option<(Bytes, Bytes)>);

impl PartialEq for Split {
    /// Which one an endpoint has hangs on its dialect, and so on its paths.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Split {}

/// How one endpoint is spoken to. [`DeliverySettings::new`] has the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliverySettings {
    /// The endpoint's name in the log.
    pub name: String,
    pub url: BaseUrl,
    /// Of every body (`application/json`).
    pub content_type: &'static str,
    /// Sent with every post, credentials among them ([`secret_header`] keeps those out of `Debug`).
    pub headers: HeaderMap,
    pub trust: EndpointTrust,
    /// How bodies are sent (as they are).
    pub encoding: BodyEncoding,
    /// The most that may wait in memory, in bytes (16 MiB).
    pub queue_bytes_max: usize,
    /// The most samples that may wait in memory (4096).
    pub queue_samples_max: usize,
    /// From the offer of a sample, but the first of all, to its first try (none): nodes that sample
    /// in the same instant do not send in it.
    pub spread: Duration,
    /// An endpoint that has not taken a sample within this time takes its time, and what comes is
    /// put to disk before it is sent (5 s).
    pub prompt: Duration,
    /// Whether what is fresh is sent only when nothing older waits, and no post before an older one of
    /// the same path is taken or given up (`false`).
    pub in_order: bool,
    /// For an endpoint that files what it gets under its own clock (`None`).
    pub stale: Option<StaleRule>,
    /// For an endpoint that finds a body too large (413); `None`: it is dropped.
    pub split: Option<Split>,
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
    /// How often a post is sent at least before it is given up (3).
    pub tries_max: u32,
    /// For how long at least an endpoint that accepts others fails on a post before that is given up
    /// (10 min): as long as a part of its servers may be away. The same for a post behind which everything
    /// has to wait.
    pub failing_for: Duration,
    /// Whether a post is given up after `tries_max` answers of 500, however soon and whatever else is
    /// accepted (`false`): servers of the resource API answer it for good to what they cannot parse.
    pub bounds_500: bool,
    /// Whether a 4xx that is otherwise for good (all but 408, 425 and 429) is tried again like a 5xx
    /// (`false`).
    pub retry_client_errors: bool,
    /// Samples that are older are dropped (24 h).
    pub age_max: Duration,
    /// Where the retries' random numbers begin; two nodes with the same seed retry in step.
    pub seed: u64,
}

impl DeliverySettings {
    #[must_use]
    pub fn new(name: impl Into<String>, url: BaseUrl, seed: u64) -> Self {
        Self {
            name: name.into(),
            url,
            content_type: "application/json",
            headers: HeaderMap::new(),
            trust: EndpointTrust::default(),
            encoding: BodyEncoding::None,
            queue_bytes_max: 16 << 20,
            queue_samples_max: 4096,
            spread: Duration::ZERO,
            prompt: Duration::from_secs(5),
            in_order: false,
            stale: None,
            split: None,
            concurrency_max: 8,
            request_timeout: Duration::from_secs(10),
            backoff_base: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
            retry_after_max: Duration::from_secs(300),
            tries_max: 3,
            failing_for: Duration::from_secs(10 * 60),
            bounds_500: false,
            retry_client_errors: false,
            age_max: Duration::from_secs(24 * 60 * 60),
            seed,
        }
    }
}

/// Why an endpoint's client could not be made: token, certificates or proxy cannot be used, or the
/// system has no certificates.
#[derive(Debug, Error)]
#[error("endpoint {name}: the HTTP client cannot be made: {reason}")]
pub struct ClientError {
    name: String,
    reason: String,
}

/// Where an endpoint's samples are kept beside memory.
#[derive(Debug, Clone, Default)]
pub struct Storage {
    /// `None`: what waits is in memory alone.
    pub queue: Option<Queue>,
    /// `None`: what is on its way is in memory alone.
    pub journal: Option<Journal>,
}

/// How long a flush waits beyond its deadline for what is in the worker's hands.
const GRACE: Duration = Duration::from_millis(200);
/// The same where that has to be written first.
const GRACE_ON_DISK: Duration = Duration::from_secs(3);

/// The two ends of one endpoint's delivery: the handle for whoever has batches, the worker to be
/// run ([`Worker::run`]) on a Tokio runtime with time and I/O.
///
/// # Errors
/// The HTTP client cannot be made.
pub fn endpoint(
    settings: DeliverySettings,
    places: Storage,
    clock: MomentClock,
) -> Result<(Handle, Worker), ClientError> {
    let sender = http::Sender::new(&settings)
        .map_err(|reason| ClientError { name: settings.name.clone(), reason })?;
    let has_disk = places.queue.is_some() || places.journal.is_some();
    let grace = if has_disk { GRACE_ON_DISK } else { GRACE };
    let disk = disk::DiskQueue::new(&settings.name, places.queue);
    let limits = queue::QueueLimits {
        grace,
        bytes_max: settings.queue_bytes_max,
        samples_max: settings.queue_samples_max,
        spread: settings.spread,
    };
    let handle = Handle::new(limits, places.journal);
    let worker = Worker::new(settings, sender, handle.clone(), disk, clock);
    Ok((handle, worker))
}

/// Ends when a deadline is set and over.
pub async fn reached(mut deadline: watch::Receiver<Option<Instant>>) {
    let end = match deadline.wait_for(Option::is_some).await {
        Ok(end) => *end,
        Err(_) => None,
    };
    match end {
        Some(end) => sleep_until(end).await,
        // Whoever could set one is gone.
        None => std::future::pending().await,
    }
}

/// Asks whether anybody answers at an endpoint: the status of a GET of its base, or why there was
/// no answer.
pub async fn probe(settings: &DeliverySettings) -> Result<u16, String> {
    http::Sender::new(settings)?.probe().await
}
