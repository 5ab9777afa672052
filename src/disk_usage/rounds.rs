//! Whose turn it is: every pod that is due gets a slice of so many entries, one after the other and
//! over again, so that a pod with ten million files has one slice a round like any other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::quota;
use super::target::{PODS_MAX, Target, UsageOptions};
use super::trees::{Finder, Tree, TreeKind};
use super::usage::UsageSource;
use super::walk::{Progress, Walk, Workspace};
use crate::identity::PodUid;
use crate::quantity::BootTime;
use crate::snapshot::roots::Roots;
use crate::source::root::ReadFailure;
use crate::source::tree::TreeDir;

/// A slice at full rate.
const SLICE_ENTRIES: u64 = 256;

/// The cost of finding a pod's trees, in entries: some files and listings.
const FIND_ENTRIES: u64 = 16;

/// The parts of a pod's figure, and how they came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub writable_layer_bytes: Option<u64>,
    pub empty_dir_bytes: Option<u64>,
    pub logs_bytes: Option<u64>,
    pub inodes: Option<u64>,
    pub incomplete: bool,
    pub overcounted: bool,
    pub from: UsageSource,
    pub begun_at: BootTime,
}

/// The work of one slice.
#[derive(Debug, PartialEq, Eq)]
pub struct Slice {
    pub entries: u64,
    /// A pod all of whose trees are done.
    pub counted: Option<(PodUid, Counted)>,
}

/// A pod that is asked for.
#[derive(Debug)]
struct QueuedPod {
    target: Target,
    /// Due time of its next count, or of the count under way.
    due: BootTime,
    count: Option<Count>,
}

/// A count under way.
#[derive(Debug)]
struct Count {
    counted: Counted,
    left: Vec<Tree>,
    walk: Option<(TreeKind, Walk)>,
}

/// All pods that are asked for.
pub struct Rounds {
    finder: Finder,
    refresh: Duration,
    slice_entries: u64,
    pods: BTreeMap<PodUid, QueuedPod>,
    /// Pods that are due, in the order of their turns.
    queue: VecDeque<PodUid>,
    workspace: Workspace,
}

impl Rounds {
    #[must_use]
    pub fn new(roots: Roots, options: &UsageOptions) -> Self {
        // At a low rate a slice is a tenth of a second's worth, so that entries are not asked for
        // in bursts with long rests between.
        let slice_entries = (options.entries_per_second / 10).clamp(16, SLICE_ENTRIES);
        Self {
            finder: Finder::new(roots, options),
            refresh: options.refresh,
            slice_entries,
            pods: BTreeMap::new(),
            queue: VecDeque::new(),
            workspace: Workspace::default(),
        }
    }

    /// From now on these pods and no others; new ones are due at once.
    pub fn want(&mut self, mut targets: Vec<Target>, now: BootTime) {
        targets.truncate(PODS_MAX);
        let mut containers = BTreeSet::new();
        let mut pods = BTreeMap::new();
        for target in targets {
            containers.extend(target.containers.iter().map(|container| container.id));
            let pod = match self.pods.remove(&target.pod) {
                Some(mut pod) => {
                    pod.target = target;
                    pod
                }
                None => QueuedPod { target, due: now, count: None },
            };
            pods.insert(pod.target.pod, pod);
        }
        for gone in std::mem::replace(&mut self.pods, pods).into_values() {
            gone.count.into_iter().for_each(|count| count.end(&mut self.workspace));
        }
        self.queue.retain(|pod| self.pods.contains_key(pod));
        self.finder.keep_only(&containers);
    }

    /// `true` if `pod` is asked for.
    #[must_use]
    pub fn wants(&self, pod: PodUid) -> bool {
        self.pods.contains_key(&pod)
    }

    /// The time at which there is something to do next; `None` without pods.
    #[must_use]
    pub fn next_due(&self) -> Option<BootTime> {
        if !self.queue.is_empty() {
            return Some(BootTime::default());
        }
        self.pods.values().map(|pod| pod.due).min()
    }

    /// The finder, for what else is to be asked of the host's mounts.
    pub fn finder(&mut self) -> &mut Finder {
        &mut self.finder
    }

    /// Does one slice of the pod whose turn it is.
    pub fn slice(&mut self, now: BootTime) -> Slice {
        self.enqueue(now);
        let mut entries = 0;
        let Some(uid) = self.queue.pop_front() else { return Slice { entries, counted: None } };
        let Some(pod) = self.pods.get_mut(&uid) else { return Slice { entries, counted: None } };
        let mut count = pod.count.take().unwrap_or_else(|| {
            entries += FIND_ENTRIES;
            Count::begin(&pod.target, &mut self.finder, now)
        });
        while entries < self.slice_entries {
            let left = self.slice_entries - entries;
            match count.go_on(left, self.finder.host_root(), &mut self.workspace) {
                Some(spent) => entries += spent,
                None => {
                    pod.due = now.plus(self.refresh);
                    return Slice { entries, counted: Some((uid, count.counted)) };
                }
            }
        }
        // With nobody else in line its directories can stay open.
        if let Some((_, walk)) = count.walk.as_mut().filter(|_| !self.queue.is_empty()) {
            walk.park();
        }
        pod.count = Some(count);
        self.queue.push_back(uid);
        Slice { entries, counted: None }
    }

