//! `/metrics/resource`: CPU and memory of the node, its pods and containers, for metrics-server and
//! the like.
//!
//! ```text
//! # HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time …
//! # TYPE container_cpu_usage_seconds_total counter
//! container_cpu_usage_seconds_total{container="app",namespace="shop",pod="web-1"} 2.994262 1795195817235
//! ```
//!
//! Like the kubelet's it has what runs: a container has one row, whatever runs it had before.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::family::{Family, FamilyText, Kind, Series, written_labels};
use super::text;
use crate::metrics::entity::{AttributeName, EntityClass};
use crate::metrics::sample::{Entry, MetricSample};
use crate::payload::open_metrics::TextFormat;

static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(families);

/// The text of a sample.
#[must_use]
pub fn of_sample(sample: Arc<MetricSample>, format: TextFormat) -> FamilyText {
    let labels = labels(&sample);
    let mut tail = Vec::new();
    for name in ["resource_scrape_error", "scrape_error"] {
        let help = "1 if there was an error while getting container metrics, 0 otherwise";
        super::family::write_head(name, Kind::Gauge, help, format, &mut tail);
        tail.extend_from_slice(name.as_bytes());
        tail.extend_from_slice(b" 0\n");
    }
    let tail = String::from_utf8(tail).unwrap_or_default();
    FamilyText::new(sample, format, &FAMILIES, labels, tail)
}

/// The labels of each entry; of several with the same labels, the one that was made last has them.
fn labels(sample: &MetricSample) -> Vec<Option<Box<[u8]>>> {
    let mut labels: Vec<Option<Box<[u8]>>> = Vec::with_capacity(sample.entries.len());
    let mut newest: BTreeMap<Box<[u8]>, usize> = BTreeMap::new();
    for (at, entry) in sample.entries.iter().enumerate() {
        let own = own_labels(entry);
        if let Some(own) = own.as_ref().filter(|own| !own.is_empty()) {
            let before = newest.insert(own.clone(), at);
            let created = |at: usize| sample.entries.get(at).and_then(|entry| entry.facts.created);
            if let Some(before) = before {
                let loser = if created(before) > created(at) { at } else { before };
                newest.insert(own.clone(), if loser == at { before } else { at });
                if loser == at {
                    labels.push(None);
                    continue;
                }
                if let Some(labels) = labels.get_mut(loser) {
                    *labels = None;
                }
            }
        }
        labels.push(own);
    }
    labels
}

/// `None`: the entity has no row.
fn own_labels(entry: &Entry) -> Option<Box<[u8]>> {
    if entry.ended.is_some() {
        return None;
    }
    let pod = text(entry, AttributeName::POD);
    let namespace = text(entry, AttributeName::NAMESPACE);
    let container = text(entry, AttributeName::CONTAINER);
    match entry.entity.id.class() {
        EntityClass::Node => Some(Box::default()),
        EntityClass::Pod if !pod.is_empty() => {
            Some(written_labels(&[("namespace", namespace), ("pod", pod)]))
        }
        EntityClass::Container if !pod.is_empty() && !container.is_empty() => {
            let labels = [("container", container), ("namespace", namespace), ("pod", pod)];
            Some(written_labels(&labels))
        }
        _ => None,
    }
}

fn families() -> Vec<Family> {
    const POD: EntityClass = EntityClass::Pod;
    const CONTAINER: EntityClass = EntityClass::Container;
    const NODE: EntityClass = EntityClass::Node;
    let family = |name, kind, help, series: Option<Series>| Family {
        name,
        kind,
        help,
        is_stamped: true,
        series: series.into_iter().collect(),
    };
    let figure = |class, name, attributes| Series::figure(class, name, attributes, "");
    let cpu = |class| Series::cpu(class, "cpu.time", &[], "", |before| Some(before.usage));
    let created = |_: &MetricSample, entry: &Entry| super::cadvisor::created(entry);
    vec![
        family(
            "container_cpu_usage_seconds_total",
            Kind::Counter,
            "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
            cpu(CONTAINER),
        ),
        family(
            "container_memory_working_set_bytes",
            Kind::Gauge,
            "[STABLE] Current working set of the container in bytes",
            figure(CONTAINER, "memory.working_set", &[]),
        ),
        Family {
            is_stamped: false,
            ..family(
                "container_start_time_seconds",
                Kind::Gauge,
                "[STABLE] Start time of the container since unix epoch in seconds",
                Some(Series::fact(CONTAINER, created)),
            )
        },
        family(
            "container_swap_usage_bytes",
            Kind::Gauge,
            "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems",
            figure(CONTAINER, "memory.swap", &[]),
        ),
        family(
            "node_cpu_usage_seconds_total",
            Kind::Counter,
            "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
            figure(NODE, "nodetally.node.cpu.time", &[]),
        ),
        family(
            "node_memory_working_set_bytes",
            Kind::Gauge,
            "[STABLE] Current working set of the node in bytes",
            figure(NODE, "nodetally.node.memory.working_set", &[]),
        ),
        family(
            "node_swap_usage_bytes",
            Kind::Gauge,
            "[ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems",
            figure(NODE, "system.paging.usage", &[("system.paging.state", "used")]),
        ),
        family(
            "pod_cpu_usage_seconds_total",
            Kind::Counter,
            "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
            cpu(POD),
        ),
        family(
            "pod_memory_working_set_bytes",
            Kind::Gauge,
            "[STABLE] Current working set of the pod in bytes",
            figure(POD, "memory.working_set", &[]),
        ),
        family(
            "pod_swap_usage_bytes",
            Kind::Gauge,
            "[ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems",
            figure(POD, "memory.swap", &[]),
        ),
    ]
}
