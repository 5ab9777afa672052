//! Running totals of all entities, and those that have ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::entity::{Attribute, AttributeName, EntityClass, EntityId, MetricEntity};
use super::input::{Input, NodeInput, OwnerInput, kept};
use super::metric::{Instrument, Metric};
use super::names::{self, Names};
use super::processes::{Processes, owner_of};
use super::sample::{
    CpuBefore, Ended, Entry, Exported, MetricSample, NodeAttributes, ObjectFacts, Values,
};
use super::table;
use crate::directory::Catalog;
use crate::disk_usage::usage::{FilesystemUsage, NodeFilesystem, PodFilesystem};
use crate::identity::PodUid;
use crate::ledger::Account;
use crate::ledger::account::{ContainerUsage, NodeUsage, UnitKind, Usage};
use crate::quantity::{BootTime, CpuTime, WallTime};

/// The longest wait of a pod's figures for its name.
const NAME_WAIT: Duration = Duration::from_secs(120);

/// Samples after its last in which an ended entity is exported, at least.
const ENDED_SAMPLES: u64 = 2;

/// The wall clock and the clock since boot drift apart by less while an object lives.
const CLOCKS_DIFFER_MILLIS: u64 = 2000;

/// The most ended entities that are kept. Of more, those that ended first are left out, and counted.
pub const ENDED_MAX: usize = 4096;

/// The input of one sample.
#[derive(Debug, Clone, Copy)]
pub struct StoreInput<'a> {
    pub account: &'a Account,
    pub catalog: &'a Catalog,
    /// By uid; a pod whose files were not counted is absent.
    pub pod_filesystems: &'a BTreeMap<PodUid, PodFilesystem>,
    /// The filesystem that the node's pods lie on.
    pub node_filesystem: Option<NodeFilesystem>,
    pub filesystems: &'a [FilesystemUsage],
    /// The newest sample that all pullers have seen; `None`: nobody pulls.
    pub seen_by_all: Option<u64>,
}

/// The options of a store.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    pub node: NodeAttributes,
    /// A source knows the names of pods, so that an unnamed pod waits for its name.
    pub waits_for_names: bool,
    /// The processes with figures of their own: so many by CPU time, and by memory; 0: no processes.
    pub processes: usize,
    /// Entries have the values of the sample before too, for those who want amounts of intervals.
    pub keeps_intervals: bool,
}

/// An entity with what the store alone needs to know.
#[derive(Debug, Clone)]
struct Kept {
    entry: Entry,
    /// The kernel's totals in the last sample, by the place of the kernel counter in its class.
    kernel: Box<[Option<i64>]>,
    /// It was in the account of this sample.
    seen: bool,
    /// The time until which it waits for its name. `None`: it is exported.
    hidden_until: Option<BootTime>,
}

/// Keeps the running totals of all entities.
#[derive(Debug, Default)]
pub struct MetricStore {
    options: StoreOptions,
    node: Arc<NodeAttributes>,
    agent_started: WallTime,
    sequence: u64,
    live: BTreeMap<EntityId, Kept>,
    /// In the order in which they ended.
    ended: Vec<Kept>,
    /// Ended entities that were left out before everybody had seen them.
    ended_dropped: u64,
}

impl MetricStore {
    #[must_use]
    pub fn new(options: StoreOptions) -> Self {
        Self { node: Arc::new(options.node.clone()), options, ..Self::default() }
    }

    /// The store of an agent that started at this time.
    #[must_use]
    pub fn started_at(self, agent_started: WallTime) -> Self {
        Self { agent_started, ..self }
    }

    /// Other options from the next sample on; totals continue.
    pub fn set_options(&mut self, options: StoreOptions) {
        self.node = Arc::new(options.node.clone());
        self.options = options;
    }

    /// Ended entities that were left out before everybody had seen them, since the start.
    #[must_use]
    pub const fn ended_dropped(&self) -> u64 {
        self.ended_dropped
    }

    /// Adds an interval and returns its sample.
    pub fn add(&mut self, observed: &StoreInput<'_>) -> MetricSample {
        self.sequence += 1;
        let account = observed.account;
        let now = Now { observed, sequence: self.sequence, started: start_of(account) };
        self.live.values_mut().for_each(|kept| kept.seen = false);
        self.add_node(&now);
        self.add_owners(&now);
        for exited in &account.exited {
            let id = EntityId::Exited(Arc::clone(&exited.path));
            self.count(&now, id, names::exited(exited), true, Input::Exited(exited));
        }
        if self.options.processes > 0 {
            self.add_processes(&now);
        }
        self.end_unseen(&now);
        self.forget(observed.seen_by_all);
        self.sample(account.wall)
    }

