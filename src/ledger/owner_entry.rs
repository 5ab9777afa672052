//! The owners of one interval.

use super::self_usage::SelfUsage;
use crate::attribution::Owner;
use crate::identity::PodUid;

/// An owner: the cgroup at which it starts, and the self usage of its cgroups together.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnerEntry {
    pub owner: Owner,
    /// The owner of the cgroup above its first.
    pub parent: Option<Owner>,
    /// Index of its first cgroup.
    pub top: usize,
    /// Length of the part of that cgroup's path up to which the owner starts. Without a tree, the
    /// first known path of an owner can lie below its start.
    pub starts: usize,
    pub self_usage: SelfUsage,
}

pub(super) fn pod_of(owner: &Owner) -> Option<PodUid> {
    match owner {
        Owner::Pod { uid, .. } | Owner::PodContainer { uid, .. } => Some(*uid),
        Owner::Root
        | Owner::Inner(_)
        | Owner::Unit
        | Owner::Container { .. }
        | Owner::Guest(_)
        | Owner::Named => None,
    }
}
