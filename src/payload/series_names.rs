//! The names and labels of series in Prometheus: the same in `/metrics` and in remote write.

use crate::metrics::metric::Metric;
use crate::metrics::sample::{Entry, MetricSample};

/// The end of the name of a series: a counter's is `_total`.
pub(super) const fn suffix(metric: &Metric) -> &'static str {
    if metric.instrument.is_monotonic() { "_total" } else { "" }
}

/// The labels of an entity, the node's first, without those that tell its metrics apart.
pub(super) fn entity_labels<'a>(
    sample: &'a MetricSample,
    entry: &'a Entry,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let own = entry.entity.attributes.iter();
    let own = own.filter_map(|attribute| Some((attribute.name.label?, &*attribute.value)));
    std::iter::once(("node", &*sample.node.name)).chain(own)
}

/// The labels that tell figures of one name apart.
pub(super) fn metric_labels(metric: &Metric) -> impl Iterator<Item = (String, &'static str)> {
    metric.attributes.iter().map(|(name, value)| (Metric::prometheus_label(name), *value))
}
