//! The kinds of block devices and how they are stacked, and the kinds of interfaces.
//!
//! Without it the same bytes count twice: /proc/diskstats and io.stat have a row for every layer,
//! and /proc/net/dev one for a bond and for each of its ports.

use std::ffi::{CStr, CString};

use super::roots::Roots;
use crate::identity::DeviceNumber;
use crate::source::proc::diskstats::{self, DiskstatsRow};
use crate::source::proc::net_dev::{InterfaceName, InterfaceRow};
use crate::source::proc::net_route;
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

/// A buffer for a path and its NUL; the kernel has no longer paths.
struct PathBuffer([u8; PATH_BYTES_MAX]);

const PATH_BYTES_MAX: usize = 4096;

impl Default for PathBuffer {
    fn default() -> Self {
        Self([0; PATH_BYTES_MAX])
    }
}

impl PathBuffer {
    /// The parts joined; `None` if they do not fit or hold a NUL.
    fn join(&mut self, parts: &[&[u8]]) -> Option<&CStr> {
        let mut end = 0;
        for part in parts {
            self.0.get_mut(end..end + part.len())?.copy_from_slice(part);
            end += part.len();
        }
        *self.0.get_mut(end)? = 0;
        CStr::from_bytes_with_nul(self.0.get(..=end)?).ok()
    }
}

fn join(parts: &[&[u8]]) -> Option<CString> {
    CString::new(parts.concat()).ok()
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

/// The role of an interface in the node's totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterfaceKind {
    /// Counted: hardware, or the namespace's uplink if there is no hardware.
    Counted,
    /// Left out: loopback, bridges and their ports, bonds, VLANs, tunnels and other interfaces
    /// whose traffic shows on a counted one.
    LeftOut,
}

/// The kind of each interface of the host, so that each transfer counts once.
///
/// Hardware has a `device` link; bonds, VLANs, bridges, veths and tunnels have none. Where no
/// interface has one (a container or virtual machine whose uplink is a veth) the interfaces of the
/// default routes count, and where there is no default route, all that no bridge holds.
#[must_use]
pub fn classify_host(roots: &Roots, rows: &[InterfaceRow]) -> Vec<(InterfaceName, InterfaceKind)> {
    let class = Dir::open(&roots.sysfs.join("class/net")).ok();
    let has = |name: InterfaceName, file: &[u8]| {
        let path = join(&[name.as_bytes(), b"/", file]);
        class.as_ref().zip(path).is_some_and(|(class, path)| class.has(&path))
    };
    let kinds = |counted: &dyn Fn(InterfaceName) -> bool| {
        let kind =
            |name| if counted(name) { InterfaceKind::Counted } else { InterfaceKind::LeftOut };
        rows.iter().map(|row| (row.name, kind(row.name))).collect::<Vec<_>>()
    };
    if rows.iter().any(|row| has(row.name, b"device")) {
        // A virtual function below a paravirtual interface (netvsc, net_failover) is hardware below
        // hardware, and the upper one counts its traffic too. A bond above a port is no hardware.
        let below_hardware = |name: InterfaceName| {
            let link = join(&[name.as_bytes(), b"/master"]);
            let above = class.as_ref().zip(link).and_then(|(class, link)| {
                let last =
                    |target: &[u8]| InterfaceName::new(target.rsplit(|byte| *byte == b'/').next()?);
                class.with_link(&link, last).ok().flatten()
            });
            above.is_some_and(|above| has(above, b"device"))
        };
        return kinds(&|name| has(name, b"device") && !below_hardware(name));
    }
    let uplinks = default_routes(roots);
    if rows.iter().any(|row| uplinks.contains(&row.name)) {
        return kinds(&|name| uplinks.contains(&name));
    }
    kinds(&|name| {
        let virtual_names: [&[u8]; 11] = [
            b"dummy", b"ifb", b"docker", b"cni", b"cali", b"veth", b"sit", b"tunl", b"ip6tnl",
            b"gre", b"flannel",
        ];
        name.as_bytes() != b"lo"
            && !virtual_names.iter().any(|prefix| name.as_bytes().starts_with(prefix))
            && !["bridge", "brport", "master", "bonding"]
                .iter()
                .any(|file| has(name, file.as_bytes()))
    })
}

fn default_routes(roots: &Roots) -> Vec<InterfaceName> {
    let mut buffer = Buffer::default();
    let Ok(procfs) = Dir::open(&roots.procfs) else { return Vec::new() };
    let names: [&CStr; 2] = [c"1/net/route", c"net/route"];
    names
        .iter()
        .find_map(|name| net_route::parse(procfs.read_records(name, &mut buffer).ok()?).ok())
        .unwrap_or_default()
}

