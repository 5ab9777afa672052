//! Reads an envelope, one resource at a time, so that no more than one of them is held apart.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::payload::body::{BodyError, Fields, reason, value_of};
use crate::payload::resource_api::{
    LABEL_LIMITS, NAME_CHARS_MAX, NodeEcho, NodePost, PodEcho, PodPost, UsageValues, check_name,
};

/// The most resources of one envelope.
const RESOURCES_MAX: usize = 5000;

/// The longest resource, as it was written and as it is kept, in characters.
const RESOURCE_BYTES_MAX: usize = 256 << 10;

/// The longest `cluster_id`, `uid` and the like, in characters.
const TEXT_CHARS_MAX: usize = 256;

/// The most CPUs of a node or pod. It keeps billionths of them within 64 bits.
const CORES_MAX: u32 = 1_000_000;

/// The most conditions, container statuses or owners of one resource.
const PARTS_MAX: usize = 1024;

/// An envelope as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedBatch<R> {
    pub cluster_id: String,
    /// `context.name`
    pub cluster_name: String,
    pub resources: Vec<R>,
}

/// A pod of an envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct PodResource {
    pub namespace: String,
    pub name: String,
    /// `status.phase` is `Running`. Batches have pods in every phase, the resource API only these.
    pub runs: bool,
    /// Its usage in the terms of the resource API. This API has no disk bytes: they are 0.
    pub post: PodPost,
    /// The whole resource as JSON.
    pub json: String,
}

/// A node of an envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeResource {
    pub name: String,
    /// Its usage in the terms of the resource API. This API has no disk bytes: they are 0.
    pub post: NodePost,
    pub capacity: NodeAmounts,
    /// The part of the capacity that pods may use.
    pub allocatable: NodeAmounts,
    /// The whole resource as JSON.
    pub json: String,
}

/// The CPU and memory of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAmounts {
    /// Billionths of one CPU.
    pub cpu_nanocores: u64,
    pub memory_bytes: u64,
}

/// Reads the body of `POST /api/v1/metrics/pods`.
///
/// # Errors
/// It is no JSON object, or a field is missing, of another type or too large.
pub fn decode_pods(body: &[u8]) -> Result<ReceivedBatch<PodResource>, BodyError> {
    decode(body)
}

/// Reads the body of `POST /api/v1/metrics/nodes`.
///
/// # Errors
/// As [`decode_pods`].
pub fn decode_nodes(body: &[u8]) -> Result<ReceivedBatch<NodeResource>, BodyError> {
    decode(body)
}

fn decode<R: ReadResource>(body: &[u8]) -> Result<ReceivedBatch<R>, BodyError> {
    // The derived form would take a list for the fields in their order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(BodyError::NotAnObject("a list".to_owned()));
    }
    let envelope: ReceivedEnvelope<'_, R> =
        serde_json::from_slice(body).map_err(|error| BodyError::NotJson(reason(&error)))?;
    let mut object = serde_json::Map::new();
    for (key, value) in [
        ("cluster_id", envelope.cluster_id),
        ("context", envelope.context),
        ("collected_at", envelope.collected_at),
    ] {
        if let Some(value) = value {
            object.insert(key.to_owned(), value_of(value.get().as_bytes(), key)?);
        }
    }
    let fields = Fields::of(&object);
    let cluster_id = fields.text("cluster_id", TEXT_CHARS_MAX)?;
    let cluster_name = check_context(&fields.object("context")?)?;
    let collected_at = fields.text("collected_at", TEXT_CHARS_MAX)?;
    if !is_moment(collected_at) {
        return Err(BodyError::Wrong {
            field: "collected_at".to_owned(),
            allowed: "a moment like 2025-02-23T10:00:00Z or 2025-02-23T11:00:00+01:00".to_owned(),
            found: Value::from(collected_at).to_string(),
        });
    }
    let resources =
        envelope.resources.ok_or_else(|| BodyError::Missing("resources".to_owned()))?.0?;
    Ok(ReceivedBatch {
        cluster_id: cluster_id.to_owned(),
        cluster_name: cluster_name.to_owned(),
        resources,
    })
}

