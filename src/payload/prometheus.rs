//! The metrics of one sample in Prometheus' text formats: OpenMetrics 1.0, and text 0.0.4.
//!
//! A large node has some MiB of text, so it is made piece by piece while it is sent.
//!
//! Formats: <https://prometheus.io/docs/specs/om/open_metrics_spec/> and
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::io::Write as _;
use std::sync::Arc;

use super::open_metrics::{TextFormat, escaped};
use super::series_names::{entity_labels, metric_labels, suffix};
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
    /// The parts of each entity of the present class; `None`: it is not asked for.
    entities: Vec<Option<EntityParts>>,
    class: usize,
    metric: usize,
    entry: usize,
    /// The family whose head is written.
    family: &'static str,
    line: LineParts,
}

/// The parts of a line that all entities share, so that they are made once for each metric.
#[derive(Debug, Default)]
struct LineParts {
    /// `name_total{`
    value: Vec<u8>,
    /// `name_created{`; empty if the metric has none.
    created: Vec<u8>,
    /// `,direction="read"} `
    end: Vec<u8>,
}

impl LineParts {
    fn of(metric: &Metric, format: TextFormat) -> Self {
        let name = metric.prometheus_name();
        let is_counter = metric.instrument.is_monotonic();
        let total = suffix(metric);
        let has_created = is_counter && format == TextFormat::OpenMetrics;
        let created = if has_created { format!("{name}_created{{") } else { String::new() };
        let mut end = String::new();
        for (label, value) in metric_labels(metric) {
            end.push_str(&format!(",{label}=\"{value}\""));
        }
        end.push_str("} ");
        let value = format!("{name}{total}{{");
        Self { value: value.into(), created: created.into(), end: end.into() }
    }
}

impl MetricText {
    #[must_use]
    pub fn new(sample: Arc<MetricSample>, format: TextFormat, filter: EntityFilter) -> Self {
        let mut text = Self {
            sample,
            format,
            filter,
            entities: Vec::new(),
            class: 0,
            metric: 0,
            entry: 0,
            family: "",
            line: LineParts::default(),
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
            if self.entry == 0 {
                self.line = LineParts::of(metric, self.format);
            }
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
        self.entities.clear();
        let Some(class) = EntityClass::ALL.get(self.class).copied() else { return };
        let parts =
            |entry: &Entry| self.filter.fits(entry).then(|| EntityParts::of(&self.sample, entry));
        self.entities = self.sample.of(class).iter().map(parts).collect();
    }

    fn write_entry(&mut self, metric: &'static Metric, entry: &Entry, out: &mut Vec<u8>) {
        let Some(value) = entry.values.get(self.metric) else { return };
        let Some(Some(entity)) = self.entities.get(self.entry) else { return };
        if self.family != metric.name {
            self.family = metric.name;
            write_head(metric, self.format, out);
        }
        let line = &self.line;
        for part in [&*line.value, &*entity.labels, &*line.end] {
            out.extend_from_slice(part);
        }
        write_value(value, metric.unit.per_unit, out);
        out.push(b'\n');
        if !line.created.is_empty() && !entity.created.is_empty() {
            for part in [&*line.created, &*entity.labels, &*line.end, &*entity.created] {
                out.extend_from_slice(part);
            }
        }
    }
}

/// The parts of a line that all metrics of an entity share.
#[derive(Debug)]
struct EntityParts {
    /// Escaped.
    labels: Box<[u8]>,
    /// The start with a line break; empty where it is of no use any more.
    created: Box<[u8]>,
}

impl EntityParts {
    fn of(sample: &MetricSample, entry: &Entry) -> Self {
        let started = entry.started.as_unix_millis();
        let age = sample.wall.as_unix_millis().saturating_sub(started);
        let mut created = Vec::new();
        if age <= CREATED_FOR_MILLIS || entry.ended.is_some() {
            write_value(i64::try_from(started).unwrap_or(i64::MAX), 1000, &mut created);
            created.push(b'\n');
        }
        Self { labels: labels_of(sample, entry), created: created.into() }
    }
}

/// The labels of an entity, with a comma behind each but the last.
fn labels_of(sample: &MetricSample, entry: &Entry) -> Box<[u8]> {
    let mut labels = Vec::with_capacity(128);
    for (name, value) in entity_labels(sample, entry) {
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

fn write_head(metric: &Metric, format: TextFormat, out: &mut Vec<u8>) {
    let name = metric.prometheus_name();
    let kind = if metric.instrument.is_monotonic() { "counter" } else { "gauge" };
    let total = match (format, metric.instrument) {
        (TextFormat::Prometheus, Instrument::Counter | Instrument::KernelCounter) => "_total",
        _ => "",
    };
    // Writing to memory cannot fail.
    let _ = writeln!(out, "# TYPE {name}{total} {kind}\n# HELP {name}{total} {}", metric.help);
    let suffix = metric.unit.suffix;
    if format == TextFormat::OpenMetrics && !suffix.is_empty() {
        let _ = writeln!(out, "# UNIT {name} {suffix}");
    }
}

/// Writes `kept` / `per_unit`, a power of ten, exactly: 0.3 for 300000 of 1000000.
fn write_value(kept: i64, per_unit: i64, out: &mut Vec<u8>) {
    if kept < 0 {
        out.push(b'-');
    }
    let per_unit = per_unit.unsigned_abs().max(1);
    let (whole, mut fraction) = (kept.unsigned_abs() / per_unit, kept.unsigned_abs() % per_unit);
    write_digits(whole, 1, out);
    if fraction > 0 {
        let mut digits = per_unit.ilog10() as usize;
        while fraction.is_multiple_of(10) {
            (fraction, digits) = (fraction / 10, digits - 1);
        }
        out.push(b'.');
        write_digits(fraction, digits, out);
    }
}

/// Writes a number with at least so many digits, at most 20.
fn write_digits(mut number: u64, digits_min: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut count = 0;
    for digit in digits.iter_mut().rev() {
        if number == 0 && count >= digits_min {
            break;
        }
        *digit = b'0' + (number % 10) as u8;
        (number, count) = (number / 10, count + 1);
    }
    out.extend_from_slice(digits.get(digits.len() - count..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_exact() {
        for (kept, per_unit, right) in [
            (0, 1, "0"),
            (-7, 1, "-7"),
            (i64::MAX, 1, "9223372036854775807"),
            (i64::MIN, 1, "-9223372036854775808"),
            (300_000, 1_000_000, "0.3"),
            (-1, 1_000_000, "-0.000001"),
            (1_000_000, 1_000_000, "1"),
            (12_345_678_900_001, 1_000_000, "12345678.900001"),
            (2_000_000_050, 1_000_000_000, "2.00000005"),
            (6921, 10_000, "0.6921"),
            (373, 100, "3.73"),
            (1_778_581_934_120, 1000, "1778581934.12"),
        ] {
            let mut out = Vec::new();
            write_value(kept, per_unit, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), right);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_value_reads_back_as_what_was_kept(kept in -(1_i64 << 52)..(1_i64 << 52), digits in 0_u32..10) {
            let per_unit = 10_i64.pow(digits);
            let mut out = Vec::new();
            write_value(kept, per_unit, &mut out);
            let read: f64 = String::from_utf8(out).unwrap().parse().unwrap();
            proptest::prop_assert_eq!(read, kept as f64 / per_unit as f64);
        }
    }
}
