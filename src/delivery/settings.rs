//! The settings of one endpoint's delivery.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;

use super::dry_run::{BodyAsJson, DryRun};
use super::http::{BaseUrl, BodyEncoding, EndpointTrust};
use super::stale::StaleRule;

/// Splits a body into two that mean the same together; `None`: it cannot be smaller.
#[derive(Debug, Clone, Copy)]
pub struct Split(pub fn(&[u8]) -> Option<(Bytes, Bytes)>);

impl PartialEq for Split {
    /// The function depends on the dialect alone, as the paths do.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Split {}

/// A form in which bodies are sent, where a dialect has more than its stored one.
#[derive(Debug, Clone, Copy)]
pub struct BodyForm {
    /// The name in log lines. Two forms of one name are the same.
    pub name: &'static str,
    /// Names, in lower case, and values; `content-type` is one.
    pub headers: &'static [(&'static str, &'static str)],
    /// The bytes of a body in this form.
    pub render: fn(&[u8]) -> Bytes,
    /// The points of a body.
    pub points: fn(&[u8]) -> u64,
    /// The header by which a server that knows the form says how many points of a body it wrote;
    /// `None`: it does not.
    pub written: Option<&'static str>,
}

impl PartialEq for BodyForm {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for BodyForm {}

/// The part of a post that a server refused, and its message; an error: nothing was accepted.
pub type RefusedPart = Result<(u64, String), String>;

/// Reads the `Content-Type` and the body of a 2xx: the part of the post that was refused, in the
/// server's unit, and its message; an error says why nothing was accepted.
#[derive(Debug, Clone, Copy)]
pub struct AnswerReader(pub fn(&str, &[u8]) -> RefusedPart);

impl PartialEq for AnswerReader {
    /// The function depends on the dialect alone.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for AnswerReader {}

/// The points of a body.
#[derive(Debug, Clone, Copy)]
pub struct PointCounter(pub fn(&[u8]) -> u64);

impl PartialEq for PointCounter {
    /// The function depends on the dialect alone.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for PointCounter {}

/// The settings of one endpoint's delivery. [`DeliverySettings::new`] has the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliverySettings {
    /// The endpoint's name in the log.
    pub name: String,
    pub url: BaseUrl,
    /// The `Content-Type` of every body (`application/json`).
    pub content_type: &'static str,
    /// Headers of every post, with credentials (marked sensitive, so that `Debug` hides them).
    pub headers: HeaderMap,
    pub trust: EndpointTrust,
    /// The forms of bodies, the preferred one first; a further one is tried where the server does not
    /// know the one before it. Empty: bodies are sent as they are, in `encoding`.
    pub forms: Vec<BodyForm>,
    /// The compression of bodies (none).
    pub encoding: BodyEncoding,
    /// The most bytes that wait in memory (16 MiB).
    pub queue_bytes_max: usize,
    /// The most samples that may wait in memory (4096).
    pub queue_samples_max: usize,
    /// The delay between the offer of a sample and its first try (none), so that nodes that sample
    /// in the same instant do not send in it. The first sample is not delayed.
    pub spread: Duration,
    /// The time within which a healthy endpoint accepts a sample (5 s). A slower one is degraded:
    /// samples are written to disk before they are sent.
    pub prompt: Duration,
    /// Order matters (`false`): a fresh sample waits for all older ones, and a post waits
    /// until older ones of its path are accepted or dropped.
    pub in_order: bool,
    /// The rule for samples that are stale for the endpoint; `None`: none is.
    pub stale: Option<StaleRule>,
    /// The split of a body that is too large (413); `None`: the post is dropped.
    pub split: Option<Split>,
    /// Reads the answer to an accepted post; `None`: its body says nothing.
    pub answer_reader: Option<AnswerReader>,
    /// The points of a body, all of which a server refuses that refuses the post. `None`: bodies have
    /// none, or `forms` count them.
    pub points: Option<PointCounter>,
    /// The statuses after which a post is sent again (`None`: 408, 425, 429 and all of 5xx).
    pub retried_statuses: Option<&'static [u16]>,
    /// The most posts in flight at once (8).
    pub concurrency_max: usize,
    /// The time from sending a post to the end of its answer (10 s).
    pub request_timeout: Duration,
    /// The maximum of the first backoff wait; it doubles with each failure (500 ms).
    pub backoff_base: Duration,
    /// The maximum of all backoff waits (60 s).
    pub backoff_max: Duration,
    /// The longest `Retry-After` that is honoured (5 min).
    pub retry_after_max: Duration,
    /// The least number of tries before a post is dropped (3).
    pub tries_max: u32,
    /// The least time for which a failing post is retried while the endpoint accepts others (10
    /// min), since some of its servers may be away. It also applies to a post that blocks all
    /// others.
    pub failing_for: Duration,
    /// A post is dropped after `tries_max` answers of 500, at any time (`false`). Servers
    /// of the resource API answer 500 to what they cannot parse.
    pub bounds_500: bool,
    /// Other 4xx than 408, 425 and 429 are retried like a 5xx (`false`).
    pub retry_client_errors: bool,
    /// The maximum age of a sample; older ones are dropped (24 h).
    pub age_max: Duration,
    /// The seed of the random waits. Two nodes with the same seed retry in step.
    pub seed: u64,
    /// The JSON form of bodies (`None`: they are JSON).
    pub as_json: Option<BodyAsJson>,
    /// Requests are printed there, and count as accepted (`None`: they are sent).
    pub dry_run: Option<DryRun>,
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
            forms: Vec::new(),
            encoding: BodyEncoding::None,
            queue_bytes_max: 16 << 20,
            queue_samples_max: 4096,
            spread: Duration::ZERO,
            prompt: Duration::from_secs(5),
            in_order: false,
            stale: None,
            split: None,
            answer_reader: None,
            points: None,
            retried_statuses: None,
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
            as_json: None,
            dry_run: None,
        }
    }
}
