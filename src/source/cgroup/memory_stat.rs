//! `memory.stat`: what a cgroup's memory is made of, descendants included.

use crate::quantity::Bytes;
use crate::source::text::{Odd, key_and_rest, lines};
use crate::source::{Malformed, Parsed};

/// Gauges in bytes, and two counters. `None`: not in the file, or below 0 for a moment, as sums over
/// CPUs can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryStat {
    pub anon: Option<Bytes>,
    pub file: Option<Bytes>,
    /// All kernel memory charged to the cgroup; `None` before 5.18.
    pub kernel: Option<Bytes>,
    /// Parts of `kernel` that the node's meminfo has too; page tables since 5.11.
    pub slab: Option<Bytes>,
    pub kernel_stack: Option<Bytes>,
    pub page_tables: Option<Bytes>,
    /// Page tables of virtual machines; since 6.0.
    pub secondary_page_tables: Option<Bytes>,
    /// Per-CPU variables; since 5.9.
    pub per_cpu: Option<Bytes>,
    /// Memory mapped page by page for the kernel, without its stacks; since 5.18.
    pub vmalloc: Option<Bytes>,
    pub shmem: Option<Bytes>,
    /// Page cache that reclaim takes first: what the working set leaves out.
    pub inactive_file: Option<Bytes>,
    pub active_file: Option<Bytes>,
    /// The part of `file` that processes have mapped.
    pub file_mapped: Option<Bytes>,
    /// A counter, major faults included.
    pub page_faults: Option<u64>,
    /// A counter.
    pub major_faults: Option<u64>,
    pub odd: Option<Malformed>,
}

impl Parsed for MemoryStat {
    fn odd(&self) -> Option<Malformed> {
        self.odd
    }
}

// anon 1245184
// file 8192
// kernel 98304          since 5.18
// kernel_stack 16384
// …
// shmem 0
// file_mapped 0
// …
// inactive_file 4096
// active_file 4096
// …
// pgfault 310
// pgmajfault 0
pub fn parse(text: &[u8]) -> Result<MemoryStat, Malformed> {
    let mut stat = MemoryStat::default();
    let mut odd = Odd::default();
    for line in lines(text)? {
        let Some((key, rest)) = key_and_rest(line) else {
            odd.note("a key and a figure in each line");
            continue;
        };
        // Fifteen of some fifty lines are wanted. The key's length rules out most others.
        if !matches!(key.len(), 4..=7 | 10..=14) {
            continue;
        }
        let slot = match key {
            b"anon" => &mut stat.anon,
            b"file" => &mut stat.file,
            b"kernel" => &mut stat.kernel,
            b"shmem" => &mut stat.shmem,
            b"inactive_file" => &mut stat.inactive_file,
            b"active_file" => &mut stat.active_file,
            b"slab" => &mut stat.slab,
            b"kernel_stack" => &mut stat.kernel_stack,
            b"pagetables" => &mut stat.page_tables,
            b"sec_pagetables" => &mut stat.secondary_page_tables,
            b"percpu" => &mut stat.per_cpu,
            b"vmalloc" => &mut stat.vmalloc,
            b"file_mapped" => &mut stat.file_mapped,
            b"pgfault" => {
                stat.page_faults = odd.figure(Some(rest), FIGURE);
                continue;
            }
            b"pgmajfault" => {
                stat.major_faults = odd.figure(Some(rest), FIGURE);
                continue;
            }
            _ => continue,
        };
        *slot = odd.figure(Some(rest), FIGURE).map(Bytes::from_bytes);
    }
    stat.odd = odd.0;
    Ok(stat)
}

const FIGURE: &str = "a figure behind each key";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_keys_are_told_from_their_neighbours() {
        let text = b"anon 1\nfile 2\nkernel 3\nkernel_stack 99\nslab 40\npagetables 50\n\
            sec_pagetables 60\npercpu 70\nvmalloc 80\nslab_reclaimable 99\nshmem 4\nfile_mapped 8\nfile_dirty 99\n\
            inactive_anon 99\nactive_anon 99\ninactive_file 5\nactive_file 6\npgfault 9\npgmajfault 7\npgrefill 99\n";
        let stat = parse(text).unwrap();
        assert_eq!(stat.anon.unwrap().as_bytes(), 1);
        assert_eq!(stat.file.unwrap().as_bytes(), 2);
        assert_eq!(stat.kernel.unwrap().as_bytes(), 3);
        let parts = [stat.slab, stat.kernel_stack, stat.page_tables];
        assert_eq!(parts.map(|part| part.unwrap().as_bytes()), [40, 99, 50]);
        let parts = [stat.secondary_page_tables, stat.per_cpu, stat.vmalloc];
        assert_eq!(parts.map(|part| part.unwrap().as_bytes()), [60, 70, 80]);
        assert_eq!(stat.shmem.unwrap().as_bytes(), 4);
        assert_eq!(stat.inactive_file.unwrap().as_bytes(), 5);
        assert_eq!(stat.active_file.unwrap().as_bytes(), 6);
        assert_eq!(stat.file_mapped.unwrap().as_bytes(), 8);
        assert_eq!((stat.page_faults, stat.major_faults), (Some(9), Some(7)));
    }

    #[test]
    fn a_gauge_below_zero_is_unknown_and_takes_no_other_away() {
        // 2^64 - 8192.
        let stat = parse(b"anon 1\nfile -2\ninactive_file 18446744073709543424\n").unwrap();
        assert_eq!((stat.inactive_file, stat.file, stat.shmem), (None, None, None));
        assert_eq!(stat.anon.unwrap().as_bytes(), 1);
        assert!(stat.odd.is_some());
    }
}
