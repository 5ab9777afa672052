//! The kinds of sources and their state, as the catalog shows it.

use std::fmt;
use std::sync::Arc;

use crate::quantity::BootTime;

/// The most pods of one source. Kubernetes advises 110 a node, and kubelets are configured for some
/// hundreds at most.
pub const PODS_MAX: usize = 4096;

/// The kinds of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    Kubernetes,
    Kubelet,
    Cri,
    File,
    Docker,
    Podman,
}

impl SourceKind {
    /// Its name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Kubelet => "kubelet",
            Self::Cri => "cri",
            Self::File => "file",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The state of a source as the catalog shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    pub kind: SourceKind,
    /// The last time at which its answer was known to be current; `None` before the first answer.
    pub current_at: Option<BootTime>,
    /// The error that lasts; `None` while the source answers.
    pub last_error: Option<SourceError>,
    /// The number of pods, containers and cgroup names that it knows.
    pub known: usize,
    /// Panics after which its task was started again.
    pub restarts: u64,
}

/// An error of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    /// The time at which the source began to fail.
    pub since: BootTime,
    /// One line for a person.
    pub text: Arc<str>,
}
