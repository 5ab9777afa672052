//! The dialects in which samples leave the node: one file per wire format, pure, bytes out.
//!
//! The wire structs live here and nowhere else; the domain's types carry no serde. A dialect takes
//! plain integers whose unit its field names say, and writes into a buffer the caller keeps.

pub mod body;
pub mod dialect;
pub mod dump;
pub mod entities;
pub mod kubelet;
mod metric_filter;
pub mod metrics_k8s_io;
pub mod name;
pub mod ndjson;
pub mod open_metrics;
pub mod options;
pub mod otlp;
mod page;
pub mod pod_batch;
pub mod pod_lifecycle;
pub mod profile;
pub mod prometheus;
pub mod remote_write;
pub mod resource_api;
pub mod running_totals;
pub mod sample_post;
pub mod selector;
mod series_names;
pub mod size;
pub mod stamp;
pub mod status;

use serde::Serialize;

/// Writes `body` as JSON behind what is in `out`.
#[expect(clippy::expect_used, reason = "writing plain data to memory cannot fail")]
fn append(body: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, body).expect("maps with texts for keys always have a JSON form");
}

#[cfg(test)]
mod round_trips;
#[cfg(test)]
mod samples;
