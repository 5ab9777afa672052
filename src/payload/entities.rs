//! The entities that an interval reports: their names and their I/O bytes.
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

/// The input of every encoder: one interval's usage, the names for it, and the filesystems.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    pub account: &'a Account,
    pub catalog: &'a Catalog,
    /// By uid; a pod that was not looked at yet is absent.
    pub filesystems: &'a BTreeMap<PodUid, PodFilesystem>,
    /// `None`: not asked, or no answer in time.
    pub node_filesystem: Option<NodeFilesystem>,
}

/// The disk usage of a pod's files: writable layers, emptyDir volumes and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PodFilesystem {
    pub usage_bytes: u64,
    /// Of the filesystem they lie on; `None`: not known.
    pub capacity_bytes: Option<u64>,
    /// The age of the values, in milliseconds.
    pub age_millis: u64,
    /// A directory could not be read: the true value is at least this one.
    pub incomplete: bool,
}

/// The filesystem that the node's pods lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeFilesystem {
    pub usage_bytes: u64,
    pub capacity_bytes: u64,
    /// The bytes that an unprivileged process can still write.
    pub available_bytes: u64,
    pub inodes_used: u64,
    pub inodes_free: u64,
}

/// I/O bytes of an entity: disk and network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IoBytes {
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub sent_bytes: u64,
    pub recv_bytes: u64,
}

impl IoBytes {
    /// An unknown value is 0: the APIs cannot leave it out.
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

/// I/O bytes of an entity, in each of the forms that an endpoint can ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntityIo {
    /// In the interval.
    pub interval: IoBytes,
    /// Before the interval, while the directory did not know the entity: for endpoints that wait for
    /// its name.
    pub while_unknown: IoBytes,
    /// Since the agent started.
    pub total: IoBytes,
}

impl EntityIo {
    /// The bytes that an endpoint of these options receives.
    #[must_use]
    pub fn wanted(&self, options: &EncodeOptions) -> IoBytes {
        if options.cumulative {
            self.total
        } else if options.unknown_pods == UnknownPodPolicy::Wait {
            self.interval.plus(self.while_unknown)
        } else {
            self.interval
        }
    }
}

/// The identity of an entity.
#[derive(Debug, Clone, Copy)]
pub enum EntityKind<'a> {
    /// A pod that the directory knows.
    Pod(&'a Pod),
    /// Something outside Kubernetes that has a name: a container of Docker or Podman, a unit or a
    /// pod's cgroup that the static file names. All cgroups of one name are one entity.
    Named(&'a EntityName),
    /// A pod of which only this is known.
    Uid(PodUid),
}

/// Something that is sent as a pod.
#[derive(Debug, Clone)]
pub struct Entity<'a> {
    pub kind: EntityKind<'a>,
    /// The usage of a pod; `None`: it has no cgroup, or it is no pod.
    pub usage: Option<&'a PodUsage>,
    /// The first of its containers outside Kubernetes.
    pub container: Option<ContainerId>,
    /// Rates over the interval: see [`Account::over_interval`].
    pub cpu_millicores: u64,
    pub cpu_nanocores: u64,
    pub memory_bytes: u64,
    /// It runs, and its cgroups' values are current.
    pub runs: bool,
    /// It has a cgroup, or had one at some time of the interval.
    pub measured: bool,
    /// Its own bytes, for APIs that identify a pod by its uid.
    pub own: EntityIo,
    /// The bytes under its name, for APIs that identify a pod by its name. `None`: it is not sent to
    /// them in this interval, because it does not run or another pod has its name.
    pub by_name: Option<EntityIo>,
}

impl<'a> Entity<'a> {
    fn new(kind: EntityKind<'a>) -> Self {
        Self {
            kind,
            usage: None,
            container: None,
            cpu_millicores: 0,
            cpu_nanocores: 0,
            memory_bytes: 0,
            runs: false,
            measured: false,
            own: EntityIo::default(),
            by_name: None,
        }
    }

    fn measure(&mut self, account: &Account, usage: &Usage, exited: bool) {
        self.measured = true;
        self.own.interval.add(IoBytes::of_usage(usage));
        if let Some(cpu) = usage.cpu.map(|cpu| account.over_interval(cpu)) {
            self.cpu_millicores = self.cpu_millicores.saturating_add(cpu.millicores());
            self.cpu_nanocores = self.cpu_nanocores.saturating_add(cpu.nanocores());
        }
        let memory = usage.memory_in_use().as_bytes();
        self.memory_bytes = self.memory_bytes.saturating_add(memory);
        self.runs |= !exited && usage.has_tasks();
    }