/// True if an interface of another namespace is left out of that namespace's sum: loopback, a
/// bridge, or an interface of a bridge. `class` is that namespace's /sys/class/net, reached through
/// a process's root directory. Where it cannot be reached, the near ends of containers and bridges
/// are known by their names, as long as the namespace (`rows`) has another way out: a node that
/// runs as a container holds the veths of its pods beside its own interface, while a pod's own
/// interface may be called as it likes.
#[must_use]
pub fn left_out_inside(class: Option<&Dir>, name: InterfaceName, rows: &[InterfaceRow]) -> bool {
    if name.as_bytes() == b"lo" {
        return true;
    }
    let Some(class) = class else {
        let is_way_out =
            |row: &InterfaceRow| row.name.as_bytes() != b"lo" && !leads_inside(row.name);
        return leads_inside(name) && rows.iter().any(is_way_out);
    };
    [&b"/bridge"[..], b"/brport", b"/master"]
        .iter()
        .any(|file| join(&[name.as_bytes(), file]).is_some_and(|path| class.has(&path)))
}

/// Names that container runtimes and network plugins give to bridges and to the near ends of pods.
fn leads_inside(name: InterfaceName) -> bool {
    let prefixes: [&[u8]; 8] =
        [b"veth", b"cali", b"cni", b"docker", b"br-", b"virbr", b"flannel", b"lxc"];
    prefixes.iter().any(|prefix| name.as_bytes().starts_with(prefix))
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
    fn without_sysfs_pods_ends_are_left_out_only_beside_another_way_out() {
        let text = |names: &[&str]| {
            let rows: String = names
                .iter()
                .map(|name| format!("{name}: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"))
                .collect();
            format!("a|b\nc|d\n{rows}")
        };
        let counted = |names: &[&str]| {
            let mut rows = Vec::new();
            crate::source::proc::net_dev::parse(text(names).as_bytes(), &mut rows).unwrap();
            let counted = rows.iter().filter(|row| !left_out_inside(None, row.name, &rows));
            counted.map(|row| row.name.as_bytes().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(counted(&["lo", "eth0", "veth7f3a", "cni0", "br-5c1d"]), [b"eth0"]);
        // Here the veth is the way out.
        assert_eq!(counted(&["lo", "veth0"]), [b"veth0"]);
        assert_eq!(counted(&["lo", "cali1", "veth0"]), [&b"cali1"[..], b"veth0"]);
        assert_eq!(counted(&["bridge0", "eth0"]), [&b"bridge0"[..], b"eth0"]);
    }

    #[test]
    fn a_virtual_function_below_its_interface_counts_once_and_the_ports_of_a_bond_each() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let class = dir.path().join("class/net");
        let hardware = ["eth0", "enP1", "eno1", "eno2"];
        for name in hardware.iter().chain(&["bond0"]) {
            std::fs::create_dir_all(class.join(name)).unwrap();
        }
        for name in hardware {
            symlink("../../../0000:00:03.0", class.join(name).join("device")).unwrap();
        }
        symlink("../eth0", class.join("enP1/master")).unwrap();
        symlink("../bond0", class.join("eno1/master")).unwrap();
        symlink("../bond0", class.join("eno2/master")).unwrap();
        let line = |name| format!("{name}: 1 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\n");
        let names = ["lo", "eth0", "enP1", "bond0", "eno1", "eno2"];
        let text: String =
            ["a|b\n".to_owned(), "a|b\n".to_owned()].into_iter().chain(names.map(line)).collect();
        let mut rows = Vec::new();
        crate::source::proc::net_dev::parse(text.as_bytes(), &mut rows).unwrap();
        let roots = Roots {
            procfs: dir.path().into(),
            sysfs: dir.path().into(),
            cgroupfs: None,
            rootfs: dir.path().into(),
            units: super::super::roots::Units { ticks_per_second: 100, page_size_bytes: 4096 },
            captured: None,
        };
        let counted: Vec<_> = classify_host(&roots, &rows)
            .into_iter()
            .filter(|(_, kind)| *kind == InterfaceKind::Counted)
            .map(|(name, _)| String::from_utf8_lossy(name.as_bytes()).into_owned())
            .collect();
        assert_eq!(counted, ["eth0", "eno1", "eno2"]);
    }

    #[test]
    fn without_sysfs_names_tell_disks_from_partitions() {
        let rows = rows(&[(8, 0, "sda"), (8, 1, "sda1"), (253, 0, "dm-0"), (9, 0, "md0")]);
        let kinds: Vec<_> = rows.iter().map(|row| guess_by_name(row, &rows)).collect();
        use BlockKind::{Disk, Partition, Stacked};
        assert_eq!(kinds, [Disk, Partition, Stacked, Stacked]);
    }
}