/// A date-time of RFC 3339, in UTC or with an offset.
fn is_moment(text: &str) -> bool {
    let offset = text.len().checked_sub(6).and_then(|at| text.split_at_checked(at));
    let in_utc = offset.and_then(|(local, offset)| {
        let (hours, minutes) = offset.strip_prefix(['+', '-'])?.split_once(':')?;
        let is_below = |text: &str, end: u8| text.parse::<u8>().is_ok_and(|value| value < end);
        let is_local = !local.ends_with(['Z', 'z']);
        (is_local && is_below(hours, 24) && is_below(minutes, 60)).then(|| format!("{local}Z"))
    });
    humantime::parse_rfc3339(in_utc.as_deref().unwrap_or(text)).is_ok()
}

fn check_context<'a>(context: &Fields<'a>) -> Result<&'a str, BodyError> {
    let name = context.text("name", TEXT_CHARS_MAX)?;
    context.text("kubernetes_version", TEXT_CHARS_MAX)?;
    let provider = context.object("provider")?;
    provider.text("name", TEXT_CHARS_MAX)?;
    provider.text("region", TEXT_CHARS_MAX)?;
    context.object("labels")?;
    context.objects("node_groups", PARTS_MAX)?;
    Ok(name)
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "R: ReadResource"))]
struct ReceivedEnvelope<'a, R> {
    #[serde(borrow)]
    cluster_id: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    collected_at: Option<&'a RawValue>,
    resources: Option<ReceivedResources<R>>,
}

/// The list, or what is wrong with the first resource that is none.
struct ReceivedResources<R>(Result<Vec<R>, BodyError>);

impl<'de, R: ReadResource> Deserialize<'de> for ReceivedResources<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ResourcesVisitor(PhantomData))
    }
}

struct ResourcesVisitor<R>(PhantomData<R>);

impl<'de, R: ReadResource> Visitor<'de> for ResourcesVisitor<R> {
    type Value = ReceivedResources<R>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("resources to be a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut resources = Vec::new();
        while let Some(value) = seq.next_element::<&RawValue>()? {
            let read = if resources.len() < RESOURCES_MAX {
                read_resource(value.get(), resources.len())
            } else {
                Err(BodyError::Wrong {
                    field: "resources".to_owned(),
                    allowed: format!("a list of at most {RESOURCES_MAX}"),
                    found: "a longer one".to_owned(),
                })
            };
            match read {
                Ok(resource) => resources.push(resource),
                Err(error) => {
                    while seq.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(ReceivedResources(Err(error)));
                }
            }
        }
        Ok(ReceivedResources(Ok(resources)))
    }
}

fn read_resource<R: ReadResource>(written: &str, at: usize) -> Result<R, BodyError> {
    let name = format!("resources[{at}]");
    check_length(&name, written)?;
    let value = value_of(written.as_bytes(), &name)?;
    let json = value.to_string();
    check_length(&name, &json)?;
    R::read(&Fields::of_part(&value, name)?, json)
}

fn check_length(name: &str, json: &str) -> Result<(), BodyError> {
    if json.len() <= RESOURCE_BYTES_MAX {
        return Ok(());
    }
    Err(BodyError::Wrong {
        field: name.to_owned(),
        allowed: format!("at most {RESOURCE_BYTES_MAX} bytes long"),
        found: format!("{} bytes", json.len()),
    })
}

