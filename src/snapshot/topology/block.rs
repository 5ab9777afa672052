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

    /// The trees of a host in a directory.
    struct Host(tempfile::TempDir);

    impl Host {
        fn new() -> Self {
            let host = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir_all(host.0.path().join("sys/block")).unwrap();
            host
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.0.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        /// A whole device: its place below /sys/devices, and files in it.
        fn device(&self, place: &str, files: &[(&str, &str)]) {
            let entry = place.rsplit('/').next().unwrap();
            self.write(&format!("sys/devices/{place}/size"), "1\n");
            for (file, text) in files {
                self.write(&format!("sys/devices/{place}/{file}"), text);
            }
            let link = self.0.path().join("sys/block").join(entry);
            std::os::unix::fs::symlink(format!("../devices/{place}"), link).unwrap();
        }

        fn sources(&self) -> BlockSources {
            let at = |dir: &str| self.0.path().join(dir);
            BlockSources::open(&Roots {
                procfs: at("proc"),
                sysfs: at("sys"),
                cgroupfs: None,
                rootfs: at("root"),
                units: crate::snapshot::roots::Units {
                    ticks_per_second: 100,
                    page_size_bytes: 4096,
                },
                captured: None,
            })
        }
    }

    /// A row with operations read and written.
    fn row(name: &str, (major, minor): (u32, u32), ops: (u64, u64)) -> DiskstatsRow {
        let figures = [0, 0, ops.0, ops.1];
        DiskstatsRow::new(name.as_bytes(), DeviceNumber { major, minor }, figures).unwrap()
    }

    /// The kind of each row, the devices below it, and if those are unknown.
    fn found(topology: &BlockTopology, row: &DiskstatsRow) -> (BlockKind, Vec<(u32, u32)>, bool) {
        let device = topology.device_of(row).unwrap();
        let mut below: Vec<_> = device.below.iter().map(|it| (it.major, it.minor)).collect();
        below.sort_unstable();
        (device.kind, below, device.below_unknown)
    }

    #[test]
    fn sysfs_and_names_show_what_a_device_is_and_what_it_lies_on() {
        use BlockKind::{Disk, Memory, Partition, Path, Served, Stacked};
        let host = Host::new();
        host.device("pci0/block/sda", &[]);
        host.device("pci0/block/xvda1", &[]);
        host.device("pci0/block/cciss!c0d0", &[]);
        host.device("virtual/block/dm-0", &[("slaves/sda1/dev", "")]);
        host.device("virtual/block/dm-1", &[]);
        let ports = [("slaves/sda/dev", ""), ("slaves/sda1/dev", ""), ("slaves/xvda1/dev", "")];
        host.device("virtual/block/md0", &ports);
        host.device("virtual/block/drbd0", &[]);
        host.device("virtual/block/drbd1", &[("slaves/sda/dev", "")]);
        host.device("virtual/block/zd0", &[]);
        host.device("virtual/block/nbd0", &[]);
        host.device("virtual/block/ram0", &[("slaves/sda/dev", "")]);
        host.device("virtual/block/newkind0", &[]);
        host.device("virtual/nvme-subsystem/nvme0n1", &[]);
        host.device("virtual/nvme-fabrics/nvme0c0n1", &[("hidden", "1\n")]);
        host.device("virtual/nvme-subsystem/nvme1n1", &[]);
        host.device("virtual/nvme-fabrics/nvme1c0n1", &[("hidden", "1\n")]);
        let (idle, busy) = ((0, 0), (5, 0));
        let cases = [
            ("sda", (8, 0), busy, (Disk, vec![], false)),
            ("sda1", (8, 1), busy, (Partition, vec![], false)),
            // A disk of Xen's that is called as a partition, beside the disk it seems to be of.
            ("xvda", (202, 0), idle, (Disk, vec![], false)),
            ("xvda1", (202, 1), idle, (Disk, vec![], false)),
            ("cciss/c0d0", (104, 0), idle, (Disk, vec![], false)),
            ("cciss/c0d0p1", (104, 1), idle, (Partition, vec![], false)),
            ("dm-0", (253, 0), idle, (Stacked, vec![(8, 0)], false)),
            ("dm-1", (253, 1), idle, (Stacked, vec![], false)),
            // Without an entry in sysfs nobody knows.
            ("dm-7", (253, 7), idle, (Stacked, vec![], true)),
            ("md0", (9, 0), idle, (Stacked, vec![(8, 0), (202, 0)], false)),
            ("drbd0", (147, 0), idle, (Stacked, vec![], true)),
            ("drbd1", (147, 1), idle, (Stacked, vec![(8, 0)], false)),
            ("zd0", (230, 0), idle, (Stacked, vec![], false)),
            ("zd16", (230, 16), idle, (Stacked, vec![], false)),
            ("nbd0", (43, 0), idle, (Served, vec![], false)),
            ("ram0", (1, 0), idle, (Memory, vec![], false)),
            ("newkind0", (250, 0), idle, (Stacked, vec![], false)),
            ("nvme0n1", (259, 0), (7, 0), (Disk, vec![], false)),
            ("nvme0c0n1", (0, 0), (7, 0), (Path, vec![], false)),
            // A head without statistics: its ways count.
            ("nvme1n1", (259, 5), idle, (Disk, vec![], false)),
            ("nvme1c0n1", (0, 0), (0, 3), (Disk, vec![], false)),
        ];
        let rows: Vec<_> =
            cases.iter().map(|(name, number, ops, _)| row(name, *number, *ops)).collect();
        let (mut topology, mut sources) = (BlockTopology::default(), host.sources());
        assert!(!topology.fits(&rows));
        for _ in 0..2 {
            topology.update(&mut sources, &rows, &mut Buffer::default());
            for (row, (name, .., right)) in rows.iter().zip(&cases) {
                assert_eq!(found(&topology, row), *right, "{name}");
            }
            assert!(topology.fits(&rows) && !topology.fits(&rows[1..]));
        }
        let renamed = row("sdx", (8, 0), busy);
        assert!(topology.device_of(&renamed).is_none());
        let others: Vec<_> = rows[1..].iter().copied().chain([renamed]).collect();
        assert!(!topology.fits(&others));
        assert_eq!(topology.kind(DeviceNumber { major: 8, minor: 0 }), Some(Disk));
        // The ways of both NVMe disks have it.
        assert_eq!(topology.kind(DeviceNumber { major: 0, minor: 0 }), None);
        assert_eq!(topology.kind(DeviceNumber { major: 8, minor: 9 }), None);
    }

    /// A node on a network disk, or on the loop device of its host, has no other disk.
    #[test]
    fn where_no_disk_is_used_the_lowest_device_is_one() {
        use BlockKind::{Disk, Served, Stacked};
        let host = Host::new();
        host.device("virtual/block/dm-0", &[("slaves/nbd0/dev", "")]);
        host.device("virtual/block/nbd0", &[]);
        for (sda, cdrom, lowest) in [
            (None, (0, 0), Disk),
            // It is there, and carries nothing; or only reads, or only writes.
            (Some((0, 0)), (0, 0), Disk),
            (Some((3, 0)), (0, 0), Served),
            (Some((0, 3)), (0, 0), Served),
            (None, (9, 9), Disk),
        ] {
            let mut rows = vec![
                row("nbd0", (43, 0), (5, 5)),
                row("dm-0", (253, 0), (5, 5)),
                row("sr0", (11, 0), cdrom),
                row("drbd9", (147, 9), (5, 5)),
            ];
            rows.extend(sda.map(|ops| row("sda", (8, 0), ops)));
            let mut topology = BlockTopology::default();
            topology.update(&mut host.sources(), &rows, &mut Buffer::default());
            let of = |at: usize| found(&topology, &rows[at]);
            assert_eq!(of(0), (lowest, vec![], false), "{sda:?}");
            assert_eq!(of(1), (Stacked, vec![(43, 0)], false), "{sda:?}");
            let unknown =
                if lowest == Disk { (Disk, vec![], false) } else { (Stacked, vec![], true) };
            assert_eq!(of(3), unknown, "{sda:?}");
        }
    }

    const MOUNTS: &str = "\
        20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        21 20 0:30 / /memory rw - tmpfs tmpfs rw\n\
        22 20 0:31 / /far rw - nfs4 server:/x rw\n\
        23 20 202:1 / /data rw - ext4 /dev/xvda1 rw\n\
        24 20 0:32 / /merged rw - overlay overlay rw,lowerdir=/l,upperdir=/data/up,workdir=/w\n\
        25 20 0:33 / /data/relative rw - overlay overlay rw,lowerdir=l,upperdir=up,workdir=w\n\
        26 20 0:34 / /circle rw - overlay overlay rw,upperdir=/circle/up\n\
        27 20 0:35 / /pool rw - zfs tank rw\n\
        28 20 0:36 / /ssh rw - fuse.sshfs host: rw\n\
        29 20 0:37 / /bt rw - btrfs /dev/xvda1 rw\n\
        30 20 0:38 / /bc rw - bcachefs /dev/sda1:/dev/xvda1 rw\n\
        31 20 0:39 / /lost rw - xfs /dev/unknown rw\n\
        32 20 0:40 / /ntfs rw - fuse /dev/sdz rw\n\
        33 20 0:41 / /hidden rw - nfs4 server:/x rw\n\
        34 20 0:42 / /hidden rw - tmpfs tmpfs rw\n";

    #[test]
    fn the_file_of_a_loop_device_leads_to_its_disks() {
        use BlockKind::{Memory, Served, Stacked};
        let host = Host::new();
        host.device("pci0/block/sda", &[]);
        host.device("pci0/block/xvda", &[]);
        host.device("virtual/block/dm-0", &[("slaves/sda1/dev", ""), ("dm/name", "vg0-root\n")]);
        host.write("proc/1/mountinfo", MOUNTS);
        // Two btrfs filesystems.
        for device in ["a/devices/sda1", "a/devices/xvda1", "b/devices/sdq"] {
            host.write(&format!("sys/fs/btrfs/{device}/dev"), "");
        }
        let (sda, xvda, volume) = ((8, 0), (202, 0), (253, 0));
        let cases = [
            ("/img", (Stacked, vec![sda], false)),
            ("/img (deleted)", (Stacked, vec![sda], false)),
            ("/data/img", (Stacked, vec![xvda], false)),
            ("/memory/img", (Memory, vec![], false)),
            ("/far/img", (Served, vec![], false)),
            ("/merged/img", (Stacked, vec![xvda], false)),
            ("/data/relative/img", (Stacked, vec![xvda], false)),
            ("/circle/img", (Stacked, vec![], true)),
            ("/pool/img", (Stacked, vec![], false)),
            ("/ssh/img", (Served, vec![], false)),
            ("/ntfs/img", (Served, vec![], false)),
            ("/bt/img", (Stacked, vec![sda, xvda], false)),
            ("/bc/img", (Stacked, vec![sda, xvda], false)),
            ("/lost/img", (Stacked, vec![], true)),
            ("/hidden/img", (Memory, vec![], false)),
            ("/dev/sda1", (Stacked, vec![sda], false)),
            ("/dev/mapper/vg0-root", (Stacked, vec![volume], false)),
            ("/dev/vg0/root", (Stacked, vec![volume], false)),
        ];
        let mut rows = vec![
            row("sda", sda, (5, 5)),
            row("sda1", (8, 1), (5, 5)),
            row("xvda", xvda, (5, 5)),
            row("xvda1", (202, 1), (5, 5)),
            row("dm-0", volume, (5, 5)),
        ];
        let first = rows.len();
        for (at, (file, _)) in (0_u32..).zip(&cases) {
            host.device(
                &format!("virtual/block/loop{at}"),
                &[("loop/backing_file", &format!("{file}\n"))],
            );
            rows.push(row(&format!("loop{at}"), (7, at), (1, 1)));
        }
        // One without a file, and a partition.
        host.device("virtual/block/loop90", &[]);
        rows.push(row("loop90", (7, 90), (0, 0)));
        rows.push(row("loop0p1", (7, 91), (0, 0)));
        let (mut topology, mut sources) = (BlockTopology::default(), host.sources());
        for _ in 0..2 {
            topology.update(&mut sources, &rows, &mut Buffer::default());
            for (row, (file, right)) in rows[first..].iter().zip(&cases) {
                assert_eq!(found(&topology, row), *right, "{file}");
            }
            let [.., without, partition] = rows.as_slice() else { panic!("two") };
            assert_eq!(found(&topology, without), (Stacked, vec![], true));
            assert_eq!(found(&topology, partition), (BlockKind::Partition, vec![], false));
        }
    }

    /// A file without a disk is known to have none while no mount comes or goes.
    #[test]
    fn another_mount_in_the_place_of_a_file_is_noticed() {
        use BlockKind::{Memory, Stacked};
        let host = Host::new();
        host.device("pci0/block/sda", &[]);
        host.device("virtual/block/loop0", &[("loop/backing_file", "/memory/a\n")]);
        host.write("proc/1/mountinfo", "21 1 0:30 / /memory rw - tmpfs tmpfs rw\n");
        let mut rows = vec![row("sda", (8, 0), (5, 5)), row("loop0", (7, 0), (1, 1))];
        let (mut topology, mut sources) = (BlockTopology::default(), host.sources());
        let mut update = |rows: &[DiskstatsRow]| {
            topology.update(&mut sources, rows, &mut Buffer::default());
            found(&topology, &rows[1])
        };
        assert_eq!(update(&rows), (Memory, vec![], false));
        assert_eq!(update(&rows), (Memory, vec![], false));
        host.write("proc/1/mountinfo", "29 1 8:0 / /memory rw - ext4 /dev/sda rw\n");
        assert_eq!(update(&rows), (Stacked, vec![(8, 0)], false));
        host.write("proc/1/mountinfo", "30 1 8:16 / /memory rw - ext4 /dev/sdb rw\n");
        assert_eq!(update(&rows), (Stacked, vec![], true));
        // The disk of that mount is there at last.
        rows.push(row("sdb", (8, 16), (0, 0)));
        assert_eq!(update(&rows), (Stacked, vec![(8, 16)], false));
    }

    #[test]
    fn a_way_to_an_nvme_disk_is_told_by_its_whole_name() {
        for (name, head) in [
            ("nvme0c2n1", Some(("0", "1"))),
            ("nvme12c34n56", Some(("12", "56"))),
            ("nvme0n1", None),
            ("nvme0c2n1p3", None),
            ("nvmec2n1", None),
            ("nvme0cn1", None),
            ("nvme0c2n", None),
            ("nvme0c2", None),
            ("sda", None),
        ] {
            let right =
                head.map(|(subsystem, namespace)| (subsystem.as_bytes(), namespace.as_bytes()));
            assert_eq!(head_digits(name.as_bytes()), right, "{name}");
        }
    }

    /// The row of the head counts, unless it stays 0 while a way to it does not.
    #[test]
    fn a_head_counts_for_its_ways_if_it_counts_at_all() {
        for (head, path, counts) in [
            (Some((3, 0)), (9, 9), true),
            (Some((0, 3)), (9, 9), true),
            (Some((0, 0)), (9, 0), false),
            (Some((0, 0)), (0, 9), false),
            (Some((0, 0)), (0, 0), true),
            (None, (0, 0), false),
        ] {
            let path = row("nvme0c2n1", (0, 0), path);
            let mut rows = vec![row("nvme1n1", (259, 9), (8, 8)), path];
            rows.extend(head.map(|ops| row("nvme0n1", (259, 0), ops)));
            assert_eq!(has_counting_head(&path, &rows), counts, "{head:?}");
        }
        let disk = row("sda", (8, 0), (1, 1));
        assert!(!has_counting_head(&disk, &[disk]));
    }
}
