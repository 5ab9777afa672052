//! The owner of a cgroup: pure rules from a path to an owner.
//!
//! A cgroup is classified from its parent's owner and its own last path component alone
//! ([`Owner::step`]), so walking a tree costs each component once and allocates nothing. A step
//! says either that the cgroup belongs to its parent's owner or that an owner starts at it; an
//! owner's own figure is then its first cgroup's less those of the owners that start below it.
//!
//! ```text
//! cgroup stands in      what starts an owner there
//! the root, an inner    everything: a cgroup there is inner itself, a unit, or a container
//! a unit                units, containers, kubepods; slices and plain directories are the unit's
//! kubepods, a class     classes and pods; a name that merely resembles one is a slice or a unit
//! a pod                 its containers; monitors and all else are the pod's
//! a pod's container     nothing, whatever runs in it
//! a container           kubepods: a node that runs as a container (kind, k3d, minikube)
//! ```
//!
//! A path is a claim of the cgroup. Who may create a `kubepods` directory below a delegated subtree can
//! put any pod's uid in it.

mod name;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::identity::{ContainerId, PodUid};
use name::{ContainerName, Role};

/// The quality-of-service class a pod's cgroup stands in. Guaranteed pods stand directly below
/// `kubepods`, without a class directory of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QosClass {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl QosClass {
    /// The class as a pod's `status.qosClass` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

impl fmt::Display for QosClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The container runtime, from the cgroup's name or its directory. The bare id of the cgroupfs
/// driver does not name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    Containerd,
    CriO,
    Docker,
    Podman,
    Unknown,
}

impl Runtime {
    /// The runtime's own spelling of its name; `unknown` where the path does not tell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The owner of a cgroup. Its usage is that of its cgroups, less that of the owners that start
/// below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The root cgroup: kernel threads and strays.
    Root,
    /// A slice or other inner node without an owner. Its self usage is that of cgroups that were
    /// removed since the last sample.
    Inner(InnerNode),
    /// A pod's own cgroup, or one in it that is no container (a monitor such as conmon).
    Pod { uid: PodUid, qos: QosClass },
    /// A container of a pod, and all below it.
    PodContainer { uid: PodUid, qos: QosClass, id: ContainerId, runtime: Runtime },
    /// A container outside Kubernetes, and all below it but the pods of a node that runs in it.
    Container { id: ContainerId, runtime: Runtime },
    /// A systemd unit (the innermost one), or a cgroup of the host that is no unit and yet stands
    /// where units do, such as `lxc.payload.web`. Which one, the path of the cgroup says at which
    /// this owner starts.
    Unit,
}

/// The kind of an inner node, which decides what can be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InnerNode {
    /// A systemd slice that Kubernetes has no part in.
    Slice,
    /// A directory in which a runtime without the systemd driver puts its containers by bare id.
    Containers { runtime: Runtime },
    /// `kubepods` itself (then `qos` is Guaranteed, since those pods stand directly in it), or one
    /// of the two classes below it.
    Pods { qos: QosClass },
}

/// The owner of a cgroup in relation to its parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerStep {
    /// The cgroup belongs to its parent's owner.
    Inherits,
    /// An owner starts at this cgroup. It may equal the parent's (a unit below a unit) and is
    /// another all the same.
    New(Owner),
}

/// A path's owner, and the cgroup at which that owner starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located<'path> {
    pub owner: Owner,
    /// The start of the given path, up to and with the owner's first cgroup and without a trailing
    /// slash; empty if that is the root.
    pub starts_at: &'path [u8],
}

impl Owner {
    /// The owner of the cgroup `name` directly below one of this owner's.
    #[must_use]
    pub fn step(&self, name: &[u8]) -> OwnerStep {
        match *self {
            Self::PodContainer { .. } => OwnerStep::Inherits,
            Self::Pod { uid, qos } => step_in_pod(uid, qos, name),
            Self::Container { .. } => pods_below(name).map_or(OwnerStep::Inherits, OwnerStep::New),
            Self::Unit => {
                let starts = pods_below(name).or_else(|| container_on_host(name));
                let starts = starts.or_else(|| name::is_unit(name).then_some(Self::Unit));
                starts.map_or(OwnerStep::Inherits, OwnerStep::New)
            }
            Self::Root | Self::Inner(InnerNode::Slice) => OwnerStep::New(in_inner(name)),
            Self::Inner(InnerNode::Containers { runtime }) => {
                OwnerStep::New(in_runtime_directory(runtime, name))
            }
            Self::Inner(InnerNode::Pods { qos }) => {
                OwnerStep::New(in_kubepods(qos, name).unwrap_or_else(|| in_inner(name)))
            }
        }
    }

