//! A pod as its sources describe it, with the fields that are sent.

use super::resource_quantity::ResourceQuantity;
use crate::attribution::QosClass;
use crate::identity::{ContainerId, PodUid};

/// Annotation of a static pod's mirror: the uid that the pod's cgroup carries.
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// The label that the Deployment controller gives its ReplicaSets and their pods.
const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// One pod. Texts are those of the API's fields of the same name; timestamps are RFC 3339, as the API
/// writes them. A source leaves empty what it does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// The uid in the name of the pod's cgroup. A static pod has the hash of its configuration there.
    pub uid: PodUid,
    /// `metadata.uid`. It differs from `uid` for a static pod that is known by its mirror.
    pub api_uid: Box<str>,
    pub namespace: Box<str>,
    pub name: Box<str>,
    /// `spec.nodeName`
    pub node_name: Box<str>,
    pub labels: Labels,
    /// Annotations up to the configured size.
    pub annotations: Labels,
    pub owners: Vec<OwnerReference>,
    /// The topmost owner; `None` while the owners were not looked up.
    pub workload: Option<Workload>,
    pub creation_timestamp: Option<Box<str>>,
    /// Present once the pod is being deleted.
    pub deletion_timestamp: Option<Box<str>>,
    pub phase: Phase,
    /// `status.reason`, such as `Evicted`.
    pub reason: Option<Box<str>>,
    /// `status.message`: the reason for a person.
    pub message: Option<Box<str>>,
    pub conditions: Vec<Condition>,
    /// In the order init, regular, ephemeral.
    pub containers: Vec<Container>,
    /// The sandbox's container; only CRI knows it.
    pub sandbox: Option<ContainerId>,
    /// `spec.resources`: the pod's own, which override the sum of its containers.
    pub resources: Resources,
    /// `spec.overhead`
    pub overhead: Amounts,
    /// `status.podIPs`, the first of them `status.podIP`.
    pub ips: Vec<Box<str>>,
    pub host_network: bool,
    pub qos: Option<QosClass>,
    pub service_account: Box<str>,
    pub priority_class: Box<str>,
    /// Such as `gvisor` or `kata`; absent for the default runtime.
    pub runtime_class: Option<Box<str>>,
}

/// Labels or annotations, by key.
pub type Labels = Vec<(Box<str>, Box<str>)>;

/// The value of a key.
#[must_use]
pub fn value_of<'l>(labels: &'l Labels, key: &str) -> Option<&'l str> {
    labels.iter().find(|(name, _)| **name == *key).map(|(_, value)| &**value)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    #[default]
    Unknown,
}

impl Phase {
    /// `status.phase` as the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }

    /// The phase of that name; `Unknown` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "Pending" => Self::Pending,
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            _ => Self::Unknown,
        }
    }

    /// `true` if no container of it will run again.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// One of `metadata.ownerReferences`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerReference {
    pub kind: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    /// `true` for the controller; at most one owner is.
    pub controller: bool,
}

/// The topmost owner, which people deploy: a Deployment, CronJob, StatefulSet, DaemonSet, ...
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    pub kind: Box<str>,
    pub name: Box<str>,
    /// The labels by which it selects its pods (`spec.selector.matchLabels`); empty where they are
    /// not known.
    pub match_labels: Labels,
}

/// One of `status.conditions`, of pods and nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    pub kind: Box<str>,
    /// `True`, `False` or `Unknown`.
    pub status: Box<str>,
    pub reason: Option<Box<str>>,
    pub message: Option<Box<str>>,
    pub last_transition_time: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerKind {
    Regular,
    /// Runs before the others, to its end.
    Init,
    /// An init container with `restartPolicy: Always`: runs beside the others.
    Sidecar,
    /// Added to a running pod for debugging.
    Ephemeral,
}

/// A container of the specification and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub name: Box<str>,
    pub kind: ContainerKind,
    pub image: Box<str>,
    /// `spec…ports[].containerPort` with its protocol (`TCP` by default).
    pub ports: Vec<(u16, Box<str>)>,
    pub resources: Resources,
    /// The id of the container that runs, or ran last; a restart brings a new one.
    pub id: Option<ContainerId>,
    /// `lastState.terminated.containerID`: the id of the run before.
    pub last_id: Option<ContainerId>,
    pub ready: bool,
    pub restart_count: u32,
    pub state: Option<ContainerState>,
    pub last_state: Option<ContainerState>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    Waiting {
        reason: Option<Box<str>>,
        message: Option<Box<str>>,
    },
    Running {
        started_at: Option<Box<str>>,
    },
    Terminated {
        exit_code: i32,
        signal: Option<i32>,
        reason: Option<Box<str>>,
        /// Of the kubelet, or the container's own termination message.
        message: Option<Box<str>>,
        started_at: Option<Box<str>>,
        finished_at: Option<Box<str>>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    pub requests: Amounts,
    pub limits: Amounts,
}

