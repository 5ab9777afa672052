//! Where the kernel's trees are: this host's, another root's, or a capture's.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::{Path, PathBuf};

use super::gaps::{Gap, GapReason};
use crate::quantity::{BootTime, WallTime};
use crate::source::proc::mountinfo::{self, Mount};
use crate::source::root::{Buffer, Dir, Failure};

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

/// What the kernel's counts are multiples of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    pub ticks_per_second: u64,
    pub page_size_bytes: u64,
}

/// What the files of a captured tree cannot say of themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedInstant {
    pub at: BootTime,
    pub wall: WallTime,
    /// Each cgroup's directory inode and when its files were read, by path.
    pub cgroups: BTreeMap<Vec<u8>, CapturedCgroup>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapturedCgroup {
    pub inode: u64,
    pub read_at: BootTime,
}

/// What mountinfo says of cgroups.
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
    /// Finds the cgroup2 mount: where it was said to be, or in pid 1's mountinfo (the host's, where
    /// the agent runs in a container that sees the host's /proc), or in the agent's own.
    #[must_use]
    pub fn find_cgroup2(&self) -> CgroupMount {
        let mounts = self.mounts();
        let has_v1 = mounts.iter().any(|mount| {
            // name=systemd alone holds no controller.
            mount.filesystem == "cgroup"
                && !mount.super_options.iter().any(|option| option.starts_with("name"))
        });
        // A bind mount of a part of the tree may stand beside the whole: the shortest root wins.
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

    /// A path of the host as it is reached from here: /sys and /proc have roots of their own.
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

    /// Opens the procfs root, without which nothing works.
    pub fn open_procfs(&self) -> Result<Dir, Failure> {
        Dir::open(&self.procfs)
    }
}
