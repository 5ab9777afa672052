//! The kinds of block devices and how they are stacked.
//!
//! Without it the same bytes count twice: /proc/diskstats and io.stat have a row for every layer.

use super::below_file::{Below, FileSources, KnownMounts};
use super::path_buffer::PathBuffer;
use super::whole_device::whole_device;
use crate::identity::DeviceNumber;
use crate::snapshot::roots::Roots;
use crate::source::proc::diskstats::{DiskName, DiskstatsRow, NAME_BYTES_MAX};
use crate::source::root::{Buffer, Dir, EntryKinds};

/// Every block device of /proc/diskstats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockTopology {
    /// Sorted by device number and name. The paths of an NVMe head all have the number 0:0.
    pub devices: Vec<BlockDevice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    pub number: DeviceNumber,
    name: DiskName,
    pub kind: BlockKind,
    /// Whole devices directly below, which get this one's transfers too.
    pub below: Vec<DeviceNumber>,
    /// It passes its transfers down to devices of the node that the kernel does not name.
    pub below_unknown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// A whole disk with no device of the node below it. The node's totals count these.
    Disk,
    /// dm, md, bcache, a zvol and the like, or a loop device: disks of the node have its transfers.
    Stacked,
    /// Served by a program or another host: nbd, ublk and the like, or a loop device whose file is
    /// on a network filesystem. Its transfers may be on a disk of the node under another owner, or
    /// on none.
    Served,
    /// One of the ways to an NVMe disk, whose own row has the transfers.
    Path,
    /// A part of a disk, whose row includes its transfers.
    Partition,
    /// Memory that looks like a disk: ram, zram, or a loop device whose file is on tmpfs.
    Memory,
}

impl BlockDevice {
    /// A device with nothing below it; `None` if the name is too long.
    #[must_use]
    pub fn new(name: &[u8], number: DeviceNumber, kind: BlockKind) -> Option<Self> {
        let name = DiskName::new(name)?;
        Some(Self { number, name, kind, below: Vec::new(), below_unknown: false })
    }

    fn is(&self, row: &DiskstatsRow) -> bool {
        self.number == row.device && self.name.as_ref() == row.name()
    }
}

impl BlockTopology {
    #[must_use]
    pub fn kind(&self, number: DeviceNumber) -> Option<BlockKind> {
        self.find(number).map(|device| device.kind)
    }

    /// The device of this number; none has 0:0 alone.
    #[must_use]
    pub fn find(&self, number: DeviceNumber) -> Option<&BlockDevice> {
        let at = self.devices.partition_point(|device| device.number < number);
        let is_number = number != DeviceNumber { major: 0, minor: 0 };
        self.devices.get(at).filter(|device| is_number && device.number == number)
    }

    /// The device of a row of /proc/diskstats.
    #[must_use]
    pub fn device_of(&self, row: &DiskstatsRow) -> Option<&BlockDevice> {
        let at = self.devices.partition_point(|device| {
            (device.number, device.name.as_ref()) < (row.device, row.name())
        });
        self.devices.get(at).filter(|device| device.is(row))
    }

    /// True if this has exactly the devices of `rows`.
    #[must_use]
    pub fn fits(&self, rows: &[DiskstatsRow]) -> bool {
        self.devices.len() == rows.len() && rows.iter().all(|row| self.device_of(row).is_some())
    }

