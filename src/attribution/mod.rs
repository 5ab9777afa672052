//! Whose a cgroup is: pure rules from a path to an owner.
//!
//! A cgroup is classified from its parent's owner and its own last path component alone
//! ([`Owner::of_child`]), so walking a tree costs each component once and allocates nothing.

use crate::identity::{ContainerId, PodUid};

/// The quality-of-service class a pod's cgroup stands in. Guaranteed pods stand directly below
/// `kubepods`, without a class directory of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QosClass {
    Guaranteed,
    Burstable,
    BestEffort,
}

/// The container runtime as the cgroup's name tells it; the cgroupfs driver's bare id does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    Containerd,
    CriO,
    Docker,
    Podman,
    Unknown,
}

/// Whose usage the figures of one cgroup, less those of its children, are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The root cgroup: kernel threads and strays.
    Root,
    /// A slice or other inner node that owns nothing itself; what its children do not explain
    /// died since the last sample. `pods` says whether this is `kubepods` or a QoS class below it.
    Inner { pods: Option<PodsNode> },
    /// A pod's own cgroup, or one in it that is no container (a monitor such as conmon).
    Pod { uid: PodUid, qos: QosClass },
    /// A container of a pod, and all below it.
    PodContainer { uid: PodUid, qos: QosClass, id: ContainerId, runtime: Runtime },
    /// A container outside Kubernetes.
    Container { id: ContainerId, runtime: Runtime },
    /// A systemd service or scope (the innermost one), or another cgroup of the host that holds
    /// processes of its own.
    Unit,
}

/// `kubepods` itself, or a class below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodsNode {
    pub qos: QosClass,
}