trait ReadResource: Sized {
    fn read(fields: &Fields<'_>, json: String) -> Result<Self, BodyError>;
}

impl ReadResource for PodResource {
    fn read(fields: &Fields<'_>, json: String) -> Result<Self, BodyError> {
        let namespace = name_of(fields, "namespace")?;
        let name = name_of(fields, "name")?;
        let uid = fields.text("uid", TEXT_CHARS_MAX)?;
        let status = fields.object("status")?;
        let phase = status.text("phase", TEXT_CHARS_MAX)?;
        status.objects("conditions", PARTS_MAX)?;
        status.objects("container_statuses", PARTS_MAX)?;
        let node_name = name_of(&fields.object("spec")?, "node_name")?;
        let metadata = fields.object("metadata")?;
        let metrics = fields.object("metrics")?;
        let cpu = metrics.object("cpu")?;
        let memory = metrics.object("memory")?;
        let cores = cpu.number("usage", CORES_MAX)?;
        // A container without them is common, and clients leave them out.
        for key in ["requests", "limits"] {
            cpu.nullable(key).map(|_| cpu.number(key, CORES_MAX)).transpose()?;
        }
        for key in ["requests_bytes", "limits_bytes"] {
            memory.nullable(key).map(|_| memory.integer(key)).transpose()?;
        }
        if let Some(filesystem) = metrics.optional_object("filesystem")? {
            for key in ["usage_bytes", "capacity_bytes"] {
                filesystem.integer(key)?;
            }
        }
        let labels = metadata.optional_labels("labels", LABEL_LIMITS)?;
        let (workload_kind, workload_name) = owner(&metadata)?;
        let deployment_name = deployment(&workload_kind, &workload_name, labels.as_ref());
        Ok(Self {
            namespace,
            name,
            runs: phase == "Running",
            post: PodPost {
                usage: usage(cores, memory.integer("usage_bytes")?, &metrics)?,
                node_name,
                extras: PodEcho {
                    pod_uid: (!uid.is_empty()).then(|| uid.to_owned()),
                    deployment_name,
                    labels,
                    cpu_nanocores: Some(nanocores(cores)),
                    ..PodEcho::default()
                },
            },
            json,
        })
    }
}

impl NodeAmounts {
    /// False if one is 0, as an amount is written that is not known.
    #[must_use]
    pub const fn are_known(&self) -> bool {
        self.cpu_nanocores > 0 && self.memory_bytes > 0
    }
}

impl ReadResource for NodeResource {
    fn read(fields: &Fields<'_>, json: String) -> Result<Self, BodyError> {
        let name = name_of(fields, "name")?;
        fields.text("uid", TEXT_CHARS_MAX)?;
        let status = fields.object("status")?;
        status.objects("conditions", PARTS_MAX)?;
        status.objects("addresses", PARTS_MAX)?;
        let metadata = fields.object("metadata")?;
        let metrics = fields.object("metrics")?;
        let cpu = metrics.object("cpu")?;
        let memory = metrics.object("memory")?;
        let cores = cpu.number("usage", CORES_MAX)?;
        let amounts = |cpu_key: &str, memory_key: &str| {
            Ok(NodeAmounts {
                cpu_nanocores: nanocores(cpu.number(cpu_key, CORES_MAX)?),
                memory_bytes: memory.integer(memory_key)?,
            })
        };
        Ok(Self {
            name,
            post: NodePost {
                usage: usage(cores, memory.integer("usage_bytes")?, &metrics)?,
                extras: NodeEcho {
                    window_millis: None,
                    cpu_nanocores: Some(nanocores(cores)),
                    labels: metadata.optional_labels("labels", LABEL_LIMITS)?,
                },
            },
            capacity: amounts("capacity", "capacity_bytes")?,
            allocatable: amounts("allocatable", "allocatable_bytes")?,
            json,
        })
    }
}

fn name_of(fields: &Fields<'_>, key: &str) -> Result<String, BodyError> {
    let name = fields.text(key, NAME_CHARS_MAX)?;
    match check_name(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(error) => Err(BodyError::Name { field: fields.name(key), error }),
    }
}

fn usage(cores: f64, memory_bytes: u64, metrics: &Fields<'_>) -> Result<UsageValues, BodyError> {
    let network = metrics.object("network")?;
    Ok(UsageValues {
        cpu_millicores: (cores * 1e3).round() as u64,
        memory_bytes,
        sent_bytes: network.integer("tx_bytes")?,
        recv_bytes: network.integer("rx_bytes")?,
        ..UsageValues::default()
    })
}

fn nanocores(cores: f64) -> u64 {
    (cores * 1e9).round() as u64
}

/// Kind and name of the first owner; empty where there is none.
fn owner(metadata: &Fields<'_>) -> Result<(String, String), BodyError> {
    let owners = metadata.optional_objects("owner_references", PARTS_MAX)?;
    let Some(owner) = owners.first() else { return Ok(Default::default()) };
    let kind = owner.text("kind", TEXT_CHARS_MAX)?;
    Ok((kind.to_owned(), owner.text("name", NAME_CHARS_MAX)?.to_owned()))
}

/// A ReplicaSet of a Deployment is called as that with the hash that its pods are labelled with.
fn deployment(kind: &str, name: &str, labels: Option<&BTreeMap<String, String>>) -> Option<String> {
    let name = match kind {
        "Deployment" => name,
        "ReplicaSet" => {
            let hash = labels?.get("pod-template-hash")?;
            name.strip_suffix(hash.as_str())?.strip_suffix('-')?
        }
        _ => return None,
    };
    check_name(name).is_ok().then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({
            "namespace": "default", "name": "web-5d-x", "uid": "u",
            "status": {"phase": "Running", "conditions": [], "container_statuses": []},
            "spec": {"node_name": "node-1", "priority_class": "", "service_account": "default"},
            "metadata": {
                "labels": {"app": "web", "pod-template-hash": "5d"}, "annotations": {},
                "owner_references": [{"kind": "ReplicaSet", "name": "web-5d", "uid": "r"}],
                "creation_timestamp": "2025-02-23T09:00:00Z"
            },
            "metrics": {
                "cpu": {"usage": 0.2505, "requests": 0.0, "limits": 1},
                "memory": {"usage_bytes": 100, "requests_bytes": 0, "limits_bytes": 0},
                "network": {"rx_bytes": 7, "tx_bytes": 8},
                "filesystem": {"usage_bytes": 1, "capacity_bytes": 2}
            }
        })
    }

