//! The amounts of entities that were not sent yet, and their running totals.
//!
//! Both are kept here once for all endpoints, so that no amount is lost or sent twice while names
//! come late, pods start and pods end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::entities::{
    CountedUsage, Entity, EntityDeltas, EntityKey, EntityKind, IoBytes, Observation, entities,
};
use crate::directory::Catalog;
use crate::identity::PodUid;
use crate::ledger::account::NodeUsage;
use crate::quantity::{BootTime, CpuTime};

/// The longest wait for the Node object, and for the name of a pod that has ended. Sources that fail
/// are asked again within a minute.
const NAME_WAIT: Duration = Duration::from_secs(120);

/// The most pods that have ended and wait for their names.
const WAITING_MAX: usize = 4096;

/// The entities of one interval, and the node's own amounts.
#[derive(Debug, Clone, Default)]
pub struct Entities<'a> {
    pub all: Vec<Entity<'a>>,
    /// In the interval, and since the agent started.
    pub node: EntityDeltas,
    /// The Node object is expected and not known yet: APIs that send it wait.
    pub node_waits: bool,
    /// Before the interval, while APIs that send the Node object waited for it.
    pub node_while_waiting: NodeDelta,
}

/// Amounts of the node that add up over time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeDelta {
    pub usage: CountedUsage,
    pub rx_errors: u64,
    pub tx_errors: u64,
}

impl NodeDelta {
    fn of(node: &NodeUsage) -> Self {
        let network = node.network.as_ref();
        Self {
            usage: CountedUsage {
                cpu: node.cpu.map_or(CpuTime::ZERO, |cpu| cpu.busy),
                io: IoBytes::of(node.disk.as_ref(), network),
            },
            rx_errors: network.map_or(0, |network| network.rx_errors),
            tx_errors: network.map_or(0, |network| network.tx_errors),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            usage: self.usage.plus(other.usage),
            rx_errors: self.rx_errors.saturating_add(other.rx_errors),
            tx_errors: self.tx_errors.saturating_add(other.tx_errors),
        }
    }
}

/// Running totals since the agent started, and amounts that could not be sent yet.
///
/// An entity that leaves the account leaves here too. Only a pod that ended before its name was
/// known stays, for two minutes.
#[derive(Debug, Clone, Default)]
pub struct RunningTotals {
    node: IoBytes,
    node_while_waiting: NodeDelta,
    /// The end of the first interval of those in a row in which the Node object was expected.
    node_expected_since: Option<BootTime>,
    kept: BTreeMap<EntityKey, EntityTotals>,
}

#[derive(Debug, Clone, Copy, Default)]
struct EntityTotals {
    total: IoBytes,
    /// Bytes of others of its name, counted while it was sent.
    of_others: IoBytes,
    /// Not yet sent to APIs that identify a pod by its uid, because the uid is all that was known.
    unknown: CountedUsage,
    /// Not yet sent to APIs that identify a pod by its name, because the uid is all that was known.
    unknown_by_name: CountedUsage,
    /// Not yet sent to APIs that identify a pod by its name, because it did not run yet. The amounts
    /// of init containers come with the first post.
    not_running: CountedUsage,
    /// The end of the last interval in which it had a cgroup.
    measured_at: BootTime,
}

impl EntityTotals {
    fn is_waiting(&self) -> bool {
        !self.unknown_by_name.is_zero() || !self.unknown.is_zero()
    }
}

