//! The pod batch API: everything of one sample in one message, and the node in another.
//!
//! ```text
//! POST /api/v1/metrics/pods     POST /api/v1/metrics/nodes
//! {"cluster_id":"c","context":{"name":"prod","kubernetes_version":"v1.30.2",
//!    "provider":{"name":"aws","region":"eu-central-1","zone":"eu-central-1a"},"labels":{},
//!    "node_groups":[{"name":"pool","labels":{},
//!      "platform":{"os":"linux","architecture":"amd64","version":"v1.30.2"}}]},
//!  "collected_at":"2025-02-23T10:00:00Z","resources":[…]}
//! ```
//!
//! No key of the API's documents is ever missing or null: a text that is not known is empty, a
//! request or limit that is not set is 0. Network bytes are those of the interval unless the
//! endpoint wants running totals; CPU is a rate, memory and filesystems are as of now.

mod context;
mod decode;
mod node;
mod parts;
mod pod;
mod split;

use serde::Serialize;

pub use decode::{
    NodeAmounts, NodeResource, PodResource, ReceivedBatch, decode_nodes, decode_pods,
};
pub use node::node_amounts;
pub use split::split;

use super::entities::Observation;
use super::options::{EncodeOptions, Message};
use super::profile::{CounterForms, Order, Profile, Reports, Timestamps};
use super::running_totals::Entities;
use super::stamp::Rfc3339Seconds;

pub const PODS_PATH: &str = "/api/v1/metrics/pods";
pub const NODES_PATH: &str = "/api/v1/metrics/nodes";

pub const PROFILE: Profile = Profile {
    name: "pod-batch",
    content_type: "application/json",
    path_in_url: None,
    reports: Reports::Usage(encode),
    order: Order::Any,
    timestamps: Timestamps::InBody,
    split: Some(split),
    permanent_500: false,
    retried_statuses: None,
    read_answer: None,
    points: None,
    uncompressed_because: None,
    protocols: &[],
    as_json: None,
    gzip_by_default: false,
    counters: CounterForms::Counters,
    bounds_bodies: false,
    is_lines: false,
    has_disk_io: false,
    needs_metrics: false,
    needs_addresses: false,
    ends_series: false,
};

/// The messages of one sample: the node's, then the pods'. The node's is left out while the Node
/// object is expected and not known.
#[must_use]
pub fn encode(
    view: &Observation<'_>,
    entities: &Entities<'_>,
    options: &EncodeOptions,
) -> Vec<Message> {
    let node = (!entities.node_waits).then(|| nodes(view, entities, options));
    node.into_iter().chain(pods(view, entities, options)).collect()
}

/// The pods' messages: all that the directory knows in any phase, those that ended in the interval
/// with what they used in it, what is named outside Kubernetes, and unknown pods as the endpoint
/// wants them. None where there is none.
#[must_use]
pub fn pods(
    view: &Observation<'_>,
    entities: &Entities<'_>,
    options: &EncodeOptions,
) -> Vec<Message> {
    let all: Vec<pod::PodResourceJson<'_>> =
        entities.all.iter().filter_map(|entity| pod::resource(view, entity, options)).collect();
    let parts = all.chunks(options.resources_max.max(1));
    parts.map(|resources| message(PODS_PATH, view, options, resources)).collect()
}

/// The node's message.
#[must_use]
pub fn nodes(view: &Observation<'_>, entities: &Entities<'_>, options: &EncodeOptions) -> Message {
    message(NODES_PATH, view, options, &[node::resource(view, entities, options)])
}

#[derive(Serialize)]
struct BatchEnvelope<'a, R> {
    cluster_id: &'a str,
    context: context::Context<'a>,
    collected_at: Rfc3339Seconds,
    resources: &'a [R],
}

fn message<R: Serialize>(
    path: &str,
    view: &Observation<'_>,
    options: &EncodeOptions,
    resources: &[R],
) -> Message {
    let envelope = BatchEnvelope {
        cluster_id: &options.cluster.cluster_id,
        context: context::context(&options.cluster, view.catalog),
        collected_at: Rfc3339Seconds(view.account.wall),
        resources,
    };
    let mut body = Vec::with_capacity(1024 * (1 + resources.len()));
    super::append(&envelope, &mut body);
    Message { path: path.to_owned(), body: body.into_boxed_slice().into() }
}

#[cfg(test)]
mod tests;
