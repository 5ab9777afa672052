//! The files of huge pages that a cgroup has, one for each size.

use std::ffi::{CStr, CString};

use crate::source::proc::meminfo::MemInfo;
use crate::source::root::{Dir, EntryKinds};

/// Limit of sizes; no architecture has more than four.
const SIZES_MAX: usize = 8;

/// The names of the `hugetlb.<size>.current` files
/// (Documentation/admin-guide/cgroup-v2.rst, "HugeTLB Interface Files").
#[derive(Debug, Default)]
pub struct HugePageFiles(Vec<CString>);

impl HugePageFiles {
    /// For the sizes in `/sys/kernel/mm/hugepages`, which a boot decides. Without them there is no file.
    #[must_use]
    pub fn find(sizes: Option<&Dir>) -> Self {
        let mut names = Vec::new();
        if let Some(sizes) = sizes {
            // What was listed before a failure is right; a missing size only leaves a figure out.
            let _ = sizes.entries(EntryKinds::Dirs, |size| {
                if names.len() < SIZES_MAX {
                    names.extend(file_of(size));
                }
            });
        }
        Self(names)
    }

    /// Empty while the node has no huge page: then no cgroup can have one, and no read is spent.
    pub fn worth_reading(&self, memory: Option<&MemInfo>) -> &[CString] {
        match memory {
            Some(memory) if memory.has_huge_pages() => &self.0,
            _ => &[],
        }
    }
}

/// The file of a cgroup for an entry of `/sys/kernel/mm/hugepages`, such as `hugepages-2048kB`. The
/// kernel names it in the largest unit of KB, MB and GB that is not larger than the size
/// (mm/hugetlb_cgroup.c, `mem_fmt`).
fn file_of(entry: &CStr) -> Option<CString> {
    let kib: u64 =
        entry.to_str().ok()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    let size = match kib {
        0..1024 => format!("{kib}KB"),
        1024..0x10_0000 => format!("{}MB", kib >> 10),
        _ => format!("{}GB", kib >> 20),
    };
    CString::new(format!("hugetlb.{size}.current")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_kernels_name_of_its_size() {
        for (entry, file) in [
            (c"hugepages-64kB", Some(c"hugetlb.64KB.current")),
            (c"hugepages-2048kB", Some(c"hugetlb.2MB.current")),
            (c"hugepages-32768kB", Some(c"hugetlb.32MB.current")),
            (c"hugepages-524288kB", Some(c"hugetlb.512MB.current")),
            (c"hugepages-1048576kB", Some(c"hugetlb.1GB.current")),
            (c"hugepages-16777216kB", Some(c"hugetlb.16GB.current")),
            (c"hugepages-2M", None),
            (c"..", None),
            (c"hugepages-99999999999999999999kB", None),
        ] {
            assert_eq!(file_of(entry).as_deref(), file, "{entry:?}");
        }
    }
}
