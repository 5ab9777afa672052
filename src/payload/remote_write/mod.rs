//! Prometheus' remote write, protocols 1.0 and 2.0: the series of `/metrics`, pushed.
//!
//! ```text
//! POST <the endpoint's URL as it is>
//! Content-Type: application/x-protobuf;proto=io.prometheus.write.v2.Request
//! Content-Encoding: snappy
//! X-Prometheus-Remote-Write-Version: 2.0.0
//! ```
//!
//! Names and labels are those of `/metrics`; `job`, `instance` and the endpoint's `external_labels` come
//! beside them. A point has the time of its sample, however late it is sent. A series that ends gets a
//! stale marker: a gauge in the sample of the end, a total in the next one, and all of them where the agent
//! stops or no longer sends them. A counter that is sent for
//! the first time has a point of 0 at its start, so that a rate has all of it.

mod answer;
mod encode;
mod json;
mod messages;
mod pack;
mod symbols;

pub use answer::decode_answer;
pub use encode::encode;
pub use json::as_json;
pub use pack::split;

use super::profile::{CounterForms, Order, Profile, Reports, Timestamps, WireForm};

pub const PROFILE: Profile = Profile {
    name: "prometheus-remote-write",
    content_type: "application/x-protobuf",
    path_in_url: None,
    reports: Reports::Usage(encode),
    order: Order::AsSampled,
    timestamps: Timestamps::InBody,
    split: Some(split),
    permanent_500: false,
    retried_statuses: None,
    read_answer: Some(decode_answer),
    points: None,
    uncompressed_because: Some("bodies of remote write are packed by snappy in any case"),
    protocols: &[("auto", &[FORM_2_0, FORM_1_0]), ("1.0", &[FORM_1_0]), ("2.0", &[FORM_2_0])],
    as_json: Some(as_json),
    gzip_by_default: false,
    counters: CounterForms::Fixed,
    bounds_bodies: false,
    is_lines: false,
    has_disk_io: true,
    needs_metrics: true,
    needs_addresses: false,
    ends_series: true,
};

const FORM_2_0: WireForm = WireForm {
    name: "remote write 2.0",
    headers: &[
        ("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
        ("content-encoding", "snappy"),
        ("x-prometheus-remote-write-version", "2.0.0"),
    ],
    render: pack::as_2_0,
    points: pack::count,
    written: Some("x-prometheus-remote-write-samples-written"),
};

const FORM_1_0: WireForm = WireForm {
    name: "remote write 1.0",
    headers: &[
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
        ("x-prometheus-remote-write-version", "0.1.0"),
    ],
    render: pack::as_1_0,
    points: pack::count,
    written: None,
};

#[cfg(test)]
mod tests;
