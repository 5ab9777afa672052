//! The metrics of one sample in Prometheus' text formats: OpenMetrics 1.0, and text 0.0.4.
//!
//! A large node has some MiB of text, so it is made piece by piece while it is sent.
//!
//! Formats: <https://prometheus.io/docs/specs/om/open_metrics_spec/> and
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::io::Write as _;
use std::sync::Arc;

use super::open_metrics::{TextFormat, escaped};
use crate::metrics::entity::{AttributeName, EntityClass};
use crate::metrics::metric::{Instrument, Metric};
use crate::metrics::sample::{Entry, MetricSample};
use crate::metrics::table;

/// A counter that started within so many milliseconds has its start time in the text. A server needs it
/// to count from 0, and only for what it sees for the first time.
const CREATED_FOR_MILLIS: u64 = 600_000;

/// The entities that are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityFilter {
    /// Only these; empty: all.
    pub classes: Vec<EntityClass>,
    /// Only entities of this namespace.
    pub namespace: Option<String>,
}

impl EntityFilter {
    fn has_class(&self, class: EntityClass) -> bool {
        self.classes.is_empty() || self.classes.contains(&class)
    }

    fn fits(&self, entry: &Entry) -> bool {
        let namespace = || entry.entity.attribute(AttributeName::NAMESPACE);
        self.has_class(entry.entity.id.class())
            && self.namespace.as_deref().is_none_or(|wanted| namespace() == Some(wanted))
    }
}

/// A text in the making.
#[derive(Debug)]
pub struct MetricText {
    sample: Arc<MetricSample>,
    format: TextFormat,
    filter: EntityFilter,
    /// The labels of each entity of the present class, escaped; `None`: it is not asked for.
    labels: Vec<Option<Box<[u8]>>>,
    class: usize,
    metric: usize,
    entry: usize,
    /// The family whose head is written, and its name in the text.
    family: &'static str,
    name: String,
}

impl MetricText {
    #[must_use]
    pub fn new(sample: Arc<MetricSample>, format: TextFormat, filter: EntityFilter) -> Self {
        let mut text = Self {
            sample,
            format,
            filter,
            labels: Vec::new(),
            class: 0,
            metric: 0,
            entry: 0,
            family: "",
            name: String::new(),
        };
        text.begin_class();
        text
    }

    /// Adds about `bytes` to `out`; `false`: everything is written. The end mark of OpenMetrics is
    /// not, since other metrics may follow.
    pub fn write(&mut self, out: &mut Vec<u8>, bytes: usize) -> bool {
        let full = out.len().saturating_add(bytes);
        while out.len() < full {
            let Some(class) = EntityClass::ALL.get(self.class).copied() else { return false };
            let Some(metric) = table::of(class).get(self.metric) else {
                self.class += 1;
                self.begin_class();
                continue;
            };
            let sample = Arc::clone(&self.sample);
            let entries = sample.of(class);
            while out.len() < full {
                let Some(entry) = entries.get(self.entry) else { break };
                self.write_entry(metric, entry, out);
                self.entry += 1;
            }
            if self.entry >= entries.len() {
                (self.entry, self.metric) = (0, self.metric + 1);
            }
        }
        true
    }

    fn begin_class(&mut self) {
        (self.metric, self.entry) = (0, 0);
        self.labels.clear();
        let Some(class) = EntityClass::ALL.get(self.class).copied() else { return };
        let labels =
            |entry: &Entry| self.filter.fits(entry).then(|| labels_of(&self.sample, entry));
        self.labels = self.sample.of(class).iter().map(labels).collect();
    }

    fn write_entry(&mut self, metric: &'static Metric, entry: &Entry, out: &mut Vec<u8>) {
        let Some(value) = entry.values.get(self.metric) else { return };
        let Some(labels) = self.labels.get(self.entry).and_then(Option::as_deref) else { return };
        if self.family != metric.name {
            self.family = metric.name;
            self.name = metric.prometheus_name();
            write_head(metric, &self.name, self.format, out);
        }
        let total = if metric.instrument.is_monotonic() { "_total" } else { "" };
        write_series(metric, [&self.name, total], labels, out);
        write_value(metric, value, out);
        let age = self.sample.wall.as_unix_millis().saturating_sub(entry.started.as_unix_millis());
        let is_young = age <= CREATED_FOR_MILLIS || entry.ended.is_some();
        if self.format == TextFormat::OpenMetrics && metric.instrument.is_monotonic() && is_young {
            write_series(metric, [&self.name, "_created"], labels, out);
            let millis = entry.started.as_unix_millis();
            // Writing to memory cannot fail, here and below.
            let _ = writeln!(out, "{}.{:03}", millis / 1000, millis % 1000);
        }
    }
}

/// The labels of an entity, with a comma behind each but the last.
fn labels_of(sample: &MetricSample, entry: &Entry) -> Box<[u8]> {
    let mut labels = Vec::with_capacity(128);
    let node = ("node", &*sample.node.name);
    let own = entry.entity.attributes.iter();
    let own = own.filter_map(|attribute| Some((attribute.name.label?, &*attribute.value)));
    for (name, value) in std::iter::once(node).chain(own) {
        if !labels.is_empty() {
            labels.push(b',');
        }
        labels.extend_from_slice(name.as_bytes());
        labels.extend_from_slice(b"=\"");
        labels.extend_from_slice(escaped(value).as_bytes());
        labels.push(b'"');
    }
    labels.into()
}

fn write_head(metric: &Metric, name: &str, format: TextFormat, out: &mut Vec<u8>) {
    let kind = if metric.instrument.is_monotonic() { "counter" } else { "gauge" };
    let total = match (format, metric.instrument) {
        (TextFormat::Prometheus, Instrument::Counter | Instrument::KernelCounter) => "_total",
        _ => "",
    };
    let _ = writeln!(out, "# TYPE {name}{total} {kind}\n# HELP {name}{total} {}", metric.help);
    let suffix = metric.unit.suffix;
    if format == TextFormat::OpenMetrics && !suffix.is_empty() {
        let _ = writeln!(out, "# UNIT {name} {suffix}");
    }
}

fn write_series(metric: &Metric, [name, suffix]: [&str; 2], labels: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    out.push(b'{');
    out.extend_from_slice(labels);
    for (name, value) in metric.attributes {
        out.push(b',');
        out.extend_from_slice(Metric::prometheus_label(name).as_bytes());
        out.extend_from_slice(b"=\"");
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b"} ");
}

fn write_value(metric: &Metric, kept: i64, out: &mut Vec<u8>) {
    let _ = match metric.unit.per_unit {
        1 => writeln!(out, "{kept}"),
        _ => writeln!(out, "{}", metric.unit.scaled(kept)),
    };
}
