//! Pods, their containers and host units, with the names that the directory has for them.

use std::cmp::Reverse;

use super::input::Dump;
use super::row::DumpRow;
use super::rows::usage;
use crate::directory::catalog::{Catalog, EntityName};
use crate::directory::pod::Pod;
use crate::ledger::Account;
use crate::ledger::account::{ContainerUsage, PodUsage, UnitKind, UnitUsage};
use crate::payload::entities::workload_of;

/// A pod without its containers.
pub(super) fn pod(account: &Account, catalog: &Catalog, pod: &PodUsage) -> DumpRow {
    let known = known_pod(catalog, pod).map(of_pod);
    let cpu = account.containers_of(pod.uid).iter().filter_map(|container| container.usage.cpu);
    // What `kubectl top` calls the pod's.
    let of_containers =
        pod.usage.cpu.is_some().then(|| cpu.map(|cpu| cpu.usage.as_usec()).sum::<u64>());
    DumpRow::default()
        .with("uid", pod.uid.to_string())
        .and(known.or_else(|| catalog.cgroup(&pod.path).map(of_named)))
        .with("qos_class", pod.qos.as_str())
        .with_cgroup(&pod.path)
        .with_flag("exited", pod.exited)
        .with("host_network", pod.host_network)
        .and(usage(&pod.usage))
        .with("containers_cpu_usage_usec", of_containers)
}

/// The containers of a pod.
pub(super) fn containers<'a>(
    dump: &Dump<'a>,
    pod: &PodUsage,
) -> impl Iterator<Item = DumpRow> + use<'a> {
    let known = known_pod(dump.catalog, pod);
    let mut all: Vec<&ContainerUsage> = dump.account.containers_of(pod.uid).iter().collect();
    all.sort_by_key(|one| Reverse((dump.container_weight)(&one.usage)));
    all.into_iter().map(move |one| container(one, known))
}

/// The directory's pod, also one that it has dropped: its cgroups may be there still.
fn known_pod<'a>(catalog: &'a Catalog, pod: &PodUsage) -> Option<&'a Pod> {
    catalog.pod(pod.uid).or_else(|| catalog.departed(pod.uid)).map(|known| &**known)
}

/// The directory's facts about a pod.
fn of_pod(pod: &Pod) -> DumpRow {
    let (workload_kind, workload_name) = workload_of(pod).unzip();
    DumpRow::default()
        .with("namespace", &*pod.namespace)
        .with("pod_name", &*pod.name)
        .with("phase", pod.phase.as_str())
        .with("workload_kind", workload_kind)
        .with("workload_name", workload_name)
}

/// The name of something that is sent as a pod.
fn of_named(named: &EntityName) -> DumpRow {
    DumpRow::default().with("namespace", &*named.namespace).with("pod_name", &*named.name)
}

/// A container has no name if it is the sandbox, or no source of identity knows its pod.
fn container(container: &ContainerUsage, pod: Option<&Pod>) -> DumpRow {
    let known = pod.and_then(|pod| pod.container(container.id));
    DumpRow::default()
        .with("container_id", container.id.to_string())
        .with("container_name", known.map(|known| &*known.name))
        .with("runtime", container.runtime.as_str())
        .with_cgroup(&container.path)
        .with_flag("exited", container.exited)
        .and(usage(&container.usage))
}

pub(super) fn unit(catalog: &Catalog, unit: &UnitUsage) -> DumpRow {
    let (unit_kind, id, runtime) = match unit.kind {
        UnitKind::Unit => ("unit", None, None),
        UnitKind::Container { id, runtime } => ("container", Some(id), Some(runtime)),
        UnitKind::Guest(kind) => (kind.as_str(), None, None),
        UnitKind::Named => ("named", None, None),
        UnitKind::Slice => ("slice", None, None),
        UnitKind::Root => ("root", None, None),
    };
    let known = id.and_then(|id| catalog.container(id)).or_else(|| catalog.cgroup(&unit.path));
    DumpRow::default()
        .with_bytes(["name", "name_hex"], &unit.name())
        .with("unit_kind", unit_kind)
        .with("container_id", id.map(|id| id.to_string()))
        .with("runtime", runtime.map(|runtime| runtime.as_str()))
        .and(known.map(of_named))
        .with_cgroup(&unit.path)
        .with_flag("exited", unit.exited)
        .and(usage(&unit.usage))
        .with(
            "exited_processes_cpu_usage_usec",
            unit.usage.exited_processes_cpu().map(|cpu| cpu.as_usec()),
        )
}
