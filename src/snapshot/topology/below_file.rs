//! The disks below the file of a loop device.

use std::ffi::{CStr, OsStr};
use std::mem;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sys::stat::{self, FileStat, SFlag};

use super::path_buffer::PathBuffer;
use super::whole_device::whole_device;
use crate::identity::DeviceNumber;
use crate::snapshot::roots::Roots;
use crate::source::proc::diskstats::DiskstatsRow;
use crate::source::proc::mountinfo::Mount;
use crate::source::root::{Buffer, Dir, EntryKinds};
use crate::source::text::figure;

/// The layer below a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    /// The devices that were found.
    Devices,
    /// A ZFS pool. Its disks are written by the kernel's threads alone.
    Pool,
    Memory,
    /// Another host, or a program of a filesystem in user space.
    Elsewhere,
    /// A disk, but it is not known which.
    Unknown,
}

/// The sources that lead from a file to its disks.
#[derive(Debug)]
pub(super) struct FileSources {
    roots: Roots,
    rootfs: Option<Dir>,
    btrfs: Option<Dir>,
}

/// A loop device's file, and the layer below it as the mounts show it.
#[derive(Debug)]
struct KnownFile {
    path: Box<[u8]>,
    below: Below,
    /// The disk whose number its mount has.
    disk: Option<DeviceNumber>,
}

/// The host's mounts, and the files whose layer below was found in them.
#[derive(Debug, Default)]
pub(super) struct KnownMounts {
    /// Read at the first need of an update.
    mounts: Option<Vec<Mount>>,
    /// The digest is that of this update.
    is_compared: bool,
    digest: u64,
    /// Valid while mounts and devices stay.
    files: Vec<KnownFile>,
}

impl KnownMounts {
    /// Begins an update. `same_devices`: no device came or went since the last one.
    pub fn begin(&mut self, same_devices: bool) {
        if !same_devices {
            self.files.clear();
        }
        self.is_compared = false;
    }

    /// Ends an update.
    pub fn end(&mut self) {
        self.mounts = None;
    }

    /// Forgets what was found if a mount came or went since. Reads the mounts once in an update.
    fn compare(&mut self, roots: &Roots, buffer: &mut Buffer) {
        if mem::replace(&mut self.is_compared, true) {
            return;
        }
        let digest = roots.mounts_digest(buffer);
        if mem::replace(&mut self.digest, digest) != digest {
            self.files.clear();
        }
    }
}

/// An overlay whose upper directory is on an overlay, and so on.
const DEPTH_MAX: usize = 8;

impl FileSources {
    pub fn open(roots: &Roots) -> Self {
        Self {
            roots: roots.clone(),
            rootfs: Dir::open(&roots.rootfs).ok(),
            btrfs: Dir::open(&roots.sysfs.join("fs/btrfs")).ok(),
        }
    }

    /// Adds the whole devices below the file of a loop device to `below`. `block` is /sys/block,
    /// `entry` the device's name there.
    pub fn below_loop(
        &self,
        block: &Dir,
        entry: &[u8],
        rows: &[DiskstatsRow],
        buffer: &mut Buffer,
        mounts: &mut KnownMounts,
        below: &mut Vec<DeviceNumber>,
    ) -> Below {
        let mut space = PathBuffer::default();
        let Some(file) = space.join(&[entry, b"/loop/backing_file"]) else {
            return Below::Unknown;
        };
        mounts.compare(&self.roots, buffer);
        let Some(path) = backing_path(block, file, buffer) else { return Below::Unknown };
        if let Some(known) = mounts.files.iter().find(|known| *known.path == *path) {
            below.extend(known.disk);
            return known.below;
        }
        let path = path.to_vec();
        let all = mounts.mounts.get_or_insert_with(|| self.roots.mounts());
        let mut search = Search { sources: self, block, rows, mounts: all, has_number: false };
        let as_path = Path::new(OsStr::from_bytes(&path));
        let found = search.below_path(as_path, buffer, below, DEPTH_MAX);
        // A filesystem of several devices can get others while it is mounted.
        if found != Below::Devices || search.has_number {
            // A device that changes its file again and again leaves the earlier ones behind.
            if mounts.files.len() >= rows.len() {
                mounts.files.clear();
            }
            let disk = below.last().copied().filter(|_| search.has_number);
            mounts.files.push(KnownFile { path: path.into(), below: found, disk });
        }
        found
    }

