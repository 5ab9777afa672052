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
//! server gave it, or any text that a static pod's manifest has. Systemd reads a dash as a level,
//! so slices carry underscores in their place.
//!
//! ```text
//! LXC, Incus, Proxmox   lxc.payload.<name> | lxc/<name> | lxc.payload/<name>
//! nspawn                machine-<name>.scope | systemd-nspawn@<name>.service
//! libvirt               machine-qemu\x2d<n>\x2d<name>.scope | qemu-<n>-<name>.libvirt-qemu
//! Slurm                 [<node>_]slurmstepd.scope/job_<n> | slurm[_<node>]/uid_<n>/job_<n>
//! Talos                 podruntime/<name> | system/<name>
//! ```

use std::borrow::Cow;

use super::{GuestKind, QosClass, Runtime};
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
    let uid = PodUid::of_text(pod.strip_prefix(b"pod")?)?;
    Some((uid, class_of_stem(kubepods)?))
}

/// A pod's directory.
pub(super) fn pod_directory(name: &[u8]) -> Option<PodUid> {
    let uid = name.strip_prefix(b"pod")?;
    // The kubelet runs no pod whose uid has an underscore.
    if uid.contains(&b'_') {
        return None;
    }
    PodUid::of_text(uid)
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

/// The directory in which LXC puts its guests by name.
pub(super) fn is_guest_directory(name: &[u8]) -> bool {
    matches!(name, b"lxc" | b"lxc.payload")
}

/// A cgroup at the root in which Talos puts its services.
pub(super) fn is_talos(name: &[u8]) -> bool {
    matches!(name, b"podruntime" | b"system")
}

/// The scope, or on cgroup v1 the directory, in which Slurm puts its jobs.
pub(super) fn is_slurm(name: &[u8]) -> bool {
    name == b"slurm"
        || name.starts_with(b"slurm_")
        || name == SLURM_SCOPE
        || name.strip_suffix(SLURM_SCOPE).is_some_and(|node| node.ends_with(b"_"))
}

const SLURM_SCOPE: &[u8] = b"slurmstepd.scope";

/// The jobs of one user, on cgroup v1.
pub(super) fn is_slurm_user(name: &[u8]) -> bool {
    name.strip_prefix(b"uid_").is_some_and(is_number)
}

pub(super) fn is_job(name: &[u8]) -> bool {
    name.strip_prefix(b"job_").is_some_and(is_number)
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// The units that run containers or pods for the node. The host's root starts them, and what is
/// below them is theirs.
pub(super) fn is_node_component(name: &[u8]) -> bool {
    const UNITS: [&[u8]; 12] = [
        b"containerd.service",
        b"crio.service",
        b"docker.service",
        b"cri-docker.service",
        b"kubelet.service",
        b"k3s.service",
        b"k3s-agent.service",
        b"rke2-server.service",
        b"rke2-agent.service",
        b"k0scontroller.service",
        b"k0sworker.service",
        b"snap.microk8s.daemon-containerd.service",
    ];
    UNITS.contains(&name)
}

const LXC: &[u8] = b"lxc.payload.";
const MACHINE: &[u8] = b"machine-";
const NSPAWN: &[u8] = b"systemd-nspawn@";

/// The kind of guest whose own cgroup this is.
pub(super) fn guest(name: &[u8]) -> Option<GuestKind> {
    let between = |before: &[u8], after: &[u8]| {
        let inner = name.strip_prefix(before)?.strip_suffix(after)?;
        (!inner.is_empty()).then_some(inner)
    };
    if between(LXC, b"").is_some() || between(b"", b".libvirt-lxc").is_some() {
        return Some(GuestKind::Lxc);
    }
    if between(b"", b".libvirt-qemu").is_some() {
        return Some(GuestKind::VirtualMachine);
    }
    if between(NSPAWN, b".service").is_some() {
        return Some(GuestKind::Machine);
    }
    let machine = unescape(between(MACHINE, b".scope")?);
    Some(match &*machine {
        machine if machine.starts_with(b"qemu-") => GuestKind::VirtualMachine,
        machine if machine.starts_with(b"lxc-") => GuestKind::Lxc,
        _ => GuestKind::Machine,
    })
}

/// The name of a guest without what LXC, systemd or libvirt put around it; others as they are.
pub(super) fn readable(name: &[u8]) -> Cow<'_, [u8]> {
    const AROUND: [(&[u8], &[u8]); 5] = [
        (LXC, b""),
        (NSPAWN, b".service"),
        (MACHINE, b".scope"),
        (b"", b".libvirt-qemu"),
        (b"", b".libvirt-lxc"),
    ];
    let inner = AROUND.iter().find_map(|(before, after)| {
        let inner = name.strip_prefix(*before)?.strip_suffix(*after)?;
        (!inner.is_empty()).then_some(inner)
    });
    inner.map_or(Cow::Borrowed(name), unescape)
}

/// Replaces systemd's escapes (`\x2d`).
fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let byte = match rest {
            [b'\\', b'x', high, low, ..] => {
                digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low)
            }
            _ => None,
        };
        plain.push(byte.unwrap_or(*first));
        rest = match byte {
            Some(_) => rest.get(4..).unwrap_or_default(),
            None => after,
        };
    }
    Cow::Owned(plain)
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
