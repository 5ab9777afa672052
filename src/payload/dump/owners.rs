//! Pods, their containers and host units, with the names that the directory has for them.

use serde::Serialize;

use super::rows::{CgroupName, NameRow, UsageRow, cgroup_name, is_false, named, usage_row};
use crate::directory::catalog::{self, Catalog};
use crate::directory::pod::Pod;
use crate::ledger::Account;
use crate::ledger::account::{ContainerUsage, PodUsage, UnitKind, UnitUsage};
use crate::payload::entities::workload_of;

#[derive(Serialize)]
pub(super) struct PodRow {
    #[serde(flatten)]
    pub pod: PodFactsRow,
    pub containers: Vec<ContainerRow>,
}

#[derive(Serialize)]
pub(super) struct PodFactsRow {
    pub uid: String,
    #[serde(flatten)]
    known: Option<KnownRow>,
    qos_class: &'static str,
    #[serde(flatten)]
    cgroup: CgroupName,
    #[serde(skip_serializing_if = "is_false")]
    exited: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_network: Option<bool>,
    #[serde(flatten)]
    usage: UsageRow,
    /// Σ of its containers: what `kubectl top` calls the pod's.
    #[serde(skip_serializing_if = "Option::is_none")]
    containers_cpu_usage_usec: Option<u64>,
}

/// The directory's facts about a pod, or about something sent as one.
#[derive(Serialize)]
struct KnownRow {
    namespace: String,
    pod_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload_kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload_name: Option<String>,
}

impl KnownRow {
    fn of_pod(pod: &Pod) -> Self {
        let workload = workload_of(pod);
        Self {
            namespace: pod.namespace.to_string(),
            pod_name: pod.name.to_string(),
            phase: Some(pod.phase.as_str()),
            workload_kind: workload.map(|(kind, _)| kind.to_owned()),
            workload_name: workload.map(|(_, name)| name.to_owned()),
        }
    }

    fn of_named(named: &catalog::EntityName) -> Self {
        Self {
            namespace: named.namespace.to_string(),
            pod_name: named.name.to_string(),
            phase: None,
            workload_kind: None,
            workload_name: None,
        }
    }
}

#[derive(Serialize)]
pub(super) struct ContainerRow {
    container_id: String,
    /// Absent for the sandbox, and where no source of identity knows the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    container_name: Option<String>,
    runtime: &'static str,
    #[serde(flatten)]
    cgroup: CgroupName,
    #[serde(skip_serializing_if = "is_false")]
    exited: bool,
    #[serde(flatten)]
    usage: UsageRow,
}

#[derive(Serialize)]
pub(super) struct InPod<'a> {
    pub pod_uid: &'a str,
    #[serde(flatten)]
    pub container: ContainerRow,
}

pub(super) fn pod(account: &Account, catalog: &Catalog, pod: &PodUsage) -> PodRow {
    let containers = account.containers_of(pod.uid);
    let known = catalog.pod(pod.uid).map(|known| &**known);
    let named = || catalog.cgroup(&pod.path).map(KnownRow::of_named);
    let known_row = known.map(KnownRow::of_pod).or_else(named);
    let cpu = containers.iter().filter_map(|container| container.usage.cpu);
    let measured = pod.usage.cpu.is_some();
    PodRow {
        pod: PodFactsRow {
            uid: pod.uid.to_string(),
            known: known_row,
            qos_class: pod.qos.as_str(),
            cgroup: cgroup_name(&pod.path),
            exited: pod.exited,
            host_network: pod.host_network,
            usage: usage_row(&pod.usage),
            containers_cpu_usage_usec: measured.then(|| cpu.map(|cpu| cpu.usage.as_usec()).sum()),
        },
        containers: containers.iter().map(|one| container(one, known)).collect(),
    }
}

fn container(container: &ContainerUsage, pod: Option<&Pod>) -> ContainerRow {
    let name = pod.and_then(|pod| pod.container(container.id));
    ContainerRow {
        container_id: container.id.to_string(),
        container_name: name.map(|known| known.name.to_string()),
        runtime: container.runtime.as_str(),
        cgroup: cgroup_name(&container.path),
        exited: container.exited,
        usage: usage_row(&container.usage),
    }
}

#[derive(Serialize)]
pub(super) struct UnitRow {
    #[serde(flatten)]
    name: NameRow,
    unit_kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<&'static str>,
    #[serde(flatten)]
    known: Option<KnownRow>,
    #[serde(flatten)]
    cgroup: CgroupName,
    #[serde(skip_serializing_if = "is_false")]
    exited: bool,
    #[serde(flatten)]
    usage: UsageRow,
    /// The CPU time of exited processes: the cgroup's beyond its live ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    exited_processes_cpu_usage_usec: Option<u64>,
}

pub(super) fn unit(catalog: &Catalog, unit: &UnitUsage) -> UnitRow {
    let (unit_kind, id) = match unit.kind {
        UnitKind::Unit => ("unit", None),
        UnitKind::Container { id, runtime } => ("container", Some((id, runtime))),
        UnitKind::Root => ("root", None),
    };
    UnitRow {
        name: named(unit.name()),
        unit_kind,
        container_id: id.map(|(id, _)| id.to_string()),
        runtime: id.map(|(_, runtime)| runtime.as_str()),
        known: id
            .and_then(|(id, _)| catalog.container(id))
            .or_else(|| catalog.cgroup(&unit.path))
            .map(KnownRow::of_named),
        cgroup: cgroup_name(&unit.path),
        exited: unit.exited,
        usage: usage_row(&unit.usage),
        exited_processes_cpu_usage_usec: unit.usage.exited_processes_cpu().map(|cpu| cpu.as_usec()),
    }
}
