//! The node's memory and swap.

use crate::ledger::MemoryKind;
use crate::metrics::entity::EntityClass;
use crate::metrics::input::{NodeInput, Read, kept};
use crate::metrics::metric::{Instrument, Metric, Unit};
use crate::quantity::Bytes;
use crate::source::proc::meminfo::MemInfo;

/// An amount of the node, in bytes, at the end of the interval.
pub(super) const AMOUNT: Metric = Metric {
    class: EntityClass::Node,
    name: "",
    instrument: Instrument::UpDownCounter,
    unit: Unit::BYTES,
    attributes: &[],
    help: "",
    source: "",
    dump_key: "",
    read: Read::Node(|_| None),
};

pub(super) fn memory_of(input: &NodeInput<'_>, part: fn(MemInfo) -> Option<Bytes>) -> Option<i64> {
    input.account.node.memory.and_then(part).map(|bytes| kept(bytes.as_bytes()))
}

macro_rules! memory_kind {
    ($word:literal, $kind:ident, $source:literal, $key:literal) => {
        Metric {
            name: "nodetally.node.memory.usage",
            attributes: &[("nodetally.memory.kind", $word)],
            help: "Memory in use by kind. The kinds add up to what is used.",
            source: concat!("/proc/meminfo ", $source),
            dump_key: $key,
            read: Read::Node(|input| {
                let parts = input.account.node.memory_parts?;
                parts.get(MemoryKind::$kind).map(|bytes| kept(bytes.as_bytes()))
            }),
            ..AMOUNT
        }
    };
}