    /// The whole device of the device file at `path`, by its number. The numbers of a captured host's files
    /// are those of the capture. Only for paths below /dev: to ask for a file on a network's filesystem can take
    /// for ever.
    fn device_by_number(&self, path: &[u8], rows: &[DiskstatsRow]) -> Option<DeviceNumber> {
        let rootfs = self.rootfs.as_ref().filter(|_| self.roots.captured.is_none())?;
        let mut space = PathBuffer::default();
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let stat = rootfs.stat(space.join(&[path])?).ok()?;
        by_number(device_number(&stat)?, rows)
    }
}

/// The number of the device that a device file stands for; `None`: it is another file.
fn device_number(stat: &FileStat) -> Option<DeviceNumber> {
    let is_device = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFBLK.bits();
    let number = is_device.then_some(stat.st_rdev)?;
    Some(DeviceNumber {
        major: u32::try_from(stat::major(number)).ok()?,
        minor: u32::try_from(stat::minor(number)).ok()?,
    })
}

/// The path of a loop device's file. `file` is its place below `block`, which is /sys/block.
fn backing_path<'b>(block: &Dir, file: &CStr, buffer: &'b mut Buffer) -> Option<&'b [u8]> {
    let text = block.read_record(file, buffer).ok()?;
    let path = text.strip_suffix(b"\n").unwrap_or(text);
    Some(path.strip_suffix(b" (deleted)").unwrap_or(path))
}

fn by_number(number: DeviceNumber, rows: &[DiskstatsRow]) -> Option<DeviceNumber> {
    let row = rows.iter().find(|row| row.device == number && number.major != 0)?;
    whole_device(row.name(), rows)
}

/// One search through the host's mounts.
struct Search<'s> {
    sources: &'s FileSources,
    block: &'s Dir,
    rows: &'s [DiskstatsRow],
    mounts: &'s [Mount],
    /// The last device was found by the number of its mount, which stays while it is mounted.
    has_number: bool,
}

