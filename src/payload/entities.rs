//! The entities that an interval reports: their names, their CPU time and their I/O bytes.
//!
//! The ledger knows uids and paths, the directory names. Here they meet, once an interval for all
//! endpoints.

use std::collections::BTreeMap;

use super::options::{EncodeOptions, UnknownPodPolicy};
use crate::directory::Catalog;
use crate::directory::catalog::EntityName;
use crate::directory::pod::{Labels, Phase, Pod};
use crate::disk_usage::usage::{NodeFilesystem, PodFilesystem};
use crate::identity::{ContainerId, PodUid};
use crate::ledger::Account;
use crate::ledger::account::{
    CpuUsage, DiskUsage, NetworkUsage, PodUsage, UnitKind, UnitUsage, Usage,
};
use crate::metrics::sample::MetricSample;
use crate::quantity::CpuTime;

/// The input of every encoder: one interval's usage, the names for it, and the filesystems.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    pub account: &'a Account,
    pub catalog: &'a Catalog,
    /// By uid; a pod that was not looked at yet is absent.
    pub filesystems: &'a BTreeMap<PodUid, PodFilesystem>,
    /// `None`: not asked, or no answer in time.
    pub node_filesystem: Option<NodeFilesystem>,
    /// The metrics of the sample; `None`: nobody is configured to get them.
    pub metrics: Option<&'a MetricSample>,
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

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            read_bytes: self.read_bytes.saturating_add(other.read_bytes),
            write_bytes: self.write_bytes.saturating_add(other.write_bytes),
            sent_bytes: self.sent_bytes.saturating_add(other.sent_bytes),
            recv_bytes: self.recv_bytes.saturating_add(other.recv_bytes),
        }
    }
}

/// Amounts of an entity that add up over time: CPU time and I/O bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CountedUsage {
    pub cpu: CpuTime,
    pub io: IoBytes,
}

impl CountedUsage {
    fn of_usage(usage: &Usage) -> Self {
        Self {
            cpu: usage.cpu.map_or(CpuTime::ZERO, |cpu| cpu.usage),
            io: IoBytes::of(usage.disk.as_ref(), usage.network.as_ref()),
        }
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, io: self.io.plus(other.io) }
    }

    pub(super) fn add(&mut self, other: Self) {
        *self = self.plus(other);
    }

    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// The amounts of an entity, in each of the forms that an endpoint can ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntityDeltas {
    /// In the interval.
    pub interval: CountedUsage,
    /// Before the interval, while the directory did not know the entity: for endpoints that wait for
    /// its name.
    pub while_unknown: CountedUsage,
    /// I/O bytes since the agent started.
    pub total: IoBytes,
}

impl EntityDeltas {
    /// The amounts that no earlier post to an endpoint of these options had.
    #[must_use]
    pub fn unsent(&self, options: &EncodeOptions) -> CountedUsage {
        if options.unknown_pods == UnknownPodPolicy::Wait {
            self.interval.plus(self.while_unknown)
        } else {
            self.interval
        }
    }

    /// The I/O bytes that an endpoint of these options receives.
    #[must_use]
    pub fn io(&self, options: &EncodeOptions) -> IoBytes {
        if options.cumulative { self.total } else { self.unsent(options).io }
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
    /// The time over which its CPU time is a rate, in microseconds: the interval, see
    /// [`Account::over_interval`].
    pub cpu_over_usec: u64,
    /// In use at the end of the interval; 0 for one that ended within it.
    pub memory_bytes: u64,
    /// It runs, and its cgroups' values are current.
    pub runs: bool,
    /// It has ended, so its next post is its last.
    pub ended: bool,
    /// It has a cgroup, or had one at some time of the interval.
    pub measured: bool,
    /// Its own amounts, for APIs that identify a pod by its uid.
    pub own: EntityDeltas,
    /// The amounts under its name, for APIs that identify a pod by its name. `None`: it is not sent to
    /// them in this interval: it does not run and its final post is sent, or another pod has its name.
    pub by_name: Option<EntityDeltas>,
}

impl<'a> Entity<'a> {
    pub(super) fn new(kind: EntityKind<'a>) -> Self {
        Self {
            kind,
            usage: None,
            container: None,
            cpu_over_usec: 0,
            memory_bytes: 0,
            runs: false,
            ended: false,
            measured: false,
            own: EntityDeltas::default(),
            by_name: None,
        }
    }

