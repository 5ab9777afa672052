//! The node and pod resource API: one POST per node and per pod, a flat body of integers.
//!
//! ```text
//! POST /api/nodes/<node_name>/metrics
//! POST /api/namespaces/<namespace>/pods/<pod_name>/metrics     (the body adds node_name)
//! {"cpu_millicores":2300,"memory_bytes":4123456789,
//!  "disk_io":{"read_bytes":104857600,"write_bytes":524288000},
//!  "network_io":{"bytes_sent":19384728,"bytes_recv":28374612}}
//! ```
//!
//! Servers of this API store what they are sent unchecked: a null is accepted and breaks their
//! later answers. So the writing side has no optional figure, and the reading side here
//! ([`decode_node`], [`decode_pod`]) refuses what the writing side never sends.

mod decode;
mod extras;
mod merge;
mod posts;
mod records;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

pub use decode::{
    CONTAINERS_MAX, ContainerEcho, LABEL_LIMITS, NodeEcho, NodePost, PodEcho, PodPost, decode_node,
    decode_pod, node_post, pod_post,
};
pub use extras::{ContainerExtra, NodeExtras, PodExtras};
pub use merge::merge;
pub use posts::encode;
pub use records::{DeploymentRecord, NamespaceRecord, NodeRecord, PeakRecord, PodRecord};

use crate::payload::append;
pub use crate::payload::body::BodyError;
pub use crate::payload::name::{NAME_CHARS_MAX, NameError, check_name};
use crate::payload::profile::{CounterForms, Order, Profile, Reports, Timestamps};

pub const PROFILE: Profile = Profile {
    name: "resource-api",
    content_type: "application/json",
    path_in_url: None,
    reports: Reports::Usage(encode),
    order: Order::CumulativeAsSampled,
    timestamps: Timestamps::OnArrival { merge },
    split: None,
    permanent_500: true,
    retried_statuses: None,
    read_answer: None,
    points: None,
    uncompressed_because: Some(
        "servers of the resource API answer 500 to a body that is compressed",
    ),
    protocols: &[],
    as_json: None,
    gzip_by_default: false,
    counters: CounterForms::Counters,
    bounds_bodies: false,
    is_lines: false,
    has_disk_io: true,
    needs_metrics: false,
    needs_addresses: false,
    ends_series: false,
};

/// The usage of one node, pod or namespace as this API has it.
///
/// The bytes of disk and network are deltas of an interval or running totals, as the two ends agree;
/// the body does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(into = "UsageBody")]
pub struct UsageValues {
    /// CPU use in thousandths of one CPU.
    pub cpu_millicores: u64,
    /// Memory in use, in bytes.
    pub memory_bytes: u64,
    /// Bytes read from disks.
    pub read_bytes: u64,
    /// Bytes written to disks.
    pub write_bytes: u64,
    /// Bytes sent over the network.
    pub sent_bytes: u64,
    /// Bytes received over the network.
    pub recv_bytes: u64,
}

/// RFC 3986's unreserved characters stay as they are; all else is percent-encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `/api/nodes/<node_name>/metrics`, the name percent-encoded.
///
/// # Errors
/// The name is none that can stand in a path.
pub fn node_metrics_path(node_name: &str) -> Result<String, NameError> {
    check_name(node_name)?;
    Ok(format!("/api/nodes/{}/metrics", segment(node_name)))
}

/// `/api/namespaces/<namespace>/pods/<pod_name>/metrics`, both names percent-encoded.
///
/// # Errors
/// One of the names is none that can stand in a path.
pub fn pod_metrics_path(namespace: &str, pod_name: &str) -> Result<String, NameError> {
    check_name(namespace)?;
    check_name(pod_name)?;
    Ok(format!("/api/namespaces/{}/pods/{}/metrics", segment(namespace), segment(pod_name)))
}

/// `name` percent-encoded as one segment of a path.
pub fn segment(name: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(name, SEGMENT)
}

/// Appends the body of a node's post to `out`.
pub fn encode_node(usage: &UsageValues, extras: Option<&NodeExtras<'_>>, out: &mut Vec<u8>) {
    append(&NodeBody { usage, extras }, out);
}

/// Appends the body of the post of a pod that runs on `node_name` to `out`.
pub fn encode_pod(
    usage: &UsageValues,
    node_name: &str,
    extras: Option<&PodExtras<'_>>,
    out: &mut Vec<u8>,
) {
    append(&PodBody { usage, node_name, extras }, out);
}

/// The four required keys, as a post and every answer carry them.
#[derive(Serialize)]
struct UsageBody {
    cpu_millicores: u64,
    memory_bytes: u64,
    disk_io: DiskIo,
    network_io: NetworkIo,
}

