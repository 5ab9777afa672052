//! The objects of `metrics.k8s.io/v1beta1`, as metrics-server writes them: CPU in billionths of a
//! CPU (`12345678n`), memory in `Ki`, the time that the values cover as a Go duration in seconds
//! (`15.012s`).
//!
//! The types are described in k8s.io/metrics/pkg/apis/metrics/v1beta1/types.go.

pub mod discovery;
mod list_position;
mod of_account;
pub mod openapi;
pub mod server;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

pub use discovery::AggregatedDiscovery;
pub use list_position::{ListPosition, ListPositionError};
pub use of_account::of_account;
pub use server::{CoreNode, CorePod};

use super::stamp::Rfc3339Seconds;
use crate::quantity::WallTime;

/// Group and version of all these objects.
pub const API_VERSION: &str = "metrics.k8s.io/v1beta1";

/// The CPU and memory use of a node or container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ResourceUsage {
    #[serde(rename = "cpu", serialize_with = "as_text")]
    cpu: Nanocores,
    #[serde(rename = "memory", serialize_with = "as_text")]
    memory: MemoryQuantity,
}

impl ResourceUsage {
    /// CPU in billionths of one CPU, memory in bytes.
    #[must_use]
    pub const fn new(cpu_nanocores: u64, memory_bytes: u64) -> Self {
        Self { cpu: Nanocores(cpu_nanocores), memory: MemoryQuantity(memory_bytes) }
    }
}

fn as_text<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Nanocores(u64);

impl fmt::Display for Nanocores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            nanocores => write!(f, "{nanocores}n"),
        }
    }
}

/// Bytes that are no multiple of 1024 are written as they are: no suffix holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct MemoryQuantity(u64);

impl fmt::Display for MemoryQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            bytes if bytes % 1024 == 0 => write!(f, "{}Ki", bytes / 1024),
            bytes => write!(f, "{bytes}"),
        }
    }
}

/// A length of time as a Go duration, in seconds with up to three decimals: `15s`, `15.012s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    millis: u64,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, millis) = (self.millis / 1000, self.millis % 1000);
        if millis == 0 {
            return write!(f, "{secs}s");
        }
        let decimals = format!("{millis:03}");
        write!(f, "{secs}.{}s", decimals.trim_end_matches('0'))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct MetricsMetadata {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    creation_timestamp: Rfc3339Seconds,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

/// The interval that the values cover: its end and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MetricsInterval {
    timestamp: Rfc3339Seconds,
    #[serde(serialize_with = "as_text")]
    window: Window,
}

impl MetricsInterval {
    /// `at` is the window's end.
    #[must_use]
    pub const fn new(at: WallTime, window_millis: u64) -> Self {
        Self { timestamp: Rfc3339Seconds(at), window: Window { millis: window_millis } }
    }
}

/// The usage of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeMetrics {
    metadata: MetricsMetadata,
    #[serde(flatten)]
    taken: MetricsInterval,
    usage: ResourceUsage,
}

impl NodeMetrics {
    #[must_use]
    pub fn new(
        name: &str,
        labels: BTreeMap<String, String>,
        taken: MetricsInterval,
        usage: ResourceUsage,
    ) -> Self {
        let creation_timestamp = taken.timestamp;
        let metadata =
            MetricsMetadata { name: name.to_owned(), namespace: None, creation_timestamp, labels };
        Self { metadata, taken, usage }
    }
}

/// The usage of a pod, by container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodMetrics {
    metadata: MetricsMetadata,
    #[serde(flatten)]
    taken: MetricsInterval,
    containers: Vec<ContainerMetrics>,
}

impl PodMetrics {
    #[must_use]
    pub fn new(
        namespace: &str,
        name: &str,
        labels: BTreeMap<String, String>,
        taken: MetricsInterval,
        containers: Vec<ContainerMetrics>,
    ) -> Self {
        let metadata = MetricsMetadata {
            name: name.to_owned(),
            namespace: Some(namespace.to_owned()),
            creation_timestamp: taken.timestamp,
            labels,
        };
        Self { metadata, taken, containers }
    }
}

/// The usage of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerMetrics {
    pub name: String,
    pub usage: ResourceUsage,
}

