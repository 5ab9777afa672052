//! `/proc/diskstats` (Documentation/admin-guide/iostats.rst): every block device, whole disks,
//! partitions and stacked devices alike.

use serde::{Deserialize, Serialize};

use crate::identity::DeviceNumber;
use crate::quantity::Bytes;
use crate::source::text::{Odd, fields, figure, lines_or_none};
use crate::source::{Malformed, Rows};

/// The longest device name the kernel has (DISK_NAME_LEN, with its NUL).
pub const NAME_BYTES_MAX: usize = 32;

/// A device's name, held in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskName([u8; NAME_BYTES_MAX]);

impl DiskName {
    /// `None` if the name is too long or holds a NUL, which ends a name.
    #[must_use]
    pub fn new(name: &[u8]) -> Option<Self> {
        let mut held = [0; NAME_BYTES_MAX];
        held.get_mut(..name.len())?.copy_from_slice(name);
        (!name.contains(&0)).then_some(Self(held))
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
        Self::new(&name).ok_or("no device name")
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
    /// A figure of the row is not what the kernel writes, so none of them counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_odd: bool,
}

impl DiskstatsRow {
    /// A row from its figures: bytes read and written, operations read and written. `None` if the
    /// name is too long or holds a NUL.
    #[must_use]
    pub fn new(name: &[u8], device: DeviceNumber, figures: [u64; 4]) -> Option<Self> {
        let name = DiskName::new(name)?;
        let [read, written, read_ops, write_ops] = figures;
        let (read, written) = (Bytes::from_bytes(read), Bytes::from_bytes(written));
        Some(Self { device, name, read, written, read_ops, write_ops, is_odd: false })
    }

    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.name.as_ref()
    }
}

// 254       0 vda 5317 3050 1183970 12998 541 9210 125568 997 0 7076 14224 …
// major minor name reads merged sectors_read ms writes merged sectors_written ms …
pub fn parse(text: &[u8], rows: &mut Vec<DiskstatsRow>) -> Result<Rows, Malformed> {
    rows.clear();
    let mut odd = Odd::default();
    for line in lines_or_none(text) {
        match row(line, &mut odd) {
            Some(row) => rows.push(row),
            None => odd.note("major, minor and a name of at most 32 bytes in each row"),
        }
    }
    Ok(Rows { odd: odd.0 })
}

/// `None` if the row does not say whose it is.
fn row(line: &[u8], odd: &mut Odd) -> Option<DiskstatsRow> {
    let mut line = fields(line);
    let mut number = || u32::try_from(figure(line.next()?)?).ok();
    let device = DeviceNumber { major: number()?, minor: number()? };
    let name = line.next()?;
    let mut is_odd = false;
    let mut value = |field: Option<&[u8]>| {
        let value = odd.figure(field, "at least seven figures behind the name");
        is_odd |= value.is_none();
        value.unwrap_or(0)
    };
    let read_ops = value(line.next());
    let sectors_read = value(line.nth(1));
    let write_ops = value(line.nth(1));
    let sectors_written = value(line.nth(1));
    let figures =
        [sectors_read, sectors_written].map(|sectors| Bytes::from_sectors(sectors).as_bytes());
    let [read, written] = figures;
    let row = DiskstatsRow::new(name, device, [read, written, read_ops, write_ops])?;
    Some(DiskstatsRow { is_odd, ..row })
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
    }

    #[test]
    fn an_odd_row_takes_no_other_away() {
        let row = "254 0 vda 5317 3050 10 12998 541 9210 20 997 0 7076 14224";
        for odd in
            ["nonsense", "254 x vdb 1 2 3 4 5 6 7", "254 16 vdb 1 2 3", "254 16 vdb 1 2 -3 4 5 6 7"]
        {
            let mut rows = Vec::new();
            let text = format!("{odd}\n{row}");
            assert!(super::parse(text.as_bytes(), &mut rows).unwrap().odd.is_some(), "{odd}");
            let known = rows.iter().filter(|row| !row.is_odd).map(|row| row.written.as_bytes());
            assert_eq!(known.collect::<Vec<_>>(), [10_240], "{odd}");
        }
        // Figures that are not used may be odd.
        let mut rows = Vec::new();
        let text = b"254 0 vda 5317 -1 10 -1 541 x 20 997 -2 7076 14224\n";
        assert_eq!(super::parse(text, &mut rows).unwrap().odd, None);
        assert!(!rows[0].is_odd);
    }
}
