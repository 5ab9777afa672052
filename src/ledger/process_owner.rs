//! The owner of a process, as people name it.

use super::account::ProcessUsage;
use crate::attribution::Owner;

/// The owner of a process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProcessOwner {
    Kernel,
    Pod { uid: String, container: Option<String> },
    Container { id: String },
    Unit { path: Vec<u8> },
}

impl ProcessOwner {
    #[must_use]
    pub fn of(process: &ProcessUsage) -> Self {
        if process.kernel_thread {
            return Self::Kernel;
        }
        if let Some(path) = &process.named {
            return Self::Unit { path: path.to_vec() };
        }
        Self::of_cgroup(&process.cgroup)
    }

    /// The owner of the cgroup at `path`.
    #[must_use]
    pub fn of_cgroup(path: &[u8]) -> Self {
        let located = Owner::locate(path);
        match located.owner {
            Owner::Pod { uid, .. } => Self::Pod { uid: uid.to_string(), container: None },
            Owner::PodContainer { uid, id, .. } => {
                Self::Pod { uid: uid.to_string(), container: Some(id.to_string()) }
            }
            Owner::Container { id, .. } => Self::Container { id: id.to_string() },
            Owner::Unit | Owner::Guest(_) | Owner::Named => {
                Self::Unit { path: located.starts_at.to_vec() }
            }
            Owner::Root | Owner::Inner(_) => Self::Unit { path: path.to_vec() },
        }
    }
}