impl Search<'_> {
    /// Adds the devices below `path`, whose mount is the one with the longest path above it.
    fn below_path(
        &mut self,
        path: &Path,
        buffer: &mut Buffer,
        below: &mut Vec<DeviceNumber>,
        depth: usize,
    ) -> Below {
        if let Ok(name) = path.strip_prefix("/dev")
            && !path.starts_with("/dev/shm")
            && let Some(device) = self.device_by_name(name.as_os_str().as_bytes(), buffer)
        {
            below.push(device);
            return Below::Devices;
        }
        let above = self.mounts.iter().filter(|mount| path.starts_with(&mount.mount_point));
        // Of several mounts in one place, the last hides the others.
        let mount = above.max_by_key(|mount| mount.mount_point.components().count());
        let Some(mount) = mount else { return Below::Unknown };
        let filesystem = mount.filesystem.as_str();
        match filesystem {
            "tmpfs" | "ramfs" | "hugetlbfs" | "devtmpfs" | "rootfs" => return Below::Memory,
            "zfs" => return Below::Pool,
            "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "9p" | "virtiofs" | "lustre" | "afs"
            | "gfs2" | "glusterfs" | "beegfs" | "gpfs" | "autofs" => return Below::Elsewhere,
            "overlay" => {
                // A relative directory cannot be followed. It is most likely where the mount is.
                let upper = mount.upper_dir.as_deref().filter(|upper| upper.is_absolute());
                let next = upper.or_else(|| mount.mount_point.parent());
                return match next.filter(|_| depth > 0) {
                    Some(next) => self.below_path(next, buffer, below, depth - 1),
                    None => Below::Unknown,
                };
            }
            _ => {}
        }
        let parts = mount.device.split_once(':');
        let number = parts.and_then(|(major, minor)| {
            Some(DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? })
        });
        if let Some(device) = number.and_then(|number| by_number(number, self.rows)) {
            below.push(device);
            self.has_number = true;
            return Below::Devices;
        }
        if filesystem == "fuse" || filesystem.starts_with("fuse.") {
            return Below::Elsewhere;
        }
        let mut found = false;
        // bcachefs lists its devices with colons.
        for source in mount.source.as_deref().unwrap_or_default().split(':') {
            let name = source.strip_prefix("/dev/").unwrap_or_default();
            let device = self.device_by_name(name.as_bytes(), buffer);
            if filesystem == "btrfs" {
                self.add_btrfs(device, below);
            }
            below.extend(device.filter(|device| !below.contains(device)));
            found |= !below.is_empty();
        }
        if found { Below::Devices } else { Below::Unknown }
    }

    /// Adds the devices of the btrfs filesystem that `one` belongs to. If `one` is not known, those
    /// of the only filesystem of the host.
    fn add_btrfs(&self, one: Option<DeviceNumber>, below: &mut Vec<DeviceNumber>) {
        let Some(btrfs) = &self.sources.btrfs else { return };
        let mut filesystems: Vec<Vec<DeviceNumber>> = Vec::new();
        let _ = btrfs.entries(EntryKinds::Dirs, |uuid| {
            let mut space = PathBuffer::default();
            let devices = space.join(&[uuid.to_bytes(), b"/devices"]);
            let Some(devices) = devices.and_then(|name| btrfs.open_dir(name).ok()) else { return };
            let mut found = Vec::new();
            let _ = devices.entries(EntryKinds::DirsAndLinks, |name| {
                found.extend(whole_device(name.to_bytes(), self.rows));
            });
            filesystems.push(found);
        });
        let its = match (one, filesystems.as_slice()) {
            (Some(one), all) => all.iter().find(|devices| devices.contains(&one)),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        for device in its.into_iter().flatten() {
            if !below.contains(device) {
                below.push(*device);
            }
        }
    }

    /// The whole device of a name below /dev: `nvme0n1p3`, `mapper/vg0-root`, `vg0/root`.
    fn device_by_name(&self, name: &[u8], buffer: &mut Buffer) -> Option<DeviceNumber> {
        if name.is_empty() {
            return None;
        }
        let path = [b"/dev/", name].concat();
        let by_number = self.sources.device_by_number(&path, self.rows);
        by_number.or_else(|| whole_device(name, self.rows)).or_else(|| {
            let mapped = match name.strip_prefix(b"mapper/") {
                Some(mapped) => mapped.to_vec(),
                None => mapper_name(name)?,
            };
            let is_it = |row: &&DiskstatsRow| {
                let mut space = PathBuffer::default();
                row.name().strip_prefix(b"dm-").and_then(figure).is_some()
                    && space
                        .join(&[row.name(), b"/dm/name"])
                        .and_then(|file| self.block.read_record(file, buffer).ok())
                        .is_some_and(|text| text.trim_ascii_end() == mapped)
            };
            self.rows.iter().find(is_it).map(|row| row.device)
        })
    }
}

/// The name that LVM gives the device mapper for `vg/lv`: dashes within a name are doubled.
fn mapper_name(name: &[u8]) -> Option<Vec<u8>> {
    let slash = name.iter().position(|byte| *byte == b'/')?;
    let (group, volume) = (name.get(..slash)?, name.get(slash + 1..)?);
    let doubled = |part: &[u8]| -> Vec<u8> {
        let twice = |byte: &u8| {
            if *byte == b'-' { &b"--"[..] } else { std::slice::from_ref(byte) }.to_vec()
        };
        part.iter().flat_map(twice).collect()
    };
    (!volume.contains(&b'/')).then(|| [doubled(group), b"-".to_vec(), doubled(volume)].concat())
}