pub(super) fn metrics() -> Vec<Metric> {
    vec![
        Metric {
            name: "system.memory.limit",
            help: "Memory of the node.",
            source: "/proc/meminfo MemTotal",
            dump_key: "memory_total_bytes",
            read: Read::Node(|input| memory_of(input, |memory| memory.total)),
            ..AMOUNT
        },
        Metric {
            name: "system.memory.usage",
            attributes: &[("system.memory.state", "free")],
            help: "Memory by state: free or used. Page cache is used.",
            source: "/proc/meminfo MemFree",
            dump_key: "memory_free_bytes",
            read: Read::Node(|input| memory_of(input, |memory| memory.free)),
            ..AMOUNT
        },
        Metric {
            name: "system.memory.usage",
            attributes: &[("system.memory.state", "used")],
            help: "Memory by state: free or used. Page cache is used.",
            source: "/proc/meminfo MemTotal, MemFree",
            dump_key: "memory_used_bytes",
            read: Read::Node(|input| memory_of(input, |memory| memory.used())),
            ..AMOUNT
        },
        Metric {
            name: "system.memory.linux.available",
            help: "The kernel's estimate of the memory that is available without swapping.",
            source: "/proc/meminfo MemAvailable",
            dump_key: "memory_available_bytes",
            read: Read::Node(|input| memory_of(input, |memory| memory.available)),
            ..AMOUNT
        },
        Metric {
            name: "nodetally.node.memory.working_set",
            help: "Memory in use less the inactive page cache.",
            source: "/proc/meminfo",
            dump_key: "memory_working_set_bytes",
            read: Read::Node(|input| memory_of(input, |memory| memory.working_set())),
            ..AMOUNT
        },
        Metric {
            name: "nodetally.node.memory.page_cache",
            attributes: &[("nodetally.memory.state", "active")],
            help: "Page cache of files by the kernel's list: active or inactive.",
            source: "/proc/meminfo Active(file)",
            dump_key: "memory_page_cache_active_bytes",
            read: Read::Node(|input| memory_of(input, |memory| memory.active_file)),
            ..AMOUNT
        },
        Metric {
            name: "nodetally.node.memory.page_cache",
            attributes: &[("nodetally.memory.state", "inactive")],
            help: "Page cache of files by the kernel's list: active or inactive.",
            source: "/proc/meminfo Inactive(file)",
            dump_key: "memory_page_cache_inactive_bytes",
            read: Read::Node(|input| memory_of(input, |memory| memory.inactive_file)),
            ..AMOUNT
        },
        Metric {
            name: "nodetally.node.memory.mapped",
            help: "Page cache and shared memory that processes have mapped.",
            source: "/proc/meminfo Mapped",
            dump_key: "memory_mapped_bytes",
            read: Read::Node(|input| memory_of(input, |memory| memory.mapped)),
            ..AMOUNT
        },
        Metric {
            name: "nodetally.node.memory.huge_pages.free",
            help: "Huge pages that nobody uses; absent where there are pools of several sizes.",
            source: "/proc/meminfo HugePages_Free, Hugepagesize",
            dump_key: "memory_huge_pages_free_bytes",
            read: Read::Node(|input| memory_of(input, |memory| memory.huge_pages_free_bytes())),
            ..AMOUNT
        },
        Metric {
            name: "system.memory.linux.shared",
            help: "Memory of tmpfs and /dev/shm, and shared anonymous memory.",
            source: "/proc/meminfo Shmem",
            read: Read::Node(|input| memory_of(input, |memory| memory.shared)),
            ..AMOUNT
        },
        Metric {
            name: "system.memory.linux.slab.usage",
            attributes: &[("system.memory.linux.slab.state", "reclaimable")],
            help: "Slab memory of the kernel by state.",
            source: "/proc/meminfo SReclaimable",
            read: Read::Node(|input| memory_of(input, |memory| memory.slab_reclaimable)),
            ..AMOUNT
        },
        Metric {
            name: "system.memory.linux.slab.usage",
            attributes: &[("system.memory.linux.slab.state", "unreclaimable")],
            help: "Slab memory of the kernel by state.",
            source: "/proc/meminfo SUnreclaim",
            read: Read::Node(|input| memory_of(input, |memory| memory.slab_unreclaimable)),
            ..AMOUNT
        },
        memory_kind!("anonymous", Anonymous, "AnonPages", "memory_anonymous_bytes"),
        memory_kind!("page_cache", PageCache, "Cached, Buffers, Shmem", "memory_page_cache_bytes"),
        memory_kind!("shared", Shared, "Shmem", "memory_shared_bytes"),
        memory_kind!(
            "slab_reclaimable",
            SlabReclaimable,
            "SReclaimable",
            "memory_slab_reclaimable_bytes"
        ),
        memory_kind!(
            "slab_unreclaimable",
            SlabUnreclaimable,
            "SUnreclaim",
            "memory_slab_unreclaimable_bytes"
        ),
        memory_kind!("kernel_stacks", KernelStacks, "KernelStack", "memory_kernel_stacks_bytes"),
        memory_kind!(
            "page_tables",
            PageTables,
            "PageTables, SecPageTables",
            "memory_page_tables_bytes"
        ),
        memory_kind!("per_cpu", PerCpu, "Percpu", "memory_per_cpu_bytes"),
        memory_kind!("vmalloc", Vmalloc, "VmallocUsed, KernelStack", "memory_vmalloc_bytes"),
        memory_kind!("huge_pages", HugePages, "Hugetlb", "memory_huge_pages_bytes"),
        memory_kind!("zswap", Zswap, "Zswap", "memory_zswap_bytes"),
        Metric {
            source: "/proc/spl/kstat/zfs/arcstats data_size, metadata_size",
            ..memory_kind!("zfs_arc", ZfsArc, "", "memory_zfs_arc_bytes")
        },
        Metric {
            source: "/proc/zoneinfo count",
            ..memory_kind!("cpu_lists", CpuLists, "", "memory_cpu_lists_bytes")
        },
        memory_kind!("other", Other, "MemTotal, MemFree", "memory_other_bytes"),
        Metric {
            name: "nodetally.node.swap.limit",
            help: "Swap space of the node.",
            source: "/proc/meminfo SwapTotal",
            dump_key: "swap_total_bytes",
            read: Read::Node(|input| memory_of(input, |memory| memory.swap_total)),
            ..AMOUNT
        },
        Metric {
            name: "system.paging.usage",
            attributes: &[("system.paging.state", "free")],
            help: "Swap space by state.",
            source: "/proc/meminfo SwapFree",
            dump_key: "swap_free_bytes",
            read: Read::Node(|input| memory_of(input, |memory| memory.swap_free)),
            ..AMOUNT
        },
        Metric {
            name: "system.paging.usage",
            attributes: &[("system.paging.state", "used")],
            help: "Swap space by state.",
            source: "/proc/meminfo SwapTotal, SwapFree",
            read: Read::Node(|input| {
                memory_of(input, |memory| {
                    Some(memory.swap_total?.saturating_sub(memory.swap_free?))
                })
            }),
            ..AMOUNT
        },
    ]
}
