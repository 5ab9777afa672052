//! A sample as requests.

use std::collections::BTreeMap;

use prost::Message as _;

use super::messages::{
    COUNTER, GAUGE, STALE, SeriesMetadata, SeriesSample, SymbolRequest, SymbolSeries,
};
use super::symbols::Symbols;
use crate::metrics::entity::EntityClass;
use crate::metrics::metric::Metric;
use crate::metrics::sample::{Entry, MetricSample};
use crate::metrics::table;
use crate::payload::entities::Observation;
use crate::payload::metric_filter::is_sent;
use crate::payload::options::{EncodeOptions, Message};
use crate::payload::running_totals::Entities;
use crate::payload::series_names::{entity_labels, metric_labels, suffix};
use crate::quantity::WallTime;

/// About the most series of one request, some hundred KiB. The next one begins with the next entity.
const SERIES_MAX: usize = 5000;

/// A counter that is sent for the first time gets a point of 0 at its start, if that is not longer ago.
/// Servers refuse what is much older than what they have.
const ZERO_WITHIN_MILLIS: u64 = 600_000;

/// The value of the label `job`, as a scrape of `/metrics` would have it.
const JOB: &str = "nodetally";

/// The requests of one sample, in protocol 2.0; none while there are no metrics.
#[must_use]
pub fn encode(view: &Observation<'_>, _: &Entities<'_>, options: &EncodeOptions) -> Vec<Message> {
    let Some(sample) = view.metrics else { return Vec::new() };
    let mut messages = Vec::new();
    let mut request = RequestInMaking::new(sample, options);
    for entry in sample.entries.iter().filter(|entry| is_sent(entry, view, options)) {
        request.add(entry);
        if request.timeseries.len() >= SERIES_MAX {
            messages.extend(request.finish());
            request = RequestInMaking::new(sample, options);
        }
    }
    messages.extend(request.finish());
    messages
}

struct RequestInMaking<'a> {
    sample: &'a MetricSample,
    options: &'a EncodeOptions,
    symbols: Symbols,
    /// By class and place in the table, since thousands of series share them.
    metrics: BTreeMap<(EntityClass, usize), MetricPlaces>,
    timeseries: Vec<SymbolSeries>,
}

/// The places of what a metric gives to each of its series.
struct MetricPlaces {
    /// The name, and the labels of the metric itself.
    labels: Vec<(u32, u32)>,
    metadata: SeriesMetadata,
}

impl MetricPlaces {
    fn new(symbols: &mut Symbols, metric: &Metric) -> Self {
        let mut name = metric.prometheus_name();
        name.push_str(suffix(metric));
        let mut labels = vec![(symbols.place("__name__"), symbols.place(&name))];
        for (name, value) in metric_labels(metric) {
            labels.push((symbols.place(&name), symbols.place(value)));
        }
        let metadata = SeriesMetadata {
            kind: if metric.instrument.is_monotonic() { COUNTER } else { GAUGE },
            help_ref: symbols.place(metric.help),
            unit_ref: symbols.place(metric.unit.suffix),
        };
        Self { labels, metadata }
    }
}

impl<'a> RequestInMaking<'a> {
    fn new(sample: &'a MetricSample, options: &'a EncodeOptions) -> Self {
        Self {
            sample,
            options,
            symbols: Symbols::new(),
            metrics: BTreeMap::new(),
            timeseries: Vec::new(),
        }
    }

    fn add(&mut self, entry: &Entry) {
        let mut of_entity: Option<Vec<(u32, u32)>> = None;
        let class = entry.entity.id.class();
        for (at, metric) in table::of(class).iter().enumerate() {
            let samples = points(self.sample, entry, at, metric);
            if samples.is_empty() {
                continue;
            }
            // Of most ended entities nothing is sent.
            let of_entity = of_entity.get_or_insert_with(|| self.labels_of(entry));
            let new = || MetricPlaces::new(&mut self.symbols, metric);
            let of_metric = self.metrics.entry((class, at)).or_insert_with(new);
            let labels_refs = labels(&self.symbols, of_entity, &of_metric.labels);
            let metadata = Some(of_metric.metadata);
            self.timeseries.push(SymbolSeries { labels_refs, samples, metadata });
        }
    }

    /// The labels that all series of an entity have. A label of the series itself wins over one of the
    /// settings, and that over `job` and `instance`. None is empty.
    fn labels_of(&mut self, entry: &Entry) -> Vec<(u32, u32)> {
        let of_settings = self.options.external_labels.iter();
        let of_settings = of_settings.map(|(name, value)| (&**name, &**value));
        let as_scraped = [("job", JOB), ("instance", &*self.sample.node.name)];
        let all = entity_labels(self.sample, entry).chain(of_settings).chain(as_scraped);
        let mut places: Vec<(u32, u32)> = Vec::new();
        for (name, value) in all.filter(|(_, value)| !value.is_empty()) {
            let name = self.symbols.place(name);
            if places.iter().all(|(other, _)| *other != name) {
                places.push((name, self.symbols.place(value)));
            }
        }
        places
    }

    fn finish(self) -> Option<Message> {
        if self.timeseries.is_empty() {
            return None;
        }
        let symbols = self.symbols.into_texts();
        let request = SymbolRequest { symbols, timeseries: self.timeseries };
        Some(Message { path: String::new(), body: request.encode_to_vec().into() })
    }
}

/// The labels of a series, in the order of their names.
fn labels(symbols: &Symbols, of_entity: &[(u32, u32)], of_metric: &[(u32, u32)]) -> Vec<u32> {
    let mut labels = Vec::with_capacity(of_entity.len() + of_metric.len());
    labels.extend_from_slice(of_metric);
    for (name, value) in of_entity {
        if labels.iter().all(|(other, _)| other != name) {
            labels.push((*name, *value));
        }
    }
    symbols.in_order(&mut labels)
}

/// The points of one series in this sample; none where nothing is to be said of it.
fn points(sample: &MetricSample, entry: &Entry, at: usize, metric: &Metric) -> Vec<SeriesSample> {
    let is_counter = metric.instrument.is_monotonic();
    let start_timestamp = if is_counter { millis(entry.started).max(1) } else { 0 };
    let now = millis(sample.wall);
    let point = |value, timestamp| SeriesSample { value, timestamp, start_timestamp };
    let before = entry.before.as_ref().and_then(|before| before.values.get(at));
    let Some(value) = entry.values.get(at) else {
        return before.map(|_| point(STALE, now)).into_iter().collect();
    };
    if let Some(ended) = entry.ended.filter(|ended| ended.sequence < sample.sequence) {
        // Its last total was in the sample before.
        let is_next = sample.sequence == ended.sequence + 1;
        return is_next.then(|| point(STALE, now)).into_iter().collect();
    }
    let mut points = Vec::with_capacity(1);
    // One millisecond behind its start, at which an earlier run may have sent its last total. That run
    // ended its series when it stopped, before this one started.
    let zero_at = entry.since().max(sample.agent_started).as_unix_millis() + 1;
    let wall = sample.wall.as_unix_millis();
    let is_young = zero_at < wall && wall - zero_at <= ZERO_WITHIN_MILLIS;
    if is_counter && before.is_none() && is_young {
        points.push(point(0.0, signed(zero_at)));
    }
    points.push(point(metric.unit.scaled(value), now));
    points
}

fn millis(time: WallTime) -> i64 {
    signed(time.as_unix_millis())
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}
