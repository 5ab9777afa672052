//! From an account to the resource API's posts.

use std::borrow::Cow;

use super::{ContainerExtra, NodeExtras, PodExtras, UsageValues};
use super::{encode_node, encode_pod, node_metrics_path, pod_metrics_path};
use crate::directory::pod::Labels;
use crate::ledger::Account;
use crate::ledger::account::CpuUsage;
use crate::payload::entities::{
    Entity, EntityDeltas, EntityKind, IoBytes, Observation, workload_of,
};
use crate::payload::options::{EncodeOptions, Message, UnknownPodPolicy};
use crate::payload::running_totals::Entities;
use crate::quantity::Bytes;

/// The posts of one interval: the node's, then one a running pod, and one last for a pod that has
/// ended with usage that no post had. Figures that are not known are sent as 0, since the API has no
/// other word for it and a missing or null one breaks its server.
#[must_use]
pub fn encode(
    view: &Observation<'_>,
    entities: &Entities<'_>,
    options: &EncodeOptions,
) -> Vec<Message> {
    let mut messages = Vec::with_capacity(1 + entities.all.len());
    messages.extend(of_node(view, &entities.node, options));
    let window_millis = window_millis(view.account);
    for entity in &entities.all {
        let Some((namespace, name, labels, deltas)) = addressed(entity, options) else { continue };
        // Another endpoint's policy can have left nothing for this one.
        if !entity.runs && deltas.unsent(options).is_zero() {
            continue;
        }
        if !options.filter.matches(namespace, labels.unwrap_or(&Labels::new())) {
            continue;
        }
        let Ok(path) = pod_metrics_path(namespace, &name) else { continue };
        let cpu = entity.cpu(&deltas, options);
        let usage = usage_values(deltas.io(options), cpu.millicores(), entity.memory_bytes);
        let extras =
            options.extras.then(|| extras(view.account, entity, cpu, labels, window_millis));
        let mut body = Vec::with_capacity(512);
        encode_pod(&usage, &options.node_name, extras.as_ref(), &mut body);
        messages.push(Message { path, body: body.into_boxed_slice().into() });
    }
    messages
}

fn of_node(
    view: &Observation<'_>,
    deltas: &EntityDeltas,
    options: &EncodeOptions,
) -> Option<Message> {
    let path = node_metrics_path(&options.node_name).ok()?;
    let node = &view.account.node;
    let memory = node.memory.and_then(|memory| memory.working_set()).map_or(0, Bytes::as_bytes);
    let cpu_millicores = node.cpu.map_or(0, |cpu| cpu.millicores());
    let extras = options.extras.then(|| NodeExtras {
        window_millis: window_millis(view.account),
        cpu_nanocores: node.cpu.map_or(0, |cpu| cpu.nanocores()),
        labels: view.catalog.node.as_ref().map(|node| &node.labels),
    });
    let mut body = Vec::with_capacity(256);
    let usage = usage_values(deltas.io(options), cpu_millicores, memory);
    encode_node(&usage, extras.as_ref(), &mut body);
    Some(Message { path, body: body.into_boxed_slice().into() })
}

/// Namespace, name, labels and amounts of a post; `None`: the entity is not posted.
fn addressed<'a>(
    entity: &Entity<'a>,
    options: &'a EncodeOptions,
) -> Option<(&'a str, Cow<'a, str>, Option<&'a Labels>, EntityDeltas)> {
    if let Some((namespace, name, labels)) = entity.name() {
        return Some((namespace, name.into(), Some(labels), entity.by_name?));
    }
    match (entity.kind, &options.unknown_pods) {
        (EntityKind::Uid(uid), UnknownPodPolicy::Uid { namespace })
            if entity.runs || entity.ended =>
        {
            Some((namespace, uid.to_string().into(), None, entity.own))
        }
        _ => None,
    }
}

fn usage_values(io: IoBytes, cpu_millicores: u64, memory_bytes: u64) -> UsageValues {
    UsageValues {
        cpu_millicores,
        memory_bytes,
        read_bytes: io.read_bytes,
        write_bytes: io.write_bytes,
        sent_bytes: io.sent_bytes,
        recv_bytes: io.recv_bytes,
    }
}

/// The interval.
pub(super) fn window_millis(account: &Account) -> u64 {
    account.since.map_or(0, |since| account.until.usec_since(since) / 1000)
}

fn extras<'a>(
    account: &Account,
    entity: &Entity<'a>,
    cpu: CpuUsage,
    labels: Option<&'a Labels>,
    window_millis: u64,
) -> PodExtras<'a> {
    let pod = entity.pod();
    let (workload_kind, workload_name) = pod.and_then(workload_of).unzip();
    PodExtras {
        uid: entity.usage.map(|usage| usage.uid),
        qos: entity.usage.map(|usage| usage.qos),
        deployment_name: workload_name.filter(|_| workload_kind == Some("Deployment")),
        workload_kind,
        workload_name,
        labels,
        window_millis,
        cpu_nanocores: cpu.nanocores(),
        containers: pod.filter(|_| entity.runs).map_or_else(Vec::new, |pod| {
            let mut running = account.running_containers(pod);
            // Readers compare posts, so the order is that of the names.
            running.sort_unstable_by_key(|container| container.name);
            running.into_iter().map(ContainerExtra::from).collect()
        }),
    }
}

#[cfg(test)]
mod tests;
