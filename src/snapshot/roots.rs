//! The roots of the kernel's trees: of this host, of another root, or of a capture.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};

use super::gaps::{Gap, GapReason};
use crate::quantity::{BootTime, Ticks, WallTime};
use crate::source::proc::mountinfo::{self, Mount};
use crate::source::root::{Buffer, Dir, ReadFailure};

/// The four roots, each an absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    pub procfs: PathBuf,
    pub sysfs: PathBuf,
    /// `None`: found in mountinfo.
    pub cgroupfs: Option<PathBuf>,
    pub rootfs: PathBuf,
    /// The units of the kernel that wrote the files.
    pub units: Units,
    /// Set when the trees are a capture and not a running kernel.
    pub captured: Option<CapturedInstant>,
}

/// The units of the kernel's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    pub ticks_per_second: u64,
    pub page_size_bytes: u64,
}

impl Units {
    /// The moment so many ticks after the boot.
    #[must_use]
    pub const fn since_boot(self, ticks: u64) -> BootTime {
        let usec = Ticks::from_ticks(ticks).to_cpu_time(self.ticks_per_second).as_usec();
        BootTime::from_nanos(usec.saturating_mul(1000))
    }
}

/// Facts of a captured host that its files do not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedInstant {
    pub at: BootTime,
    pub wall: WallTime,
    /// Each cgroup's directory inode and the time of its reads, by path.
    pub cgroups: BTreeMap<Vec<u8>, CapturedCgroup>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapturedCgroup {
    pub inode: u64,
    pub read_at: BootTime,
}

/// The cgroup hierarchies of a host, from mountinfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// cgroup v2 alone.
    Unified,
    /// cgroup v2 beside v1 hierarchies that hold some of the controllers.
    Hybrid,
    /// No cgroup v2.
    V1Only,
    /// No cgroups at all.
    None,
}

/// The cgroup2 mount as found.
#[derive(Debug)]
pub struct CgroupMount {
    pub hierarchy: Hierarchy,
    /// `None` without cgroup v2.
    pub path: Option<PathBuf>,
    pub gaps: Vec<Gap>,
}

/// The mounts of pid 1, and those of the agent, below procfs.
const MOUNT_FILES: [&CStr; 2] = [c"1/mountinfo", c"self/mountinfo"];

/// Mounts beyond are not looked at: those of containers stand behind the host's own, which decide.
const MOUNTS_BYTES_MAX: usize = 32 << 20;

/// The mount options of procfs that hide something.
#[derive(Debug, Default)]
pub struct ProcfsOptions {
    /// The value of `hidepid`, unless it is off.
    pub hidepid: Option<String>,
    /// Each thing that is hidden from this process.
    pub gaps: Vec<Gap>,
}

impl Roots {
    /// Finds the cgroup2 mount: the configured one, or that of pid 1's mountinfo (the host's, if
    /// the agent's container has the host's /proc), or that of the agent's own.
    #[must_use]
    pub fn find_cgroup2(&self) -> CgroupMount {
        let mounts = self.mounts();
        let has_v1 = mounts.iter().any(|mount| {
            // name=systemd alone holds no controller.
            mount.filesystem == "cgroup"
                && !mount.super_options.iter().any(|option| option.starts_with("name"))
        });
        // A part of the tree can be bind-mounted beside the whole: the shortest root wins.
        let found = mounts
            .iter()
            .filter(|mount| mount.filesystem == "cgroup2")
            .min_by_key(|mount| mount.root.len())
            .map(|mount| self.seen_from_here(&mount.mount_point));
        let path = self.cgroupfs.clone().or(found);
        let hierarchy = match (&path, has_v1) {
            (Some(_), false) => Hierarchy::Unified,
            (Some(_), true) => Hierarchy::Hybrid,
            (None, true) => Hierarchy::V1Only,
            (None, false) => Hierarchy::None,
        };
        let mut gaps = Vec::new();
        if path.is_none() {
            gaps.push(Gap {
                path: b"cgroup2".as_slice().into(),
                reason: GapReason::NotOffered {
                    consequence: "no cgroup2 hierarchy is mounted: pods, containers and host \
                        units have the figures of their live processes only",
                },
            });
        }
        CgroupMount { hierarchy, path, gaps }
    }

    /// The mounts of pid 1, or of the agent where those may not be read.
    #[must_use]
    pub fn mounts(&self) -> Vec<Mount> {
        let mut buffer = Buffer::default();
        let Ok(procfs) = Dir::open(&self.procfs) else { return Vec::new() };
        MOUNT_FILES
            .iter()
            .find_map(|name| {
                let text = mounts_text(&procfs, name, &mut buffer).ok()?;
                let (mounts, _) = mountinfo::parse(&text);
                (!mounts.is_empty()).then_some(mounts)
            })
            .unwrap_or_default()
    }

    /// A digest of the files of [`Self::mounts`]: another one if a mount came or went. Allocates
    /// nothing once `buffer` has room for them.
    #[must_use]
    pub fn mounts_digest(&self, buffer: &mut Buffer) -> u64 {
        let mut digest = DefaultHasher::new();
        let Ok(procfs) = Dir::open(&self.procfs) else { return digest.finish() };
        for name in MOUNT_FILES {
            let mut has_text = false;
            let add = |piece: &[u8]| {
                has_text = true;
                digest.write(piece);
            };
            let read = procfs.open_file(name).and_then(|file| file.for_each_piece(buffer, add));
            if read.is_ok() && has_text {
                break;
            }
        }
        digest.finish()
    }

