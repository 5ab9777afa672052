//! Families of metrics in Prometheus' text formats, piece by piece.
//!
//! ```text
//! # HELP container_cpu_usage_seconds_total Cumulative cpu time consumed in seconds.
//! # TYPE container_cpu_usage_seconds_total counter
//! container_cpu_usage_seconds_total{container="app",…} 2.994262 1795195817235
//! ```

use std::io::Write as _;
use std::sync::Arc;

use super::super::open_metrics::{TextFormat, escaped};
use super::{cpu_since_creation, place};
use crate::metrics::entity::EntityClass;
use crate::metrics::metric::Unit;
use crate::metrics::sample::{CpuBefore, Entry, MetricSample};
use crate::metrics::table;
use crate::quantity::WallTime;
use crate::source::proc::diskstats::DiskName;

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// A family, with what it shows of each entity.
#[derive(Debug)]
pub(super) struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    /// Each row has the time of its value.
    pub is_stamped: bool,
    pub series: Vec<Series>,
}

/// One row of each entity of a class.
#[derive(Debug)]
pub(super) struct Series {
    pub class: EntityClass,
    /// Labels beside those of the entity, as they are written, with a comma in front.
    pub labels: &'static str,
    /// A label whose value is the entity's.
    pub extra: Option<ExtraLabel>,
    pub source: Source,
    /// Divides the value.
    pub divisor: f64,
}

/// A label whose value the kernel names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExtraLabel {
    Interface,
    Device,
}

/// The source of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// A figure by its place in the class.
    Figure(usize),
    /// The sum of two figures.
    Sum(usize, usize),
    /// A CPU time, to which the time before the running totals is added.
    Cpu(usize, fn(CpuBefore) -> Option<i64>),
    Fact(fn(&MetricSample, &Entry) -> Option<f64>),
}

impl Series {
    /// The series of a figure; `None`: the class does not have it.
    pub fn figure(
        class: EntityClass,
        name: &str,
        attributes: &[(&str, &str)],
        labels: &'static str,
    ) -> Option<Self> {
        let at = place(class, name, attributes)?;
        Some(Self::new(class, labels, Source::Figure(at), unit(class, at)))
    }

    /// The series of a CPU time since the cgroup was made.
    pub fn cpu(
        class: EntityClass,
        name: &str,
        attributes: &[(&str, &str)],
        labels: &'static str,
        before: fn(CpuBefore) -> Option<i64>,
    ) -> Option<Self> {
        let at = place(class, name, attributes)?;
        Some(Self::new(class, labels, Source::Cpu(at, before), unit(class, at)))
    }

    /// The series of a fact.
    pub fn fact(class: EntityClass, fact: fn(&MetricSample, &Entry) -> Option<f64>) -> Self {
        Self::new(class, "", Source::Fact(fact), Unit::BYTES)
    }

    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    pub fn new(class: EntityClass, labels: &'static str, source: Source, unit: Unit) -> Self {
        Self { class, labels, extra: None, source, divisor: unit.per_unit as f64 }
    }

    pub fn with(self, extra: ExtraLabel) -> Self {
        Self { extra: Some(extra), ..self }
    }

    #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 the last digits do not matter")]
    fn value(&self, sample: &MetricSample, entry: &Entry) -> Option<f64> {
        let get = |at| entry.values.get(at);
        let kept = match self.source {
            Source::Figure(at) => get(at)?,
            Source::Sum(a, b) => get(a)?.saturating_add(get(b)?),
            Source::Cpu(at, before) => cpu_since_creation(entry, get(at), before)?,
            Source::Fact(fact) => return fact(sample, entry),
        };
        Some(kept as f64 / self.divisor)
    }
}

fn unit(class: EntityClass, at: usize) -> Unit {
    table::of(class).get(at).map_or(Unit::BYTES, |metric| metric.unit)
}

/// A text in the making.
#[derive(Debug)]
pub struct FamilyText {
    sample: Arc<MetricSample>,
    format: TextFormat,
    families: &'static [Family],
    /// The labels of each entry of the sample; `None`: it is left out.
    labels: Vec<Option<Box<[u8]>>>,
    /// The node's one disk.
    disk: Option<DiskName>,
    /// Rows of the machine, behind all others.
    tail: String,
    family: usize,
    entry: usize,
    has_head: bool,
}

