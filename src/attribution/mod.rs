//! The owner of a cgroup: pure rules from a path to an owner.
//!
//! A cgroup is classified from its parent's [`Position`] and its own last path component alone
//! ([`Position::step`]), so walking a tree costs each component once and allocates nothing. A step
//! says either that the cgroup belongs to its parent's owner or that an owner starts at it; an
//! owner's own figure is then its first cgroup's less those of the owners that start below it.
//!
//! ```text
//! cgroup stands in      what starts an owner there
//! the root, an inner    everything: a cgroup there is inner itself, a unit, a guest or a container
//! a unit                units, containers, guests; slices and plain directories are the unit's
//! kubepods, a class     classes and pods; a name that merely resembles one is a slice or a unit
//! a pod                 its containers; monitors and all else are the pod's
//! a pod's container     nothing, whatever runs in it
//! a guest, a job        nothing, whatever runs in it
//! a container           kubepods: a node that runs as a container (kind, k3d, minikube)
//! ```
//!
//! A path is a claim of whoever made the cgroup. So pods start only on [`Ground::Host`], where the
//! host's root alone makes cgroups: not below `user.slice`, nor in a unit other than those of the
//! node's own components, nor in a pod or guest.

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
    /// where units do, such as `/init` of Talos. Which one, the path of the cgroup says at which
    /// this owner starts.
    Unit,
    /// A guest system or a batch job, and all below it.
    Guest(GuestKind),
    /// A cgroup that the administrator made an owner by its path, and all below it but pods.
    Named,
}

/// The kind of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuestKind {
    /// A system container of LXC, Incus, LXD or Proxmox.
    Lxc,
    /// A container of systemd-nspawn, or another machine of systemd-machined that is no VM.
    Machine,
    /// A virtual machine of libvirt.
    VirtualMachine,
    /// A job of Slurm.
    Job,
}

impl GuestKind {
    /// The kind in one word: `lxc`, `machine`, `vm` or `job`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lxc => "lxc",
            Self::Machine => "machine",
            Self::VirtualMachine => "vm",
            Self::Job => "job",
        }
    }
}

/// The kind of an inner node, which decides what can be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InnerNode {
    /// A systemd slice that Kubernetes has no part in.
    Slice,
    /// A directory in which a runtime without the systemd driver puts its containers by bare id.
    Containers { runtime: Runtime },
    /// A directory in which LXC puts its guests.
    Guests,
    /// `kubepods` itself (then `qos` is Guaranteed, since those pods stand directly in it), or one
    /// of the two classes below it.
    Pods { qos: QosClass },
}

/// The parties that can make cgroups at a place of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// The host's root alone.
    Host,
    /// The host's root alone, and Slurm puts its jobs there.
    Jobs,
    /// Others too, such as a user's service manager. No pod starts there.
    Delegated,
    /// The place pretends to be Kubernetes' and is not. No owner starts there.
    Forged,
}

/// The owner of a cgroup, with what can start below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub owner: Owner,
    pub ground: Ground,
}

/// The position of a cgroup in relation to its parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub position: Position,
    /// An owner starts at this cgroup. It may equal the parent's (a unit below a unit) and is
    /// another all the same. False: the cgroup belongs to its parent's owner.
    pub starts: bool,
}

/// A path's owner, and the cgroup at which that owner starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located<'path> {
    pub owner: Owner,
    pub ground: Ground,
    /// The start of the given path, up to and with the owner's first cgroup and without a trailing
    /// slash; empty if that is the root.
    pub starts_at: &'path [u8],
}

impl Position {
    /// The position of the root cgroup.
    pub const ROOT: Self = Self { owner: Owner::Root, ground: Ground::Host };

    /// The position of the cgroup `name` directly below this one.
    #[must_use]
    pub fn step(&self, name: &[u8]) -> Step {
        let ground = self.ground_below(name);
        let started = match self.ground {
            Ground::Forged => None,
            _ => self.owner_below(name),
        };
        let starts = started.is_some();
        Step { position: Self { owner: started.unwrap_or(self.owner), ground }, starts }
    }