    fn enqueue(&mut self, now: BootTime) {
        let queued: BTreeSet<PodUid> = self.queue.iter().copied().collect();
        let mut due: Vec<(BootTime, PodUid)> = self
            .pods
            .values()
            .filter(|pod| pod.due <= now && !queued.contains(&pod.target.pod))
            .map(|pod| (pod.due, pod.target.pod))
            .collect();
        due.sort_unstable();
        self.queue.extend(due.into_iter().map(|(_, pod)| pod));
    }
}

impl Count {
    fn begin(target: &Target, finder: &mut Finder, now: BootTime) -> Self {
        let found = finder.find(target, now);
        // Where there is something, it is known once that has been counted.
        let known = |kind| {
            let has_tree = found.trees.iter().any(|tree| tree.kind == kind);
            (!has_tree && !found.unlocated.contains(&kind)).then_some(0)
        };
        let counted = Counted {
            writable_layer_bytes: known(TreeKind::WritableLayer),
            empty_dir_bytes: known(TreeKind::EmptyDir),
            logs_bytes: known(TreeKind::Logs),
            inodes: Some(0),
            incomplete: !found.unlocated.is_empty(),
            overcounted: false,
            from: UsageSource::Walk,
            begun_at: now,
        };
        Self { counted, left: found.trees, walk: None }
    }

    /// Goes on by up to `entries_max` entries and says how many it was; `None` when all is done.
    fn go_on(
        &mut self,
        entries_max: u64,
        host_root: &std::path::Path,
        workspace: &mut Workspace,
    ) -> Option<u64> {
        let Some((kind, walk)) = &mut self.walk else {
            let tree = self.left.pop()?;
            // Only a container's layer can have a project to itself that shows.
            if tree.has_projects
                && tree.kind == TreeKind::WritableLayer
                && let Some((bytes, inodes)) = used_by_project(host_root, &tree)
            {
                self.counted.from = UsageSource::ProjectQuota;
                self.counted.add(tree.kind, bytes, inodes);
                return Some(2);
            }
            self.walk = Some((tree.kind, Walk::new(host_root.to_owned(), tree.path)));
            return Some(0);
        };
        let (kind, before) = (*kind, walk.entries());
        let progress = walk.step(entries_max, workspace);
        let spent = walk.entries().saturating_sub(before).max(1);
        match progress {
            Progress::More => return Some(spent),
            Progress::Done(usage) => {
                self.counted.incomplete |= usage.incomplete;
                self.counted.overcounted |= usage.overcounted;
                self.counted.add(kind, usage.bytes, Some(usage.inodes));
            }
            // A container that has ended takes its layer with it.
            Progress::Failed(ReadFailure::Absent | ReadFailure::Gone) => {
                self.counted.add(kind, 0, Some(0));
            }
            Progress::Failed(_) => self.counted.incomplete = true,
        }
        self.walk = None;
        Some(spent)
    }

    fn end(self, workspace: &mut Workspace) {
        if let Some((_, mut walk)) = self.walk {
            walk.end(workspace);
        }
    }
}

impl Counted {
    /// The sum of the parts that are known; `None` where none is.
    #[must_use]
    pub fn used_bytes(&self) -> Option<u64> {
        let parts = [self.writable_layer_bytes, self.empty_dir_bytes, self.logs_bytes];
        parts.into_iter().flatten().reduce(u64::saturating_add)
    }

    fn add(&mut self, kind: TreeKind, bytes: u64, inodes: Option<u64>) {
        let part = match kind {
            TreeKind::WritableLayer => &mut self.writable_layer_bytes,
            TreeKind::EmptyDir => &mut self.empty_dir_bytes,
            TreeKind::Logs => &mut self.logs_bytes,
        };
        *part = Some(part.unwrap_or(0).saturating_add(bytes));
        self.inodes = self.inodes.zip(inodes).map(|(all, more)| all.saturating_add(more));
    }
}

fn used_by_project(host_root: &std::path::Path, tree: &Tree) -> Option<(u64, Option<u64>)> {
    let outside = tree.path.parent()?.parent()?;
    let space = |path| TreeDir::open(host_root, path).ok()?.space().ok();
    quota::used(space(&tree.path)?, space(outside)?)
}