/// Amounts of CPU and memory; `None` where one is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    /// Cores.
    pub cpu: Option<ResourceQuantity>,
    /// Bytes.
    pub memory: Option<ResourceQuantity>,
}

impl Amounts {
    fn combine(
        self,
        other: Self,
        how: fn(ResourceQuantity, ResourceQuantity) -> ResourceQuantity,
    ) -> Self {
        let both = |a: Option<ResourceQuantity>, b: Option<ResourceQuantity>| match (a, b) {
            (Some(a), Some(b)) => Some(how(a, b)),
            (one, other) => one.or(other),
        };
        Self { cpu: both(self.cpu, other.cpu), memory: both(self.memory, other.memory) }
    }

    fn plus(self, other: Self) -> Self {
        self.combine(other, ResourceQuantity::plus)
    }

    fn max(self, other: Self) -> Self {
        self.combine(other, Ord::max)
    }

    fn or(self, other: Self) -> Self {
        Self { cpu: self.cpu.or(other.cpu), memory: self.memory.or(other.memory) }
    }
}

impl Pod {
    /// The amounts that the scheduler reserves for the pod, overhead included.
    ///
    /// The pod's own requests count, else the greater of two sums: its containers together, and its
    /// initialisation at any time with the sidecars that have started.
    #[must_use]
    pub fn requests(&self) -> Amounts {
        let sum = self.over_containers(|container| container.resources.requests);
        self.resources.requests.or(sum).plus(self.overhead)
    }

    /// The sum of the limits that are set, by the rule of [`Pod::requests`]. A pod with a container
    /// without a limit may use more. The overhead is added to limits that are set.
    #[must_use]
    pub fn limits(&self) -> Amounts {
        let sum = self.over_containers(|container| container.resources.limits);
        let limits = self.resources.limits.or(sum);
        let overhead = Amounts {
            cpu: self.overhead.cpu.filter(|_| limits.cpu.is_some()),
            memory: self.overhead.memory.filter(|_| limits.memory.is_some()),
        };
        limits.plus(overhead)
    }

    fn over_containers(&self, of: impl Fn(&Container) -> Amounts) -> Amounts {
        let (mut running, mut sidecars, mut starting) =
            (Amounts::default(), Amounts::default(), Amounts::default());
        for container in &self.containers {
            let amounts = of(container);
            match container.kind {
                ContainerKind::Regular => running = running.plus(amounts),
                ContainerKind::Sidecar => {
                    running = running.plus(amounts);
                    sidecars = sidecars.plus(amounts);
                    starting = starting.max(sidecars);
                }
                ContainerKind::Init => starting = starting.max(sidecars.plus(amounts)),
                // They have no resources of their own.
                ContainerKind::Ephemeral => {}
            }
        }
        running.max(starting)
    }

    /// The container with this id, now or in the run before.
    #[must_use]
    pub fn container(&self, id: ContainerId) -> Option<&Container> {
        let is = |own: Option<ContainerId>| own == Some(id);
        let current = self.containers.iter().find(|container| is(container.id));
        current.or_else(|| self.containers.iter().find(|container| is(container.last_id)))
    }

    /// The owner that controls the pod.
    #[must_use]
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owners.iter().find(|owner| owner.controller)
    }

    /// Kind and name of the workload: the topmost owner if it is known, else the controller.
    ///
    /// The name of a Deployment's ReplicaSet ends in the hash that its pods are labelled with, so a
    /// Deployment's name needs no request.
    #[must_use]
    pub fn workload(&self) -> Option<(&str, &str)> {
        if let Some(workload) = &self.workload {
            return Some((&workload.kind, &workload.name));
        }
        let controller = self.controller()?;
        if &*controller.kind == "ReplicaSet"
            && let Some(hash) = value_of(&self.labels, POD_TEMPLATE_HASH)
            && let Some(stem) = controller.name.strip_suffix(hash)
            && let Some(deployment) = stem.strip_suffix('-')
            && !deployment.is_empty()
        {
            return Some(("Deployment", deployment));
        }
        Some((&controller.kind, &controller.name))
    }
}