    fn owner_below(&self, name: &[u8]) -> Option<Owner> {
        match self.owner {
            Owner::PodContainer { .. } | Owner::Guest(_) => None,
            Owner::Pod { uid, qos } => container_in_pod(uid, qos, name),
            Owner::Container { .. } | Owner::Named => self.pods_below(name),
            Owner::Unit => self
                .pods_below(name)
                .or_else(|| self.job_below(name))
                .or_else(|| (!self.forges(name)).then(|| guest_or_container(self.ground, name))?)
                .or_else(|| name::is_unit(name).then_some(Owner::Unit)),
            Owner::Root | Owner::Inner(InnerNode::Slice) => Some(self.in_inner(name)),
            Owner::Inner(InnerNode::Containers { runtime }) => {
                Some(self.in_runtime_directory(runtime, name))
            }
            Owner::Inner(InnerNode::Guests) => Some(Owner::Guest(GuestKind::Lxc)),
            Owner::Inner(InnerNode::Pods { qos }) => {
                Some(in_kubepods(qos, name).unwrap_or_else(|| self.in_inner(name)))
            }
        }
    }

    fn ground_below(&self, name: &[u8]) -> Ground {
        let is_slurm = || self.ground == Ground::Jobs && name::is_slurm_user(name);
        match (self.owner, self.ground) {
            (_, Ground::Forged) => Ground::Forged,
            _ if self.forges(name) => Ground::Forged,
            (Owner::Pod { .. } | Owner::PodContainer { .. } | Owner::Guest(_), _)
            | (_, Ground::Delegated) => Ground::Delegated,
            _ if name::is_slurm(name) || is_slurm() => Ground::Jobs,
            // A user's manager can make any cgroup in it, and so can the user.
            _ if name == b"user.slice" => Ground::Delegated,
            // A unit's own subtree can be delegated. A container can be a node of Kubernetes.
            _ if name::is_unit(name) => {
                let is_trusted = name::is_node_component(name) || container_on_host(name).is_some();
                if is_trusted { Ground::Host } else { Ground::Delegated }
            }
            _ => Ground::Host,
        }
    }

    /// True if the name is that of a tree of pods where none can be.
    fn forges(&self, name: &[u8]) -> bool {
        let in_pod_or_guest =
            matches!(self.owner, Owner::Pod { .. } | Owner::PodContainer { .. } | Owner::Guest(_));
        self.ground == Ground::Delegated && !in_pod_or_guest && kubernetes_tree(name).is_some()
    }

    /// The owner of a cgroup that starts a Kubernetes tree.
    fn pods_below(&self, name: &[u8]) -> Option<Owner> {
        kubernetes_tree(name).filter(|_| matches!(self.ground, Ground::Host | Ground::Jobs))
    }

    fn job_below(&self, name: &[u8]) -> Option<Owner> {
        let is_job = self.ground == Ground::Jobs && name::is_job(name);
        is_job.then_some(Owner::Guest(GuestKind::Job))
    }

    fn in_inner(&self, name: &[u8]) -> Owner {
        if self.forges(name) {
            return Owner::Unit;
        }
        if let Some(owner) = self.pods_below(name) {
            owner
        } else if let Some(owner) = guest_or_container(self.ground, name) {
            owner
        } else if let Some(runtime) = name::runtime_directory(name) {
            Owner::Inner(InnerNode::Containers { runtime })
        } else if name::is_guest_directory(name) {
            Owner::Inner(InnerNode::Guests)
        } else if name::is_slice(name) || self.owner == Owner::Root && name::is_talos(name) {
            Owner::Inner(InnerNode::Slice)
        } else {
            Owner::Unit
        }
    }

    fn in_runtime_directory(&self, runtime: Runtime, name: &[u8]) -> Owner {
        match ContainerId::parse(name) {
            // A pod of Podman's: its containers stand in it as `libpod-<id>`.
            Some(_) if runtime == Runtime::Podman => {
                Owner::Inner(InnerNode::Containers { runtime })
            }
            Some(id) => Owner::Container { id, runtime },
            None => self.in_inner(name),
        }
    }
}

