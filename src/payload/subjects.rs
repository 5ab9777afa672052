//! Who is told of in an interval, under which name, and with what flows.
//!
//! The ledger knows uids and paths, the directory names. Here they meet, once an interval for all
//! endpoints, so that what could not be sent yet is kept in one place and lost in none.

use std::collections::BTreeMap;

use super::options::{EncodeOptions, UnknownPodPolicy};
use crate::directory::Catalog;
use crate::directory::catalog::EntityName;
use crate::directory::pod::{Labels, Phase, Pod};
use crate::identity::{ContainerId, PodUid};
use crate::ledger::Account;
use crate::ledger::account::{DiskUsage, NetworkUsage, PodUsage, UnitKind, UnitUsage, Usage};

/// All that a dialect can tell of.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub account: &'a Account,
    pub catalog: &'a Catalog,
    /// By uid; a pod that was not looked at yet is absent.
    pub filesystems: &'a BTreeMap<PodUid, PodFilesystem>,
    /// `None`: not asked, or no answer in time.
    pub node_filesystem: Option<NodeFilesystem>,
}

/// What a pod's files take up: writable layers, emptyDir volumes and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PodFilesystem {
    pub usage_bytes: u64,
    /// Of the filesystem they lie on; `None`: not known.
    pub capacity_bytes: Option<u64>,
    /// How long ago the figure was complete.
    pub age_millis: u64,
    /// Something could not be read: the truth is not less than the figure.
    pub incomplete: bool,
}

/// The filesystem that the node's pods lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeFilesystem {
    pub usage_bytes: u64,
    pub capacity_bytes: u64,
    /// What somebody without privileges can still write.
    pub available_bytes: u64,
    pub inodes_used: u64,
    pub inodes_free: u64,
}

/// Bytes that passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flows {
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub sent_bytes: u64,
    pub recv_bytes: u64,
}

impl Flows {
    /// A figure that is not known is 0: the APIs have no other word for it.
    #[must_use]
    pub fn of(disk: Option<&DiskUsage>, network: Option<&NetworkUsage>) -> Self {
        Self {
            read_bytes: disk.map_or(0, |disk| disk.read.as_bytes()),
            write_bytes: disk.map_or(0, |disk| disk.written.as_bytes()),
            sent_bytes: network.map_or(0, |network| network.tx.as_bytes()),
            recv_bytes: network.map_or(0, |network| network.rx.as_bytes()),
        }
    }

    fn of_usage(usage: &Usage) -> Self {
        Self::of(usage.disk.as_ref(), usage.network.as_ref())
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            read_bytes: self.read_bytes.saturating_add(other.read_bytes),
            write_bytes: self.write_bytes.saturating_add(other.write_bytes),
            sent_bytes: self.sent_bytes.saturating_add(other.sent_bytes),
            recv_bytes: self.recv_bytes.saturating_add(other.recv_bytes),
        }
    }

    fn add(&mut self, other: Self) {
        *self = self.plus(other);
    }
}

/// What is sent of flows, in each of the ways that an endpoint may want it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// In the interval.
    pub interval: Flows,
    /// Before it, while the directory did not know the subject: for those that wait for it.
    pub while_unknown: Flows,
    /// Since the agent started.
    pub total: Flows,
}

impl Passed {
    /// The bytes that an endpoint of these options receives.
    #[must_use]
    pub fn wanted(&self, options: &EncodeOptions) -> Flows {
        match (options.cumulative, &options.unknown_pods) {
            (true, _) => self.total,
            (false, UnknownPodPolicy::Wait) => self.interval.plus(self.while_unknown),
            (false, _) => self.interval,
        }
    }
}

/// By which name a subject is called.
#[derive(Debug, Clone, Copy)]
pub enum Who<'a> {
    /// A pod that the directory knows.
    Pod(&'a Pod),
    /// Something outside Kubernetes that has a name: a container of Docker or Podman, a unit or a
    /// pod's cgroup that the static file names. All cgroups of one name are one subject.
    Named(&'a EntityName),
    /// A pod of which only this is known.
    Uid(PodUid),
}

/// One that is sent as a pod.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    pub who: Who<'a>,
    /// A pod's figures; `None`: it has no cgroup, or it is no pod.
    pub usage: Option<&'a PodUsage>,
    /// The first of its containers outside Kubernetes.
    pub container: Option<ContainerId>,
    pub cpu_millicores: u64,
    pub cpu_nanocores: u64,
    pub memory_bytes: u64,
    /// It runs, and what its cgroups tell is of now.
    pub runs: bool,
    /// It has a cgroup, or had one at some time of the interval.
    pub measured: bool,
    /// Its own flows, for APIs in which a pod is its uid.
    pub own: Passed,
    /// The flows under its name, for APIs in which a pod is its name; `None`: there it is not sent
    /// in this interval, because it does not run or because another has its name.
    pub by_name: Option<Passed>,
}