    /// The mount options of procfs that hide processes or files, each as a gap.
    ///
    /// A process with CAP_SYS_PTRACE sees all in spite of `hidepid`. Then there is no gap, and
    /// [`ProcfsOptions::hidepid`] alone names it.
    #[must_use]
    pub fn procfs_options(&self, procfs: &Dir) -> ProcfsOptions {
        let mut buffer = Buffer::default();
        let mut options = ProcfsOptions::default();
        // The agent's own mount counts, which can be another one than that of pid 1.
        let (own, at) = match self.captured {
            None => (Dir::open(Path::new("/proc")), &*self.procfs),
            Some(_) => (Dir::open(&self.procfs), Path::new("/proc")),
        };
        let name = if self.captured.is_none() { c"self/mountinfo" } else { c"1/mountinfo" };
        let Ok(text) = own.and_then(|own| mounts_text(&own, name, &mut buffer)) else {
            return options;
        };
        let (mounts, _) = mountinfo::parse(&text);
        // Of several on one directory, the last is seen.
        let is_its = |mount: &&Mount| mount.filesystem == "proc" && mount.mount_point == at;
        let Some(mount) = mounts.iter().rev().find(is_its) else { return options };
        options.hidepid =
            mount.hidepid.clone().filter(|value| !matches!(value.as_str(), "0" | "off"));
        let is_hidden = || procfs.open_file(c"1/stat").is_err();
        let consequence = match options.hidepid.as_deref() {
            None => None,
            Some("1" | "noaccess") => Some(
                "procfs is mounted with hidepid=1 (noaccess): the files of other users' processes \
                 are closed, so their owners lack processes, network and, without cgroup v2, all \
                 figures",
            ),
            Some("4" | "ptraceable") => Some(
                "procfs is mounted with hidepid=4 (ptraceable): other users' processes are not \
                 there, so their owners lack processes, network and, without cgroup v2, all figures",
            ),
            Some(_) => Some(
                "procfs is mounted with hidepid=2 (invisible): other users' processes are not \
                 there, so their owners lack processes, network and, without cgroup v2, all figures",
            ),
        };
        options.gaps.extend(consequence.filter(|_| is_hidden()).map(|consequence| Gap {
            path: b"procfs hidepid".as_slice().into(),
            reason: GapReason::NotOffered { consequence },
        }));
        if mount.only_processes {
            options.gaps.push(Gap {
                path: b"procfs subset".as_slice().into(),
                reason: GapReason::NotOffered {
                    consequence: "procfs is mounted with subset=pid: the node's own CPU, memory, \
                        disks and network are missing, and with them the balance",
                },
            });
        }
        options
    }

    /// The path by which the agent reaches a path of the host. /sys and /proc have their own roots.
    #[must_use]
    pub fn seen_from_here(&self, path: &Path) -> PathBuf {
        if let Ok(rest) = path.strip_prefix("/sys") {
            return self.sysfs.join(rest);
        }
        if let Ok(rest) = path.strip_prefix("/proc") {
            return self.procfs.join(rest);
        }
        self.rootfs.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Opens the procfs root.
    pub fn open_procfs(&self) -> Result<Dir, ReadFailure> {
        Dir::open(&self.procfs)
    }
}

/// The text of a mountinfo file, up to [`MOUNTS_BYTES_MAX`].
fn mounts_text(procfs: &Dir, name: &CStr, buffer: &mut Buffer) -> Result<Vec<u8>, ReadFailure> {
    let mut text = Vec::new();
    procfs.open_file(name)?.for_each_piece(buffer, |piece| {
        let room = MOUNTS_BYTES_MAX.saturating_sub(text.len());
        text.extend_from_slice(piece.get(..room).unwrap_or(piece));
    })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::root::FILE_BYTES_MAX;

    /// Overlays have long lines, and leaked mounts are many.
    #[test]
    fn the_cgroup_mount_is_found_among_more_mounts_than_a_file_may_be_long() {
        let line = |at: usize, point: &str, filesystem: &str| {
            format!("{at} 1 0:{at} / {point} rw - {filesystem} none rw\n")
        };
        let overlays = |from: usize| -> String {
            (from..from + 1000)
                .map(|at| line(at, &format!("/run/{}", "x".repeat(4000)), "overlay"))
                .collect()
        };
        let text = [overlays(100), line(30, "/sys/fs/cgroup", "cgroup2"), overlays(2000)].concat();
        assert!(text.len() > FILE_BYTES_MAX);
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("1")).unwrap();
        std::fs::write(folder.path().join("1/mountinfo"), &text).unwrap();
        let roots = Roots {
            procfs: folder.path().into(),
            sysfs: "/sys".into(),
            cgroupfs: None,
            rootfs: "/".into(),
            units: Units { ticks_per_second: 100, page_size_bytes: 4096 },
            captured: None,
        };
        let found = roots.find_cgroup2();
        assert_eq!(found.path.as_deref(), Some(Path::new("/sys/fs/cgroup")));
        assert_eq!(found.hierarchy, Hierarchy::Unified);

        // A mount more is another digest, behind what a file may be long too.
        let mut buffer = Buffer::default();
        let before = roots.mounts_digest(&mut buffer);
        assert_eq!(roots.mounts_digest(&mut buffer), before);
        let more = text + &line(9999, "/new", "tmpfs");
        std::fs::write(folder.path().join("1/mountinfo"), &more).unwrap();
        assert_ne!(roots.mounts_digest(&mut buffer), before);
    }
}