    fn add_node(&mut self, now: &Now<'_>) {
        let observed = now.observed;
        let input = NodeInput {
            account: observed.account,
            filesystem: observed.node_filesystem,
            in_kubernetes: self.options.node.in_kubernetes,
        };
        self.count(now, EntityId::Node, Vec::new(), true, Input::Node(&input));
        if let Some(kept) = self.live.get_mut(&EntityId::Node) {
            let NodeUsage { uptime_hundredths, interface, disk_name, .. } = observed.account.node;
            let uptime = uptime_hundredths.map(|hundredths| Duration::from_millis(hundredths * 10));
            let booted = uptime.map(|uptime| observed.account.wall.minus(uptime));
            let facts = &mut kept.entry.facts;
            facts.created = steady(facts.created, booted);
            (facts.interface, facts.disk) = (interface.or(facts.interface), disk_name);
        }
        for filesystem in observed.filesystems {
            let attributes = names::filesystem(filesystem);
            let id = EntityId::Filesystem(Arc::from(&*filesystem.mount_point));
            self.count(now, id, attributes, true, Input::Filesystem(filesystem));
        }
    }

    fn add_owners(&mut self, now: &Now<'_>) {
        let StoreInput { account, catalog, pod_filesystems, .. } = *now.observed;
        for pod in &account.pods {
            let filesystem = pod_filesystems.get(&pod.uid).copied();
            let names = names::pod(catalog, pod);
            let id = EntityId::Pod(pod.uid);
            self.count_owner(now, id.clone(), names, (&pod.path, &pod.usage), filesystem);
            self.mark_exited(&id, pod.exited);
        }
        for container in &account.containers {
            let id = EntityId::Container { pod: Some(container.pod), id: container.id };
            let names = names::container(catalog, container);
            let ContainerUsage { path, usage, exited, .. } = container;
            self.count_owner(now, id.clone(), names, (path, usage), None);
            self.mark_exited(&id, *exited);
        }
        for unit in &account.units {
            let id = match unit.kind {
                UnitKind::Container { id, .. } => EntityId::Container { pod: None, id },
                _ => EntityId::Unit(Arc::clone(&unit.path)),
            };
            let names = names::unit(catalog, unit);
            self.count_owner(now, id.clone(), names, (&unit.path, &unit.usage), None);
            self.mark_exited(&id, unit.exited);
        }
    }

    fn count_owner(
        &mut self,
        now: &Now<'_>,
        id: EntityId,
        names: Names,
        (path, usage): (&Arc<[u8]>, &Usage),
        filesystem: Option<PodFilesystem>,
    ) {
        let cpu_rate = usage.cpu.map(|cpu| now.observed.account.over_interval(cpu));
        let input = OwnerInput { usage, cpu_rate, filesystem };
        self.count(now, id.clone(), names.attributes, names.is_named, Input::Owner(&input));
        if let Some(kept) = self.live.get_mut(&id) {
            kept.learn_facts(now, path, usage);
        }
    }

    /// Lets an entity end whose last reading was added, and which is not there any more.
    fn mark_exited(&mut self, id: &EntityId, exited: bool) {
        if let Some(kept) = self.live.get_mut(id) {
            kept.seen &= !exited;
        }
    }

    fn add_processes(&mut self, now: &Now<'_>) {
        let picked = Processes::pick(&now.observed.account.processes, self.options.processes);
        for (process, input) in &picked.own {
            let attributes = names::process(process, &owner_of(process));
            self.count(
                now,
                EntityId::Process(process.key),
                attributes,
                true,
                Input::Process(input),
            );
        }
        for (owner, input) in &picked.others {
            let attributes = names::other_processes(owner);
            let id = EntityId::OtherProcesses(Arc::from(owner.as_str()));
            self.count(now, id, attributes, true, Input::Process(input));
        }
    }

    /// Adds the figures of one entity.
    fn count(
        &mut self,
        now: &Now<'_>,
        id: EntityId,
        attributes: Vec<Attribute>,
        is_named: bool,
        input: Input<'_>,
    ) {
        let until = now.observed.account.until;
        if let Some(kept) = self.live.get_mut(&id)
            && kept.entry.entity.attributes != attributes
        {
            if kept.hidden_until.is_some() || kept.entry.entity.has_labels_of(&attributes) {
                let attributes = attributes.clone();
                kept.entry.entity = Arc::new(MetricEntity { id: id.clone(), attributes });
            } else if let Some(former) = self.live.remove(&id) {
                // Under its former name it has ended; what was counted there is not counted again.
                self.end(former, now);
            }
        }
        self.revive(&id, &attributes);
        let waits = self.options.waits_for_names && !is_named;
        let kept = self.live.entry(id.clone()).or_insert_with(|| {
            let entity = Arc::new(MetricEntity { id, attributes });
            Kept::new(entity, now.started, waits.then(|| until.plus(NAME_WAIT)))
        });
        if kept.hidden_until.is_some_and(|at| is_named || until >= at) {
            kept.hidden_until = None;
        }
        kept.seen = true;
        kept.add(input);
    }

