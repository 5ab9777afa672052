//! From an account to the resource API's posts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes as Body;

use super::resource_api::{self, ContainerFigures, Figures, NodeExtras, PodExtras};
pub use super::subjects::RunningTotals;
use super::subjects::{
    Filters, Flows, Passed, Subject, Subjects, UnknownPods, View, Who, workload_of,
};
use crate::directory::pod::{Labels, Pod};
use crate::ledger::Account;
use crate::ledger::account::PodUsage;

/// What an endpoint of the resource API wants.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a> {
    pub node_name: &'a str,
    /// Disk and network figures are running totals, and not what passed in the interval.
    pub cumulative: bool,
    pub unknown: UnknownPods<'a>,
    pub filters: &'a Filters,
    /// Whether posts carry keys that the API does not name ([`PodExtras`], [`NodeExtras`]).
    pub extras: bool,
}

/// A path and the body for it.
#[derive(Debug, Clone)]
pub struct Message {
    pub path: String,
    pub body: Body,
}

/// The posts of one interval: the node's, then one a running pod. Figures that are not known are
/// sent as 0, since the API has no other word for it and a missing or null one breaks its server.
#[must_use]
pub fn of_subjects(view: &View<'_>, subjects: &Subjects<'_>, form: &Form<'_>) -> Vec<Message> {
    let mut messages = Vec::with_capacity(1 + subjects.all.len());
    messages.extend(of_node(view, &subjects.node, form));
    let window_millis = window_millis(view.account);
    for subject in &subjects.all {
        let Some((namespace, name, labels, passed)) = addressed(subject, form) else { continue };
        if !form.filters.let_through(namespace, labels.unwrap_or(&Labels::new())) {
            continue;
        }
        let Ok(path) = resource_api::pod_metrics_path(namespace, &name) else { continue };
        let flows = passed.wanted(form.cumulative, form.unknown);
        let figures = figures(flows, subject.cpu_millicores, subject.memory_bytes);
        let extras = form.extras.then(|| extras(view.account, subject, labels, window_millis));
        let mut body = Vec::with_capacity(512);
        resource_api::encode_pod(&figures, form.node_name, extras.as_ref(), &mut body);
        messages.push(Message { path, body: body.into_boxed_slice().into() });
    }
    messages
}

fn of_node(view: &View<'_>, passed: &Passed, form: &Form<'_>) -> Option<Message> {
    let path = resource_api::node_metrics_path(form.node_name).ok()?;
    let node = &view.account.node;
    let memory = node.memory.map_or(0, |memory| memory.working_set().as_bytes());
    let cpu_millicores = node.cpu.map_or(0, |cpu| cpu.millicores());
    let flows = passed.wanted(form.cumulative, form.unknown);
    let extras = form.extras.then(|| NodeExtras {
        window_millis: window_millis(view.account),
        cpu_nanocores: node.cpu.map_or(0, |cpu| cpu.nanocores()),
        labels: view.catalog.node.as_ref().map(|node| &node.labels),
    });
    let mut body = Vec::with_capacity(256);
    let figures = figures(flows, cpu_millicores, memory);
    resource_api::encode_node(&figures, extras.as_ref(), &mut body);
    Some(Message { path, body: body.into_boxed_slice().into() })
}

/// Where a pod is posted and which of its flows; `None`: it is not.
fn addressed<'a>(
    subject: &Subject<'a>,
    form: &Form<'a>,
) -> Option<(&'a str, Cow<'a, str>, Option<&'a Labels>, Passed)> {
    if let Some((namespace, name, labels)) = subject.name() {
        return Some((namespace, name.into(), Some(labels), subject.by_name?));
    }
    match (subject.who, form.unknown) {
        (Who::Uid(uid), UnknownPods::Uid { namespace }) if subject.runs => {
            Some((namespace, uid.to_string().into(), None, subject.own))
        }
        _ => None,
    }
}

fn figures(flows: Flows, cpu_millicores: u64, memory_bytes: u64) -> Figures {
    Figures {
        cpu_millicores,
        memory_bytes,
        read_bytes: flows.read_bytes,
        write_bytes: flows.write_bytes,
        sent_bytes: flows.sent_bytes,
        recv_bytes: flows.recv_bytes,
    }
}

/// The interval.
pub(super) fn window_millis(account: &Account) -> u64 {
    account.since.map_or(0, |since| account.until.usec_since(since) / 1000)
}

fn extras<'a>(
    account: &Account,
    subject: &Subject<'a>,
    labels: Option<&'a Labels>,
    window_millis: u64,
) -> PodExtras<'a> {
    let pod = match subject.who {
        Who::Pod(pod) => Some(pod),
        Who::Named(_) | Who::Uid(_) => None,
    };
    let (workload_kind, workload_name) = pod.and_then(workload_of).unzip();
    PodExtras {
        uid: subject.usage.map(|usage| usage.uid),
        qos: subject.usage.map(|usage| usage.qos),
        deployment_name: workload_name.filter(|_| workload_kind == Some("Deployment")),
        workload_kind,
        workload_name,
        labels,
        window_millis,
        cpu_nanocores: subject.cpu_nanocores,
        containers: match (pod, subject.usage) {
            (Some(pod), Some(usage)) => containers(account, pod, usage),
            _ => Vec::new(),
        },
    }
}

/// The containers of a pod that have a name, in the order of their names. The runs of a restarted
/// one are one container: their CPU together, and the memory of the one that lives.
///
/// Where a pod runs in a sandbox of its own (gVisor, Kata), its containers' cgroups can be empty
/// beside a busy sandbox. Nothing is said of them then: a reader who sums them up would come to
/// nothing, and the pod's own figure is the one that counts.
pub(super) fn containers<'a>(
    account: &Account,
    pod: &'a Pod,
    usage: &PodUsage,
) -> Vec<ContainerFigures<'a>> {
    let mut by_name: BTreeMap<&str, ContainerFigures<'a>> = BTreeMap::new();
    let mut in_use = false;
    for container in account.containers_of(usage.uid) {
        // The sandbox is no container of the pod's, and one that is not known has no name.
        let Some(known) = pod.container(container.id) else { continue };
        let used = &container.usage;
        let cpu_nanocores = used.cpu.map_or(0, |cpu| cpu.nanocores());
        let memory_bytes = if container.exited { 0 } else { used.memory_in_use().as_bytes() };
        in_use |= used.processes > 0
            || used.pids.current.is_some_and(|count| count > 0)
            || cpu_nanocores > 0;
        let name = &*known.name;
        let empty = ContainerFigures { name, cpu_nanocores: 0, memory_bytes: 0 };
        let figures = by_name.entry(name).or_insert(empty);
        figures.cpu_nanocores = figures.cpu_nanocores.saturating_add(cpu_nanocores);
        figures.memory_bytes = figures.memory_bytes.saturating_add(memory_bytes);
    }
    if in_use { by_name.into_values().collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests;
