//! Reads what [`encode_node`](super::encode_node) and [`encode_pod`](super::encode_pod) write, and
//! says in one line what is wrong with anything else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{NAME_CHARS_MAX, UsageValues, check_name};
use crate::payload::body::{BodyError, Fields, LabelLimits, object_of};

/// The longest `pod_uid` or `qos_class` that [`decode_pod`] keeps, in characters.
const EXTRA_CHARS_MAX: usize = 64;

/// The most containers of one pod.
pub const CONTAINERS_MAX: usize = 128;

/// The labels that [`decode_pod`] and [`decode_node`] keep. Further ones are left out and are no reason
/// to reject the post: those of containers outside Kubernetes may be of any length. A label's
/// key has up to 317 bytes in Kubernetes, its value 63.
pub const LABEL_LIMITS: LabelLimits =
    LabelLimits { count_max: 128, text_bytes_max: 317, bytes_max: 8 << 10 };

/// A node's post as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePost {
    pub usage: UsageValues,
    pub extras: NodeEcho,
}

/// A pod's post as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodPost {
    pub usage: UsageValues,
    pub node_name: String,
    pub extras: PodEcho,
}

/// The extra keys of a node's post; answers about the latest post repeat them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeEcho {
    /// The length of the interval, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_millis: Option<u64>,
    /// CPU use in billionths of one CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_nanocores: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// The extra keys of a pod's post; answers about the latest post repeat them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PodEcho {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The length of the interval, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_millis: Option<u64>,
    /// CPU use in billionths of one CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_nanocores: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerEcho>,
}

/// The usage of one container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerEcho {
    pub name: String,
    /// CPU use in billionths of one CPU.
    pub cpu_nanocores: u64,
    pub memory_bytes: u64,
}

/// Reads the body of a node's post. Keys it does not know are passed over.
///
/// # Errors
/// The body is no JSON object, lacks a figure, has one that is no integer from 0 to 2^64-1, or an
/// extra of another type or size.
pub fn decode_node(body: &[u8]) -> Result<NodePost, BodyError> {
    node_post(&Fields::of(&object_of(body)?))
}

/// Reads a node's post from its fields.
///
/// # Errors
/// As [`decode_node`].
pub fn node_post(fields: &Fields<'_>) -> Result<NodePost, BodyError> {
    Ok(NodePost {
        usage: usage_of(fields)?,
        extras: NodeEcho {
            window_millis: fields.optional_integer("window_millis")?,
            cpu_nanocores: fields.optional_integer("cpu_nanocores")?,
            labels: fields.optional_labels("labels", LABEL_LIMITS)?,
        },
    })
}

/// Reads the body of a pod's post: a node's, `node_name`, and the extras that
/// [`encode_pod`](super::encode_pod) adds.
///
/// # Errors
/// As [`decode_node`]; also where `node_name` is absent or no name.
pub fn decode_pod(body: &[u8]) -> Result<PodPost, BodyError> {
    pod_post(&Fields::of(&object_of(body)?))
}

/// Reads a pod's post from its fields.
///
/// # Errors
/// As [`decode_pod`].
pub fn pod_post(fields: &Fields<'_>) -> Result<PodPost, BodyError> {
    let usage = usage_of(fields)?;
    let node_name = fields.text("node_name", NAME_CHARS_MAX)?;
    named("node_name", node_name)?;
    Ok(PodPost { usage, node_name: node_name.to_owned(), extras: pod_extras(fields)? })
}

