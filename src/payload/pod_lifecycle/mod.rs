//! The pod life-cycle API: one row a pod name, which agents keep alive and end.
//!
//! ```text
//! POST /pod/spec       {"pod_name":"web-7d9f6b8c4-x5z2w","pod_namespace":"shop",
//!                       "pod_ip":"10.244.1.5","node_name":"worker-1","is_dead":false,
//!                       "pod_identity":"web","workload_selector_labels":{"k8s-app":"web"},
//!                       "pod_obj":{…},"time_stamp":"2026-05-12T10:32:14.123456"}
//! POST /pod/mark_dead  {"pod_name":"web-7d9f6b8c4-x5z2w","pod_ip":"10.244.1.5"}
//! GET  /pod/list/<node>   the rows of a node that are alive
//! ```
//!
//! Posting a name that has a row replaces the row, and it is alive again. The stamp is UTC without
//! saying so: with a `Z` the server refuses it. A key without a value is left out, never null.

mod changes;
mod decode;
mod list;
mod pod_object;

use std::collections::BTreeMap;

use serde::Serialize;

pub use changes::{Lifecycle, PodChange, knows_pods};
pub use decode::{MarkDead, PodSpecPost, RowHead, decode_mark_dead, decode_spec};
pub use list::{LIST_ROWS_MAX, ListError, ListedPod, decode_list};
use pod_object::ip_of;

use super::stamp::NaiveMicros;
use crate::directory::pod::{Pod, value_of};
use crate::payload::append;
use crate::payload::entities::workload_of;
use crate::payload::options::Message;
use crate::payload::profile::{CounterForms, Order, Profile, Reports, Timestamps};
use crate::payload::resource_api::segment;
use crate::quantity::WallTime;

pub const PROFILE: Profile = Profile {
    name: "pod-lifecycle",
    content_type: "application/json",
    path_in_url: None,
    reports: Reports::PodChanges,
    order: Order::AsReported,
    timestamps: Timestamps::InBody,
    split: None,
    permanent_500: false,
    retried_statuses: None,
    read_answer: None,
    points: None,
    uncompressed_because: None,
    protocols: &[],
    as_json: None,
    gzip_by_default: false,
    counters: CounterForms::Fixed,
    bounds_bodies: false,
    is_lines: false,
    has_disk_io: false,
    needs_metrics: false,
    needs_addresses: true,
    ends_series: false,
};

pub const SPEC_PATH: &str = "/pod/spec";
pub const MARK_DEAD_PATH: &str = "/pod/mark_dead";

/// `/pod/list/<node>`, the name percent-encoded.
#[must_use]
pub fn list_path(node_name: &str) -> String {
    format!("/pod/list/{}", segment(node_name))
}

/// Labels that say what a pod belongs to; the first of them that a pod has is its identity.
const IDENTITY_LABELS: [&str; 3] =
    ["app.kubernetes.io/name", "app.kubernetes.io/component", "k8s-app"];

/// Labels that controllers give single pods or single revisions: no selector that is to outlive
/// one of them can use them.
const PASSING_LABELS: [&str; 9] = [
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "controller-revision-hash",
    "controller-uid",
    "pod-template-generation",
    "pod-template-hash",
    "rollouts-pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

/// The label that tells two releases of one chart apart. Selectors of charts have it beside the name.
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// Labels of a single Job: no selector either, unless the workload is the Job itself and not a CronJob.
const JOB_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

#[derive(Serialize)]
struct SpecBody<'a> {
    pod_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pod_namespace: &'a str,
    pod_ip: &'a str,
    node_name: &'a str,
    is_dead: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_identity: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    workload_selector_labels: BTreeMap<&'a str, &'a str>,
    pod_obj: pod_object::LifecyclePod<'a>,
    time_stamp: NaiveMicros,
}

/// The post that reports a change.
#[must_use]
pub fn message(change: &PodChange, node_name: &str, stamp: WallTime) -> Message {
    let (path, body) = match change {
        PodChange::Upsert(pod) => (SPEC_PATH, spec_body(pod, node_name, stamp)),
        PodChange::MarkDead { pod_name, pod_ip } => {
            (MARK_DEAD_PATH, mark_dead_body(pod_name, pod_ip.as_deref()))
        }
    };
    Message { path: path.to_owned(), body: body.into_boxed_slice().into() }
}

/// The body of a `POST /pod/spec`. Of the pod's object it has what the directory keeps: no
/// environment, no volumes, no secrets, no annotations.
#[must_use]
pub fn spec_body(pod: &Pod, node_name: &str, stamp: WallTime) -> Vec<u8> {
    let (pod_identity, workload_selector_labels) = identity(pod);
    let spec = SpecBody {
        pod_name: &pod.name,
        pod_namespace: &pod.namespace,
        pod_ip: ip_of(pod).unwrap_or_default(),
        node_name,
        is_dead: pod.phase.is_final(),
        pod_identity,
        workload_selector_labels,
        pod_obj: pod_object::of(pod),
        time_stamp: NaiveMicros(stamp),
    };
    let mut body = Vec::with_capacity(2048);
    append(&spec, &mut body);
    body
}

/// The body of a `POST /pod/mark_dead`. Without an IP the server ends whatever row has the name, so
/// it is left out only where none is known.
#[must_use]
pub fn mark_dead_body(pod_name: &str, pod_ip: Option<&str>) -> Vec<u8> {
    #[derive(Serialize)]
    struct MarkDeadBody<'a> {
        pod_name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        pod_ip: Option<&'a str>,
    }
    let mut body = Vec::with_capacity(128);
    append(&MarkDeadBody { pod_name, pod_ip }, &mut body);
    body
}

/// The workload of a pod, and the labels that select its pods.
///
/// The labels are those by which the workload selects them, where the owners were looked up. Else
/// they are the identity labels where the pod has any, else all labels that are not of one pod or
/// revision.
fn identity(pod: &Pod) -> (Option<&str>, BTreeMap<&str, &str>) {
    let (identity, guessed) = guessed_identity(pod);
    match &pod.workload {
        Some(workload) if !workload.match_labels.is_empty() => {
            let labels = workload.match_labels.iter();
            (identity, labels.map(|(key, value)| (&**key, &**value)).collect())
        }
        _ => (identity, guessed),
    }
}

fn guessed_identity(pod: &Pod) -> (Option<&str>, BTreeMap<&str, &str>) {
    let by_label = |key: &&'static str| {
        value_of(&pod.labels, key).filter(|value| !value.is_empty()).map(|value| (*key, value))
    };
    let identifying: Vec<(&str, &str)> = IDENTITY_LABELS.iter().filter_map(by_label).collect();
    if let Some((_, identity)) = identifying.first() {
        let of_release = by_label(&INSTANCE_LABEL);
        return (Some(identity), identifying.iter().copied().chain(of_release).collect());
    }
    let Some((kind, workload)) = workload_of(pod) else { return (None, BTreeMap::new()) };
    let lasts =
        |key: &str| !PASSING_LABELS.contains(&key) && (kind == "Job" || !JOB_LABELS.contains(&key));
    let labels = pod.labels.iter().map(|(key, value)| (&**key, &**value));
    (Some(workload), labels.filter(|(key, _)| lasts(key)).collect())
}

#[cfg(test)]
mod tests;
