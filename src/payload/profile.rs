//! The properties of a dialect that others need: configuration, delivery and the receiver.

use bytes::Bytes;

use super::entities::Observation;
use super::options::{EncodeOptions, Message};
use super::running_totals::Entities;

/// One dialect, described. Each dialect's folder has one.
#[derive(Debug)]
pub struct Profile {
    /// The value of `dialect` in the settings.
    pub name: &'static str,
    /// The `Content-Type` of every body.
    pub content_type: &'static str,
    /// The path of every post, which the URL of an endpoint may have at its end already.
    pub path_in_url: Option<&'static str>,
    pub reports: Reports,
    pub order: Order,
    pub timestamps: Timestamps,
    /// Makes two bodies of one that a server finds too large (413). `None`: such a body is dropped.
    pub split: Option<SplitBody>,
    /// Servers answer 500 for good to what they cannot parse.
    pub permanent_500: bool,
    /// The statuses after which a post is sent again. `None`: 408, 425, 429 and all of 5xx.
    pub retried_statuses: Option<&'static [u16]>,
    /// Reads what the body of a 2xx says about the post. `None`: it says nothing.
    pub read_answer: Option<ReadAnswer>,
    /// The points of a body, where all are sent in one form. `None`: it has none, or its forms count them.
    pub points: Option<CountPoints>,
    /// The reason why bodies cannot be compressed; `None`: they can.
    pub uncompressed_because: Option<&'static str>,
    /// The words of the setting `protocol`, the default first, each with the forms that are tried, the
    /// preferred one first. Empty: bodies are sent as they are.
    pub protocols: &'static [(&'static str, &'static [WireForm])],
    /// The JSON form of a body, for people; `None`: bodies are JSON.
    pub as_json: Option<BodyToJson>,
    /// Every server takes gzip, so bodies are compressed unless the settings say otherwise.
    pub gzip_by_default: bool,
    pub counters: CounterForms,
    /// Bodies are as large as the setting `max_request_bytes` allows.
    pub bounds_bodies: bool,
    /// Bodies are whole lines of text, which may be appended to a file.
    pub is_lines: bool,
    /// Bodies count bytes read from and written to disks.
    pub has_disk_io: bool,
    /// Bodies are made of metrics, which are kept only where somebody wants them.
    pub needs_metrics: bool,
    /// Bodies need the pods' IP addresses, which not every source of the directory knows.
    pub needs_addresses: bool,
    /// An agent that stops says that its series have ended.
    pub ends_series: bool,
}

/// A form in which bodies are sent.
#[derive(Debug, Clone, Copy)]
pub struct WireForm {
    /// The name in log lines.
    pub name: &'static str,
    /// Names, in lower case, and values; `content-type` is one.
    pub headers: &'static [(&'static str, &'static str)],
    /// The bytes of a body in this form.
    pub render: fn(&[u8]) -> Bytes,
    /// The points of a body.
    pub points: fn(&[u8]) -> u64,
    /// The header, in lower case, by which servers that know the form say how many points of a body
    /// they wrote; `None`: they do not.
    pub written: Option<&'static str>,
}

/// The JSON form of a body; `None`: it is no body of the dialect.
pub type BodyToJson = fn(&[u8]) -> Option<Vec<u8>>;

/// The halves of a body, which mean the same together; `None`: it cannot be smaller.
pub type SplitBody = fn(&[u8]) -> Option<(Bytes, Bytes)>;

/// Reads the `Content-Type` and the body of a 2xx: the points that were refused, and the server's
/// message; an error says why nothing was accepted.
pub type ReadAnswer = fn(&str, &[u8]) -> Result<(u64, String), String>;

/// Two bodies of one path as one, the older first; `None`: they do not add up.
pub type MergePosts = fn(&[u8], &[u8]) -> Option<Bytes>;

/// The messages of one sample.
pub type EncodeSample = fn(&Observation<'_>, &Entities<'_>, &EncodeOptions) -> Vec<Message>;

/// The points of a body; 0 where it is no body of the dialect.
pub type CountPoints = fn(&[u8]) -> u64;

/// The forms that counters can have, and the setting that chooses one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterForms {
    /// The setting `counters` chooses between amounts of the interval and running totals.
    Counters,
    /// The setting `temporality` chooses, of the same two.
    Temporality,
    /// Amounts of the interval, which the setting `counters` may also say.
    DeltaAlone,
    /// No setting: running totals, or no counters at all.
    Fixed,
}

/// The events that make posts.
#[derive(Debug, Clone, Copy)]
pub enum Reports {
    /// Every sample does.
    Usage(EncodeSample),
    /// Pods do that are created, change and end.
    PodChanges,
}

/// The order in which a server has to receive posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Any.
    Any,
    /// As sampled where bytes are running totals, which a server subtracts; else any.
    CumulativeAsSampled,
    /// Always as sampled: points older than the last of their series are refused.
    AsSampled,
    /// Always as they came about: the latest post replaces those before it.
    AsReported,
}

impl Order {
    /// `true` where posts are sent in order; `cumulative`: the endpoint receives running totals.
    #[must_use]
    pub const fn is_kept(self, cumulative: bool) -> bool {
        match self {
            Self::Any => false,
            Self::CumulativeAsSampled => cumulative,
            Self::AsSampled | Self::AsReported => true,
        }
    }
}

/// The time under which a server files a post.
#[derive(Debug, Clone, Copy)]
pub enum Timestamps {
    /// The time that the body states.
    InBody,
    /// The time at which it arrives. A stale post would be filed under a wrong time, so stale ones
    /// can be merged into one.
    OnArrival { merge: MergePosts },
}

impl Timestamps {
    /// The merge of stale posts; `None`: a post is never stale.
    #[must_use]
    pub const fn merge(self) -> Option<MergePosts> {
        match self {
            Self::InBody => None,
            Self::OnArrival { merge } => Some(merge),
        }
    }
}
