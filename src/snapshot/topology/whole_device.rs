//! Partitions by their names.

use crate::identity::DeviceNumber;
use crate::source::proc::diskstats::DiskstatsRow;

/// The whole device of a device or partition name: `nvme0n1p3` → nvme0n1, `sda2` → sda.
pub(super) fn whole_device(name: &[u8], rows: &[DiskstatsRow]) -> Option<DeviceNumber> {
    let is_partition_of = |disk: &[u8]| {
        let Some(rest) = name.strip_prefix(disk) else { return false };
        // A disk whose name ends in a digit puts a p before the partition's number.
        let digits = match disk.last() {
            Some(last) if last.is_ascii_digit() => rest.strip_prefix(b"p").unwrap_or_default(),
            _ => rest,
        };
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    };
    let disk = rows.iter().find(|row| is_partition_of(row.name()));
    disk.or_else(|| rows.iter().find(|row| row.name() == name)).map(|row| row.device)
}

/// Rows of diskstats with these numbers and names, and no counters.
#[cfg(test)]
pub(super) fn rows(names: &[(u32, u32, &str)]) -> Vec<DiskstatsRow> {
    let line =
        |(major, minor, name): &(u32, u32, &str)| format!("{major} {minor} {name} 0 0 0 0 0 0 0\n");
    let text: String = names.iter().map(line).collect();
    let mut rows = Vec::new();
    crate::source::proc::diskstats::parse(text.as_bytes(), &mut rows).unwrap();
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_partition_is_led_back_to_its_disk() {
        let rows = rows(&[
            (8, 0, "sda"),
            (8, 1, "sda1"),
            (259, 0, "nvme0n1"),
            (259, 3, "nvme0n1p3"),
            (259, 9, "nvme0n11"),
            (9, 1, "md1"),
            (9, 127, "md127"),
        ]);
        let whole = |name: &[u8]| whole_device(name, &rows).unwrap();
        assert_eq!(whole(b"sda1"), DeviceNumber { major: 8, minor: 0 });
        assert_eq!(whole(b"nvme0n1p3"), DeviceNumber { major: 259, minor: 0 });
        // Names that only continue another's digits are devices of their own.
        assert_eq!(whole(b"nvme0n11"), DeviceNumber { major: 259, minor: 9 });
        assert_eq!(whole(b"md127"), DeviceNumber { major: 9, minor: 127 });
    }
}
