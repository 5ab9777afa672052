//! The rules for one component of a cgroup's path, alone.
//!
//! ```text
//!                systemd driver                            cgroupfs driver
//! kubepods       [<prefix>-]kubepods.slice                 kubepods
//! a class        [<prefix>-]kubepods-<class>.slice         burstable | besteffort
//! a pod          [<prefix>-]kubepods[-<class>]-pod<uid>.slice  pod<uid>
//! a container    <runtime>-<id>.scope                      <id> | <runtime>-<id>
//! both at once   <slice>.slice:<runtime>:<id>
//! ```
//!
//! The last form is a systemd path handed to a runtime that does without systemd and makes a
//! directory of it as it stands. A uid is 32 hex digits, with dashes between them where the API
//! server gave it; systemd reads a dash as a level, so slices carry underscores in their place.

use super::{QosClass, Runtime};
use crate::identity::{ContainerId, PodUid};

/// A container id's digits.
pub(super) const ID_LEN: usize = 64;

/// The role of a cgroup whose name has a container's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Container(Runtime),
    /// The process that watches over a container, in a cgroup of its own.
    Monitor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContainerName {
    pub(super) id: ContainerId,
    pub(super) role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ColonForm {
    /// The pod that the slice names; `None` if it is another slice.
    pub(super) pod: Option<(PodUid, QosClass)>,
    pub(super) container: ContainerName,
}

pub(super) fn is_slice(name: &[u8]) -> bool {
    name.ends_with(b".slice")
}

/// True if systemd accounts for this cgroup as a unit with processes of its own.
pub(super) fn is_unit(name: &[u8]) -> bool {
    const SUFFIXES: [&[u8]; 5] = [b".service", b".scope", b".socket", b".mount", b".swap"];
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

pub(super) fn is_kubepods(name: &[u8]) -> bool {
    name == b"kubepods" || name.strip_suffix(b".slice").and_then(class_of_stem) == Some(GUARANTEED)
}

/// The class directory or slice below `kubepods`.
pub(super) fn qos_class(name: &[u8]) -> Option<QosClass> {
    match name {
        b"burstable" => Some(QosClass::Burstable),
        b"besteffort" => Some(QosClass::BestEffort),
        _ => class_of_stem(name.strip_suffix(b".slice")?).filter(|class| *class != GUARANTEED),
    }
}

/// A pod's slice, with the class its name tells.
pub(super) fn pod_slice(name: &[u8]) -> Option<(PodUid, QosClass)> {
    let stem = name.strip_suffix(b".slice")?;
    let (kubepods, pod) = split_last(stem, b'-')?;
    // The uid holds no dash: the split was at the last one.
    let uid = PodUid::parse(pod.strip_prefix(b"pod")?)?;
    Some((uid, class_of_stem(kubepods)?))
}

/// A pod's directory.
pub(super) fn pod_directory(name: &[u8]) -> Option<PodUid> {
    let uid = name.strip_prefix(b"pod")?;
    if uid.contains(&b'_') {
        return None;
    }
    PodUid::parse(uid)
}

/// A container's or monitor's own cgroup, in all forms but the one with colons.
pub(super) fn container(name: &[u8]) -> Option<ContainerName> {
    if let Some(id) = ContainerId::parse(name) {
        return Some(ContainerName { id, role: Role::Container(Runtime::Unknown) });
    }
    let (prefix, id) = split_last(name.strip_suffix(b".scope").unwrap_or(name), b'-')?;
    Some(ContainerName { id: ContainerId::parse(id)?, role: role(prefix) })
}

pub(super) fn colon_form(name: &[u8]) -> Option<ColonForm> {
    let (before, id) = split_last(name, b':')?;
    let (slice, prefix) = split_last(before, b':')?;
    if !is_slice(slice) {
        return None;
    }
    let id = ContainerId::parse(id)?;
    Some(ColonForm { pod: pod_slice(slice), container: ContainerName { id, role: role(prefix) } })
}

/// The directory, of those standing on the host, in which a runtime puts its containers.
pub(super) fn runtime_directory(name: &[u8]) -> Option<Runtime> {
    match name {
        b"docker" => Some(Runtime::Docker),
        b"libpod_parent" => Some(Runtime::Podman),
        b"k8s.io" => Some(Runtime::Containerd),
        _ => None,
    }
}

const GUARANTEED: QosClass = QosClass::Guaranteed;

/// The class that a slice's name without `.slice` (and without the pod) stands for.
fn class_of_stem(stem: &[u8]) -> Option<QosClass> {
    const STEMS: [(&[u8], QosClass); 3] = [
        (b"kubepods", QosClass::Guaranteed),
        (b"kubepods-burstable", QosClass::Burstable),
        (b"kubepods-besteffort", QosClass::BestEffort),
    ];
    STEMS.iter().find_map(|(end, class)| {
        let prefix = stem.strip_suffix(*end)?;
        (prefix.is_empty() || prefix.ends_with(b"-")).then_some(*class)
    })
}

fn role(prefix: &[u8]) -> Role {
    match prefix {
        b"cri-containerd" | b"nerdctl" => Role::Container(Runtime::Containerd),
        b"crio" => Role::Container(Runtime::CriO),
        b"docker" => Role::Container(Runtime::Docker),
        // The second is Podman's in a service that it splits its own cgroup of (Quadlet).
        b"libpod" | b"libpod-payload" => Role::Container(Runtime::Podman),
        _ if prefix == b"conmon" || prefix.ends_with(b"-conmon") => Role::Monitor,
        _ => Role::Container(Runtime::Unknown),
    }
}

fn split_last(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().rposition(|byte| *byte == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}