impl<'a> Subject<'a> {
    fn new(who: Who<'a>) -> Self {
        Self {
            who,
            usage: None,
            container: None,
            cpu_millicores: 0,
            cpu_nanocores: 0,
            memory_bytes: 0,
            runs: false,
            measured: false,
            own: Passed::default(),
            by_name: None,
        }
    }

    fn measure(&mut self, usage: &Usage, exited: bool) {
        self.measured = true;
        self.own.interval.add(Flows::of_usage(usage));
        if let Some(cpu) = usage.cpu {
            self.cpu_millicores = self.cpu_millicores.saturating_add(cpu.millicores());
            self.cpu_nanocores = self.cpu_nanocores.saturating_add(cpu.nanocores());
        }
        let memory = usage.memory_in_use().as_bytes();
        self.memory_bytes = self.memory_bytes.saturating_add(memory);
        self.runs |= !exited && usage.has_tasks();
    }

    /// Namespace and labels, and the name; `None`: it is known by its uid alone.
    #[must_use]
    pub fn name(&self) -> Option<(&'a str, &'a str, &'a Labels)> {
        match self.who {
            Who::Pod(pod) => Some((&pod.namespace, &pod.name, &pod.labels)),
            Who::Named(named) => Some((&named.namespace, &named.name, &named.labels)),
            Who::Uid(_) => None,
        }
    }

    /// The directory's phase; where no source knows it, `Running` if it runs.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.who {
            Who::Pod(pod) if pod.phase != Phase::Unknown => pod.phase,
            _ if self.runs => Phase::Running,
            _ => Phase::Unknown,
        }
    }

    fn key(&self) -> Key {
        match self.who {
            Who::Pod(pod) => Key::Pod(pod.uid),
            Who::Named(named) => Key::Named(named.namespace.clone(), named.name.clone()),
            Who::Uid(uid) => Key::Pod(uid),
        }
    }

    /// Of two with one name the one that has it is the greater: what is not being deleted before
    /// what is, then the newer. The API writes its stamps so that their order is that of time.
    fn claim(&self) -> (bool, Option<&'a str>) {
        match self.who {
            Who::Pod(pod) => (pod.deletion_timestamp.is_none(), pod.creation_timestamp.as_deref()),
            Who::Named(_) | Who::Uid(_) => (false, None),
        }
    }
}

/// What people deployed that a pod belongs to, as kind and name. A static pod's mirror is controlled
/// by its node, which nobody deployed.
#[must_use]
pub fn workload_of(pod: &Pod) -> Option<(&str, &str)> {
    pod.workload().filter(|(kind, _)| *kind != "Node")
}

/// All subjects of one interval: pods by uid, those without a cgroup behind them, then what is
/// named outside Kubernetes.
#[derive(Debug, Clone, Default)]
pub struct Subjects<'a> {
    pub all: Vec<Subject<'a>>,
    /// The node's own flows.
    pub node: Passed,
}

/// Running totals since the agent started, and the flows of pods that nobody could be told of yet.
/// What leaves the account leaves here too, so this is no larger than an account.
#[derive(Debug, Clone, Default)]
pub struct RunningTotals {
    node: Flows,
    kept: BTreeMap<Key, Kept>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Pod(PodUid),
    Named(Box<str>, Box<str>),
}

#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    total: Flows,
    /// What others of its name had while it was sent.
    of_others: Flows,
    /// Not yet sent where a pod is its uid, because the uid is all that was known.
    unknown: Flows,
    /// Likewise where a pod is its name.
    unknown_by_name: Flows,
    /// Not yet sent where a pod is its name, because it was known and did not run yet: what init
    /// containers fetch comes with the first post.
    not_running: Flows,
}

