//! The roots of the kernel's trees: of this host, of another root, or of a capture.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::{Path, PathBuf};

use super::gaps::{Gap, GapReason};
use crate::quantity::{BootTime, WallTime};
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
        let names: [&CStr; 2] = [c"1/mountinfo", c"self/mountinfo"];
        names
            .iter()
            .find_map(|name| {
                let text = procfs.read_records(name, &mut buffer).ok()?;
                let (mounts, _) = mountinfo::parse(text);
                (!mounts.is_empty()).then_some(mounts)
            })
            .unwrap_or_default()
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
