//! A sample as bodies: each entity is a resource, the figures of one name are one metric.

use super::PATH;
use super::names::{ResourceValue, attributes};
use super::wire::Writer;
use crate::directory::pod::Labels;
use crate::identity::PodUid;
use crate::metrics::entity::{AttributeName, EntityId};
use crate::metrics::metric::{Instrument, Metric};
use crate::metrics::sample::{Entry, MetricSample};
use crate::metrics::table;
use crate::payload::entities::Observation;
use crate::payload::options::{EncodeOptions, Message, PodFilter};
use crate::payload::running_totals::Entities;
use crate::quantity::WallTime;

/// The version of the conventions that names, units and attributes are of.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// `AggregationTemporality`.
const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

/// The messages of one sample, each of at most [`EncodeOptions::body_bytes_max`] or of one entity. None
/// without metrics.
#[must_use]
pub fn encode(
    view: &Observation<'_>,
    _entities: &Entities<'_>,
    options: &EncodeOptions,
) -> Vec<Message> {
    let Some(sample) = view.metrics else { return Vec::new() };
    let mut bodies = Vec::new();
    let mut out = Writer::default();
    let mut described = None;
    for entry in sample.entries.iter().filter(|entry| is_sent(sample, entry)) {
        if !fits(view, entry, &options.filter) {
            continue;
        }
        let class = Some(entry.entity.id.class());
        let start = out.0.len();
        let resource = EntityResource { sample, entry, is_delta: !options.cumulative };
        resource.write(&mut out, described != class);
        if out.0.len() == start {
            continue;
        }
        described = class;
        if out.0.len() > options.body_bytes_max && start > 0 {
            out.0.truncate(start);
            bodies.push(std::mem::take(&mut out.0));
            resource.write(&mut out, true);
        }
    }
    if !out.0.is_empty() {
        bodies.push(out.0);
    }
    let message = |body: Vec<u8>| Message { path: PATH.to_owned(), body: body.into() };
    bodies.into_iter().map(message).collect()
}

/// Ended entities are sent with the sample in which they ended.
fn is_sent(sample: &MetricSample, entry: &Entry) -> bool {
    entry.ended.is_none_or(|ended| ended.sequence == sample.sequence)
}

/// `true` unless the entity is of a pod that the endpoint does not want.
fn fits(view: &Observation<'_>, entry: &Entry, filter: &PodFilter) -> bool {
    let uid = match &entry.entity.id {
        EntityId::Pod(uid) | EntityId::Container { pod: Some(uid), .. } => Some(*uid),
        EntityId::Process(_) | EntityId::OtherProcesses(_) => {
            let owner = entry.entity.attribute(AttributeName::OWNER).unwrap_or_default();
            owner.strip_prefix("pod ").and_then(|uid| PodUid::parse(uid.as_bytes()))
        }
        _ => None,
    };
    let Some(uid) = uid else { return true };
    let namespace = entry.entity.attribute(AttributeName::NAMESPACE).unwrap_or_default();
    match view.catalog.pod(uid).or_else(|| view.catalog.departed(uid)) {
        Some(pod) => filter.matches(&pod.namespace, &pod.labels),
        None => filter.matches(namespace, &Labels::new()),
    }
}

/// One entity's `ResourceMetrics`.
struct EntityResource<'a> {
    sample: &'a MetricSample,
    entry: &'a Entry,
    is_delta: bool,
}

impl EntityResource<'_> {
    /// Writes nothing where no figure is known. `describes`: metrics have their meaning in words, which
    /// is the same for all entities of a class and so is said once in a body.
    fn write(&self, out: &mut Writer, describes: bool) {
        if self.entry.known().next().is_none() {
            return;
        }
        out.message(1, |out| {
            out.message(1, |out| {
                attributes(&self.sample.node, self.entry, |name, value| {
                    attribute(out, 1, name, &value);
                });
            });
            out.message(2, |out| {
                out.message(1, |out| {
                    out.string(1, env!("CARGO_PKG_NAME"));
                    out.string(2, env!("CARGO_PKG_VERSION"));
                });
                self.write_metrics(out, describes);
                out.string(3, SCHEMA_URL);
            });
            out.string(3, SCHEMA_URL);
        });
    }

    fn write_metrics(&self, out: &mut Writer, describes: bool) {
        let mut first = 0;
        let metrics = table::of(self.entry.entity.id.class());
        for group in metrics.chunk_by(|one, other| one.name == other.name) {
            let places = first..first + group.len();
            first = places.end;
            if places.clone().any(|at| self.entry.values.get(at).is_some())
                && let Some(metric) = group.first()
            {
                out.message(2, |out| {
                    out.string(1, metric.name);
                    if describes {
                        out.string(2, metric.help);
                    }
                    out.string(3, metric.unit.ucum);
                    self.write_points(out, group, places.start);
                });
            }
        }
    }

    /// The figures of one name, as `Gauge` or `Sum`. `first`: the place of the first in its class.
    fn write_points(&self, out: &mut Writer, group: &[Metric], first: usize) {
        let Some(instrument) = group.first().map(|metric| metric.instrument) else { return };
        let is_sum = instrument != Instrument::Gauge;
        // What can fall is a total at any temporality, as exporters of OpenTelemetry have it.
        let is_delta = self.is_delta && instrument.is_monotonic();
        out.message(if is_sum { 7 } else { 5 }, |out| {
            for (metric, at) in group.iter().zip(first..) {
                let value =
                    if is_delta { self.entry.gained(at) } else { self.entry.values.get(at) };
                let started = if is_delta { self.entry.since() } else { self.entry.started };
                if let Some(value) = value {
                    let started = is_sum.then_some(started);
                    out.message(1, |out| {
                        write_point(out, metric, value, started, self.sample.wall)
                    });
                }
            }
            if is_sum {
                out.varint(2, if is_delta { DELTA } else { CUMULATIVE });
                if instrument.is_monotonic() {
                    out.varint(3, 1);
                }
            }
        });
    }
}

fn write_point(
    out: &mut Writer,
    metric: &Metric,
    value: i64,
    started: Option<WallTime>,
    wall: WallTime,
) {
    let nanos = |wall: WallTime| wall.as_unix_millis().saturating_mul(1_000_000).to_le_bytes();
    if let Some(started) = started {
        // The clock can have been set back since.
        out.fixed64(2, nanos(started.min(wall)));
    }
    out.fixed64(3, nanos(wall));
    if metric.unit.per_unit == 1 {
        out.fixed64(6, value.to_le_bytes());
    } else {
        out.fixed64(4, metric.unit.scaled(value).to_le_bytes());
    }
    for (name, value) in metric.attributes {
        attribute(out, 7, name, &ResourceValue::Text(value));
    }
}

/// A `KeyValue`.
fn attribute(out: &mut Writer, field: u32, name: &str, value: &ResourceValue<'_>) {
    out.message(field, |out| {
        out.string(1, name);
        out.message(2, |out| match value {
            ResourceValue::Text(text) => out.string(1, text),
            ResourceValue::Integer(number) => out.varint(3, number.cast_unsigned()),
        });
    });
}
