//! Memory that no cgroup below the root is charged for.

use super::cgroup_delta::CgroupDelta;
use super::delta::unsigned;
use super::memory_parts::{MemoryKind, MemoryParts};
use crate::quantity::Bytes;
use crate::snapshot::{CgroupReading, MemoryReading, Snapshot};
use crate::source::cgroup::memory_stat::MemoryStat;

/// The part of a cgroup's memory.stat that is charged to it.
type ChargedPart = fn(MemoryStat) -> Option<Bytes>;

/// Bytes of kernel memory that no top-level cgroup is charged for. A kind of memory counts where the
/// node's files and those of all top-level cgroups have it.
///
/// Pools of huge pages, ZFS' cache and free pages on the lists of CPUs are in it whole: no cgroup is
/// charged for them.
pub(super) fn uncharged_kernel_memory(snapshot: &Snapshot) -> u64 {
    let Some(parts) = MemoryParts::of_node(&snapshot.node) else { return 0 };
    let all = |kinds: &[MemoryKind]| -> Option<u64> {
        kinds.iter().map(|kind| parts.get(*kind).map(Bytes::as_bytes)).sum()
    };
    let charged: [(&[MemoryKind], ChargedPart); 5] = [
        (&[MemoryKind::SlabReclaimable, MemoryKind::SlabUnreclaimable], |stat| stat.slab),
        (&[MemoryKind::KernelStacks], |stat| stat.kernel_stack),
        (&[MemoryKind::PageTables], |stat| {
            Some(stat.page_tables? + stat.secondary_page_tables.unwrap_or_default())
        }),
        (&[MemoryKind::PerCpu], |stat| stat.per_cpu),
        (&[MemoryKind::Vmalloc], |stat| stat.vmalloc),
    ];
    let mut uncharged = 0_u64;
    for (kinds, of_cgroup) in charged {
        // Without the controller nothing is charged.
        let with_controller = top_level(snapshot).map(|(_, top)| top.memory);
        let with_controller = with_controller.filter(|memory| memory.current.is_some());
        let below: Option<u64> = with_controller
            .map(|memory| memory.stat.and_then(of_cgroup).map(Bytes::as_bytes))
            .try_fold(0_u64, |sum, own| Some(sum.saturating_add(own?)));
        if let Some((whole, below)) = all(kinds).zip(below) {
            uncharged = uncharged.saturating_add(whole.saturating_sub(below));
        }
    }
    for kind in [MemoryKind::HugePages, MemoryKind::ZfsArc, MemoryKind::CpuLists] {
        uncharged = uncharged.saturating_add(all(&[kind]).unwrap_or(0));
    }
    uncharged
}

/// Anonymous memory and page cache of the root cgroup itself: its memory.stat less those of the
/// top-level cgroups. `current` is their sum, since the root has no such file. `None`: not known, as
/// before Linux 5.8.
///
/// It is what kernel threads and processes in the root read and allocated, what the kernel unpacked
/// at boot, and the page cache of removed cgroups.
pub(super) fn own_memory_of_root(
    snapshot: &Snapshot,
    cgroups: &[CgroupDelta],
) -> Option<MemoryReading> {
    let root = snapshot.cgroups.first().filter(|first| is_root(first))?;
    let mut stat = root.memory.stat?;
    // Of cgroups without the controller the processes are known, and they are the owners' already.
    let mut with_owner = cgroups.first().map_or(0, |root| unsigned(root.moved_memory));
    for (at, top) in top_level(snapshot) {
        if top.memory.current.is_none() {
            let total = cgroups.get(at).map_or(0, |top| unsigned(top.total_memory));
            with_owner = with_owner.saturating_add(total);
            continue;
        }
        let below = top.memory.stat?;
        let less = |whole: &mut Option<Bytes>, part: Option<Bytes>| {
            *whole = whole.zip(part).map(|(whole, part)| whole.saturating_sub(part));
        };
        less(&mut stat.anon, below.anon);
        less(&mut stat.file, below.file);
        less(&mut stat.shmem, below.shmem);
        less(&mut stat.inactive_file, below.inactive_file);
        less(&mut stat.active_file, below.active_file);
    }
    let (anon, file) = (stat.anon?.as_bytes(), stat.file?.as_bytes());
    let own_anon = anon.saturating_sub(with_owner);
    let own_file = file.saturating_sub(with_owner.saturating_sub(anon));
    let stat = MemoryStat {
        anon: Some(Bytes::from_bytes(own_anon)),
        file: Some(Bytes::from_bytes(own_file)),
        shmem: stat.shmem,
        inactive_file: stat.inactive_file,
        active_file: stat.active_file,
        ..MemoryStat::default()
    };
    let current = Some(Bytes::from_bytes(own_anon.saturating_add(own_file)));
    Some(MemoryReading { current, stat: Some(stat), ..MemoryReading::default() })
}

/// The cgroups directly below the root that are there, with their places.
fn top_level(snapshot: &Snapshot) -> impl Iterator<Item = (usize, &CgroupReading)> {
    let is_below_root =
        |reading: &CgroupReading| Some(is_root(snapshot.cgroups.get(reading.parent?)?));
    let all = snapshot.cgroups.iter().enumerate();
    all.filter(move |(_, reading)| !reading.removed && is_below_root(reading) == Some(true))
}

fn is_root(reading: &CgroupReading) -> bool {
    *reading.key.path == *b"/"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::CgroupKey;

    /// Each figure of the root less that of its two top-level cgroups, one of which has the third
    /// below it.
    #[test]
    fn the_root_has_what_its_file_has_beyond_the_top_level_cgroups() {
        let stat = |by: u64| {
            let bytes = |figure: u64| Some(Bytes::from_bytes(figure * by));
            MemoryStat {
                anon: bytes(10_000),
                file: bytes(2_000),
                shmem: bytes(300),
                inactive_file: bytes(40),
                active_file: bytes(5),
                ..MemoryStat::default()
            }
        };
        let mut snapshot = Snapshot::default();
        for (path, parent, by) in
            [("/", None, 9), ("/a", Some(0), 3), ("/a/b", Some(1), 2), ("/c", Some(0), 4)]
        {
            let key = CgroupKey { path: path.as_bytes().into(), inode: 1 };
            let current = parent.map(|_| Bytes::from_bytes(1));
            let memory =
                MemoryReading { current, stat: Some(stat(by)), ..MemoryReading::default() };
            snapshot.cgroups.push(CgroupReading { parent, memory, ..CgroupReading::unread(key) });
        }
        let cgroups = [(); 4].map(|()| CgroupDelta::nothing());
        let own = own_memory_of_root(&snapshot, &cgroups);
        let current = Some(Bytes::from_bytes(24_000));
        let right = MemoryReading { current, stat: Some(stat(2)), ..MemoryReading::default() };
        assert_eq!(own, Some(right));
    }
}
