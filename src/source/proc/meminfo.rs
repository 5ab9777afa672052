//! `/proc/meminfo`.

use crate::quantity::Bytes;
use crate::source::text::{Odd, fields, lines};
use crate::source::{Malformed, Parsed};

/// Gauges of the node. `None`: not in the file, or no figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemInfo {
    pub total: Option<Bytes>,
    pub free: Option<Bytes>,
    /// The kernel's estimate of memory that is available without swapping; since 3.14.
    pub available: Option<Bytes>,
    pub buffers: Option<Bytes>,
    pub cached: Option<Bytes>,
    pub inactive_file: Option<Bytes>,
    /// Anonymous memory that is mapped.
    pub anon: Option<Bytes>,
    pub swap_total: Option<Bytes>,
    pub swap_free: Option<Bytes>,
    /// These four are absent where something other than Linux writes the file.
    pub slab_unreclaimable: Option<Bytes>,
    pub slab_reclaimable: Option<Bytes>,
    pub kernel_stack: Option<Bytes>,
    pub page_tables: Option<Bytes>,
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

#[cfg(test)]
mod tests {
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