#[derive(Serialize)]
struct DiskIo {
    read_bytes: u64,
    write_bytes: u64,
}

#[derive(Serialize)]
struct NetworkIo {
    bytes_sent: u64,
    bytes_recv: u64,
}

impl From<UsageValues> for UsageBody {
    fn from(usage: UsageValues) -> Self {
        Self {
            cpu_millicores: usage.cpu_millicores,
            memory_bytes: usage.memory_bytes,
            disk_io: DiskIo { read_bytes: usage.read_bytes, write_bytes: usage.write_bytes },
            network_io: NetworkIo { bytes_sent: usage.sent_bytes, bytes_recv: usage.recv_bytes },
        }
    }
}

#[derive(Serialize)]
struct NodeBody<'a> {
    #[serde(flatten)]
    usage: &'a UsageValues,
    #[serde(flatten)]
    extras: Option<&'a NodeExtras<'a>>,
}

#[derive(Serialize)]
struct PodBody<'a> {
    #[serde(flatten)]
    usage: &'a UsageValues,
    node_name: &'a str,
    #[serde(flatten)]
    extras: Option<&'a PodExtras<'a>>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::attribution::QosClass;
    use crate::identity::PodUid;
    use crate::payload::stamp::Rfc3339Seconds;
    use crate::quantity::WallTime;

    const NODE: UsageValues = UsageValues {
        cpu_millicores: 2300,
        memory_bytes: 4_123_456_789,
        read_bytes: 104_857_600,
        write_bytes: 524_288_000,
        sent_bytes: 19_384_728,
        recv_bytes: 28_374_612,
    };

    #[test]
    fn a_node_post_has_the_documents_shape() {
        let mut body = Vec::new();
        encode_node(&NODE, None, &mut body);
        assert_eq!(
            String::from_utf8(body).unwrap(),
            concat!(
                r#"{"cpu_millicores":2300,"memory_bytes":4123456789,"#,
                r#""disk_io":{"read_bytes":104857600,"write_bytes":524288000},"#,
                r#""network_io":{"bytes_sent":19384728,"bytes_recv":28374612}}"#
            )
        );
    }

    #[test]
    fn a_pod_post_has_the_documents_shape_and_the_extras_only_when_known() {
        let usage = UsageValues {
            cpu_millicores: 300,
            memory_bytes: 536_870_912,
            read_bytes: 2_048_000,
            write_bytes: 1_024_000,
            sent_bytes: 123_456,
            recv_bytes: 654_321,
        };
        let mut body = b"kept".to_vec();
        encode_pod(&usage, "node-1", None, &mut body);
        assert!(body.starts_with(b"kept"), "the caller's bytes before the body stay");
        let mut expected = json!({
            "cpu_millicores": 300,
            "memory_bytes": 536870912,
            "node_name": "node-1",
            "disk_io": {"read_bytes": 2048000, "write_bytes": 1024000},
            "network_io": {"bytes_sent": 123456, "bytes_recv": 654321}
        });
        assert_eq!(serde_json::from_slice::<Value>(&body[4..]).unwrap(), expected);

        body.clear();
        let mut extras = PodExtras {
            uid: PodUid::parse(b"a533c208_0be3_44e3_adb7_a0dae664d797"),
            qos: Some(QosClass::BestEffort),
            deployment_name: None,
            workload_kind: None,
            workload_name: None,
            labels: None,
            window_millis: 15_000,
            cpu_nanocores: 300_000_123,
            containers: Vec::new(),
        };
        encode_pod(&usage, "node-1", Some(&extras), &mut body);
        expected["pod_uid"] = json!("a533c208-0be3-44e3-adb7-a0dae664d797");
        expected["qos_class"] = json!("BestEffort");
        expected["window_millis"] = json!(15_000);
        expected["cpu_nanocores"] = json!(300_000_123);
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);

        body.clear();
        let labels = vec![("app".into(), "web".into())];
        extras.labels = Some(&labels);
        extras.deployment_name = Some("web");
        extras.workload_kind = Some("Deployment");
        extras.workload_name = Some("web");
        let app = ContainerExtra { name: "app", cpu_nanocores: 5, memory_bytes: 6 };
        extras.containers.push(app);
        encode_pod(&usage, "node-1", Some(&extras), &mut body);
        expected["deployment_name"] = json!("web");
        expected["workload_kind"] = json!("Deployment");
        expected["workload_name"] = json!("web");
        expected["labels"] = json!({"app": "web"});
        expected["containers"] = json!([{"name": "app", "cpu_nanocores": 5, "memory_bytes": 6}]);
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn the_read_side_has_the_documents_shapes() {
        let at = Rfc3339Seconds(WallTime::from_unix_millis(1_749_654_000_000));
        let usage = json!({
            "timestamp": "2025-06-11T15:00:00Z",
            "cpu_millicores": 2300,
            "memory_bytes": 4123456789_u64,
            "disk_io": {"read_bytes": 104857600, "write_bytes": 524288000},
            "network_io": {"bytes_sent": 19384728, "bytes_recv": 28374612}
        });
        let with = |more: Value| {
            let mut all = usage.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        let written = |record: &dyn erased::Json| record.json();
        assert_eq!(
            written(&NodeRecord::new("node-1", at, &NODE, false)),
            with(json!({"node_name": "node-1"}))
        );
        assert_eq!(
            written(&NodeRecord::new("node-1", at, &NODE, true)),
            with(json!({"node_name": "node-1", "stale": true}))
        );
        let mut pod = PodRecord::new("default", "web-server-1", at, &NODE);
        assert_eq!(
            written(&pod),
            with(json!({"namespace": "default", "pod_name": "web-server-1"}))
        );
        pod.node_name = Some("node-1");
        let extras = PodEcho { pod_uid: Some("u".to_owned()), ..PodEcho::default() };
        pod.extras = Some(&extras);
        assert_eq!(
            written(&pod),
            with(json!({"namespace": "default", "pod_name": "web-server-1",
                        "node_name": "node-1", "pod_uid": "u"}))
        );
        assert_eq!(
            written(&NamespaceRecord::new("default", at, &NODE)),
            with(json!({"namespace": "default"}))
        );
    }

    mod erased {
        pub trait Json {
            fn json(&self) -> serde_json::Value;
        }
        impl<T: serde::Serialize> Json for T {
            fn json(&self) -> serde_json::Value {
                serde_json::to_value(self).unwrap()
            }
        }
    }

    #[test]
    fn a_name_is_one_segment_of_the_path_whatever_it_holds() {
        assert_eq!(node_metrics_path("node-1.eu").unwrap(), "/api/nodes/node-1.eu/metrics");
        assert_eq!(node_metrics_path("a/b c%é").unwrap(), "/api/nodes/a%2Fb%20c%25%C3%A9/metrics");
        assert_eq!(
            pod_metrics_path("kube-system", "web?#").unwrap(),
            "/api/namespaces/kube-system/pods/web%3F%23/metrics"
        );
    }

    #[test]
    fn a_name_that_no_path_can_carry_is_refused() {
        assert_eq!(node_metrics_path(""), Err(NameError::Empty));
        assert_eq!(node_metrics_path(".."), Err(NameError::DotSegment));
        assert_eq!(node_metrics_path("a\nb"), Err(NameError::Control));
        assert_eq!(node_metrics_path(&"n".repeat(254)), Err(NameError::TooLong));
        assert!(node_metrics_path(&"n".repeat(253)).is_ok());
        assert_eq!(pod_metrics_path("", "web"), Err(NameError::Empty));
        assert_eq!(pod_metrics_path("default", "."), Err(NameError::DotSegment));
    }

    fn has_null(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Array(all) => all.iter().any(has_null),
            Value::Object(all) => all.values().any(has_null),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn every_post_parses_holds_no_null_and_reads_back(
            (cpu_millicores, memory_bytes, read_bytes) in any::<(u64, u64, u64)>(),
            (write_bytes, sent_bytes, recv_bytes) in any::<(u64, u64, u64)>(),
            node_name in "[^\\p{Cc}]{3,40}",
        ) {
            let usage = UsageValues {
                cpu_millicores, memory_bytes, read_bytes, write_bytes, sent_bytes, recv_bytes,
            };
            let mut body = Vec::new();
            encode_pod(&usage, &node_name, None, &mut body);
            let parsed: Value = serde_json::from_slice(&body).unwrap();
            prop_assert!(!has_null(&parsed));
            prop_assert_eq!(&parsed["network_io"]["bytes_recv"], &json!(recv_bytes));
            let read = decode_pod(&body).unwrap();
            prop_assert_eq!(read.usage, usage);
            prop_assert_eq!(read.node_name, node_name);
        }

        #[test]
        fn a_path_has_as_many_segments_as_the_api_says(name in "\\PC{1,60}") {
            prop_assume!(check_name(&name).is_ok());
            let path = pod_metrics_path(&name, &name).unwrap();
            prop_assert_eq!(path.split('/').count(), 7);
            prop_assert!(path.is_ascii() && !path.contains(['?', '#', ' ']));
        }
    }
}
