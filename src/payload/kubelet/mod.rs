//! The kubelet's own paths: `/metrics/resource`, `/metrics/cadvisor` and `/stats/summary`, with the
//! kubelet's names, types and labels.
//!
//! The names are those of `k8s.io/kubernetes/pkg/kubelet/metrics/collectors/resource_metrics.go`, of
//! cAdvisor's `metrics/prometheus.go`, and of `k8s.io/kubelet/pkg/apis/stats/v1alpha1`.
//! docs/kubelet-paths.md says what is left out, and why.

pub mod cadvisor;
mod family;
pub mod resource;
pub mod summary;

use crate::metrics::entity::{AttributeName, EntityClass};
use crate::metrics::metric::Metric;
use crate::metrics::sample::{CpuBefore, Entry};
use crate::metrics::table;

/// Facts about the machine that are no figures. An empty text: not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineFacts {
    pub boot_id: String,
    /// `/etc/machine-id`
    pub machine_id: String,
    /// `/sys/class/dmi/id/product_uuid`
    pub system_uuid: String,
    pub kernel_version: String,
    pub os_version: String,
    /// `None`, here and below: the kernel does not say.
    pub physical_cores: Option<u64>,
    pub sockets: Option<u64>,
    /// `kernel.pid_max`
    pub pid_max: Option<u64>,
}

/// The place of a figure that pods, containers and units have, by the end of its name and its
/// attributes. `None`: the class does not have it.
fn place(class: EntityClass, name: &str, attributes: &[(&str, &str)]) -> Option<usize> {
    let prefixes: &[&str] = match class {
        EntityClass::Pod => &["k8s.pod.", "nodetally.pod."],
        EntityClass::Container => &["container.", "nodetally.container."],
        EntityClass::Unit => &["nodetally.unit."],
        _ => &[""],
    };
    let is_it = |metric: &Metric| {
        let ends = |prefix: &&str| metric.name.strip_prefix(*prefix) == Some(name);
        prefixes.iter().any(ends) && metric.attributes == attributes
    };
    table::of(class).iter().position(is_it)
}

/// A figure of an entity by the end of its name, in the integers of its unit.
fn figure(entry: &Entry, name: &str, attributes: &[(&str, &str)]) -> Option<i64> {
    entry.values.get(place(entry.entity.id.class(), name, attributes)?)
}

/// CPU time since the object's cgroup was made, in microseconds. Where that is not known, since the
/// agent saw it.
fn cpu_since_creation(
    entry: &Entry,
    counted: Option<i64>,
    before: fn(CpuBefore) -> Option<i64>,
) -> Option<i64> {
    let before = entry.facts.cpu_before.and_then(before);
    match (before, counted) {
        (Some(before), counted) => Some(before.saturating_add(counted.unwrap_or(0))),
        (None, counted) => counted,
    }
}

/// The value of an attribute; empty if there is none.
fn text<'e>(entry: &'e Entry, name: &AttributeName) -> &'e str {
    entry.entity.attribute(name).unwrap_or_default()
}