    /// The directory's pod.
    #[must_use]
    pub fn pod(&self) -> Option<&'a Pod> {
        if let EntityKind::Pod(pod) = self.kind { Some(pod) } else { None }
    }

    /// Namespace and labels, and the name; `None`: it is known by its uid alone.
    #[must_use]
    pub fn name(&self) -> Option<(&'a str, &'a str, &'a Labels)> {
        match self.kind {
            EntityKind::Pod(pod) => Some((&pod.namespace, &pod.name, &pod.labels)),
            EntityKind::Named(named) => Some((&named.namespace, &named.name, &named.labels)),
            EntityKind::Uid(_) => None,
        }
    }

    /// The directory's phase; where no source knows it, `Running` if it runs.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.kind {
            EntityKind::Pod(pod) if pod.phase != Phase::Unknown => pod.phase,
            _ if self.runs => Phase::Running,
            _ => Phase::Unknown,
        }
    }

    fn key(&self) -> EntityKey {
        match self.kind {
            EntityKind::Pod(pod) => EntityKey::Pod(pod.uid),
            EntityKind::Named(named) => {
                EntityKey::Named(named.namespace.clone(), named.name.clone())
            }
            EntityKind::Uid(uid) => EntityKey::Pod(uid),
        }
    }

    /// Of two with one name the one that has it is the greater: what is not being deleted before
    /// what is, then the newer. The API writes its stamps so that their order is that of time.
    fn claim(&self) -> (bool, Option<&'a str>) {
        self.pod().map_or((false, None), |pod| {
            (pod.deletion_timestamp.is_none(), pod.creation_timestamp.as_deref())
        })
    }
}

/// The deployed workload that a pod belongs to, as kind and name; `None`: it has none. The mirror of a
/// static pod is controlled by its node, which is no workload.
#[must_use]
pub fn workload_of(pod: &Pod) -> Option<(&str, &str)> {
    pod.workload().filter(|(kind, _)| *kind != "Node")
}

/// All entities of one interval: pods by uid, those without a cgroup behind them, then what is
/// named outside Kubernetes.
#[derive(Debug, Clone, Default)]
pub struct Entities<'a> {
    pub all: Vec<Entity<'a>>,
    /// The node's own bytes.
    pub node: EntityIo,
}

