//! Where a pod's files lie: the writable layers of its containers, its emptyDir volumes, its logs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::node;
use super::target::{Target, TargetContainer, UsageOptions};
use crate::identity::{ContainerId, PodUid, ProcessKey};
use crate::quantity::BootTime;
use crate::snapshot::roots::Roots;
use crate::source::proc::mountinfo::{self, Mount};
use crate::source::proc::pid_stat;
use crate::source::root::{Buffer, Dir, ReadFailure};
use crate::source::tree::{ListingEnd, TreeDir};

/// The role of a tree in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeKind {
    WritableLayer,
    EmptyDir,
    Logs,
}

/// A directory of the host that belongs to one pod, on one of this node's own filesystems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    pub kind: TreeKind,
    pub path: PathBuf,
    /// Its filesystem keeps project quotas.
    pub has_projects: bool,
}

/// The trees that were found of one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodTrees {
    pub trees: Vec<Tree>,
    /// Kinds of which at least one tree could not be located.
    pub unlocated: Vec<TreeKind>,
}

/// The host's mounts and the directories of logs are read again after this long.
const LISTING_AGE_MAX: Duration = Duration::from_secs(30);

/// More of these in one pod are not walked.
const EMPTY_DIRS_MAX: usize = 256;
/// More directories of logs are not looked at; a node has one a pod.
const LOG_DIRS_MAX: usize = 16_384;

const LISTING_BYTES: usize = 32 << 10;

/// Where a container's own files go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Layer {
    At(PathBuf),
    /// Its root takes no writes.
    None,
}

/// Finds trees, and keeps what does not change.
pub struct Finder {
    roots: Roots,
    kubelet_dir: PathBuf,
    pod_logs_dir: PathBuf,
    mounts: Vec<Mount>,
    /// `None` where the directory of logs cannot be read.
    logs: Option<BTreeMap<PodUid, PathBuf>>,
    listed_at: Option<BootTime>,
    layers: BTreeMap<ContainerId, Layer>,
    buffer: Buffer,
}

impl Finder {
    #[must_use]
    pub fn new(roots: Roots, options: &UsageOptions) -> Self {
        Self {
            roots,
            kubelet_dir: options.kubelet_dir.clone(),
            pod_logs_dir: options.pod_logs_dir.clone(),
            mounts: Vec::new(),
            logs: None,
            listed_at: None,
            layers: BTreeMap::new(),
            buffer: Buffer::default(),
        }
    }

    /// The trees of `target` that can be found.
    pub fn find(&mut self, target: &Target, now: BootTime) -> PodTrees {
        self.list(now, target.pod);
        let mut found = PodTrees::default();
        for container in &target.containers {
            match self.layer_of(container) {
                Some(Layer::At(path)) => self.add(TreeKind::WritableLayer, path, &mut found),
                Some(Layer::None) => {}
                None => found.unlocated.push(TreeKind::WritableLayer),
            }
        }
        self.add_empty_dirs(target.pod, &mut found);
        match &self.logs {
            Some(logs) => {
                if let Some(path) = logs.get(&target.pod).cloned() {
                    self.add(TreeKind::Logs, path, &mut found);
                }
            }
            None => found.unlocated.push(TreeKind::Logs),
        }
        found
    }

    /// The directory under which the host's paths lie.
    #[must_use]
    pub fn host_root(&self) -> &Path {
        &self.roots.rootfs
    }

    /// Forgets all containers but these.
    pub fn keep_only(&mut self, containers: &BTreeSet<ContainerId>) {
        self.layers.retain(|container, _| containers.contains(container));
    }

    /// The directory whose filesystem a pod's ephemeral storage is said to lie on, unless asking
    /// it could take for ever.
    #[must_use]
    pub fn storage(&self) -> Option<&Path> {
        self.mount_of(&self.kubelet_dir)?;
        Some(&self.kubelet_dir)
    }

    fn list(&mut self, now: BootTime, pod: PodUid) {
        let age = self.listed_at.map(|at| now.since(at));
        let knows = self.logs.as_ref().is_some_and(|logs| logs.contains_key(&pod));
        // A pod that is not there may be younger than the listing.
        let age_max = if knows { LISTING_AGE_MAX } else { Duration::from_secs(1) };
        if age.is_none_or(|age| age >= age_max) {
            self.read_listings(now);
        }
    }

    fn read_listings(&mut self, now: BootTime) {
        self.listed_at = Some(now);
        self.mounts = self.roots.mounts();
        let parent = self.pod_logs_dir.clone();
        let mut logs = BTreeMap::new();
        let listed = self.mount_of(&parent).ok_or(ReadFailure::Absent).and_then(|_| {
            list(&TreeDir::open_place(&self.roots.rootfs, &parent)?, LOG_DIRS_MAX, |name| {
                // <namespace>_<name>_<uid>, none of which has a `_` in it.
                let uid = name.rsplit(|byte| *byte == b'_').next().and_then(PodUid::of_text);
                if let Some(uid) = uid {
                    logs.insert(uid, parent.join(OsStr::from_bytes(name)));
                }
            })
        });
        self.logs = listed.is_ok().then_some(logs);
    }

