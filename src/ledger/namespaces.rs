//! The owner of each network namespace, and the namespaces whose traffic passes another one's
//! interfaces.
//!
//! A container in a pod's container (Docker or kind in a pod) has a namespace of its own. What it
//! sends has left by the pod's interfaces too. The cgroup tree shows which namespace is inside
//! which: an owner's own is that of its highest cgroup, and deeper ones are inside.

use super::cgroup_delta::CgroupDelta;
use super::owner_entry::{OwnerEntry, pod_of};
use crate::attribution::Owner;
use crate::snapshot::{CgroupReading, Snapshot};

/// The place of a network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NamespaceHome {
    /// Index of the owner's entry.
    pub entry: usize,
    /// Index of the cgroup through which it was found.
    pub cgroup: usize,
    pub inside: Inside,
}

/// The namespace that another one's traffic passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    /// None but the host's.
    Host,
    /// Another one of the same owner, which counts it already.
    SameOwner,
    /// That of an owner above, which counts it as well.
    OtherOwner,
}

/// Finds the homes of namespaces, in memory that is reused.
#[derive(Debug, Default)]
pub(super) struct NamespaceHomes {
    /// By index in the snapshot; the sort key is the depth of the owner's first cgroup.
    homes: Vec<Option<(usize, NamespaceHome)>>,
    /// The own namespace of each owner, by the index of its entry.
    own: Vec<Option<OwnNamespace>>,
}

#[derive(Debug, Clone, Copy)]
struct OwnNamespace {
    id: u64,
    is_host: bool,
    depth: usize,
}

impl NamespaceHomes {
    pub fn find(&mut self, snapshot: &Snapshot, cgroups: &[CgroupDelta], entries: &[OwnerEntry]) {
        self.homes.clear();
        self.homes.resize(snapshot.namespaces.len(), None);
        self.own.clear();
        self.own.resize(entries.len(), None);
        for (at, (reading, cgroup)) in snapshot.cgroups.iter().zip(cgroups).enumerate() {
            let Some((place, is_host)) = reading.namespace.and_then(|id| place(snapshot, id))
            else {
                continue;
            };
            let Some(entry) = entries.get(cgroup.entry) else { continue };
            if matches!(entry.owner, Owner::Root | Owner::Inner(_)) {
                continue;
            }
            let top = snapshot.cgroups.get(entry.top).map_or(0, depth);
            self.learn_own(snapshot, cgroups, entries, cgroup.entry, reading, is_host);
            let home = NamespaceHome { entry: cgroup.entry, cgroup: at, inside: Inside::Host };
            if let Some(known) = self.homes.get_mut(place)
                && known.is_none_or(|(known, _)| top < known)
            {
                *known = Some((top, home));
            }
        }
        for place in 0..self.homes.len() {
            let Some(Some((_, home))) = self.homes.get(place) else { continue };
            let id = snapshot.namespaces.get(place).map(|namespace| namespace.id);
            let inside = self.inside(snapshot, cgroups, entries, home.entry, id);
            if let Some(Some((_, home))) = self.homes.get_mut(place) {
                home.inside = inside;
            }
        }
    }

    /// The home of the namespace at this index of the snapshot. `None`: no owner has a process in
    /// it.
    pub fn home(&self, place: usize) -> Option<NamespaceHome> {
        self.homes.get(place).copied().flatten().map(|(_, home)| home)
    }

    fn learn_own(
        &mut self,
        snapshot: &Snapshot,
        cgroups: &[CgroupDelta],
        entries: &[OwnerEntry],
        entry: usize,
        reading: &CgroupReading,
        is_host: bool,
    ) {
        let owner = entries.get(entry);
        let is_pod = owner.is_some_and(|entry| matches!(entry.owner, Owner::Pod { .. }));
        // The monitor of a container is in the pod's cgroup and the host's namespace.
        if is_pod && is_host {
            return;
        }
        let Some(id) = reading.namespace else { return };
        let top = owner.and_then(|entry| snapshot.cgroups.get(entry.top)).map_or(0, depth);
        let found = OwnNamespace { id, is_host, depth: depth(reading).saturating_sub(top) };
        let whole = whole_owner(snapshot, cgroups, entries, entry);
        if let Some(own) = self.own.get_mut(whole)
            && own.is_none_or(|own| (found.depth, found.is_host) < (own.depth, own.is_host))
        {
            *own = Some(found);
        }
    }

    fn inside(
        &self,
        snapshot: &Snapshot,
        cgroups: &[CgroupDelta],
        entries: &[OwnerEntry],
        entry: usize,
        id: Option<u64>,
    ) -> Inside {
        let own = |entry: usize| {
            let own = self.own.get(entry).copied().flatten();
            own.filter(|own| !own.is_host && Some(own.id) != id)
        };
        let whole = whole_owner(snapshot, cgroups, entries, entry);
        if own(whole).is_some() {
            return Inside::SameOwner;
        }
        let mut above = entries.get(whole).and_then(|entry| parent(snapshot, entry.top));
        while let Some(at) = above {
            let Some(cgroup) = cgroups.get(at) else { break };
            if own(whole_owner(snapshot, cgroups, entries, cgroup.entry)).is_some() {
                return Inside::OtherOwner;
            }
            above = parent(snapshot, at);
        }
        Inside::Host
    }
}

/// The entry of the pod of a container's entry, or the entry itself.
fn whole_owner(
    snapshot: &Snapshot,
    cgroups: &[CgroupDelta],
    entries: &[OwnerEntry],
    entry: usize,
) -> usize {
    let Some(container) = entries.get(entry) else { return entry };
    let Owner::PodContainer { .. } = container.owner else { return entry };
    let above = parent(snapshot, container.top).and_then(|above| cgroups.get(above));
    above
        .filter(|above| pod_of(&above.position.owner) == pod_of(&container.owner))
        .map_or(entry, |above| above.entry)
}

fn parent(snapshot: &Snapshot, cgroup: usize) -> Option<usize> {
    snapshot.cgroups.get(cgroup)?.parent
}

fn depth(reading: &CgroupReading) -> usize {
    reading.key.path.iter().filter(|byte| **byte == b'/').count()
}

fn place(snapshot: &Snapshot, id: u64) -> Option<(usize, bool)> {
    let at = snapshot.namespaces.binary_search_by_key(&id, |namespace| namespace.id).ok()?;
    Some((at, snapshot.namespaces.get(at)?.is_host))
}
