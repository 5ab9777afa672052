//! From an account to the resource API's posts.

use std::borrow::Cow;

use bytes::Bytes as Body;

use super::resource_api::{self, ContainerFigures, Figures, NodeExtras, PodExtras};
pub use super::subjects::RunningTotals;
use super::subjects::{
    Filters, Flows, Passed, Subject, Subjects, UnknownPods, View, Who, workload_of,
};
use crate::directory::pod::Labels;
use crate::ledger::Account;

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
        containers: pod.map_or_else(Vec::new, |pod| {
            account.running_containers(pod).into_iter().map(ContainerFigures::from).collect()
        }),
    }
}

#[cfg(test)]
mod tests;
