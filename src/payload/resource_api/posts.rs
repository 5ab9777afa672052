//! From an account to the resource API's posts.

use std::borrow::Cow;

use super::{ContainerFigures, Figures, NodeExtras, PodExtras};
use super::{encode_node, encode_pod, node_metrics_path, pod_metrics_path};
use crate::directory::pod::Labels;
use crate::ledger::Account;
use crate::payload::options::{EncodeOptions, Message, UnknownPodPolicy};
use crate::payload::subjects::{Flows, Passed, Subject, Subjects, View, Who, workload_of};

/// The posts of one interval: the node's, then one a running pod. Figures that are not known are
/// sent as 0, since the API has no other word for it and a missing or null one breaks its server.
#[must_use]
pub fn of_subjects(
    view: &View<'_>,
    subjects: &Subjects<'_>,
    options: &EncodeOptions,
) -> Vec<Message> {
    let mut messages = Vec::with_capacity(1 + subjects.all.len());
    messages.extend(of_node(view, &subjects.node, options));
    let window_millis = window_millis(view.account);
    for subject in &subjects.all {
        let Some((namespace, name, labels, passed)) = addressed(subject, options) else { continue };
        if !options.filter.matches(namespace, labels.unwrap_or(&Labels::new())) {
            continue;
        }
        let Ok(path) = pod_metrics_path(namespace, &name) else { continue };
        let flows = passed.wanted(options);
        let figures = figures(flows, subject.cpu_millicores, subject.memory_bytes);
        let extras = options.extras.then(|| extras(view.account, subject, labels, window_millis));
        let mut body = Vec::with_capacity(512);
        encode_pod(&figures, &options.node_name, extras.as_ref(), &mut body);
        messages.push(Message { path, body: body.into_boxed_slice().into() });
    }
    messages
}

fn of_node(view: &View<'_>, passed: &Passed, options: &EncodeOptions) -> Option<Message> {
    let path = node_metrics_path(&options.node_name).ok()?;
    let node = &view.account.node;
    let memory = node.memory.map_or(0, |memory| memory.working_set().as_bytes());
    let cpu_millicores = node.cpu.map_or(0, |cpu| cpu.millicores());
    let flows = passed.wanted(options);
    let extras = options.extras.then(|| NodeExtras {
        window_millis: window_millis(view.account),
        cpu_nanocores: node.cpu.map_or(0, |cpu| cpu.nanocores()),
        labels: view.catalog.node.as_ref().map(|node| &node.labels),
    });
    let mut body = Vec::with_capacity(256);
    let figures = figures(flows, cpu_millicores, memory);
    encode_node(&figures, extras.as_ref(), &mut body);
    Some(Message { path, body: body.into_boxed_slice().into() })
}

/// Where a pod is posted and which of its flows; `None`: it is not.
fn addressed<'a>(
    subject: &Subject<'a>,
    options: &'a EncodeOptions,
) -> Option<(&'a str, Cow<'a, str>, Option<&'a Labels>, Passed)> {
    if let Some((namespace, name, labels)) = subject.name() {
        return Some((namespace, name.into(), Some(labels), subject.by_name?));
    }
    match (subject.who, &options.unknown_pods) {
        (Who::Uid(uid), UnknownPodPolicy::Uid { namespace }) if subject.runs => {
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