impl RunningTotals {
    /// Adds an interval, and says who is to be told of in it.
    pub fn add<'a>(&mut self, view: &View<'a>) -> Subjects<'a> {
        let node = &view.account.node;
        let interval = Flows::of(node.disk.as_ref(), node.network.as_ref());
        self.node.add(interval);
        let node = Passed { interval, while_unknown: Flows::default(), total: self.node };
        let mut all = subjects(view);
        self.settle(&mut all);
        Subjects { all, node }
    }

    fn settle(&mut self, all: &mut [Subject<'_>]) {
        let mut before = std::mem::take(&mut self.kept);
        let mut kept: Vec<Kept> = Vec::with_capacity(all.len());
        for subject in all.iter_mut() {
            let mut now = before.remove(&subject.key()).unwrap_or_default();
            let interval = subject.own.interval;
            now.total.add(interval);
            if matches!(subject.who, Who::Uid(_)) {
                now.unknown.add(interval);
                now.unknown_by_name.add(interval);
            } else {
                subject.own.while_unknown = std::mem::take(&mut now.unknown);
            }
            subject.own.total = now.total;
            kept.push(now);
        }
        // Two pods can have one name at once: a StatefulSet's that is made again while the old one
        // ends, or a static pod's old and new configuration. One of them has it, and its CPU and
        // memory are sent; the other's flows are added to its own, so that neither overwrites the
        // other and no byte is lost. The other's CPU is in the node's figures only.
        let mut by_name: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (at, subject) in all.iter().enumerate().filter(|(_, subject)| subject.measured) {
            if let Some((namespace, name, _)) = subject.name() {
                by_name.entry((namespace, name)).or_default().push(at);
            }
        }
        let groups: Vec<Vec<usize>> = by_name.into_values().collect();
        for group in groups {
            let claims = group.iter().filter_map(|at| Some((*at, all.get(*at)?)));
            let holder = claims
                .filter(|(_, subject)| subject.runs)
                .max_by_key(|(_, subject)| subject.claim())
                .map(|(at, _)| at);
            let Some(holder) = holder else {
                for at in group {
                    if let (Some(kept), Some(subject)) = (kept.get_mut(at), all.get(at)) {
                        kept.not_running.add(subject.own.interval);
                    }
                }
                continue;
            };
            let (mut passed, mut of_others) = (Passed::default(), Flows::default());
            for at in group {
                let (Some(kept), Some(subject)) = (kept.get_mut(at), all.get(at)) else { continue };
                let late = std::mem::take(&mut kept.not_running);
                let unknown = std::mem::take(&mut kept.unknown_by_name);
                let interval = subject.own.interval.plus(late);
                passed.interval.add(interval);
                passed.while_unknown.add(unknown);
                if at != holder {
                    of_others.add(interval.plus(unknown));
                }
            }
            if let (Some(kept), Some(subject)) = (kept.get_mut(holder), all.get_mut(holder)) {
                kept.of_others.add(of_others);
                passed.total = kept.total.plus(kept.of_others);
                subject.by_name = Some(passed);
            }
        }
        let measured = all.iter().zip(kept).filter(|(subject, _)| subject.measured);
        self.kept = measured.map(|(subject, kept)| (subject.key(), kept)).collect();
    }
}

fn subjects<'a>(view: &View<'a>) -> Vec<Subject<'a>> {
    let View { account, catalog, .. } = *view;
    let mut all = Vec::with_capacity(account.pods.len().max(catalog.pods().len()));
    let mut named: BTreeMap<(&str, &str), Subject<'a>> = BTreeMap::new();
    for usage in &account.pods {
        let known = catalog.pod(usage.uid);
        if let (None, Some(name)) = (known, catalog.cgroup(&usage.path)) {
            let subject = named
                .entry((&name.namespace, &name.name))
                .or_insert_with(|| Subject::new(Who::Named(name)));
            subject.usage = subject.usage.or(Some(usage));
            subject.measure(&usage.usage, usage.exited);
            continue;
        }
        let who = known.map_or(Who::Uid(usage.uid), |pod| Who::Pod(pod));
        let mut subject = Subject::new(who);
        subject.usage = Some(usage);
        subject.measure(&usage.usage, usage.exited);
        subject.runs = usage.runs(known.map_or(Phase::Unknown, |pod| pod.phase));
        all.push(subject);
    }
    let is_measured = |uid: PodUid| account.pods.binary_search_by_key(&uid, |pod| pod.uid).is_ok();
    let others = catalog.pods().iter().filter(|pod| !is_measured(pod.uid));
    all.extend(others.map(|pod| Subject::new(Who::Pod(pod))));
    for unit in &account.units {
        let (id, name) = name_of_unit(catalog, unit);
        let Some(name) = name else { continue };
        let subject = named
            .entry((&name.namespace, &name.name))
            .or_insert_with(|| Subject::new(Who::Named(name)));
        subject.container = subject.container.or(id);
        subject.measure(&unit.usage, unit.exited);
    }
    all.extend(named.into_values());
    all
}

fn name_of_unit<'a>(
    catalog: &'a Catalog,
    unit: &UnitUsage,
) -> (Option<ContainerId>, Option<&'a EntityName>) {
    match unit.kind {
        UnitKind::Container { id, .. } => {
            (Some(id), catalog.container(id).or_else(|| catalog.cgroup(&unit.path)))
        }
        UnitKind::Unit => (None, catalog.cgroup(&unit.path)),
        UnitKind::Root => (None, None),
    }
}