/// Running totals since the agent started, and the bytes of pods that could not be sent yet. An
/// entity that leaves the account leaves here too, so this is no larger than an account.
#[derive(Debug, Clone, Default)]
pub struct RunningTotals {
    node: IoBytes,
    kept: BTreeMap<EntityKey, EntityTotals>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum EntityKey {
    Pod(PodUid),
    Named(Box<str>, Box<str>),
}

#[derive(Debug, Clone, Copy, Default)]
struct EntityTotals {
    total: IoBytes,
    /// Bytes of others of its name, counted while it was sent.
    of_others: IoBytes,
    /// Not yet sent to APIs that identify a pod by its uid, because the uid is all that was known.
    unknown: IoBytes,
    /// Not yet sent to APIs that identify a pod by its name, because the uid is all that was known.
    unknown_by_name: IoBytes,
    /// Not yet sent to APIs that identify a pod by its name, because it did not run yet. The bytes of
    /// init containers come with the first post.
    not_running: IoBytes,
}

impl RunningTotals {
    /// Adds an interval; returns the entities to be reported for it.
    pub fn add<'a>(&mut self, view: &Observation<'a>) -> Entities<'a> {
        let node = &view.account.node;
        let interval = IoBytes::of(node.disk.as_ref(), node.network.as_ref());
        self.node.add(interval);
        let node = EntityIo { interval, while_unknown: IoBytes::default(), total: self.node };
        let mut all = entities(view);
        self.settle(&mut all);
        Entities { all, node }
    }

    fn settle(&mut self, all: &mut [Entity<'_>]) {
        let mut before = std::mem::take(&mut self.kept);
        let mut kept: Vec<EntityTotals> = Vec::with_capacity(all.len());
        for entity in all.iter_mut() {
            let mut now = before.remove(&entity.key()).unwrap_or_default();
            let interval = entity.own.interval;
            now.total.add(interval);
            if matches!(entity.kind, EntityKind::Uid(_)) {
                now.unknown.add(interval);
                now.unknown_by_name.add(interval);
            } else {
                entity.own.while_unknown = std::mem::take(&mut now.unknown);
            }
            entity.own.total = now.total;
            kept.push(now);
        }
        // Two pods can have one name at once: a StatefulSet's that is made again while the old one
        // ends, or a static pod's old and new configuration. One of them has it, and its CPU and
        // memory are sent; the other's bytes are added to its own, so that neither overwrites the
        // other and no byte is lost. The other's CPU is in the node's usage only.
        let mut by_name: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (at, entity) in all.iter().enumerate().filter(|(_, entity)| entity.measured) {
            if let Some((namespace, name, _)) = entity.name() {
                by_name.entry((namespace, name)).or_default().push(at);
            }
        }
        let groups: Vec<Vec<usize>> = by_name.into_values().collect();
        for group in groups {
            let claims = group.iter().filter_map(|at| Some((*at, all.get(*at)?)));
            let holder = claims
                .filter(|(_, entity)| entity.runs)
                .max_by_key(|(_, entity)| entity.claim())
                .map(|(at, _)| at);
            let Some(holder) = holder else {
                for at in group {
                    if let (Some(kept), Some(entity)) = (kept.get_mut(at), all.get(at)) {
                        kept.not_running.add(entity.own.interval);
                    }
                }
                continue;
            };
            let (mut passed, mut of_others) = (EntityIo::default(), IoBytes::default());
            for at in group {
                let (Some(kept), Some(entity)) = (kept.get_mut(at), all.get(at)) else { continue };
                let late = std::mem::take(&mut kept.not_running);
                let unknown = std::mem::take(&mut kept.unknown_by_name);
                let interval = entity.own.interval.plus(late);
                passed.interval.add(interval);
                passed.while_unknown.add(unknown);
                if at != holder {
                    of_others.add(interval.plus(unknown));
                }
            }
            if let (Some(kept), Some(entity)) = (kept.get_mut(holder), all.get_mut(holder)) {
                kept.of_others.add(of_others);
                passed.total = kept.total.plus(kept.of_others);
                entity.by_name = Some(passed);
            }
        }
        let measured = all.iter().zip(kept).filter(|(entity, _)| entity.measured);
        self.kept = measured.map(|(entity, kept)| (entity.key(), kept)).collect();
    }
}

fn entities<'a>(view: &Observation<'a>) -> Vec<Entity<'a>> {
    let Observation { account, catalog, .. } = *view;
    let mut all = Vec::with_capacity(account.pods.len().max(catalog.pods().len()));
    let mut named: BTreeMap<(&str, &str), Entity<'a>> = BTreeMap::new();
    for usage in &account.pods {
        let known = catalog.pod(usage.uid);
        if let (None, Some(name)) = (known, catalog.cgroup(&usage.path)) {
            let entity = named
                .entry((&name.namespace, &name.name))
                .or_insert_with(|| Entity::new(EntityKind::Named(name)));
            entity.usage = entity.usage.or(Some(usage));
            entity.measure(account, &usage.usage, usage.exited);
            continue;
        }
        let kind = known.map_or(EntityKind::Uid(usage.uid), |pod| EntityKind::Pod(pod));
        let mut entity = Entity::new(kind);
        entity.usage = Some(usage);
        entity.measure(account, &usage.usage, usage.exited);
        entity.runs = usage.runs(known.map_or(Phase::Unknown, |pod| pod.phase));
        all.push(entity);
    }
    let is_measured = |uid: PodUid| account.pods.binary_search_by_key(&uid, |pod| pod.uid).is_ok();
    let others = catalog.pods().iter().filter(|pod| !is_measured(pod.uid));
    all.extend(others.map(|pod| Entity::new(EntityKind::Pod(pod))));
    for unit in &account.units {
        let (id, name) = name_of_unit(catalog, unit);
        let Some(name) = name else { continue };
        let entity = named
            .entry((&name.namespace, &name.name))
            .or_insert_with(|| Entity::new(EntityKind::Named(name)));
        entity.container = entity.container.or(id);
        entity.measure(account, &unit.usage, unit.exited);
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
