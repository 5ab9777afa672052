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
//! request or limit that is not set is 0. Network figures are those of the interval unless the
//! endpoint wants running totals; CPU is a rate, memory and filesystems are as of now.

mod context;
mod decode;
mod node;
mod pod;
mod split;

use serde::Serialize;
use serde::ser::Serializer;

pub use decode::{
    NodeAmounts, NodeResource, PodResource, ReceivedBatch, decode_nodes, decode_pods,
};
pub use split::split;

use super::entities::{Entities, Observation};
use super::options::{EncodeOptions, Message};
use super::profile::{Order, Profile, Reports, Timestamps};
use super::stamp::Rfc3339Seconds;
use crate::directory::pod::{Condition, Labels};

pub const PODS_PATH: &str = "/api/v1/metrics/pods";
pub const NODES_PATH: &str = "/api/v1/metrics/nodes";

pub const PROFILE: Profile = Profile {
    name: "pod-batch",
    content_type: "application/json",
    reports: Reports::Usage(encode),
    order: Order::Any,
    timestamps: Timestamps::InBody,
    split: Some(split),
    permanent_500: false,
    uncompressed_because: None,
    has_disk_io: false,
    needs_addresses: false,
};

/// The messages of one sample: the node's, then the pods'.
#[must_use]
pub fn encode(
    view: &Observation<'_>,
    entities: &Entities<'_>,
    options: &EncodeOptions,
) -> Vec<Message> {
    let node = nodes(view, entities, options);
    std::iter::once(node).chain(pods(view, entities, options)).collect()
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

/// One of `status.conditions`.
#[derive(Serialize)]
struct ConditionJson<'a> {
    r#type: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
    last_transition_time: &'a str,
}

fn conditions(all: &[Condition]) -> Vec<ConditionJson<'_>> {
    all.iter().map(ConditionJson::of).collect()
}

impl<'a> ConditionJson<'a> {
    fn of(condition: &'a Condition) -> Self {
        Self {
            r#type: &condition.kind,
            status: &condition.status,
            reason: or_empty(condition.reason.as_deref()),
            message: or_empty(condition.message.as_deref()),
            last_transition_time: or_empty(condition.last_transition_time.as_deref()),
        }
    }
}

fn or_empty(text: Option<&str>) -> &str {
    text.unwrap_or_default()
}

/// Labels, or those annotations that may be sent.
struct LabelMap<'a> {
    all: &'a [(Box<str>, Box<str>)],
    /// `None`: all keys are sent.
    allowed: Option<&'a [Box<str>]>,
    /// A key that is not sent.
    except: &'static str,
}

impl<'a> LabelMap<'a> {
    fn labels(labels: &'a Labels) -> Self {
        Self { all: labels, allowed: None, except: "" }
    }

    fn annotations(annotations: &'a Labels, options: &'a EncodeOptions) -> Self {
        Self { all: annotations, allowed: Some(&options.annotations), except: "" }
    }
}

impl Serialize for LabelMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fits = |key: &str, pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => key.starts_with(start),
            None => key == pattern,
        };
        let is_sent = |key: &str| {
            key != self.except
                && self.allowed.is_none_or(|all| all.iter().any(|pattern| fits(key, pattern)))
        };
        let sent = self.all.iter().filter(|(key, _)| is_sent(key));
        serializer.collect_map(sent.map(|(key, value)| (key, value)))
    }
}

/// Billionths of a CPU as CPUs. A CPU figure of a node is far below 2^53 billionths.
#[expect(clippy::cast_precision_loss, reason = "beyond 9 million CPUs nobody counts billionths")]
fn cores(nanocores: u64) -> f64 {
    nanocores as f64 / 1e9
}

#[cfg(test)]
mod tests;
