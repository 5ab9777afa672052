//! `/proc/zoneinfo`: the free pages that MemFree leaves out.

use crate::quantity::Pages;
use crate::source::text::{fields, figure, lines};
use crate::source::{Malformed, Parsed};

/// Sums over all zones and CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ZoneInfo {
    /// Free pages on the lists that each CPU has of its own. MemFree does not count them.
    pub free_on_cpu_lists: Pages,
}

impl Parsed for ZoneInfo {}

// Node 0, zone      DMA
//   pages free     3840
//   …
//   pagesets
//     cpu: 0
//               count: 403
//               high:  1860
//               batch: 63
pub fn parse(text: &[u8]) -> Result<ZoneInfo, Malformed> {
    let mut pages = None;
    for line in lines(text)? {
        let mut fields = fields(line);
        if fields.next() == Some(b"count:")
            && let Some(count) = fields.next().and_then(figure)
        {
            pages = Some(pages.unwrap_or(0_u64).saturating_add(count));
        }
    }
    let free_on_cpu_lists =
        Pages::from_pages(pages.ok_or(Malformed::expected("count: of each CPU"))?);
    Ok(ZoneInfo { free_on_cpu_lists })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_lists_of_all_zones_and_cpus_are_summed() {
        let text = b"Node 0, zone      DMA\n  pages free     3840\n  pagesets\n    cpu: 0\n\
            count: 3\n high:  9\n    cpu: 1\n   count:    40\n  node_unreclaimable:  0\n\
            Node 0, zone   Normal\n  pagesets\n    cpu: 0\n  count: 500\n  count: -1\n";
        let info = super::parse(text).unwrap();
        assert_eq!(info.free_on_cpu_lists.to_bytes(4096).as_bytes(), 543 * 4096);
        assert!(super::parse(b"Node 0, zone DMA\n").is_err());
    }
}