/// A single object, outside a list: with its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Object<T> {
    kind: &'static str,
    api_version: &'static str,
    #[serde(flatten)]
    object: T,
}

impl Object<NodeMetrics> {
    #[must_use]
    pub const fn node(object: NodeMetrics) -> Self {
        Self { kind: "NodeMetrics", api_version: API_VERSION, object }
    }
}

impl Object<PodMetrics> {
    #[must_use]
    pub const fn pod(object: PodMetrics) -> Self {
        Self { kind: "PodMetrics", api_version: API_VERSION, object }
    }
}

/// A list of objects; its `metadata` is empty, since nothing here has versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsList<T> {
    kind: &'static str,
    api_version: &'static str,
    metadata: MetricsListMetadata,
    pub items: Vec<T>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
struct MetricsListMetadata {}

pub type NodeMetricsList = MetricsList<NodeMetrics>;
pub type PodMetricsList = MetricsList<PodMetrics>;

impl NodeMetricsList {
    #[must_use]
    pub fn nodes(items: Vec<NodeMetrics>) -> Self {
        Self::of("NodeMetricsList", items)
    }
}

impl PodMetricsList {
    #[must_use]
    pub fn pods(items: Vec<PodMetrics>) -> Self {
        Self::of("PodMetricsList", items)
    }
}

impl<T: Serialize> MetricsList<T> {
    fn of(kind: &'static str, items: Vec<T>) -> Self {
        Self { kind, api_version: API_VERSION, metadata: MetricsListMetadata {}, items }
    }

    /// The list as JSON, on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::directory::resource_quantity::ResourceQuantity;

    const TAKEN: MetricsInterval =
        MetricsInterval::new(WallTime::from_unix_millis(1_749_654_000_123), 15_012);

    #[test]
    fn a_node_has_the_apis_form() {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let node = NodeMetrics::new("node-1", labels, TAKEN, ResourceUsage::new(329_087_452, 2048));
        let item = json!({
            "metadata": {
                "name": "node-1", "creationTimestamp": "2025-06-11T15:00:00Z",
                "labels": {"a": "b"}
            },
            "timestamp": "2025-06-11T15:00:00Z",
            "window": "15.012s",
            "usage": {"cpu": "329087452n", "memory": "2Ki"}
        });
        assert_eq!(
            json!(NodeMetricsList::nodes(vec![node.clone()])),
            json!({
                "kind": "NodeMetricsList", "apiVersion": "metrics.k8s.io/v1beta1",
                "metadata": {}, "items": [item]
            })
        );
        let mut alone = item;
        alone["kind"] = json!("NodeMetrics");
        alone["apiVersion"] = json!("metrics.k8s.io/v1beta1");
        assert_eq!(json!(Object::node(node)), alone);
    }

    #[test]
    fn a_pod_has_its_containers() {
        let container =
            ContainerMetrics { name: "app".to_owned(), usage: ResourceUsage::new(0, 1025) };
        let pod = PodMetrics::new("default", "web", BTreeMap::new(), TAKEN, vec![container]);
        assert_eq!(
            json!(Object::pod(pod)),
            json!({
                "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
                "metadata": {
                    "name": "web", "namespace": "default",
                    "creationTimestamp": "2025-06-11T15:00:00Z"
                },
                "timestamp": "2025-06-11T15:00:00Z",
                "window": "15.012s",
                "containers": [{"name": "app", "usage": {"cpu": "0", "memory": "1025"}}]
            })
        );
    }

    #[test]
    fn a_window_is_in_seconds() {
        let shown = |millis| Window { millis }.to_string();
        assert_eq!(shown(15_000), "15s");
        assert_eq!(shown(15_012), "15.012s");
        assert_eq!(shown(100), "0.1s");
        assert_eq!(shown(90_500), "90.5s");
        assert_eq!(shown(0), "0s");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_amount(cpu in any::<u64>(), bytes in 0..=i64::MAX) {
            let read = |text: String| ResourceQuantity::parse(&text).unwrap();
            let bytes = bytes.unsigned_abs();
            prop_assert_eq!(read(MemoryQuantity(bytes).to_string()).units(), bytes);
            let millis = read(Nanocores(cpu).to_string()).milli_units();
            prop_assert_eq!(millis, cpu.div_ceil(1_000_000));
        }
    }
}
