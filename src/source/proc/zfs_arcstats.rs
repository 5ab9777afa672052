//! `/proc/spl/kstat/zfs/arcstats`: the cache of ZFS, which no file of the kernel itself shows.

use crate::quantity::Bytes;
use crate::source::text::{fields, figure, lines};
use crate::source::{Malformed, Parsed};

/// Gauges of ZFS' cache (ARC), in bytes. `None`: not in the file, or no figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ArcStats {
    /// Cached blocks of files; since ZFS 0.6.5.
    pub data: Option<Bytes>,
    /// Cached blocks of metadata. Headers and dnodes are not in it: they stand in slab.
    pub metadata: Option<Bytes>,
}

impl Parsed for ArcStats {}

impl ArcStats {
    /// The pages of cached blocks. /proc/meminfo has them in no line but MemFree, which lacks them.
    #[must_use]
    pub fn pages(&self) -> Option<Bytes> {
        Some(self.data? + self.metadata?)
    }
}

// 13 1 0x01 147 39984 5287466437 61034534546
// name                            type data
// size                            4    2142339456
// data_size                       4    1880032256
// metadata_size                   4    187695104
pub fn parse(text: &[u8]) -> Result<ArcStats, Malformed> {
    let mut stats = ArcStats::default();
    for line in lines(text)? {
        let mut fields = fields(line);
        let slot = match fields.next() {
            Some(b"data_size") => &mut stats.data,
            Some(b"metadata_size") => &mut stats.metadata,
            _ => continue,
        };
        *slot = fields.nth(1).and_then(figure).map(Bytes::from_bytes);
    }
    if stats == ArcStats::default() {
        return Err(Malformed::expected("data_size and metadata_size"));
    }
    Ok(stats)
}

#[cfg(test)]
mod tests {
    #[test]
    fn pages_are_data_and_metadata_without_their_headers() {
        let text = b"13 1 0x01 147 39984 5287466437 61034534546\n\
            name                            type data\nsize                            4    900\n\
            data_size                       4    500\nmetadata_size                   4    300\n\
            hdr_size                        4    70\nmru_evictable_data              4    9\n";
        assert_eq!(super::parse(text).unwrap().pages().unwrap().as_bytes(), 800);
        let half = super::parse(b"data_size 4 500\nmetadata_size 4 -1\n").unwrap();
        assert_eq!(half.pages(), None);
        assert!(super::parse(b"name type data\n").is_err());
    }
}