impl RunningTotals {
    /// Adds an interval; returns the entities to be reported for it.
    pub fn add<'a>(&mut self, view: &Observation<'a>) -> Entities<'a> {
        let now = view.account.until;
        let delta = NodeDelta::of(&view.account.node);
        self.node = self.node.plus(delta.usage.io);
        let node = EntityDeltas { interval: delta.usage, total: self.node, ..Default::default() };
        let node_waits = self.waits_for_node(view.catalog, now);
        let node_while_waiting = std::mem::take(&mut self.node_while_waiting);
        if node_waits {
            self.node_while_waiting = node_while_waiting.plus(delta);
        }
        let waiting = self.kept.iter().filter(|(_, kept)| kept.is_waiting());
        let waiting = waiting.filter_map(|(key, _)| key.pod());
        let mut all = entities(view, waiting);
        self.settle(&mut all, now);
        Entities { all, node, node_waits, node_while_waiting }
    }

    fn waits_for_node(&mut self, catalog: &Catalog, now: BootTime) -> bool {
        if !catalog.expects_node {
            self.node_expected_since = None;
            return false;
        }
        now.since(*self.node_expected_since.get_or_insert(now)) < NAME_WAIT
    }

    fn settle(&mut self, all: &mut [Entity<'_>], now: BootTime) {
        let mut before = std::mem::take(&mut self.kept);
        let mut kept: Vec<EntityTotals> = Vec::with_capacity(all.len());
        for entity in all.iter_mut() {
            let mut totals = before.remove(&entity.key()).unwrap_or_default();
            let interval = entity.own.interval;
            totals.total = totals.total.plus(interval.io);
            if matches!(entity.kind, EntityKind::Uid(_)) {
                totals.unknown.add(interval);
                totals.unknown_by_name.add(interval);
            } else {
                entity.own.while_unknown = std::mem::take(&mut totals.unknown);
            }
            entity.own.total = totals.total;
            if entity.measured {
                totals.measured_at = now;
            } else {
                // It ended before its name was known.
                entity.ended = !totals.unknown_by_name.is_zero();
            }
            kept.push(totals);
        }
        settle_names(all, &mut kept);
        let measured = all.iter().zip(kept).filter(|(entity, _)| entity.measured);
        self.kept = measured.map(|(entity, kept)| (entity.key(), kept)).collect();
        let waiting = before
            .into_iter()
            .filter(|(_, kept)| kept.is_waiting() && now.since(kept.measured_at) < NAME_WAIT);
        self.kept.extend(waiting.take(WAITING_MAX));
    }
}

/// Decides which entity has each name, and with which amounts.
///
/// Two pods can have one name at once: a StatefulSet's that is made again while the old one ends, or a
/// static pod's old and new configuration. One of them has it, and its memory is sent. The amounts
/// of those that ended or end are added to its own, so that neither overwrites the other. One that
/// has not started yet keeps its own for its first post.
fn settle_names(all: &mut [Entity<'_>], kept: &mut [EntityTotals]) {
    let mut by_name: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (at, entity) in all.iter().enumerate().filter(|(_, one)| one.measured || one.ended) {
        if let Some((namespace, name, _)) = entity.name() {
            by_name.entry((namespace, name)).or_default().push(at);
        }
    }
    let groups: Vec<Vec<usize>> = by_name.into_values().collect();
    for group in groups {
        for at in &group {
            if let (Some(kept), Some(entity)) = (kept.get_mut(*at), all.get(*at)) {
                kept.not_running.add(entity.own.interval);
            }
        }
        let claims = || group.iter().filter_map(|at| Some((*at, all.get(*at)?)));
        let has_unsent = |at: usize| {
            kept.get(at).is_some_and(|kept| !kept.not_running.plus(kept.unknown_by_name).is_zero())
        };
        let running = claims().filter(|(_, entity)| entity.runs);
        let ended = claims().filter(|(at, entity)| entity.ended && has_unsent(*at));
        let holder = running
            .max_by_key(|(_, entity)| entity.claim())
            .or_else(|| ended.max_by_key(|(_, entity)| entity.claim()));
        let Some((holder, claim)) = holder.map(|(at, entity)| (at, entity.claim())) else {
            continue;
        };
        let (mut sent, mut of_others) = (EntityDeltas::default(), IoBytes::default());
        for at in group {
            let (Some(kept), Some(entity)) = (kept.get_mut(at), all.get(at)) else { continue };
            if at != holder && !entity.ended && entity.claim() > claim {
                continue;
            }
            let interval = std::mem::take(&mut kept.not_running);
            let unknown = std::mem::take(&mut kept.unknown_by_name);
            sent.interval.add(interval);
            sent.while_unknown.add(unknown);
            if at != holder {
                of_others = of_others.plus(interval.plus(unknown).io);
            }
        }
        if let (Some(kept), Some(entity)) = (kept.get_mut(holder), all.get_mut(holder)) {
            kept.of_others = kept.of_others.plus(of_others);
            sent.total = kept.total.plus(kept.of_others);
            entity.by_name = Some(sent);
        }
    }
}

impl EntityKey {
    fn pod(&self) -> Option<PodUid> {
        if let Self::Pod(uid) = self { Some(*uid) } else { None }
    }
}
