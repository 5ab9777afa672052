//! `/proc/diskstats` (Documentation/admin-guide/iostats.rst): every block device, whole disks,
//! partitions and stacked devices alike.

use serde::{Deserialize, Serialize};

use crate::identity::DeviceNumber;
use crate::quantity::Bytes;
use crate::source::text::{Odd, fields, figure, lines_or_none};
use crate::source::{Malformed, Rows};

/// The longest device name the kernel has (DISK_NAME_LEN, with its NUL).
pub const NAME_BYTES_MAX: usize = 32;

/// The figures of a row that are read.
const FIGURES: usize = 11;

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

/// Merges, times and pending operations of a device. Each figure is absent where the row ends before it, or it
/// is not what the kernel writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiskActivity {
    /// Operations that were merged with a neighbour before they were issued.
    pub merged_reads: Option<u64>,
    pub merged_writes: Option<u64>,
    /// Time that all reads took together, in milliseconds. This and the times below start again from
    /// 0 at 2^32.
    pub read_ms: Option<u64>,
    pub write_ms: Option<u64>,
    /// Operations that are under way. Not cumulative.
    pub in_progress: Option<u64>,
    /// Time in which any operation was under way, in milliseconds.
    pub io_ms: Option<u64>,
    /// Time in which operations were under way, times their number, in milliseconds.
    pub weighted_io_ms: Option<u64>,
}

impl DiskActivity {
    /// Nothing done.
    pub const NONE: Self = Self {
        merged_reads: Some(0),
        merged_writes: Some(0),
        read_ms: Some(0),
        write_ms: Some(0),
        in_progress: Some(0),
        io_ms: Some(0),
        weighted_io_ms: Some(0),
    };

    /// The sum; a figure that one of both lacks is not known.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
        Self {
            merged_reads: sum(self.merged_reads, other.merged_reads),
            merged_writes: sum(self.merged_writes, other.merged_writes),
            read_ms: sum(self.read_ms, other.read_ms),
            write_ms: sum(self.write_ms, other.write_ms),
            in_progress: sum(self.in_progress, other.in_progress),
            io_ms: sum(self.io_ms, other.io_ms),
            weighted_io_ms: sum(self.weighted_io_ms, other.weighted_io_ms),
        }
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
    #[serde(default)]
    pub activity: DiskActivity,
    /// A figure of the row is not what the kernel writes, so none of them counts. That of
    /// `activity` is left out alone.
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
        let activity = DiskActivity::default();
        Some(Self { device, name, read, written, read_ops, write_ops, activity, is_odd: false })
    }

    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.name.as_ref()
    }
}

// 254       0 vda 5317 3050 1183970 12998 541 9210 125568 997 0 7076 14224 …
// major minor name reads merged sectors_read ms writes merged sectors_written ms now ms weighted_ms …
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
    let mut figures = [None; FIGURES];
    for (at, value) in figures.iter_mut().enumerate() {
        let field = line.next();
        // No kernel has fewer than seven, and none of today fewer than all.
        if field.is_some() || at < 7 {
            *value = odd.figure(field, "at least seven figures behind the name");
        }
    }
    let [read_ops, merged_reads, sectors_read, read_ms, writes @ ..] = figures;
    let [write_ops, merged_writes, sectors_written, write_ms, now @ ..] = writes;
    let [in_progress, io_ms, weighted_io_ms] = now;
    let used = [sectors_read, sectors_written, read_ops, write_ops];
    let is_odd = used.iter().any(Option::is_none);
    let [sectors_read, sectors_written, read_ops, write_ops] = used.map(Option::unwrap_or_default);
    let [read, written] =
        [sectors_read, sectors_written].map(|sectors| Bytes::from_sectors(sectors).as_bytes());
    let activity = DiskActivity {
        merged_reads,
        merged_writes,
        read_ms,
        write_ms,
        in_progress,
        io_ms,
        weighted_io_ms,
    };
    let row = DiskstatsRow::new(name, device, [read, written, read_ops, write_ops])?;
    Some(DiskstatsRow { activity, is_odd, ..row })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_become_bytes() {
        let mut rows = Vec::new();
        let text = b" 254       0 vda 5317 3050 10 12998 541 9210 20 997 0 7076 14224\n";
        parse(text, &mut rows).unwrap();
        assert_eq!(rows[0].name(), b"vda");
        assert_eq!((rows[0].read.as_bytes(), rows[0].written.as_bytes()), (5120, 10240));
        assert_eq!((rows[0].read_ops, rows[0].write_ops), (5317, 541));
        let right = DiskActivity {
            merged_reads: Some(3050),
            merged_writes: Some(9210),
            read_ms: Some(12998),
            write_ms: Some(997),
            in_progress: Some(0),
            io_ms: Some(7076),
            weighted_io_ms: Some(14224),
        };
        assert_eq!(rows[0].activity, right);
    }

    #[test]
    fn a_short_row_lacks_what_it_does_not_have() {
        let mut rows = Vec::new();
        assert_eq!(parse(b"8 1 sda1 1 2 3 4 5 6 7\n", &mut rows).unwrap().odd, None);
        assert!(!rows[0].is_odd);
        assert_eq!((rows[0].activity.merged_writes, rows[0].activity.write_ms), (Some(6), None));
    }

    #[test]
    fn an_odd_row_takes_no_other_away() {
        let row = "254 0 vda 5317 3050 10 12998 541 9210 20 997 0 7076 14224";
        for odd in
            ["nonsense", "254 x vdb 1 2 3 4 5 6 7", "254 16 vdb 1 2 3", "254 16 vdb 1 2 -3 4 5 6 7"]
        {
            let mut rows = Vec::new();
            let text = format!("{odd}\n{row}");
            assert!(parse(text.as_bytes(), &mut rows).unwrap().odd.is_some(), "{odd}");
            let known = rows.iter().filter(|row| !row.is_odd).map(|row| row.written.as_bytes());
            assert_eq!(known.collect::<Vec<_>>(), [10_240], "{odd}");
        }
        // Nor does an odd figure of the activity.
        let mut rows = Vec::new();
        let text = b"254 0 vda 5317 -1 10 -1 541 x 20 997 -2 7076 14224 x\n";
        assert!(parse(text, &mut rows).unwrap().odd.is_some());
        assert!(!rows[0].is_odd);
        let right = DiskActivity {
            write_ms: Some(997),
            io_ms: Some(7076),
            weighted_io_ms: Some(14224),
            ..DiskActivity::default()
        };
        assert_eq!(rows[0].activity, right);
    }
}
