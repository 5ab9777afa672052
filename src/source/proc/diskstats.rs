//! `/proc/diskstats` (Documentation/admin-guide/iostats.rst): every block device, whole disks,
//! partitions and stacked devices alike.

use serde::{Deserialize, Serialize};

use crate::identity::DeviceNumber;
use crate::quantity::Bytes;
use crate::source::Malformed;
use crate::source::text::{fields, figure_or, lines_or_none, small_or};

/// The longest device name the kernel has (DISK_NAME_LEN, with its NUL).
pub const NAME_BYTES_MAX: usize = 32;

/// A device's name, held in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DiskName([u8; NAME_BYTES_MAX]);

impl DiskName {
    /// `None` if the name is too long.
    fn new(name: &[u8]) -> Option<Self> {
        let mut held = [0; NAME_BYTES_MAX];
        held.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self(held))
    }
}

impl AsRef<[u8]> for DiskName {
    fn as_ref(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES_MAX);
        &self.0[..end]
    }
}

impl TryFrom<Vec<u8>> for DiskName {
    type Error = &'static str;

    fn try_from(name: Vec<u8>) -> Result<Self, Self::Error> {
        Self::new(&name).ok_or("a device name that is too long")
    }
}

/// One device, cumulative since it appeared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskstatsRow {
    pub device: DeviceNumber,
    #[serde(with = "crate::identity::escaped")]
    name: DiskName,
    pub read: Bytes,
    pub written: Bytes,
    pub read_ops: u64,
    pub write_ops: u64,
}

impl DiskstatsRow {
    /// A row from its figures: bytes read and written, operations read and written. `None` if the
    /// name is too long.
    #[must_use]
    pub fn new(name: &[u8], device: DeviceNumber, figures: [u64; 4]) -> Option<Self> {
        let name = DiskName::new(name)?;
        let [read, written, read_ops, write_ops] = figures;
        let (read, written) = (Bytes::from_bytes(read), Bytes::from_bytes(written));
        Some(Self { device, name, read, written, read_ops, write_ops })
    }

    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.name.as_ref()
    }
}

// 254       0 vda 5317 3050 1183970 12998 541 9210 125568 997 0 7076 14224 …
// major minor name reads merged sectors_read ms writes merged sectors_written ms …
pub fn parse(text: &[u8], rows: &mut Vec<DiskstatsRow>) -> Result<(), Malformed> {
    rows.clear();
    for line in lines_or_none(text)? {
        let mut line = fields(line);
        let major = small_or(line.next(), "a major number")?;
        let minor = small_or(line.next(), "a minor number")?;
        let text = line.next().ok_or(Malformed::expected("a device name"))?;
        let name =
            DiskName::new(text).ok_or(Malformed::expected("a device name of at most 32 bytes"))?;
        let mut figures = [0_u64; 7];
        for figure in &mut figures {
            *figure = figure_or(line.next(), "at least seven figures behind the name")?;
        }
        let [read_ops, _, sectors_read, _, write_ops, _, sectors_written] = figures;
        rows.push(DiskstatsRow {
            device: DeviceNumber { major, minor },
            name,
            read: Bytes::from_sectors(sectors_read),
            written: Bytes::from_sectors(sectors_written),
            read_ops,
            write_ops,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn sectors_become_bytes() {
        let mut rows = Vec::new();
        let text = b" 254       0 vda 5317 3050 10 12998 541 9210 20 997 0 7076 14224\n";
        super::parse(text, &mut rows).unwrap();
        assert_eq!(rows[0].name(), b"vda");
        assert_eq!((rows[0].read.as_bytes(), rows[0].written.as_bytes()), (5120, 10240));
        assert_eq!((rows[0].read_ops, rows[0].write_ops), (5317, 541));
        assert!(super::parse(b"254 0 vda 1 2 3\n", &mut rows).is_err());
    }
}
