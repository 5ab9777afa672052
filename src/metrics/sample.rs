//! The values of all metrics in one sample.

use std::sync::Arc;

use super::entity::{EntityClass, MetricEntity};
use super::metric::Metric;
use super::table;
use crate::quantity::{Limit, WallTime};
use crate::source::cgroup::cpu_max::CpuMax;
use crate::source::proc::diskstats::DiskName;
use crate::source::proc::net_dev::InterfaceName;

/// The most metrics of one class of entities.
pub const METRICS_MAX: usize = 128;

/// The values of one entity, by the place of the metric in its class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// A bit for each metric that has a value.
    known: u128,
    values: Box<[i64]>,
}

impl Values {
    pub(super) fn new(class: EntityClass) -> Self {
        Self { known: 0, values: vec![0; table::of(class).len()].into() }
    }

    /// The value of the metric at `at`, in the integers of its unit; `None` if it is not known.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<i64> {
        let is_known = at < METRICS_MAX && self.known & (1 << at) != 0;
        self.values.get(at).copied().filter(|_| is_known)
    }

    pub(super) fn set(&mut self, at: usize, value: Option<i64>) {
        let Some(place) = self.values.get_mut(at).filter(|_| at < METRICS_MAX) else { return };
        match value {
            Some(value) => {
                *place = value;
                self.known |= 1 << at;
            }
            None => {
                *place = 0;
                self.known &= !(1 << at);
            }
        }
    }
}

/// An entity with its values.
#[derive(Debug, Clone)]
pub struct Entry {
    pub entity: Arc<MetricEntity>,
    /// The time at which its running totals were 0.
    pub started: WallTime,
    /// The end of an entity that is gone; `None` while it is there. Only running totals have values
    /// then.
    pub ended: Option<Ended>,
    pub values: Values,
    pub facts: ObjectFacts,
    /// The entity in the sample before in which it was exported. `None`: it is exported for the first
    /// time, or nobody wants amounts of intervals.
    pub before: Option<Exported>,
}

/// The values of an entity in an earlier sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    pub wall: WallTime,
    pub values: Values,
}

/// The kernel object behind an entity, for encoders that show the kernel's own totals and names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectFacts {
    /// The path of its cgroup; `None`: it has none, or its name became known after its end.
    pub cgroup: Option<Arc<[u8]>>,
    /// The start of its oldest process, or of the node; `None`: not known.
    pub created: Option<WallTime>,
    /// The CPU time that its cgroup had used when its running totals were 0.
    pub cpu_before: Option<CpuBefore>,
    pub cpu_max: Option<CpuMax>,
    pub cpu_weight: Option<u64>,
    /// The limit of tasks, also one that is not set.
    pub tasks_max: Option<Limit<u64>>,
    /// The one interface that its traffic passes; `None`: none or several do.
    pub interface: Option<InterfaceName>,
    /// The node's disk, of the node alone; `None`: there are several.
    pub disk: Option<DiskName>,
}

/// CPU time before the running totals, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuBefore {
    pub usage: i64,
    /// `None`, here and below: not known.
    pub user: Option<i64>,
    pub system: Option<i64>,
}

/// The end of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The first sample in which it was gone, or its name became known.
    pub sequence: u64,
    /// The time of the first sample in which it was gone.
    pub wall: WallTime,
}

/// Everything that one sample exports.
#[derive(Debug, Clone, Default)]
pub struct MetricSample {
    /// Samples since the agent started.
    pub sequence: u64,
    pub wall: WallTime,
    /// The start of the agent; 0 where nobody said it.
    pub agent_started: WallTime,
    pub node: Arc<NodeAttributes>,
    /// In the order of [`EntityId`](super::entity::EntityId), so by class.
    pub entries: Vec<Entry>,
}

/// The names of the node, which every entity shares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeAttributes {
    pub name: Box<str>,
    /// The node is one of Kubernetes.
    pub in_kubernetes: bool,
    /// `k8s.cluster.name`; empty if it is not set.
    pub cluster: Box<str>,
}

impl MetricSample {
    /// The entities of a class.
    #[must_use]
    pub fn of(&self, class: EntityClass) -> &[Entry] {
        let start = self.entries.partition_point(|entry| entry.entity.id.class() < class);
        let end = self.entries.partition_point(|entry| entry.entity.id.class() <= class);
        self.entries.get(start..end).unwrap_or_default()
    }
}

impl Entry {
    /// The value of the first metric of that name and these attributes.
    #[must_use]
    pub fn value(&self, name: &str, attributes: &[(&str, &str)]) -> Option<i64> {
        let is_it = |metric: &Metric| metric.name == name && metric.attributes == attributes;
        self.values.get(table::of(self.entity.id.class()).iter().position(is_it)?)
    }

    /// The metrics of the entity that have a value, with it.
    pub fn known(&self) -> impl Iterator<Item = (&'static Metric, i64)> {
        let metrics = table::of(self.entity.id.class()).iter().enumerate();
        metrics.filter_map(|(at, metric)| Some((metric, self.values.get(at)?)))
    }

    /// The amount that the running total at `at` has gained since it was exported last: all of it where
    /// that never happened. `None` if it is not known.
    #[must_use]
    pub fn gained(&self, at: usize) -> Option<i64> {
        let before = self.before.as_ref().and_then(|before| before.values.get(at));
        Some(self.values.get(at)?.saturating_sub(before.unwrap_or(0)))
    }

    /// The time at which the amounts of [`Entry::gained`] began.
    #[must_use]
    pub fn since(&self) -> WallTime {
        self.before.as_ref().map_or(self.started, |before| before.wall)
    }
}
