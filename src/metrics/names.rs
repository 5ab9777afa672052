//! The attributes that name an entity.

use super::entity::{Attribute, AttributeName};
use crate::attribution::InnerNode;
use crate::directory::Catalog;
use crate::directory::catalog::EntityName;
use crate::directory::pod::Pod;
use crate::disk_usage::usage::FilesystemUsage;
use crate::identity::{ContainerId, PodUid};
use crate::ledger::account::{
    ContainerUsage, ExitedUsage, PodUsage, ProcessUsage, UnitKind, UnitUsage,
};

/// Attributes, and if they hold the name that people know.
pub(super) struct Names {
    pub attributes: Vec<Attribute>,
    /// A source of names knows it.
    pub is_named: bool,
}

fn attribute(name: &'static AttributeName, value: impl Into<Box<str>>) -> Attribute {
    Attribute { name, value: value.into() }
}

/// Bytes as text. What is not UTF-8 is escaped, so that two names stay two.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// The directory's pod, also one that has ended.
fn known_pod(catalog: &Catalog, uid: PodUid) -> Option<&Pod> {
    catalog.pod(uid).or_else(|| catalog.departed(uid)).map(|pod| &**pod)
}

fn of_named(named: &EntityName) -> [Attribute; 2] {
    [
        attribute(AttributeName::NAMESPACE, &*named.namespace),
        attribute(AttributeName::POD, &*named.name),
    ]
}

fn of_known_pod(pod: &Pod) -> Vec<Attribute> {
    let mut all = vec![
        attribute(AttributeName::NAMESPACE, &*pod.namespace),
        attribute(AttributeName::POD, &*pod.name),
    ];
    if let Some((kind, name)) = pod.workload() {
        let workload = match kind {
            "Deployment" => Some(AttributeName::DEPLOYMENT),
            "ReplicaSet" => Some(AttributeName::REPLICA_SET),
            "StatefulSet" => Some(AttributeName::STATEFUL_SET),
            "DaemonSet" => Some(AttributeName::DAEMON_SET),
            "Job" => Some(AttributeName::JOB),
            "CronJob" => Some(AttributeName::CRON_JOB),
            _ => None,
        };
        all.extend(workload.map(|key| attribute(key, name)));
    }
    all
}

pub(super) fn pod(catalog: &Catalog, pod: &PodUsage) -> Names {
    let known = known_pod(catalog, pod.uid).map(of_known_pod);
    let named = || catalog.cgroup(&pod.path).map(|named| of_named(named).to_vec());
    let names = known.or_else(named);
    let is_named = names.is_some();
    let mut attributes = names.unwrap_or_default();
    attributes.push(attribute(AttributeName::POD_UID, pod.uid.to_string()));
    Names { attributes, is_named }
}

pub(super) fn container(catalog: &Catalog, container: &ContainerUsage) -> Names {
    let ContainerUsage { pod, id, runtime, .. } = container;
    of_container(catalog, *pod, *id, runtime.as_str())
}

fn of_container(catalog: &Catalog, uid: PodUid, id: ContainerId, runtime: &str) -> Names {
    let pod = known_pod(catalog, uid);
    let known = pod.and_then(|pod| pod.container(id));
    let is_sandbox = pod.is_some_and(|pod| pod.sandbox == Some(id));
    let mut attributes = pod.map(of_known_pod).unwrap_or_default();
    attributes.push(attribute(AttributeName::POD_UID, uid.to_string()));
    if let Some(known) = known {
        attributes.push(attribute(AttributeName::CONTAINER, &*known.name));
        attributes.push(attribute(AttributeName::IMAGE, &*known.image));
    }
    attributes.push(attribute(AttributeName::CONTAINER_ID, id.to_string()));
    attributes.push(attribute(AttributeName::RUNTIME, runtime));
    Names { attributes, is_named: known.is_some() || is_sandbox }
}

pub(super) fn unit(catalog: &Catalog, unit: &UnitUsage) -> Names {
    let path = attribute(AttributeName::CGROUP, text(&unit.path));
    let kind = match unit.kind {
        UnitKind::Container { id, runtime } => {
            let named = catalog.container(id).or_else(|| catalog.cgroup(&unit.path));
            let mut attributes: Vec<Attribute> = Vec::new();
            if let Some(named) = named {
                attributes.push(attribute(AttributeName::NAMESPACE, &*named.namespace));
                attributes.push(attribute(AttributeName::CONTAINER_NAME, &*named.name));
            }
            attributes.push(attribute(AttributeName::CONTAINER_ID, id.to_string()));
            attributes.push(attribute(AttributeName::RUNTIME, runtime.as_str()));
            return Names { attributes, is_named: true };
        }
        UnitKind::Unit => "unit",
        UnitKind::Guest(kind) => kind.as_str(),
        UnitKind::Named => "named",
        UnitKind::Slice => "slice",
        UnitKind::Root => "root",
    };
    let mut attributes: Vec<Attribute> = Vec::new();
    if let Some(named) = catalog.cgroup(&unit.path) {
        attributes.extend(of_named(named));
    }
    attributes.push(attribute(AttributeName::UNIT, text(&unit.name())));
    attributes.push(attribute(AttributeName::UNIT_KIND, kind));
    attributes.push(path);
    Names { attributes, is_named: true }
}

/// A pod that ended before its name was known; `None`: it is not known yet.
pub(super) fn ended_pod(catalog: &Catalog, uid: PodUid) -> Option<Vec<Attribute>> {
    let mut attributes = of_known_pod(known_pod(catalog, uid)?);
    attributes.push(attribute(AttributeName::POD_UID, uid.to_string()));
    Some(attributes)
}

/// A container that ended before its name was known, with the attributes that it would have if it lived;
/// `None`: its name is not known yet.
pub(super) fn ended_container(
    catalog: &Catalog,
    uid: PodUid,
    id: ContainerId,
    runtime: &str,
) -> Option<Vec<Attribute>> {
    let names = of_container(catalog, uid, id, runtime);
    names.is_named.then_some(names.attributes)
}

pub(super) fn exited(exited: &ExitedUsage) -> Vec<Attribute> {
    let kind = match exited.node {
        InnerNode::Pods { .. } => "pods",
        InnerNode::Containers { .. } => "containers",
        InnerNode::Guests => "guests",
        InnerNode::Slice => "units",
    };
    vec![
        attribute(AttributeName::CGROUP, text(&exited.path)),
        attribute(AttributeName::EXITED_KIND, kind),
    ]
}

pub(super) fn filesystem(usage: &FilesystemUsage) -> Vec<Attribute> {
    vec![
        attribute(AttributeName::MOUNT_POINT, text(&usage.mount_point)),
        attribute(AttributeName::FILESYSTEM_TYPE, &*usage.filesystem),
    ]
}

pub(super) fn process(process: &ProcessUsage, owner: &str) -> Vec<Attribute> {
    vec![
        attribute(AttributeName::PID, process.key.pid.to_string()),
        attribute(AttributeName::COMMAND, text(process.comm.as_bytes())),
        attribute(AttributeName::OWNER, owner),
    ]
}

pub(super) fn other_processes(owner: &str) -> Vec<Attribute> {
    vec![attribute(AttributeName::COMMAND, "(others)"), attribute(AttributeName::OWNER, owner)]
}
