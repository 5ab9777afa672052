//! The node's memory in use, by kind.

use crate::quantity::Bytes;
use crate::snapshot::node::NodeReading;
use crate::source::proc::meminfo::MemInfo;

/// A kind of memory. Each byte in use is of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryKind {
    /// AnonPages: heaps and stacks of processes.
    Anonymous,
    /// Cached and Buffers less Shmem: files on disks, and the disks themselves.
    PageCache,
    /// Shmem: tmpfs, /dev/shm, and shared anonymous memory.
    Shared,
    SlabReclaimable,
    SlabUnreclaimable,
    KernelStacks,
    /// PageTables and SecPageTables.
    PageTables,
    PerCpu,
    /// VmallocUsed less KernelStack, which stands in it.
    Vmalloc,
    /// Hugetlb: the pools of huge pages, used or not.
    HugePages,
    /// Zswap: swapped pages that are packed in memory.
    Zswap,
    /// Blocks that ZFS caches.
    ZfsArc,
    /// Free pages on the lists of single CPUs, which MemFree leaves out.
    CpuLists,
    /// The rest of MemTotal − MemFree: memory that drivers took page by page, and balloons.
    Other,
}

impl MemoryKind {
    pub const ALL: [Self; 14] = [
        Self::Anonymous,
        Self::PageCache,
        Self::Shared,
        Self::SlabReclaimable,
        Self::SlabUnreclaimable,
        Self::KernelStacks,
        Self::PageTables,
        Self::PerCpu,
        Self::Vmalloc,
        Self::HugePages,
        Self::Zswap,
        Self::ZfsArc,
        Self::CpuLists,
        Self::Other,
    ];

    /// The name in tables.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::PageCache => "page cache",
            Self::Shared => "shared",
            Self::SlabReclaimable => "slab (reclaimable)",
            Self::SlabUnreclaimable => "slab",
            Self::KernelStacks => "kernel stacks",
            Self::PageTables => "page tables",
            Self::PerCpu => "per CPU",
            Self::Vmalloc => "vmalloc",
            Self::HugePages => "huge pages",
            Self::Zswap => "zswap",
            Self::ZfsArc => "ZFS ARC",
            Self::CpuLists => "free on CPU lists",
            Self::Other => "other",
        }
    }
}

/// The node's memory in use, by kind. The known kinds add up to MemTotal − MemFree, unless the exact
/// ones alone are more: the kernel reads its counters one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryParts([Option<Bytes>; MemoryKind::ALL.len()]);

impl MemoryParts {
    /// `None`: MemTotal or MemFree is not known.
    pub(super) fn of_node(node: &NodeReading) -> Option<Self> {
        let arc = node.zfs_arc.and_then(|arc| arc.pages());
        Self::of(node.memory.as_ref()?, arc, node.free_on_cpu_lists)
    }

    /// `None`: MemTotal or MemFree is not known. `arc` is the memory of ZFS' cached blocks.
    fn of(memory: &MemInfo, arc: Option<Bytes>, cpu_lists: Option<Bytes>) -> Option<Self> {
        let used = memory.used()?;
        let page_cache = memory.cached.map(|cached| {
            let all = cached + memory.buffers.unwrap_or_default();
            all.saturating_sub(memory.shared.unwrap_or_default())
        });
        let page_tables =
            memory.page_tables.map(|own| own + memory.secondary_page_tables.unwrap_or_default());
        let mut parts = Self::default();
        let mut rest = used;
        for (kind, bytes) in [
            (MemoryKind::Anonymous, memory.anon),
            (MemoryKind::PageCache, page_cache),
            (MemoryKind::Shared, memory.shared),
            (MemoryKind::SlabReclaimable, memory.slab_reclaimable),
            (MemoryKind::SlabUnreclaimable, memory.slab_unreclaimable),
            (MemoryKind::KernelStacks, memory.kernel_stack),
            (MemoryKind::PageTables, page_tables),
            (MemoryKind::PerCpu, memory.per_cpu),
            (MemoryKind::HugePages, memory.huge_pages),
            (MemoryKind::Zswap, memory.zswap),
        ] {
            parts.set(kind, bytes);
            rest = rest.saturating_sub(bytes.unwrap_or_default());
        }
        // VmallocUsed was address space once, with that of devices (before 4.4). A part of ZFS' cache
        // can stand in slab. The lists of CPUs are read a moment later. So these are at most what the
        // others leave.
        let vmalloc = memory.vmalloc.zip(memory.kernel_stack);
        let vmalloc = vmalloc.map(|(all, stacks)| all.saturating_sub(stacks));
        for (kind, bytes) in [
            (MemoryKind::ZfsArc, arc),
            (MemoryKind::CpuLists, cpu_lists),
            (MemoryKind::Vmalloc, vmalloc),
        ] {
            let bytes = bytes.map(|bytes| bytes.min(rest));
            parts.set(kind, bytes);
            rest = rest.saturating_sub(bytes.unwrap_or_default());
        }
        parts.set(MemoryKind::Other, Some(rest));
        Some(parts)
    }