#[cfg(test)]
mod tests {
    use super::super::whole_device;
    use super::*;
    use crate::snapshot::roots::Units;

    #[test]
    fn the_device_mapper_has_a_volume_under_both_its_names() {
        for (name, mapped) in [
            (&b"vg0/root"[..], Some(&b"vg0-root"[..])),
            (b"my-vg/a-b", Some(b"my--vg-a--b")),
            (b"sda1", None),
            (b"disk/by-id/x", None),
        ] {
            assert_eq!(mapper_name(name).as_deref(), mapped, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn a_device_file_stands_for_its_device_and_another_file_for_none() {
        let mut file = stat::stat("/").unwrap();
        (file.st_dev, file.st_rdev) = (stat::makedev(8, 1), stat::makedev(253, 4));
        for (kind, number) in [
            (SFlag::S_IFREG, None),
            (SFlag::S_IFDIR, None),
            (SFlag::S_IFCHR, None),
            (SFlag::S_IFBLK, Some(DeviceNumber { major: 253, minor: 4 })),
        ] {
            file.st_mode = kind.bits() | 0o660;
            assert_eq!(device_number(&file), number, "{kind:?}");
        }
    }

    fn mount(point: &str, device: &str, filesystem: &str) -> Mount {
        let text = format!("30 1 {device} / {point} rw - {filesystem} source rw\n");
        crate::source::proc::mountinfo::parse(text.as_bytes()).0.remove(0)
    }

    /// The mount alone tells where a file is. Nobody asks for the file itself: on the filesystem of a server that
    /// is away that would never end.
    #[test]
    fn a_file_is_on_the_disk_that_its_mount_has_the_number_of() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots {
            procfs: "/proc".into(),
            sysfs: "/sys".into(),
            cgroupfs: None,
            // Whoever follows a path below it finds no file, and another answer than the mounts have.
            rootfs: folder.path().into(),
            units: Units { ticks_per_second: 100, page_size_bytes: 4096 },
            captured: None,
        };
        let sources = FileSources::open(&roots);
        let block = Dir::open(folder.path()).unwrap();
        let rows = whole_device::rows(&[(8, 0, "sda"), (8, 1, "sda1"), (8, 16, "sdb")]);
        let mounts = [
            mount("/", "8:1", "ext4"),
            mount("/data", "8:16", "xfs"),
            mount("/net", "0:50", "nfs4"),
            mount("/net/auto", "0:51", "autofs"),
            mount("/user", "0:52", "fuse.sshfs"),
            mount("/ntfs", "8:16", "fuseblk"),
            mount("/run", "0:53", "tmpfs"),
        ];
        let (sda, sdb) =
            (DeviceNumber { major: 8, minor: 0 }, DeviceNumber { major: 8, minor: 16 });
        for (path, found, device) in [
            ("/var/lib/snap", Below::Devices, Some(sda)),
            ("/data/a/b.img", Below::Devices, Some(sdb)),
            ("/data", Below::Devices, Some(sdb)),
            ("/database/x", Below::Devices, Some(sda)),
            ("/net/x.sif", Below::Elsewhere, None),
            ("/net/auto/x", Below::Elsewhere, None),
            ("/user/x", Below::Elsewhere, None),
            ("/ntfs/x", Below::Devices, Some(sdb)),
            ("/run/x", Below::Memory, None),
        ] {
            let mut below = Vec::new();
            let mut search = Search {
                sources: &sources,
                block: &block,
                rows: &rows,
                mounts: &mounts,
                has_number: false,
            };
            let path = Path::new(path);
            let said = search.below_path(path, &mut Buffer::default(), &mut below, DEPTH_MAX);
            assert_eq!((said, below.first().copied()), (found, device), "{}", path.display());
            assert_eq!(search.has_number, device.is_some());
        }
    }
}