    /// The mount that `path` lies on, if it is of a kind that answers.
    fn mount_of(&self, path: &Path) -> Option<&Mount> {
        let covering = self.mounts.iter().filter(|mount| path.starts_with(&mount.mount_point));
        // Of two on the same directory the later one is seen.
        let mount = covering.max_by_key(|mount| mount.mount_point.as_os_str().len())?;
        // The last two are roots of nodes that are containers, or that run out of memory alone.
        let answers = node::is_local(&mount.filesystem)
            || matches!(mount.filesystem.as_str(), "overlay" | "tmpfs");
        answers.then_some(mount)
    }

    fn add(&self, kind: TreeKind, path: PathBuf, found: &mut PodTrees) {
        let Some(mount) = self.mount_of(&path) else {
            found.unlocated.push(kind);
            return;
        };
        let has_projects = matches!(mount.filesystem.as_str(), "ext4" | "xfs")
            && mount.super_options.iter().any(|option| option == "prjquota");
        found.trees.push(Tree { kind, path, has_projects });
    }

    fn layer_of(&mut self, container: &TargetContainer) -> Option<Layer> {
        if let Some(layer) = self.layers.get(&container.id) {
            return Some(layer.clone());
        }
        let layer = self.read_layer(container.process?)?;
        self.layers.insert(container.id, layer.clone());
        Some(layer)
    }

    /// The upper directory of the overlay that a process has for its root.
    fn read_layer(&mut self, process: ProcessKey) -> Option<Layer> {
        let name = CString::new(process.pid.to_string()).ok()?;
        // Held open, so that all that is read below is of one process.
        let dir = self.roots.open_procfs().ok()?.open_dir(&name).ok()?;
        let stat = dir.read_record(c"stat", &mut self.buffer).ok()?;
        if pid_stat::parse(stat).ok()?.start_ticks != process.start_ticks {
            return None;
        }
        let text = Dir::read_records(&dir, c"mountinfo", &mut self.buffer).ok()?;
        let (mounts, _) = mountinfo::parse(text);
        let root = mounts.iter().rfind(|mount| mount.mount_point == Path::new("/"))?;
        if root.filesystem != "overlay" {
            return None;
        }
        match &root.upper_dir {
            // Runtimes write it relative to a directory of theirs where options grow too long.
            Some(path) if path.is_relative() => None,
            Some(path) => Some(Layer::At(path.clone())),
            None => Some(Layer::None),
        }
    }

    fn add_empty_dirs(&self, pod: PodUid, found: &mut PodTrees) {
        let pods = self.kubelet_dir.join("pods");
        let volumes = pods.join(pod.to_string()).join("volumes/kubernetes.io~empty-dir");
        let rootfs = &self.roots.rootfs;
        let opened = self
            .mount_of(&volumes)
            .ok_or(ReadFailure::Denied)
            .and_then(|_| TreeDir::open(rootfs, &volumes));
        let dir = match opened {
            Ok(dir) => dir,
            // It has none, if this is where pods have them at all.
            Err(ReadFailure::Absent) if TreeDir::open_place(rootfs, &pods).is_ok() => return,
            Err(_) => {
                found.unlocated.push(TreeKind::EmptyDir);
                return;
            }
        };
        let Ok(own) = dir.status() else {
            found.unlocated.push(TreeKind::EmptyDir);
            return;
        };
        let mut names: Vec<CString> = Vec::new();
        let listed = list(&dir, EMPTY_DIRS_MAX, |name| names.extend(CString::new(name)));
        if listed.is_err() {
            found.unlocated.push(TreeKind::EmptyDir);
        }
        for name in names {
            let path = volumes.join(OsStr::from_bytes(name.to_bytes()));
            let Ok(status) = dir.status_of(&name) else { continue };
            // A volume in memory (medium Memory, HugePages) is a mount of its own. It is memory and
            // counted there; the kubelet leaves it out of ephemeral storage as well.
            let is_mounted = status.is_mount_point
                || status.filesystem != own.filesystem
                || self.mounts.iter().any(|mount| mount.mount_point == path);
            if status.is_directory && !is_mounted {
                self.add(TreeKind::EmptyDir, path, found);
            }
        }
    }
}

/// Every name in `dir`; an error if there are more than `names_max`.
fn list(dir: &TreeDir, names_max: usize, mut each: impl FnMut(&[u8])) -> Result<(), ReadFailure> {
    let mut buffer = vec![std::mem::MaybeUninit::uninit(); LISTING_BYTES];
    let mut names = 0;
    loop {
        let listed = dir.list(&mut buffer, |name, _| {
            names += 1;
            if names > names_max {
                return ControlFlow::Break(());
            }
            each(name.to_bytes());
            ControlFlow::Continue(())
        })?;
        if names > names_max {
            return Err(ReadFailure::TooLarge);
        }
        if listed == ListingEnd::All {
            return Ok(());
        }
    }
}