    /// Reads sysfs for each row anew. Allocates nothing if the devices are the same, unless a loop
    /// device has another file than before, or one on disks that its device number does not tell.
    pub fn update(
        &mut self,
        sources: &mut BlockSources,
        rows: &[DiskstatsRow],
        buffer: &mut Buffer,
    ) {
        let same_devices = self.fits(rows);
        if !same_devices {
            self.devices.clear();
            self.devices.extend(
                rows.iter()
                    .filter_map(|row| BlockDevice::new(row.name(), row.device, BlockKind::Disk)),
            );
            self.devices.sort_by(|a, b| {
                let by_name = || a.name.as_ref().cmp(b.name.as_ref());
                a.number.cmp(&b.number).then_with(by_name)
            });
        }
        let mut mounts = std::mem::take(&mut sources.mounts);
        mounts.begin(same_devices);
        let mut has_disk = false;
        for device in &mut self.devices {
            let Some(row) = rows.iter().find(|row| device.is(row)) else { continue };
            sources.classify(row, rows, buffer, &mut mounts, device);
            let used = row.read_ops > 0 || row.write_ops > 0;
            let removable = matches!(row.device.major, MAJOR_FLOPPY | MAJOR_CDROM);
            has_disk |= device.kind == BlockKind::Disk && used && !removable;
        }
        mounts.end();
        sources.mounts = mounts;
        if has_disk {
            return;
        }
        // Where nothing else is there, what the node has for a disk is one.
        for device in &mut self.devices {
            let lowest = device.below.is_empty();
            if lowest && matches!(device.kind, BlockKind::Stacked | BlockKind::Served) {
                device.kind = BlockKind::Disk;
                device.below_unknown = false;
            }
        }
    }
}

/// The open directories that tell how devices are stacked, and what they told of loop devices.
#[derive(Debug)]
pub struct BlockSources {
    block: Option<Dir>,
    files: FileSources,
    mounts: KnownMounts,
}

const MAJOR_RAM: u32 = 1;
const MAJOR_FLOPPY: u32 = 2;
const MAJOR_LOOP: u32 = 7;
const MAJOR_CDROM: u32 = 11;

impl BlockSources {
    #[must_use]
    pub fn open(roots: &Roots) -> Self {
        Self {
            block: Dir::open(&roots.sysfs.join("block")).ok(),
            files: FileSources::open(roots),
            mounts: KnownMounts::default(),
        }
    }

    /// Finds out the kind of `row`, and the devices that it passes its transfers down to.
    fn classify(
        &self,
        row: &DiskstatsRow,
        rows: &[DiskstatsRow],
        buffer: &mut Buffer,
        mounts: &mut KnownMounts,
        device: &mut BlockDevice,
    ) {
        device.below.clear();
        device.below_unknown = false;
        let name = row.name();
        // In sysfs the slash of a name such as cciss/c0d0 is an exclamation mark.
        let mut entry = [0; NAME_BYTES_MAX];
        for (to, from) in entry.iter_mut().zip(name) {
            *to = if *from == b'/' { b'!' } else { *from };
        }
        let entry = entry.get(..name.len()).unwrap_or_default();
        device.kind = guess_by_name(row, rows);
        let is_whole = device.kind != BlockKind::Partition;
        if row.device.major == MAJOR_LOOP && is_whole {
            let below = match &self.block {
                Some(block) => {
                    self.files.below_loop(block, entry, rows, buffer, mounts, &mut device.below)
                }
                None => Below::Unknown,
            };
            (device.kind, device.below_unknown) = match below {
                Below::Devices | Below::Pool => (BlockKind::Stacked, false),
                Below::Unknown => (BlockKind::Stacked, true),
                Below::Memory => (BlockKind::Memory, false),
                Below::Elsewhere => (BlockKind::Served, false),
            };
            return;
        }
        // The kernel's threads write what is below a zvol.
        device.below_unknown = device.kind == BlockKind::Stacked && !name.starts_with(b"zd");
        let mut space = PathBuffer::default();
        let block = self.block.as_ref();
        let Some(block) = block
            .filter(|block| space.join(&[entry]).is_some_and(|entry| block.has(entry)))
            .filter(|_| !matches!(device.kind, BlockKind::Memory | BlockKind::Path))
        else {
            return;
        };
        // The entries of /sys/block are links; with the dot the last component is none.
        let below = &mut device.below;
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
        // DRBD writes to its disk in the name of whoever writes to it, and may not say which it is.
        device.below_unknown = below.is_empty() && name.starts_with(b"drbd");
        if !below.is_empty() {
            device.kind = BlockKind::Stacked;
            return;
        }
        // A whole disk has an entry of its own, whatever its name.
        if device.kind == BlockKind::Partition {
            device.kind = BlockKind::Disk;
        }
        let is_hidden = space
            .join(&[entry, b"/hidden"])
            .and_then(|file| block.read_record(file, buffer).ok())
            .is_some_and(|text| text.trim_ascii() == b"1");
        if is_hidden && has_counting_head(row, rows) {
            device.kind = BlockKind::Path;
        }
        let is_virtual = space
            .join(&[entry])
            .and_then(|link| block.with_link(link, is_virtual).ok())
            .unwrap_or_default();
        if is_virtual && device.kind == BlockKind::Disk {
            device.kind = BlockKind::Stacked;
        }
    }
}