    /// Takes back an entity that had ended and is there again, so that no series exists twice.
    fn revive(&mut self, id: &EntityId, attributes: &[Attribute]) {
        if self.live.contains_key(id) {
            return;
        }
        let is_it = |kept: &Kept| {
            let is_shown_so = kept.entry.entity.has_labels_of(attributes);
            kept.entry.entity.id == *id && (kept.hidden_until.is_some() || is_shown_so)
        };
        if let Some(at) = self.ended.iter().position(is_it) {
            let mut kept = self.ended.remove(at);
            kept.entry.ended = None;
            let attributes = attributes.to_vec();
            kept.entry.entity = Arc::new(MetricEntity { id: id.clone(), attributes });
            self.live.insert(id.clone(), kept);
        }
    }

    fn end_unseen(&mut self, now: &Now<'_>) {
        let gone: Vec<EntityId> =
            self.live.iter().filter(|(_, kept)| !kept.seen).map(|(id, _)| id.clone()).collect();
        for id in gone {
            if let Some(kept) = self.live.remove(&id) {
                self.end(kept, now);
            }
        }
        let catalog = now.observed.catalog;
        for kept in self.ended.iter_mut().filter(|kept| kept.hidden_until.is_some()) {
            kept.name_late(catalog, now);
        }
    }

    fn end(&mut self, mut kept: Kept, now: &Now<'_>) {
        kept.end(now);
        self.ended.push(kept);
    }

    /// Removes ended entities that were exported long enough.
    fn forget(&mut self, seen_by_all: Option<u64>) {
        let sequence = self.sequence;
        self.ended.retain(|kept| {
            let Some(ended) = kept.entry.ended else { return true };
            let was_seen = seen_by_all.is_none_or(|seen| seen >= ended.sequence);
            kept.hidden_until.is_some() || sequence < ended.sequence + ENDED_SAMPLES || !was_seen
        });
        let beyond = self.ended.len().saturating_sub(ENDED_MAX);
        self.ended.drain(..beyond);
        self.ended_dropped += beyond as u64;
    }

    fn sample(&mut self, wall: WallTime) -> MetricSample {
        let keeps_intervals = self.options.keeps_intervals;
        let visible = self.live.values_mut().chain(&mut self.ended);
        let visible = visible.filter(|kept| kept.hidden_until.is_none());
        let export = |kept: &mut Kept| {
            let entry = kept.entry.clone();
            let values = || entry.values.clone();
            kept.entry.before = keeps_intervals.then(|| Exported { wall, values: values() });
            entry
        };
        let entries = visible.map(export).collect();
        self.sample_of(self.sequence, wall, entries)
    }

    /// The sample of an agent that stops: of all that is exported, and nothing has a value any more.
    /// Entities are left out whose end an earlier sample has shown.
    #[must_use]
    pub fn closing_sample(&self, wall: WallTime) -> MetricSample {
        let ended_now = self
            .ended
            .iter()
            .filter(|kept| kept.entry.ended.is_some_and(|ended| ended.sequence == self.sequence));
        let visible = self.live.values().chain(ended_now);
        let close = |kept: &Kept| {
            let values = Values::new(kept.entry.entity.id.class());
            Entry { values, ..kept.entry.clone() }
        };
        let entries = visible.filter(|kept| kept.hidden_until.is_none()).map(close).collect();
        self.sample_of(self.sequence + 1, wall, entries)
    }

    fn sample_of(&self, sequence: u64, wall: WallTime, mut entries: Vec<Entry>) -> MetricSample {
        entries.sort_by(|a, b| a.entity.id.cmp(&b.entity.id));
        let (agent_started, node) = (self.agent_started, Arc::clone(&self.node));
        MetricSample { sequence, wall, agent_started, node, entries }
    }
}

/// The start of an object as it was first seen, unless it moved by more than clocks do.
fn steady(known: Option<WallTime>, seen: Option<WallTime>) -> Option<WallTime> {
    let (Some(before), Some(now)) = (known, seen) else { return seen.or(known) };
    let moved = before.as_unix_millis().abs_diff(now.as_unix_millis());
    Some(if moved > CLOCKS_DIFFER_MILLIS { now } else { before })
}

/// The present sample.
struct Now<'a> {
    observed: &'a StoreInput<'a>,
    sequence: u64,
    /// The start of the interval.
    started: WallTime,
}