    /// Adds the usage of one of its cgroups.
    fn measure(&mut self, account: &Account, usage: &Usage, exited: bool) {
        self.measured = true;
        self.own.interval.add(CountedUsage::of_usage(usage));
        let cpu = usage.cpu.map(|cpu| account.over_interval(cpu));
        self.cpu_over_usec = self.cpu_over_usec.max(cpu.map_or(0, |cpu| cpu.over_usec));
        if !exited {
            let memory = usage.memory_in_use().as_bytes();
            self.memory_bytes = self.memory_bytes.saturating_add(memory);
        }
        self.runs |= !exited && usage.has_tasks();
    }

    /// The CPU time of `deltas` that an endpoint of these options receives, as a rate.
    #[must_use]
    pub fn cpu(&self, deltas: &EntityDeltas, options: &EncodeOptions) -> CpuUsage {
        let usage = deltas.unsent(options).cpu;
        CpuUsage { usage, split: None, over_usec: self.cpu_over_usec }
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

    pub(super) fn key(&self) -> EntityKey {
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
    pub(super) fn claim(&self) -> (bool, Option<&'a str>) {
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

/// Identifies an entity from one interval to the next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EntityKey {
    Pod(PodUid),
    Named(Box<str>, Box<str>),
}

/// The entities of an interval: pods by uid, those without a cgroup behind them, then what is named
/// outside Kubernetes. `waiting`: pods that ended before their names were known.
pub(super) fn entities<'a>(
    view: &Observation<'a>,
    waiting: impl Iterator<Item = PodUid>,
) -> Vec<Entity<'a>> {
    let Observation { account, catalog, .. } = *view;
    let mut all = Vec::with_capacity(account.pods.len().max(catalog.pods().len()));
    let mut named: BTreeMap<(&str, &str), Entity<'a>> = BTreeMap::new();
    for usage in &account.pods {
        // A pod can run for a while after it left the directory: one that was deleted by force, or
        // one that ended within the interval.
        let known = catalog.pod(usage.uid).or_else(|| catalog.departed(usage.uid));
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
        let phase = known.map_or(Phase::Unknown, |pod| pod.phase);
        entity.runs = usage.runs(phase);
        entity.ended = usage.has_ended(phase);
        all.push(entity);
    }
    let is_measured = |uid: PodUid| account.pods.binary_search_by_key(&uid, |pod| pod.uid).is_ok();
    let waiting = waiting.filter_map(|uid| catalog.departed(uid));
    let others = catalog.pods().iter().chain(waiting).filter(|pod| !is_measured(pod.uid));
    all.extend(others.map(|pod| {
        let cpu_over_usec = account.interval_usec().unwrap_or(0);
        Entity { cpu_over_usec, ..Entity::new(EntityKind::Pod(pod)) }
    }));
    for unit in &account.units {
        let (id, name) = name_of_unit(catalog, unit);
        let Some(name) = name else { continue };
        let entity = named
            .entry((&name.namespace, &name.name))
            .or_insert_with(|| Entity::new(EntityKind::Named(name)));
        entity.container = entity.container.or(id);
        entity.measure(account, &unit.usage, unit.exited);
    }
    all.extend(named.into_values().map(|named| Entity { ended: !named.runs, ..named }));
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
        UnitKind::Unit | UnitKind::Guest(_) | UnitKind::Named | UnitKind::Slice => {
            (None, catalog.cgroup(&unit.path))
        }
        UnitKind::Root => (None, None),
    }
}
