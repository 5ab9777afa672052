//! `/proc/meminfo`.

use crate::quantity::Bytes;
use crate::source::Malformed;
use crate::source::text::{fields, figure, lines};

/// Gauges of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemInfo {
    pub total: Bytes,
    pub free: Bytes,
    /// The kernel's estimate of memory that is available without swapping; `None` before 3.14.
    pub available: Option<Bytes>,
    pub buffers: Bytes,
    pub cached: Bytes,
    pub inactive_file: Bytes,
    pub swap_total: Bytes,
    pub swap_free: Bytes,
    /// These four are absent where something other than Linux writes the file.
    pub slab_unreclaimable: Option<Bytes>,
    pub slab_reclaimable: Option<Bytes>,
    pub kernel_stack: Option<Bytes>,
    pub page_tables: Option<Bytes>,
}

impl MemInfo {
    /// MemTotal − MemFree.
    #[must_use]
    pub fn used(&self) -> Bytes {
        self.total.saturating_sub(self.free)
    }

    /// MemTotal − MemFree − inactive page cache, not below 0: the kubelet's working set of the
    /// root.
    #[must_use]
    pub fn working_set(&self) -> Bytes {
        self.used().saturating_sub(self.inactive_file)
    }
}

// MemTotal:        6170336 kB
// MemFree:         5174436 kB
// MemAvailable:    5608276 kB
// Inactive(file):   394384 kB
pub fn parse(text: &[u8]) -> Result<MemInfo, Malformed> {
    let mut info = MemInfo::default();
    let mut seen = 0_u8;
    for line in lines(text)? {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (slot, bit) = match &line[..colon] {
            b"MemTotal" => (&mut info.total, 1),
            b"MemFree" => (&mut info.free, 2),
            b"MemAvailable" => (info.available.insert(Bytes::ZERO), 0),
            b"Buffers" => (&mut info.buffers, 8),
            b"Cached" => (&mut info.cached, 16),
            b"Inactive(file)" => (&mut info.inactive_file, 4),
            b"SwapTotal" => (&mut info.swap_total, 32),
            b"SwapFree" => (&mut info.swap_free, 64),
            b"SUnreclaim" => (info.slab_unreclaimable.insert(Bytes::ZERO), 0),
            b"SReclaimable" => (info.slab_reclaimable.insert(Bytes::ZERO), 0),
            b"KernelStack" => (info.kernel_stack.insert(Bytes::ZERO), 0),
            b"PageTables" => (info.page_tables.insert(Bytes::ZERO), 0),
            _ => continue,
        };
        let kibibytes = fields(&line[colon + 1..]).next().and_then(figure);
        *slot = Bytes::from_kibibytes(kibibytes.ok_or(Malformed::expected("kB behind each key"))?);
        seen |= bit;
    }
    if seen != 127 {
        return Err(Malformed::expected(
            "MemTotal, MemFree, Inactive(file), Buffers, Cached, SwapTotal and SwapFree",
        ));
    }
    Ok(info)
}

#[cfg(test)]
mod tests {
    #[test]
    fn available_is_absent_on_old_kernels_and_not_zero() {
        let text = "MemTotal: 100 kB\nMemFree:  40 kB\nInactive(file):  30 kB\nBuffers: 1 kB\n\
            Cached: 2 kB\nSwapTotal: 3 kB\nSwapFree: 3 kB\n";
        let info = super::parse(text.as_bytes()).unwrap();
        assert_eq!(info.total.as_bytes(), 102_400);
        assert_eq!(info.available, None);
        let newer = format!("{text}MemAvailable:     70 kB\n");
        let available = super::parse(newer.as_bytes()).unwrap().available;
        assert_eq!(available.unwrap().as_bytes(), 71_680);
    }
}