/// The time of the sample before, in the clock of this one.
fn start_of(account: &Account) -> WallTime {
    let interval = account.since.map_or(Duration::ZERO, |since| account.until.since(since));
    account.wall.minus(interval)
}

impl Kept {
    fn new(entity: Arc<MetricEntity>, started: WallTime, hidden_until: Option<BootTime>) -> Self {
        let class = entity.id.class();
        let is_kernels = |metric: &&Metric| metric.instrument == Instrument::KernelCounter;
        let kernel = vec![None; table::of(class).iter().filter(is_kernels).count()].into();
        let values = Values::new(class);
        let facts = ObjectFacts::default();
        let entry = Entry { entity, started, ended: None, values, before: None, facts };
        Self { entry, kernel, seen: true, hidden_until }
    }

    /// Adds the figures of an interval.
    fn add(&mut self, input: Input<'_>) {
        let mut kernel = self.kernel.iter_mut();
        for (at, metric) in table::of(self.entry.entity.id.class()).iter().enumerate() {
            let found = metric.read(input);
            let before = self.entry.values.get(at);
            let plus = |amount: i64| Some(before.unwrap_or(0).saturating_add(amount));
            let value = match metric.instrument {
                Instrument::Counter => found.map_or(before, |amount| plus(amount.max(0))),
                Instrument::SignedCounter => found.map_or(before, plus),
                Instrument::KernelCounter => {
                    let Some(last) = kernel.next() else { continue };
                    let Some(now) = found else { continue };
                    let gained = last.map_or(0, |last| (now - last).max(0));
                    *last = Some(now);
                    plus(gained)
                }
                Instrument::UpDownCounter | Instrument::Gauge => found,
            };
            self.entry.values.set(at, value);
        }
    }

    /// Learns what its cgroup shows beside figures. What is not known any more stays.
    fn learn_facts(&mut self, now: &Now<'_>, path: &Arc<[u8]>, usage: &Usage) {
        let account = now.observed.account;
        let class = self.entry.entity.id.class();
        let facts = &mut self.entry.facts;
        if facts.cgroup.as_ref() != Some(path) {
            facts.cgroup = Some(Arc::clone(path));
        }
        let started = usage.started.map(|at| account.wall.minus(account.until.since(at)));
        // The oldest process of a pod or container is its first. A unit can go on without it.
        if class != EntityClass::Unit {
            facts.created = steady(facts.created, started);
        }
        facts.cpu_max = usage.cpu_max.or(facts.cpu_max);
        facts.cpu_weight = usage.cpu_weight.or(facts.cpu_weight);
        facts.tasks_max = usage.pids.max.or(facts.tasks_max);
        facts.interface = usage.interface.or(facts.interface);
        let Some(counters) = usage.cpu_counters.filter(|_| facts.cpu_before.is_none()) else {
            return;
        };
        let since = |kernel: CpuTime, counted: Option<CpuTime>| {
            kept(kernel.saturating_sub(counted.unwrap_or_default()).as_usec())
        };
        let split = usage.cpu.and_then(|cpu| cpu.split);
        facts.cpu_before = Some(CpuBefore {
            usage: since(counters.usage, usage.cpu.map(|cpu| cpu.usage)),
            user: counters.user.map(|user| since(user, split.map(|split| split.user))),
            system: counters.system.map(|system| since(system, split.map(|split| split.system))),
        });
    }

    fn end(&mut self, now: &Now<'_>) {
        let wall = now.observed.account.wall;
        self.entry.ended = Some(Ended { sequence: now.sequence, wall });
        for (at, metric) in table::of(self.entry.entity.id.class()).iter().enumerate() {
            if !metric.instrument.is_total() {
                self.entry.values.set(at, None);
            }
        }
    }

    /// Names an entity that ended before its name was known, or ends its wait.
    fn name_late(&mut self, catalog: &Catalog, now: &Now<'_>) {
        let entity = &self.entry.entity;
        let named = match &entity.id {
            EntityId::Pod(uid) => names::ended_pod(catalog, *uid),
            EntityId::Container { pod: Some(pod), id } => {
                let runtime = entity.attribute(AttributeName::RUNTIME).unwrap_or_default();
                names::ended_container(catalog, *pod, *id, runtime)
            }
            _ => None,
        };
        let is_late = self.hidden_until.is_some_and(|at| now.observed.account.until >= at);
        if let Some(attributes) = named {
            let id = self.entry.entity.id.clone();
            self.entry.entity = Arc::new(MetricEntity { id, attributes });
        } else if !is_late {
            return;
        }
        self.hidden_until = None;
        if let Some(ended) = &mut self.entry.ended {
            ended.sequence = now.sequence;
        }
    }
}

#[cfg(test)]
mod process_tests;
#[cfg(test)]
mod tests;
