//! `/proc/meminfo`.

use crate::quantity::Bytes;
use crate::source::text::{Odd, fields, lines};
use crate::source::{Malformed, Parsed};

/// Gauges of the node, in bytes. `None`: not in the file, or no figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemInfo {
    pub total: Option<Bytes>,
    pub free: Option<Bytes>,
    /// The kernel's estimate of memory that is available without swapping; since 3.14.
    pub available: Option<Bytes>,
    /// Page cache of block devices.
    pub buffers: Option<Bytes>,
    /// Page cache of files, `shared` included.
    pub cached: Option<Bytes>,
    pub inactive_file: Option<Bytes>,
    pub active_file: Option<Bytes>,
    /// The part of the page cache that processes have mapped, `shared` included.
    pub mapped: Option<Bytes>,
    /// Files of tmpfs and /dev/shm, and shared anonymous memory.
    pub shared: Option<Bytes>,
    /// Anonymous memory that is mapped.
    pub anon: Option<Bytes>,
    pub swap_total: Option<Bytes>,
    pub swap_free: Option<Bytes>,
    /// These four are absent where something other than Linux writes the file.
    pub slab_unreclaimable: Option<Bytes>,
    pub slab_reclaimable: Option<Bytes>,
    pub kernel_stack: Option<Bytes>,
    pub page_tables: Option<Bytes>,
    /// Page tables of virtual machines and IOMMUs; since 6.0.
    pub secondary_page_tables: Option<Bytes>,
    /// Memory of per-CPU variables; since 4.20.
    pub per_cpu: Option<Bytes>,
    /// Memory that is mapped page by page for the kernel, `kernel_stack` included; 0 before 5.3.
    pub vmalloc: Option<Bytes>,
    /// Swapped pages that zswap holds, packed; since 5.19.
    pub zswap: Option<Bytes>,
    /// The pools of huge pages of every size, used or not; since 4.16.
    pub huge_pages: Option<Bytes>,
    /// Huge pages of the default size, free and in all, and that size.
    pub huge_pages_free: Option<u64>,
    pub huge_pages_total: Option<u64>,
    pub huge_page_size: Option<Bytes>,
    pub odd: Option<Malformed>,
}

impl Parsed for MemInfo {
    fn odd(&self) -> Option<Malformed> {
        self.odd
    }
}

impl MemInfo {
    /// MemTotal − MemFree.
    #[must_use]
    pub fn used(&self) -> Option<Bytes> {
        Some(self.total?.saturating_sub(self.free?))
    }

    /// True if there is a pool of huge pages of any size.
    #[must_use]
    pub fn has_huge_pages(&self) -> bool {
        self.huge_pages.is_some_and(|bytes| bytes > Bytes::default())
            || self.huge_pages_total.is_some_and(|pages| pages > 0)
    }

    /// Bytes of huge pages that nobody uses. `None`: there are pools of other sizes than the default,
    /// whose free pages this file does not count.
    #[must_use]
    pub fn huge_pages_free_bytes(&self) -> Option<Bytes> {
        let bytes = |pages: u64| {
            Some(Bytes::from_bytes(self.huge_page_size?.as_bytes().saturating_mul(pages)))
        };
        (self.huge_pages? == bytes(self.huge_pages_total?)?)
            .then(|| bytes(self.huge_pages_free?))?
    }

    /// MemTotal − MemFree − inactive page cache, not below 0: the kubelet's working set of the
    /// root.
    #[must_use]
    pub fn working_set(&self) -> Option<Bytes> {
        Some(self.used()?.saturating_sub(self.inactive_file?))
    }
}

