//! The thing that a figure is about: a node, pod, container, unit, process, filesystem or remainder.

use std::sync::Arc;

use crate::identity::{ContainerId, PodUid, ProcessKey};

/// A class of entities. Each metric belongs to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntityClass {
    /// The node itself, with the balance.
    Node,
    /// A filesystem of the node.
    Filesystem,
    Pod,
    /// A container of a pod, or one of Docker or Podman.
    Container,
    /// A host unit, a guest, or a named cgroup.
    Unit,
    /// Usage of cgroups that were created and removed between two samples, by the cgroup above them.
    Exited,
    /// A process, or the other processes of one owner.
    Process,
}

impl EntityClass {
    pub const ALL: [Self; 7] = [
        Self::Node,
        Self::Filesystem,
        Self::Pod,
        Self::Container,
        Self::Unit,
        Self::Exited,
        Self::Process,
    ];

    /// The word for it in documents and in `?entity=`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Filesystem => "filesystem",
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Unit => "unit",
            Self::Exited => "exited",
            Self::Process => "process",
        }
    }
}

/// Makes two readings readings of one entity. Entities are in its order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityId {
    Node,
    /// By mount point.
    Filesystem(Arc<[u8]>),
    Pod(PodUid),
    Container {
        /// `None` outside Kubernetes.
        pod: Option<PodUid>,
        id: ContainerId,
    },
    /// By the path of its cgroup.
    Unit(Arc<[u8]>),
    /// By the path of the cgroup above.
    Exited(Arc<[u8]>),
    Process(ProcessKey),
    /// The processes of one owner that have no figures of their own, by the owner's text.
    OtherProcesses(Arc<str>),
}

impl EntityId {
    #[must_use]
    pub const fn class(&self) -> EntityClass {
        match self {
            Self::Node => EntityClass::Node,
            Self::Filesystem(_) => EntityClass::Filesystem,
            Self::Pod(_) => EntityClass::Pod,
            Self::Container { .. } => EntityClass::Container,
            Self::Unit(_) => EntityClass::Unit,
            Self::Exited(_) => EntityClass::Exited,
            Self::Process(_) | Self::OtherProcesses(_) => EntityClass::Process,
        }
    }
}

/// A fact that names an entity, with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub name: &'static AttributeName,
    pub value: Box<str>,
}

/// The name of an attribute.
#[derive(Debug, PartialEq, Eq)]
pub struct AttributeName {
    /// In OpenTelemetry's conventions.
    pub otel: &'static str,
    /// The label in Prometheus. `None`: it would only repeat what another label says.
    pub label: Option<&'static str>,
}

macro_rules! attribute_names {
    ($($constant:ident: $otel:literal, $label:expr;)*) => {
        impl AttributeName {
            $(pub const $constant: &'static Self = &Self { otel: $otel, label: $label };)*

            /// Every attribute, for the documents.
            pub const ALL: &'static [&'static Self] = &[$(Self::$constant),*];
        }
    };
}

attribute_names! {
    NAMESPACE: "k8s.namespace.name", Some("namespace");
    POD: "k8s.pod.name", Some("pod");
    POD_UID: "k8s.pod.uid", Some("uid");
    CONTAINER: "k8s.container.name", Some("container");
    CONTAINER_ID: "container.id", Some("container_id");
    CONTAINER_NAME: "container.name", Some("container");
    IMAGE: "container.image.name", None;
    RUNTIME: "container.runtime.name", None;
    DEPLOYMENT: "k8s.deployment.name", None;
    REPLICA_SET: "k8s.replicaset.name", None;
    STATEFUL_SET: "k8s.statefulset.name", None;
    DAEMON_SET: "k8s.daemonset.name", None;
    JOB: "k8s.job.name", None;
    CRON_JOB: "k8s.cronjob.name", None;
    UNIT: "nodetally.unit.name", Some("unit");
    UNIT_KIND: "nodetally.unit.kind", Some("unit_kind");
    CGROUP: "nodetally.cgroup.path", Some("cgroup");
    EXITED_KIND: "nodetally.exited.kind", Some("exited_kind");
    MOUNT_POINT: "system.filesystem.mountpoint", Some("mountpoint");
    FILESYSTEM_TYPE: "system.filesystem.type", Some("fstype");
    PID: "process.pid", Some("pid");
    COMMAND: "process.executable.name", Some("comm");
    OWNER: "nodetally.process.owner", Some("owner");
}

/// An entity's id and what names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricEntity {
    pub id: EntityId,
    /// Each name at most once; without those of the node.
    pub attributes: Vec<Attribute>,
}

impl MetricEntity {
    /// The value of an attribute; `None` if the entity does not have it.
    #[must_use]
    pub fn attribute(&self, name: &AttributeName) -> Option<&str> {
        let found = self.attributes.iter().find(|attribute| attribute.name == name);
        found.map(|attribute| &*attribute.value)
    }

    /// `true` if Prometheus could not tell the entity from one with these attributes.
    pub(super) fn has_labels_of(&self, attributes: &[Attribute]) -> bool {
        fn labels(all: &[Attribute]) -> impl Iterator<Item = &Attribute> {
            all.iter().filter(|attribute| attribute.name.label.is_some())
        }
        labels(&self.attributes).eq(labels(attributes))
    }
}
