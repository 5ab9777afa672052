//! The kernel's memory that no cgroup below the root is charged for.

use crate::snapshot::Snapshot;

/// Bytes of slab, kernel stacks and page tables that no top-level cgroup is charged for. `None`: not
/// known.
pub(super) fn uncharged_kernel_memory(snapshot: &Snapshot) -> Option<u64> {
    let memory = snapshot.node.memory?;
    let parts = [
        memory.slab_reclaimable?,
        memory.slab_unreclaimable?,
        memory.kernel_stack?,
        memory.page_tables?,
    ];
    let whole: u64 = parts.iter().map(|part| part.as_bytes()).sum();
    let is_root =
        |at: usize| snapshot.cgroups.get(at).is_some_and(|parent| *parent.key.path == *b"/");
    let mut charged = 0_u64;
    for top in snapshot.cgroups.iter().filter(|reading| reading.parent.is_some_and(is_root)) {
        // Without the controller nothing is charged.
        if top.removed || top.memory.current.is_none() {
            continue;
        }
        let stat = top.memory.stat?;
        let own = stat.slab? + stat.kernel_stack? + stat.page_tables?;
        charged = charged.saturating_add(own.as_bytes());
    }
    Some(whole.saturating_sub(charged))
}