    /// The owner of the cgroup `name` below a cgroup owned by `parent`. Where it matters whether
    /// this is the parent's owner or another one that equals it, ask [`Owner::step`].
    #[must_use]
    pub fn of_child(parent: &Self, name: &[u8]) -> Self {
        match parent.step(name) {
            OwnerStep::Inherits => *parent,
            OwnerStep::New(owner) => owner,
        }
    }

    /// The owner of a path below the cgroup2 mount.
    #[must_use]
    pub fn of_path(path: &[u8]) -> Self {
        Self::locate(path).owner
    }

    /// The owner of a path below the cgroup2 mount, and the cgroup at which it starts. Empty
    /// components (a leading, doubled or trailing slash) do not count.
    #[must_use]
    pub fn locate(path: &[u8]) -> Located<'_> {
        let mut located = Located { owner: Self::Root, starts_at: b"" };
        let mut end = 0;
        for component in path.split(|byte| *byte == b'/') {
            end += component.len();
            if !component.is_empty()
                && let OwnerStep::New(owner) = located.owner.step(component)
            {
                located = Located { owner, starts_at: path.get(..end).unwrap_or(path) };
            }
            // The slash behind the component.
            end += 1;
        }
        located
    }
}

/// The first 12 digits of the id, as the runtimes' own tools show it.
#[must_use]
pub fn short_name(id: ContainerId) -> String {
    let mut digits = id.to_string();
    digits.truncate(12);
    digits
}

fn step_in_pod(uid: PodUid, qos: QosClass, name: &[u8]) -> OwnerStep {
    let found = match name::colon_form(name) {
        // Where the name tells of another pod than the tree does, the tree is right.
        Some(colon) if colon.pod == Some((uid, qos)) => Some(colon.container),
        Some(_) => None,
        None => name::container(name),
    };
    match found {
        Some(ContainerName { id, role: Role::Container(runtime) }) => {
            OwnerStep::New(Owner::PodContainer { uid, qos, id, runtime })
        }
        _ => OwnerStep::Inherits,
    }
}

/// The owner of a cgroup that starts a Kubernetes tree, anywhere outside a pod.
fn pods_below(name: &[u8]) -> Option<Owner> {
    if name::is_kubepods(name) {
        return Some(Owner::Inner(InnerNode::Pods { qos: QosClass::Guaranteed }));
    }
    let colon = name::colon_form(name)?;
    let (uid, qos) = colon.pod?;
    Some(match colon.container.role {
        Role::Container(runtime) => {
            Owner::PodContainer { uid, qos, id: colon.container.id, runtime }
        }
        Role::Monitor => Owner::Pod { uid, qos },
    })
}

fn container_on_host(name: &[u8]) -> Option<Owner> {
    let found = match name::colon_form(name) {
        Some(colon) => colon.container,
        None => name::container(name)?,
    };
    match found.role {
        // Any transient unit may end in 64 digits; outside a pod only a known prefix, or an id with
        // nothing around it, tells a container.
        Role::Container(Runtime::Unknown) if name.len() != name::ID_LEN => None,
        Role::Container(runtime) => Some(Owner::Container { id: found.id, runtime }),
        Role::Monitor => None,
    }
}

fn in_inner(name: &[u8]) -> Owner {
    if let Some(owner) = pods_below(name).or_else(|| container_on_host(name)) {
        owner
    } else if let Some(runtime) = name::runtime_directory(name) {
        Owner::Inner(InnerNode::Containers { runtime })
    } else if name::is_slice(name) {
        Owner::Inner(InnerNode::Slice)
    } else {
        Owner::Unit
    }
}

fn in_runtime_directory(runtime: Runtime, name: &[u8]) -> Owner {
    match ContainerId::parse(name) {
        // A pod of Podman's: its containers stand in it as `libpod-<id>`.
        Some(_) if runtime == Runtime::Podman => Owner::Inner(InnerNode::Containers { runtime }),
        Some(id) => Owner::Container { id, runtime },
        None => in_inner(name),
    }
}

fn in_kubepods(qos: QosClass, name: &[u8]) -> Option<Owner> {
    // The classes stand in `kubepods` itself, never in one another.
    if qos == QosClass::Guaranteed
        && let Some(class) = name::qos_class(name)
    {
        return Some(Owner::Inner(InnerNode::Pods { qos: class }));
    }
    let uid = match name::pod_slice(name) {
        Some((uid, named)) if named == qos => uid,
        Some(_) => return None,
        None => name::pod_directory(name)?,
    };
    Some(Owner::Pod { uid, qos })
}