// MemTotal:        6170336 kB
// MemFree:         5174436 kB
// MemAvailable:    5608276 kB
// Inactive(file):   394384 kB
pub fn parse(text: &[u8]) -> Result<MemInfo, Malformed> {
    let mut info = MemInfo::default();
    let mut odd = Odd::default();
    for line in lines(text)? {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let slot = match &line[..colon] {
            b"MemTotal" => &mut info.total,
            b"MemFree" => &mut info.free,
            b"MemAvailable" => &mut info.available,
            b"Buffers" => &mut info.buffers,
            b"Cached" => &mut info.cached,
            b"Inactive(file)" => &mut info.inactive_file,
            b"AnonPages" => &mut info.anon,
            b"SwapTotal" => &mut info.swap_total,
            b"SwapFree" => &mut info.swap_free,
            b"SUnreclaim" => &mut info.slab_unreclaimable,
            b"SReclaimable" => &mut info.slab_reclaimable,
            b"KernelStack" => &mut info.kernel_stack,
            b"PageTables" => &mut info.page_tables,
            b"SecPageTables" => &mut info.secondary_page_tables,
            b"Active(file)" => &mut info.active_file,
            b"Mapped" => &mut info.mapped,
            b"Shmem" => &mut info.shared,
            b"Percpu" => &mut info.per_cpu,
            b"VmallocUsed" => &mut info.vmalloc,
            b"Zswap" => &mut info.zswap,
            b"Hugetlb" => &mut info.huge_pages,
            b"Hugepagesize" => &mut info.huge_page_size,
            b"HugePages_Total" => {
                info.huge_pages_total = count(&line[colon + 1..], &mut odd);
                continue;
            }
            b"HugePages_Free" => {
                info.huge_pages_free = count(&line[colon + 1..], &mut odd);
                continue;
            }
            _ => continue,
        };
        let kibibytes = odd.figure(fields(&line[colon + 1..]).next(), "kB behind each key");
        *slot = kibibytes.map(Bytes::from_kibibytes);
    }
    if info == MemInfo::default() {
        return Err(Malformed::expected("MemTotal and MemFree"));
    }
    info.odd = odd.0;
    Ok(info)
}

fn count(rest: &[u8], odd: &mut Odd) -> Option<u64> {
    odd.figure(fields(rest).next(), "a count of pages")
}

#[cfg(test)]
mod tests {
    #[test]
    fn huge_pages_are_counted_and_their_pools_are_bytes() {
        let text = b"MemTotal: 100 kB\nHugePages_Total:       8\nHugePages_Free:        3\n\
            Hugepagesize:       2048 kB\nHugetlb:         1064960 kB\nPercpu: 912 kB\n";
        let info = super::parse(text).unwrap();
        assert_eq!((info.huge_pages_total, info.huge_pages_free), (Some(8), Some(3)));
        assert_eq!(info.huge_page_size.unwrap().as_bytes(), 2_097_152);
        assert_eq!(info.huge_pages.unwrap().as_bytes(), 1_090_519_040);
        assert_eq!(info.huge_pages_free_bytes(), None, "a page of 1 GiB beside the eight");
        let text =
            b"HugePages_Total: 8\nHugePages_Free: 3\nHugepagesize: 2048 kB\nHugetlb: 16384 kB\n";
        let free = super::parse(text).unwrap().huge_pages_free_bytes();
        assert_eq!(free.unwrap().as_bytes(), 6_291_456);
        let info = super::parse(b"MemTotal: 100 kB\nPercpu: 912 kB\n").unwrap();
        assert_eq!(info.per_cpu.unwrap().as_bytes(), 933_888);
    }

    #[test]
    fn available_is_absent_on_old_kernels_and_not_zero() {
        let text = "MemTotal: 100 kB\nMemFree:  40 kB\nInactive(file):  30 kB\nBuffers: 1 kB\n\
            Cached: 2 kB\nSwapTotal: 3 kB\nSwapFree: 3 kB\n";
        let info = super::parse(text.as_bytes()).unwrap();
        assert_eq!(info.total.unwrap().as_bytes(), 102_400);
        assert_eq!(info.available, None);
        let newer = format!("{text}MemAvailable:     70 kB\n");
        let available = super::parse(newer.as_bytes()).unwrap().available;
        assert_eq!(available.unwrap().as_bytes(), 71_680);
    }

    #[test]
    fn an_odd_figure_takes_no_other_away() {
        let text =
            b"MemTotal: 100 kB\nMemFree: -40 kB\nSwapFree: 18446744073709551612 kB\nCached: 2 kB";
        let info = super::parse(text).unwrap();
        assert_eq!((info.free, info.swap_free, info.used()), (None, None, None));
        assert_eq!(info.total.unwrap().as_bytes(), 102_400);
        assert_eq!(info.cached.unwrap().as_bytes(), 2048);
        assert!(info.odd.is_some());
        assert!(super::parse(b"nonsense\n").is_err());
    }
}
