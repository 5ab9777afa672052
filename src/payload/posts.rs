//! From an account to the resource API's posts.

use std::collections::BTreeMap;

use bytes::Bytes as Body;

use super::resource_api::{self, Figures, PodFacts};
use crate::identity::PodUid;
use crate::ledger::Account;
use crate::ledger::account::{DiskUsage, NetworkUsage, Usage};

/// What an endpoint of the resource API wants.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a> {
    pub node_name: &'a str,
    /// Disk and network figures are running totals, and not what passed in the interval.
    pub cumulative: bool,
    /// The namespace of a pod that is known by its uid alone; `None`: such a pod is not sent.
    pub unknown_namespace: Option<&'a str>,
}

/// A path and the body for it.
#[derive(Debug, Clone)]
pub struct Message {
    pub path: String,
    pub body: Body,
}

/// Running totals of disk and network bytes since the agent started, for endpoints that want
/// them. A pod that leaves the account leaves here too.
#[derive(Debug, Clone, Default)]
pub struct RunningTotals {
    node: Flows,
    pods: BTreeMap<PodUid, Flows>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Flows {
    read_bytes: u64,
    write_bytes: u64,
    sent_bytes: u64,
    recv_bytes: u64,
}

impl Flows {
    fn of(disk: Option<&DiskUsage>, network: Option<&NetworkUsage>) -> Self {
        Self {
            read_bytes: disk.map_or(0, |disk| disk.read.as_bytes()),
            write_bytes: disk.map_or(0, |disk| disk.written.as_bytes()),
            sent_bytes: network.map_or(0, |network| network.tx.as_bytes()),
            recv_bytes: network.map_or(0, |network| network.rx.as_bytes()),
        }
    }

    fn add(&mut self, other: Self) {
        self.read_bytes = self.read_bytes.saturating_add(other.read_bytes);
        self.write_bytes = self.write_bytes.saturating_add(other.write_bytes);
        self.sent_bytes = self.sent_bytes.saturating_add(other.sent_bytes);
        self.recv_bytes = self.recv_bytes.saturating_add(other.recv_bytes);
    }

    fn figures(self, cpu_millicores: u64, memory_bytes: u64) -> Figures {
        Figures {
            cpu_millicores,
            memory_bytes,
            read_bytes: self.read_bytes,
            write_bytes: self.write_bytes,
            sent_bytes: self.sent_bytes,
            recv_bytes: self.recv_bytes,
        }
    }
}

impl RunningTotals {
    /// Adds an interval.
    pub fn add(&mut self, account: &Account) {
        let node = &account.node;
        self.node.add(Flows::of(node.disk.as_ref(), node.network.as_ref()));
        self.pods.retain(|uid, _| account.pods.binary_search_by_key(uid, |pod| pod.uid).is_ok());
        for pod in &account.pods {
            self.pods.entry(pod.uid).or_default().add(pod_flows(&pod.usage));
        }
    }
}

fn pod_flows(usage: &Usage) -> Flows {
    Flows::of(usage.disk.as_ref(), usage.network.as_ref())
}

/// The posts of one interval: the node's, then one a live pod. A pod is called by its uid until a
/// directory tells its name. Figures that are not known are sent as 0, since the API has no other
/// word for it and a missing or null one breaks its server.
#[must_use]
pub fn of_account(account: &Account, totals: &RunningTotals, form: Form<'_>) -> Vec<Message> {
    let mut messages = Vec::with_capacity(1 + account.pods.len());
    let node = &account.node;
    let flows = match form.cumulative {
        true => totals.node,
        false => Flows::of(node.disk.as_ref(), node.network.as_ref()),
    };
    let memory = node.memory.map_or(0, |memory| memory.working_set().as_bytes());
    let figures = flows.figures(node.cpu.map_or(0, |cpu| cpu.millicores()), memory);
    if let Ok(path) = resource_api::node_metrics_path(form.node_name) {
        let mut body = Vec::with_capacity(192);
        resource_api::encode_node(&figures, &mut body);
        messages.push(Message { path, body: body.into() });
    }
    let Some(namespace) = form.unknown_namespace else { return messages };
    // A pod whose processes have all gone is not Running. Outside the host's pid namespace they
    // cannot be seen, and the cgroup's own count tells.
    let runs = |usage: &Usage| usage.processes > 0 || usage.pids.current.is_some_and(|n| n > 0);
    for pod in account.pods.iter().filter(|pod| runs(&pod.usage)) {
        let flows = match form.cumulative {
            true => totals.pods.get(&pod.uid).copied().unwrap_or_default(),
            false => pod_flows(&pod.usage),
        };
        let cpu_millicores = pod.usage.cpu.map_or(0, |cpu| cpu.millicores());
        let figures = flows.figures(cpu_millicores, pod.usage.memory_in_use().as_bytes());
        let facts = PodFacts { node_name: form.node_name, uid: Some(pod.uid), qos: Some(pod.qos) };
        if let Ok(path) = resource_api::pod_metrics_path(namespace, &pod.uid.to_string()) {
            let mut body = Vec::with_capacity(320);
            resource_api::encode_pod(&figures, &facts, &mut body);
            messages.push(Message { path, body: body.into() });
        }
    }
    messages
}
