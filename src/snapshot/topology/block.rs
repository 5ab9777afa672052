//! The kinds of block devices and how they are stacked.
//!
//! Without it the same bytes count twice: /proc/diskstats and io.stat have a row for every layer.

use super::path_buffer::PathBuffer;
use crate::identity::DeviceNumber;
use crate::snapshot::roots::Roots;
use crate::source::proc::diskstats::{self, DiskstatsRow};
use crate::source::root::{Buffer, Dir, EntryKinds};

/// Every block device of /proc/diskstats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockTopology {
    /// Sorted by device number.
    pub devices: Vec<BlockDevice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    pub number: DeviceNumber,
    pub kind: BlockKind,
    /// Whole devices directly below, which get this one's transfers too.
    pub below: Vec<DeviceNumber>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// A whole disk with no device of the node below it. The node's totals count these.
    Disk,
    /// dm, md, bcache and the like, or a loop device.
    Stacked,
    /// A part of a disk, whose row includes its transfers.
    Partition,
    /// Memory that looks like a disk: ram and zram.
    Memory,
}

impl BlockTopology {
    #[must_use]
    pub fn kind(&self, number: DeviceNumber) -> Option<BlockKind> {
        self.find(number).map(|device| device.kind)
    }

    #[must_use]
    pub fn find(&self, number: DeviceNumber) -> Option<&BlockDevice> {
        let at = self.devices.binary_search_by_key(&number, |device| device.number).ok()?;
        self.devices.get(at)
    }

    /// True if this has exactly the devices of `rows`.
    #[must_use]
    pub fn fits(&self, rows: &[DiskstatsRow]) -> bool {
        self.devices.len() == rows.len() && rows.iter().all(|row| self.find(row.device).is_some())
    }

    /// Reads sysfs for each row anew. Allocates nothing if the devices are the same.
    pub fn update(&mut self, sources: &BlockSources, rows: &[DiskstatsRow], buffer: &mut Buffer) {
        if !self.fits(rows) {
            let unknown = |row: &DiskstatsRow| BlockDevice {
                number: row.device,
                kind: BlockKind::Disk,
                below: Vec::new(),
            };
            self.devices.clear();
            self.devices.extend(rows.iter().map(unknown));
            self.devices.sort_by_key(|device| device.number);
            self.devices.dedup_by_key(|device| device.number);
        }
        for device in &mut self.devices {
            device.below.clear();
            if let Some(row) = rows.iter().find(|row| row.device == device.number) {
                device.kind = sources.classify(row, rows, buffer, &mut device.below);
            }
        }
    }
}

/// The open directories that tell how devices are stacked.
#[derive(Debug)]
pub struct BlockSources {
    block: Option<Dir>,
    rootfs: Option<Dir>,
}

const MAJOR_RAM: u32 = 1;
const MAJOR_LOOP: u32 = 7;

impl BlockSources {
    #[must_use]
    pub fn open(roots: &Roots) -> Self {
        Self {
            block: Dir::open(&roots.sysfs.join("block")).ok(),
            rootfs: Dir::open(&roots.rootfs).ok(),
        }
    }

    /// The kind of `row`, and in `below` the devices that it passes its transfers down to.
    fn classify(
        &self,
        row: &DiskstatsRow,
        rows: &[DiskstatsRow],
        buffer: &mut Buffer,
        below: &mut Vec<DeviceNumber>,
    ) -> BlockKind {
        let name = row.name();
        if row.device.major == MAJOR_RAM || name.starts_with(b"zram") {
            return BlockKind::Memory;
        }
        // In sysfs the slash of a name such as cciss/c0d0 is an exclamation mark.
        let mut entry = [0; diskstats::NAME_BYTES_MAX];
        for (to, from) in entry.iter_mut().zip(name) {
            *to = if *from == b'/' { b'!' } else { *from };
        }
        let entry = entry.get(..name.len()).unwrap_or_default();
        let mut space = PathBuffer::default();
        if row.device.major == MAJOR_LOOP {
            below.extend(self.backing_device(entry, rows, buffer));
            return BlockKind::Stacked;
        }
        let Some(block) = &self.block else { return guess_by_name(row, rows) };
        if !space.join(&[entry]).is_some_and(|entry| block.has(entry)) {
            return guess_by_name(row, rows);
        }
        // The entries of /sys/block are links; with the dot the last component is none.
        if let Some(slaves) = space.join(&[entry, b"/slaves/."])
            && let Ok(slaves) = block.open_dir(slaves)
        {
            let _ = slaves.entries(EntryKinds::DirsAndLinks, |slave| {
                if let Some(whole) = whole_device(slave.to_bytes(), rows)
                    && !below.contains(&whole)
                {
                    below.push(whole);
                }
            });
        }
        let stacked = !below.is_empty() || name.starts_with(b"dm-") || is_md(name);
        if stacked { BlockKind::Stacked } else { BlockKind::Disk }
    }

    /// The whole device under the filesystem that holds a loop device's file.
    fn backing_device(
        &self,
        entry: &[u8],
        rows: &[DiskstatsRow],
        buffer: &mut Buffer,
    ) -> Option<DeviceNumber> {
        let mut space = PathBuffer::default();
        let file = space.join(&[entry, b"/loop/backing_file"])?;
        let text = self.block.as_ref()?.read_record(file, buffer).ok()?;
        let path = text.strip_suffix(b"\n").unwrap_or(text);
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let stat = self.rootfs.as_ref()?.stat(space.join(&[path])?).ok()?;
        let number = DeviceNumber {
            major: u32::try_from(nix::sys::stat::major(stat.st_dev)).ok()?,
            minor: u32::try_from(nix::sys::stat::minor(stat.st_dev)).ok()?,
        };
        let row = rows.iter().find(|row| row.device == number)?;
        whole_device(row.name(), rows)
    }
}

/// The kind of a device without /sys/block: one whose name is another's plus digits is its
/// partition.
fn guess_by_name(row: &DiskstatsRow, rows: &[DiskstatsRow]) -> BlockKind {
    let name = row.name();
    if name.starts_with(b"dm-") || is_md(name) {
        BlockKind::Stacked
    } else if whole_device(name, rows) == Some(row.device) {
        BlockKind::Disk
    } else {
        BlockKind::Partition
    }
}

fn is_md(name: &[u8]) -> bool {
    name.strip_prefix(b"md").is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_digit))
}

/// The whole device of a device or partition name: `nvme0n1p3` → nvme0n1, `sda2` → sda.
fn whole_device(name: &[u8], rows: &[DiskstatsRow]) -> Option<DeviceNumber> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::proc::diskstats;

    fn rows(names: &[(u32, u32, &str)]) -> Vec<DiskstatsRow> {
        let text: String = names
            .iter()
            .map(|(major, minor, name)| format!("{major} {minor} {name} 0 0 0 0 0 0 0\n"))
            .collect();
        let mut rows = Vec::new();
        diskstats::parse(text.as_bytes(), &mut rows).unwrap();
        rows
    }

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

    #[test]
    fn without_sysfs_names_tell_disks_from_partitions() {
        let rows = rows(&[(8, 0, "sda"), (8, 1, "sda1"), (253, 0, "dm-0"), (9, 0, "md0")]);
        let kinds: Vec<_> = rows.iter().map(|row| guess_by_name(row, &rows)).collect();
        use BlockKind::{Disk, Partition, Stacked};
        assert_eq!(kinds, [Disk, Partition, Stacked, Stacked]);
    }
}