impl FamilyText {
    pub(super) fn new(
        sample: Arc<MetricSample>,
        format: TextFormat,
        families: &'static [Family],
        labels: Vec<Option<Box<[u8]>>>,
        tail: String,
    ) -> Self {
        let disk = sample.of(EntityClass::Node).first().and_then(|node| node.facts.disk);
        Self { sample, format, families, labels, disk, tail, family: 0, entry: 0, has_head: false }
    }

    /// Adds about `bytes` to `out`; `false`: everything is written, but the end mark of OpenMetrics.
    pub fn write(&mut self, out: &mut Vec<u8>, bytes: usize) -> bool {
        let full = out.len().saturating_add(bytes);
        let sample = Arc::clone(&self.sample);
        while out.len() < full {
            let Some(family) = self.families.get(self.family) else {
                out.extend_from_slice(self.tail.as_bytes());
                let was_there = !self.tail.is_empty();
                self.tail.clear();
                return was_there;
            };
            let Some(entry) = sample.entries.get(self.entry) else {
                (self.family, self.entry, self.has_head) = (self.family + 1, 0, false);
                continue;
            };
            let labels = self.labels.get(self.entry).and_then(Option::as_deref);
            self.entry += 1;
            let Some(labels) = labels else { continue };
            let class = entry.entity.id.class();
            for series in family.series.iter().filter(|series| series.class == class) {
                let Some(value) = series.value(&sample, entry) else { continue };
                if !self.has_head {
                    self.has_head = true;
                    write_head(family.name, family.kind, family.help, self.format, out);
                }
                let extra = match series.extra {
                    Some(ExtraLabel::Interface) => {
                        entry.facts.interface.as_ref().map(AsRef::as_ref)
                    }
                    Some(ExtraLabel::Device) => self.disk.as_ref().map(AsRef::as_ref),
                    None => None,
                };
                write_row(family, series, labels, extra, value, out);
                if family.is_stamped {
                    let wall = entry.ended.map_or(sample.wall, |ended| ended.wall);
                    write_stamp(wall, self.format, out);
                }
                out.push(b'\n');
            }
        }
        true
    }
}

/// Writes the head of a family.
pub(super) fn write_head(
    name: &str,
    kind: Kind,
    help: &str,
    format: TextFormat,
    out: &mut Vec<u8>,
) {
    let (family, kind) = match (format, kind) {
        (_, Kind::Gauge) => (name, "gauge"),
        (TextFormat::Prometheus, Kind::Counter) => (name, "counter"),
        // OpenMetrics lets no counter end otherwise.
        (TextFormat::OpenMetrics, Kind::Counter) => match name.strip_suffix("_total") {
            Some(family) => (family, "counter"),
            None => (name, "unknown"),
        },
    };
    // Writing to memory cannot fail, here and below.
    let _ = writeln!(out, "# HELP {family} {help}\n# TYPE {family} {kind}");
}

fn write_row(
    family: &Family,
    series: &Series,
    labels: &[u8],
    extra: Option<&[u8]>,
    value: f64,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(family.name.as_bytes());
    let has_labels = !labels.is_empty() || !series.labels.is_empty() || series.extra.is_some();
    if has_labels {
        out.push(b'{');
        out.extend_from_slice(labels);
        out.extend_from_slice(series.labels.as_bytes());
        if let Some(label) = series.extra {
            let (name, prefix) = match label {
                ExtraLabel::Interface => ("interface", ""),
                ExtraLabel::Device => ("device", "/dev/"),
            };
            let prefix = if extra.is_some() { prefix } else { "" };
            let text = String::from_utf8_lossy(extra.unwrap_or_default());
            let _ = write!(out, ",{name}=\"{prefix}{}\"", escaped(&text));
        }
        out.push(b'}');
    }
    let _ = write!(out, " {value}");
}

/// Writes the time of a value.
fn write_stamp(wall: WallTime, format: TextFormat, out: &mut Vec<u8>) {
    let millis = wall.as_unix_millis();
    let _ = match format {
        TextFormat::Prometheus => write!(out, " {millis}"),
        TextFormat::OpenMetrics => write!(out, " {}.{:03}", millis / 1000, millis % 1000),
    };
}

/// Labels as they are written, with a comma between them.
pub(super) fn written_labels(labels: &[(&str, &str)]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(256);
    for (name, value) in labels {
        if !out.is_empty() {
            out.push(b',');
        }
        let _ = write!(out, "{name}=\"{}\"", escaped(value));
    }
    out.into()
}