    fn envelope(resources: Value) -> Value {
        json!({
            "cluster_id": "c1",
            "context": {
                "name": "prod", "kubernetes_version": "v1.33.1",
                "provider": {"name": "aws", "region": "eu-central-1"},
                "labels": {}, "node_groups": []
            },
            "collected_at": "2025-02-23T10:00:00Z",
            "resources": resources
        })
    }

    fn read(envelope: &Value) -> Result<ReceivedBatch<PodResource>, BodyError> {
        decode_pods(envelope.to_string().as_bytes())
    }

    #[test]
    fn a_pod_is_read_into_the_terms_of_the_resource_api() {
        let batch = read(&envelope(json!([pod()]))).unwrap();
        assert_eq!((batch.cluster_id.as_str(), batch.cluster_name.as_str()), ("c1", "prod"));
        let read = &batch.resources[0];
        assert_eq!(
            read.post.usage,
            UsageValues {
                cpu_millicores: 251,
                memory_bytes: 100,
                read_bytes: 0,
                write_bytes: 0,
                sent_bytes: 8,
                recv_bytes: 7
            }
        );
        assert_eq!(read.post.extras.cpu_nanocores, Some(250_500_000));
        assert_eq!(read.post.extras.deployment_name.as_deref(), Some("web"));
        assert_eq!(serde_json::from_str::<Value>(&read.json).unwrap(), pod());
    }

    #[test]
    fn a_moment_may_have_an_offset() {
        for (text, expected) in [
            ("2025-02-23T10:00:00Z", true),
            ("2025-02-23T10:00:00.123Z", true),
            ("2025-02-23T10:00:00+01:00", true),
            ("2025-02-23T10:00:00.5-11:30", true),
            ("2025-02-23T10:00:00", false),
            ("2025-02-23T10:00:00+24:00", false),
            ("2025-02-23T10:00:00+1:00", false),
            ("2025-02-23T10:00:00Z+01:00", false),
            ("+01:00", false),
            ("é1:00", false),
        ] {
            assert_eq!(is_moment(text), expected, "{text}");
        }
    }