    /// Bytes of this kind; `None`: the kernel does not say.
    #[must_use]
    pub fn get(&self, kind: MemoryKind) -> Option<Bytes> {
        self.0.get(kind as usize).copied().flatten()
    }

    fn set(&mut self, kind: MemoryKind, bytes: Option<Bytes>) {
        if let Some(slot) = self.0.get_mut(kind as usize) {
            *slot = bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::proc::meminfo;

    fn parts(lines: &[(&str, u64)], arc: Option<u64>) -> MemoryParts {
        let text: String = lines.iter().map(|(key, kib)| format!("{key}: {kib} kB\n")).collect();
        let memory = meminfo::parse(text.as_bytes()).unwrap();
        let lists = Some(Bytes::from_kibibytes(20));
        MemoryParts::of(&memory, arc.map(Bytes::from_kibibytes), lists).unwrap()
    }

    fn kib(parts: &MemoryParts, kind: MemoryKind) -> Option<u64> {
        parts.get(kind).map(|bytes| bytes.as_bytes() / 1024)
    }

    /// A host with 1,000 MiB in /dev/shm, a pool of 512 huge pages and ZFS.
    #[test]
    fn each_byte_in_use_is_of_one_kind() {
        let lines = [
            ("MemTotal", 8_000_000),
            ("MemFree", 2_000_000),
            ("Buffers", 10_000),
            ("Cached", 1_524_000),
            ("AnonPages", 900_000),
            ("Shmem", 1_024_000),
            ("SReclaimable", 200_000),
            ("SUnreclaim", 100_000),
            ("KernelStack", 8000),
            ("PageTables", 12_000),
            ("SecPageTables", 500),
            ("Percpu", 2500),
            ("VmallocUsed", 48_000),
            ("Zswap", 3000),
            ("Hugetlb", 1_048_576),
        ];
        let parts = parts(&lines, Some(2_000_000));
        let expected = [
            (MemoryKind::Anonymous, 900_000),
            (MemoryKind::PageCache, 510_000),
            (MemoryKind::Shared, 1_024_000),
            (MemoryKind::SlabReclaimable, 200_000),
            (MemoryKind::SlabUnreclaimable, 100_000),
            (MemoryKind::KernelStacks, 8000),
            (MemoryKind::PageTables, 12_500),
            (MemoryKind::PerCpu, 2500),
            (MemoryKind::Vmalloc, 40_000),
            (MemoryKind::HugePages, 1_048_576),
            (MemoryKind::Zswap, 3000),
            (MemoryKind::ZfsArc, 2_000_000),
            (MemoryKind::CpuLists, 20),
            (MemoryKind::Other, 151_404),
        ];
        for (kind, value) in expected {
            assert_eq!(kib(&parts, kind), Some(value), "{kind:?}");
        }
        assert_eq!(expected.iter().map(|(_, value)| value).sum::<u64>(), 6_000_000);
    }

    #[test]
    fn what_no_other_kind_leaves_is_neither_vmalloc_nor_cache_of_zfs() {
        let lines = [
            ("MemTotal", 1000),
            ("MemFree", 100),
            ("AnonPages", 800),
            ("KernelStack", 10),
            ("VmallocUsed", 34_000_000),
        ];
        let found = parts(&lines, Some(60));
        assert_eq!(kib(&found, MemoryKind::ZfsArc), Some(60));
        assert_eq!(kib(&found, MemoryKind::CpuLists), Some(20));
        assert_eq!(kib(&found, MemoryKind::Vmalloc), Some(10));
        assert_eq!(kib(&found, MemoryKind::Other), Some(0));
        assert_eq!(kib(&found, MemoryKind::PageCache), None);
    }
}