fn pod_extras(fields: &Fields<'_>) -> Result<PodEcho, BodyError> {
    let text = |key: &str, bytes_max: usize| {
        fields.optional_text(key, bytes_max).map(|text| text.map(str::to_owned))
    };
    let deployment_name = text("deployment_name", NAME_CHARS_MAX)?;
    if let Some(name) = &deployment_name {
        named("deployment_name", name)?;
    }
    let containers = fields
        .optional_objects("containers", CONTAINERS_MAX)?
        .into_iter()
        .map(|container| {
            Ok(ContainerEcho {
                name: container.text("name", NAME_CHARS_MAX)?.to_owned(),
                cpu_nanocores: container.integer("cpu_nanocores")?,
                memory_bytes: container.integer("memory_bytes")?,
            })
        })
        .collect::<Result<_, BodyError>>()?;
    Ok(PodEcho {
        pod_uid: text("pod_uid", EXTRA_CHARS_MAX)?,
        qos_class: text("qos_class", EXTRA_CHARS_MAX)?,
        deployment_name,
        workload_kind: text("workload_kind", NAME_CHARS_MAX)?,
        workload_name: text("workload_name", NAME_CHARS_MAX)?,
        labels: fields.optional_labels("labels", LABEL_LIMITS)?,
        window_millis: fields.optional_integer("window_millis")?,
        cpu_nanocores: fields.optional_integer("cpu_nanocores")?,
        containers,
    })
}

fn named(field: &str, name: &str) -> Result<(), BodyError> {
    check_name(name).map_err(|error| BodyError::Name { field: field.to_owned(), error })
}

fn usage_of(fields: &Fields<'_>) -> Result<UsageValues, BodyError> {
    // All four keys first, so that what is named as missing does not depend on the others' values.
    for key in ["cpu_millicores", "memory_bytes", "disk_io", "network_io"] {
        fields.required(key)?;
    }
    let disk = fields.object("disk_io")?;
    let network = fields.object("network_io")?;
    Ok(UsageValues {
        cpu_millicores: fields.integer("cpu_millicores")?,
        memory_bytes: fields.integer("memory_bytes")?,
        read_bytes: disk.integer("read_bytes")?,
        write_bytes: disk.integer("write_bytes")?,
        sent_bytes: network.integer("bytes_sent")?,
        recv_bytes: network.integer("bytes_recv")?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_bad_body_is_refused_with_the_field_and_what_is_allowed() {
        let good = json!({
            "cpu_millicores": 1, "memory_bytes": 2,
            "disk_io": {"read_bytes": 3, "write_bytes": 4},
            "network_io": {"bytes_sent": 5, "bytes_recv": 6},
            "node_name": "n", "another_key": null
        });
        let read = |value: &Value| decode_pod(value.to_string().as_bytes());
        assert_eq!(
            read(&good).unwrap().usage,
            UsageValues {
                cpu_millicores: 1,
                memory_bytes: 2,
                read_bytes: 3,
                write_bytes: 4,
                sent_bytes: 5,
                recv_bytes: 6
            }
        );
        for (pointer, value, expected) in [
            (
                "/cpu_millicores",
                json!(null),
                "cpu_millicores must be an integer from 0 to 18446744073709551615, not null",
            ),
            (
                "/memory_bytes",
                json!(-1),
                "memory_bytes must be an integer from 0 to 18446744073709551615, not -1",
            ),
            (
                "/disk_io/read_bytes",
                json!(1.5),
                "disk_io.read_bytes must be an integer from 0 to 18446744073709551615, not 1.5",
            ),
            ("/disk_io", json!([]), "disk_io must be an object, not []"),
            ("/disk_io", json!({"read_bytes": 1}), "Missing required field: disk_io.write_bytes"),
            ("/node_name", json!(7), "node_name must be a string of at most 253 characters, not 7"),
            ("/node_name", json!(""), "node_name is an empty name"),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            assert_eq!(read(&bad).unwrap_err().to_string(), expected);
        }
        for key in ["cpu_millicores", "memory_bytes", "disk_io", "network_io", "node_name"] {
            let mut bad = good.clone();
            bad.as_object_mut().unwrap().remove(key);
            let error = read(&bad).unwrap_err().to_string();
            assert_eq!(error, format!("Missing required field: {key}"));
        }
        assert_eq!(
            decode_node(b"[1]").unwrap_err().to_string(),
            "the body must be a JSON object, not [1]"
        );
        let error = decode_node(b"{\"cpu").unwrap_err().to_string();
        assert!(error.starts_with("the body is not valid JSON: "), "{error}");
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reading_side_panic(body in any::<Vec<u8>>()) {
            let _ = decode_node(&body);
            let _ = decode_pod(&body);
        }
    }
}