impl Owner {
    /// The owner of a path below the cgroup2 mount.
    #[must_use]
    pub fn of_path(path: &[u8]) -> Self {
        Self::locate(path).owner
    }

    /// The owner of a path below the cgroup2 mount, and the cgroup at which it starts. Empty
    /// components (a leading, doubled or trailing slash) do not count.
    #[must_use]
    pub fn locate(path: &[u8]) -> Located<'_> {
        Self::locate_with(path, |_, _| false)
    }

    /// The same with the owners that rules make. `is_named`: a rule makes the cgroup at this start of
    /// the path an owner, which would otherwise be of the given one.
    pub fn locate_with(path: &[u8], is_named: impl Fn(&Self, &[u8]) -> bool) -> Located<'_> {
        let mut position = Position::ROOT;
        let mut starts_at = &b""[..];
        let mut end = 0;
        for component in path.split(|byte| *byte == b'/') {
            end += component.len();
            if !component.is_empty() {
                let step = position.step(component);
                position = step.position;
                let here = path.get(..end).unwrap_or(path);
                let named = is_named(&position.owner, here);
                if named {
                    position.owner = Self::Named;
                }
                if step.starts || named {
                    starts_at = here;
                }
            }
            // The slash behind the component.
            end += 1;
        }
        Located { owner: position.owner, ground: position.ground, starts_at }
    }

    /// The specificity of this owner among those that several paths of one process name: a pod's
    /// container is the most, the root the least.
    const fn specificity(&self) -> u8 {
        match self {
            Self::Root => 0,
            Self::Inner(_) => 1,
            Self::Unit => 2,
            Self::Named => 3,
            Self::Guest(_) | Self::Container { .. } => 4,
            Self::Pod { .. } => 5,
            Self::PodContainer { .. } => 6,
        }
    }
}

/// True if `other` says more about the owner of a process than `path` does: both are its cgroups, in
/// two hierarchies. A pod or container says more than a unit, and an owner that starts below the
/// other's says more than that one.
#[must_use]
pub fn says_more(other: &[u8], path: &[u8]) -> bool {
    let (other, path) = (Owner::locate(other), Owner::locate(path));
    match other.owner.specificity().cmp(&path.owner.specificity()) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => {
            let below = other.starts_at.strip_prefix(path.starts_at);
            // The unit that a path of several controllers stands in is that of cgroup2.
            !path.starts_at.is_empty() && below.is_some_and(|rest| rest.starts_with(b"/"))
        }
    }
}

/// The name of a guest or unit for people, from the last component of the path at which it starts:
/// `web` of `lxc.payload.web`, `qemu-1-web` of `machine-qemu\x2d1\x2dweb.scope`.
#[must_use]
pub fn guest_name(component: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    name::readable(component)
}

/// The first 12 digits of the id, as the runtimes' own tools show it.
#[must_use]
pub fn short_name(id: ContainerId) -> String {
    let mut digits = id.to_string();
    digits.truncate(12);
    digits
}

fn container_in_pod(uid: PodUid, qos: QosClass, name: &[u8]) -> Option<Owner> {
    let found = match name::colon_form(name) {
        // Where the name tells of another pod than the tree does, the tree is right.
        Some(colon) if colon.pod == Some((uid, qos)) => Some(colon.container),
        Some(_) => None,
        None => name::container(name),
    };
    match found? {
        ContainerName { id, role: Role::Container(runtime) } => {
            Some(Owner::PodContainer { uid, qos, id, runtime })
        }
        ContainerName { role: Role::Monitor, .. } => None,
    }
}

/// The owner that the name of a Kubernetes tree claims.
fn kubernetes_tree(name: &[u8]) -> Option<Owner> {
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

fn guest_or_container(ground: Ground, name: &[u8]) -> Option<Owner> {
    let of_host = ground != Ground::Delegated;
    // Users run LXC too. The name of a machine is the host's to give.
    let guest = name::guest(name).filter(|kind| of_host || *kind == GuestKind::Lxc);
    guest.map(Owner::Guest).or_else(|| container_on_host(name))
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