    #[test]
    fn a_pod_without_requests_and_limits_is_read() {
        let mut pod = pod();
        pod["metrics"]["cpu"] = json!({"usage": 0.5});
        pod["metrics"]["memory"] = json!({"usage_bytes": 100, "limits_bytes": null});
        let batch = read(&envelope(json!([pod]))).unwrap();
        assert_eq!(batch.resources[0].post.usage.cpu_millicores, 500);
        let mut wrong = pod;
        wrong["metrics"]["cpu"]["limits"] = json!("1");
        assert!(read(&envelope(json!([wrong]))).is_err());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_with_its_place() {
        for (pointer, value, expected) in [
            (
                "/cluster_id",
                json!(5),
                "cluster_id must be a string of at most 256 characters, not 5",
            ),
            ("/context", json!("c"), "context must be an object, not \"c\""),
            (
                "/context/provider",
                json!({"name": "x"}),
                "Missing required field: \
              context.provider.region",
            ),
            (
                "/collected_at",
                json!("yesterday"),
                "collected_at must be a moment like 2025-02-23T10:00:00Z or \
                 2025-02-23T11:00:00+01:00, not \"yesterday\"",
            ),
            ("/resources/0/name", json!(""), "resources[0].name is an empty name"),
            ("/resources/0", json!(7), "resources[0] must be an object, not 7"),
            (
                "/resources/0/metrics/cpu/usage",
                json!(null),
                "resources[0].metrics.cpu.usage must be a number from 0 to 1000000, not null",
            ),
            (
                "/resources/0/metrics/cpu/usage",
                json!(-0.5),
                "resources[0].metrics.cpu.usage must be a number from 0 to 1000000, not -0.5",
            ),
            (
                "/resources/0/metrics/memory",
                json!({"requests_bytes": 0, "limits_bytes": 0}),
                "Missing required field: resources[0].metrics.memory.usage_bytes",
            ),
            ("/resources/0/spec", json!({}), "Missing required field: resources[0].spec.node_name"),
        ] {
            let mut bad = envelope(json!([pod(), pod()]));
            *bad.pointer_mut(pointer).unwrap() = value;
            assert_eq!(read(&bad).unwrap_err().to_string(), expected);
        }
        for key in ["cluster_id", "context", "collected_at", "resources"] {
            let mut bad = envelope(json!([pod()]));
            bad.as_object_mut().unwrap().remove(key);
            let expected = format!("Missing required field: {key}");
            assert_eq!(read(&bad).unwrap_err().to_string(), expected);
        }
        let error = read(&envelope(json!("x"))).unwrap_err().to_string();
        assert!(error.contains("expected resources to be a list"), "{error}");
        let error = read(&json!(["c", {}, "t", []])).unwrap_err().to_string();
        assert_eq!(error, "the body must be a JSON object, not a list");
    }

    #[test]
    fn more_resources_than_are_taken_at_once_are_refused() {
        let many = Value::Array(vec![pod(); RESOURCES_MAX + 1]);
        let error = read(&envelope(many)).unwrap_err().to_string();
        assert_eq!(error, "resources must be a list of at most 5000, not a longer one");
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reading_side_panic(body in any::<Vec<u8>>()) {
            let _ = decode_pods(&body);
            let _ = decode_nodes(&body);
        }

        #[test]
        fn no_number_makes_it_panic(usage in any::<f64>(), bytes in any::<i64>()) {
            let mut pod = pod();
            pod["metrics"]["cpu"]["usage"] = json!(usage);
            pod["metrics"]["memory"]["usage_bytes"] = json!(bytes);
            let _ = read(&envelope(json!([pod])));
        }
    }
}
