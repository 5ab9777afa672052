//! OTLP/HTTP with protobuf bodies: the metrics of one sample, each entity as a resource.
//!
//! ```text
//! POST /v1/metrics
//! ExportMetricsServiceRequest { resource_metrics: [
//!   { resource: { k8s.pod.name, …, service.name, service.instance.id },
//!     scope_metrics: [{ scope: nodetally, metrics: [{ name, unit, sum | gauge }] }] }] }
//! ```
//!
//! Bodies are written field by field into one buffer (`wire`): a node has tens of thousands of texts,
//! and prost would allocate each. What is read (answers, bodies that are shown or split) has messages
//! of prost ([`messages`]), with the fields that are sent. The crate `opentelemetry-proto` has all
//! signals and brings the SDK with it.
//!
//! Protocol: <https://opentelemetry.io/docs/specs/otlp/>, messages:
//! <https://github.com/open-telemetry/opentelemetry-proto>.

mod answer;
mod count;
mod encode;
mod json;
pub mod messages;
mod names;
mod split;
mod wire;

pub use answer::decode_answer;
pub use count::count;
pub use encode::encode;
pub use json::as_json;
pub use split::split;

use super::profile::{CounterForms, Order, Profile, Reports, Timestamps};

/// The path of every post.
pub const PATH: &str = "/v1/metrics";

pub const PROFILE: Profile = Profile {
    name: "otlp",
    content_type: "application/x-protobuf",
    path_in_url: Some(PATH),
    reports: Reports::Usage(encode),
    order: Order::AsSampled,
    timestamps: Timestamps::InBody,
    split: Some(split),
    permanent_500: false,
    // The protocol allows no others.
    retried_statuses: Some(&[429, 502, 503, 504]),
    read_answer: Some(decode_answer),
    points: Some(count),
    uncompressed_because: None,
    protocols: &[],
    as_json: Some(as_json),
    gzip_by_default: true,
    counters: CounterForms::Temporality,
    bounds_bodies: true,
    is_lines: false,
    has_disk_io: false,
    needs_metrics: true,
    needs_addresses: false,
    ends_series: false,
};

#[cfg(test)]
mod tests;