/// True if the target of a link in /sys/block is no hardware. The disks of NVMe subsystems and of
/// NVMe over networks are below /sys/devices/virtual too, with nothing of the node below them.
fn is_virtual(target: &[u8]) -> bool {
    let place = memchr::memmem::find(target, b"devices/virtual/");
    place
        .and_then(|at| target.get(at + b"devices/virtual/".len()..))
        .is_some_and(|rest| !rest.starts_with(b"nvme"))
}

/// The kind of a device as far as its name tells: one whose name is another's plus digits is its
/// partition.
fn guess_by_name(row: &DiskstatsRow, rows: &[DiskstatsRow]) -> BlockKind {
    let name = row.name();
    let starts = |prefixes: &[&[u8]]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let numbered = |prefix: &[u8]| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_digit))
    };
    if row.device.major == MAJOR_RAM || numbered(b"zram") || numbered(b"nullb") {
        BlockKind::Memory
    } else if head_digits(name).is_some() {
        if has_counting_head(row, rows) { BlockKind::Path } else { BlockKind::Disk }
    } else if whole_device(name, rows) != Some(row.device) {
        BlockKind::Partition
    } else if starts(&[b"nbd", b"ublkb", b"etherd/", b"rnbd"]) {
        BlockKind::Served
    } else if starts(&[b"dm-", b"loop", b"bcache", b"drbd"])
        || numbered(b"md")
        || numbered(b"zd")
        || name.starts_with(b"md_")
    {
        BlockKind::Stacked
    } else {
        BlockKind::Disk
    }
}

/// The digits of subsystem and namespace in `nvme0c2n1`, a path of the NVMe disk nvme0n1.
fn head_digits(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = name.strip_prefix(b"nvme")?;
    let (subsystem, rest) = rest.split_at_checked(digits(rest))?;
    let rest = rest.strip_prefix(b"c")?;
    let (controller, rest) = rest.split_at_checked(digits(rest))?;
    let namespace = rest.strip_prefix(b"n")?;
    let all = [subsystem, controller, namespace];
    let whole = digits(namespace) == namespace.len() && all.iter().all(|part| !part.is_empty());
    whole.then_some((subsystem, namespace))
}

/// True if the disk above an NVMe path has the path's transfers in its own row. Before Linux 6.4,
/// and with its statistics switched off, that row stays 0.
fn has_counting_head(path: &DiskstatsRow, rows: &[DiskstatsRow]) -> bool {
    let Some((subsystem, namespace)) = head_digits(path.name()) else { return false };
    let head = rows.iter().find(|row| {
        let rest = row.name().strip_prefix(b"nvme").and_then(|rest| rest.strip_prefix(subsystem));
        rest.and_then(|rest| rest.strip_prefix(b"n")) == Some(namespace)
    });
    let counts = |row: &DiskstatsRow| row.read_ops > 0 || row.write_ops > 0;
    head.is_some_and(|head| counts(head) || !counts(path))
}

#[cfg(test)]
mod tests {
    use super::super::whole_device::rows;
    use super::*;
    #[test]
    fn without_sysfs_names_tell_disks_from_partitions() {
        let rows = rows(&[(8, 0, "sda"), (8, 1, "sda1"), (253, 0, "dm-0"), (9, 0, "md0")]);
        let kinds: Vec<_> = rows.iter().map(|row| guess_by_name(row, &rows)).collect();
        use BlockKind::{Disk, Partition, Stacked};
        assert_eq!(kinds, [Disk, Partition, Stacked, Stacked]);
    }
}
