//! Reads a post of a sample.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Map;
use serde_json::value::RawValue;

use crate::payload::body::{BodyError, Fields, reason, value_of};
use crate::payload::pod_batch::NodeAmounts;
use crate::payload::resource_api::{
    NAME_CHARS_MAX, NodePost, PodPost, UsageValues, check_name, node_post, pod_post,
};
use crate::quantity::WallTime;

/// The most posts of one sample.
const POSTS_MAX: usize = 5000;

/// The most host units of one record. Further ones are passed over.
const UNITS_MAX: usize = 4096;

/// The longest path of a post: two names, percent-encoded.
const PATH_CHARS_MAX: usize = 2 * 12 * NAME_CHARS_MAX + 64;

/// A sample as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedSample {
    pub node_name: String,
    pub sampled_at: WallTime,
    /// The node's capacity, and what of it pods may use; `None`: the sample has neither.
    pub amounts: Option<(NodeAmounts, NodeAmounts)>,
    pub nodes: Vec<(String, NodePost)>,
    /// Namespace, name and usage.
    pub pods: Vec<(String, String, PodPost)>,
    pub units: Vec<ReceivedUnit>,
    /// The document of a dump as JSON; `None`: this is the second half of a sample.
    pub record: Option<String>,
}

/// The usage of a host unit. A figure that is not known is 0 here; the record leaves it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedUnit {
    /// See [`unit_name`].
    pub name: String,
    pub usage: UsageValues,
}

/// A body whose parts are read one by one: as a whole, those of a node of a hundred pods are more values
/// than may be held at once.
#[derive(Deserialize)]
struct SampleParts<'a> {
    #[serde(borrow)]
    node_name: Option<&'a RawValue>,
    #[serde(borrow)]
    sampled_at: Option<&'a RawValue>,
    #[serde(borrow)]
    capacity: Option<&'a RawValue>,
    #[serde(borrow)]
    allocatable: Option<&'a RawValue>,
    #[serde(borrow)]
    posts: Option<RawItems<'a, POSTS_MAX>>,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RecordUnits<'a> {
    #[serde(borrow, default)]
    host_units: RawItems<'a, UNITS_MAX>,
}

/// The first items of a list, unread.
#[derive(Default)]
struct RawItems<'a, const MAX: usize> {
    items: Vec<&'a RawValue>,
    has_more: bool,
}

impl<'de: 'a, 'a, const MAX: usize> Deserialize<'de> for RawItems<'a, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<const MAX: usize>;
        impl<'de, const MAX: usize> Visitor<'de> for Items<MAX> {
            type Value = RawItems<'de, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while items.len() < MAX {
                    let Some(item) = seq.next_element()? else {
                        return Ok(RawItems { items, has_more: false });
                    };
                    items.push(item);
                }
                let has_more = seq.next_element::<IgnoredAny>()?.is_some();
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(RawItems { items, has_more })
            }
        }
        deserializer.deserialize_seq(Items::<MAX>)
    }
}

/// Reads the body of `POST /api/samples`.
///
/// # Errors
/// It is no JSON object, a field is missing or of another type, a post's path is none of the resource
/// API, or its body is none.
pub fn decode_sample(body: &[u8]) -> Result<ReceivedSample, BodyError> {
    // The derived form would take a list for the fields in their order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(BodyError::NotAnObject("a list".to_owned()));
    }
    let parts: SampleParts<'_> =
        serde_json::from_slice(body).map_err(|error| BodyError::NotJson(reason(&error)))?;
    let mut head = Map::new();
    for (key, value) in [
        ("node_name", parts.node_name),
        ("sampled_at", parts.sampled_at),
        ("capacity", parts.capacity),
        ("allocatable", parts.allocatable),
    ] {
        if let Some(value) = value {
            head.insert(key.to_owned(), value_of(value.get().as_bytes(), key)?);
        }
    }
    let fields = Fields::of(&head);
    let node_name = named(&fields, "node_name")?;
    let sampled_at = moment(&fields, "sampled_at")?;
    let capacity = amounts(&fields, "capacity")?;
    let allocatable = amounts(&fields, "allocatable")?;
    let posts = parts.posts.ok_or_else(|| BodyError::Missing("posts".to_owned()))?;
    if posts.has_more {
        return Err(BodyError::Wrong {
            field: "posts".to_owned(),
            allowed: format!("a list of at most {POSTS_MAX}"),
            found: "a longer one".to_owned(),
        });
    }
    let (mut nodes, mut pods) = (Vec::new(), Vec::new());
    for (at, post) in posts.items.into_iter().enumerate() {
        match read_post(post, format!("posts[{at}]"))? {
            SamplePost::Node(name, post) => nodes.push((name, post)),
            SamplePost::Pod(namespace, name, post) => pods.push((namespace, name, post)),
        }
    }
    let units = parts.record.map(units).transpose()?.unwrap_or_default();
    let record = parts.record.map(|record| record.get().to_owned());
    let amounts = capacity.zip(allocatable.or(capacity));
    Ok(ReceivedSample { node_name, sampled_at, amounts, nodes, pods, units, record })
}

enum SamplePost {
    Node(String, NodePost),
    Pod(String, String, PodPost),
}

fn read_post(post: &RawValue, place: String) -> Result<SamplePost, BodyError> {
    let value = value_of(post.get().as_bytes(), &place)?;
    let post = Fields::of_part(&value, place)?;
    let path = post.text("path", PATH_CHARS_MAX)?;
    let wrong = |allowed: &str| BodyError::Wrong {
        field: post.name("path"),
        allowed: allowed.to_owned(),
        found: format!("{path:?}"),
    };
    let name = |segment: &str| {
        let name = percent_decode_str(segment).decode_utf8().ok();
        let name = name.filter(|name| check_name(name).is_ok());
        name.map(String::from).ok_or_else(|| wrong("a path whose names are names"))
    };
    let body = post.object("body")?;
    let segments: Vec<&str> = path.split('/').collect();
    match segments.as_slice() {
        ["", "api", "nodes", node, "metrics"] => {
            Ok(SamplePost::Node(name(node)?, node_post(&body)?))
        }
        ["", "api", "namespaces", namespace, "pods", pod, "metrics"] => {
            Ok(SamplePost::Pod(name(namespace)?, name(pod)?, pod_post(&body)?))
        }
        _ => Err(wrong("the path of a node's or pod's metrics")),
    }
}

/// The name of the unit of a cgroup: its path without the first slash. `/` of the root.
#[must_use]
pub fn unit_name(cgroup: &str) -> &str {
    match cgroup.trim_start_matches('/') {
        "" if cgroup.starts_with('/') => "/",
        name => name,
    }
}

fn named(fields: &Fields<'_>, key: &str) -> Result<String, BodyError> {
    let name = fields.text(key, NAME_CHARS_MAX)?;
    match check_name(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(error) => Err(BodyError::Name { field: fields.name(key), error }),
    }
}

fn amounts(fields: &Fields<'_>, key: &str) -> Result<Option<NodeAmounts>, BodyError> {
    let Some(amounts) = fields.optional_object(key)? else { return Ok(None) };
    Ok(Some(NodeAmounts {
        cpu_nanocores: amounts.integer("cpu_nanocores")?,
        memory_bytes: amounts.integer("memory_bytes")?,
    }))
}

fn moment(fields: &Fields<'_>, key: &str) -> Result<WallTime, BodyError> {
    let text = fields.text(key, 40)?;
    let since_1970 = humantime::parse_rfc3339(text)
        .ok()
        .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|since| u64::try_from(since.as_millis()).ok());
    since_1970.map(WallTime::from_unix_millis).ok_or_else(|| BodyError::Wrong {
        field: fields.name(key),
        allowed: "a moment like 2025-02-23T10:00:00.120Z".to_owned(),
        found: format!("{text:?}"),
    })
}

/// The host units of a record. Rows without a cgroup or with an odd one are passed over.
fn units(record: &RawValue) -> Result<Vec<ReceivedUnit>, BodyError> {
    let wrong = |found: String| BodyError::Wrong {
        field: "record".to_owned(),
        allowed: "an object with a list of host_units".to_owned(),
        found,
    };
    if !record.get().starts_with('{') {
        return Err(wrong("another value".to_owned()));
    }
    let parts: RecordUnits<'_> =
        serde_json::from_str(record.get()).map_err(|error| wrong(reason(&error)))?;
    let mut units = Vec::new();
    for (at, unit) in parts.host_units.items.into_iter().enumerate() {
        let place = format!("record.host_units[{at}]");
        let value = value_of(unit.get().as_bytes(), &place)?;
        let unit = Fields::of_part(&value, place)?;
        let figure = |key: &str| Ok(unit.optional_integer(key)?.unwrap_or(0));
        let resident_bytes = figure("memory_resident_bytes")?;
        let working_set_bytes = unit.optional_integer("memory_working_set_bytes")?;
        let usage = UsageValues {
            cpu_millicores: figure("cpu_millicores")?,
            memory_bytes: working_set_bytes.unwrap_or(resident_bytes),
            read_bytes: figure("disk_read_bytes")?,
            write_bytes: figure("disk_written_bytes")?,
            sent_bytes: figure("network_tx_bytes")?,
            recv_bytes: figure("network_rx_bytes")?,
        };
        let name = unit_name(unit.optional_text("cgroup", usize::MAX)?.unwrap_or_default());
        if check_name(&name.replace('/', "-")).is_ok() {
            units.push(ReceivedUnit { name: name.to_owned(), usage });
        }
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn sample() -> Value {
        let body = json!({
            "cpu_millicores": 1, "memory_bytes": 2,
            "disk_io": {"read_bytes": 3, "write_bytes": 4},
            "network_io": {"bytes_sent": 5, "bytes_recv": 6}, "node_name": "n"
        });
        json!({
            "node_name": "n", "sampled_at": "2026-11-30T02:33:50.120Z",
            "posts": [
                {"path": "/api/nodes/n/metrics", "body": body},
                {"path": "/api/namespaces/a%2Fb/pods/p/metrics", "body": body}
            ],
            "record": {"host_units": [{"cgroup": "/init.scope", "cpu_millicores": 7}, {"name": "odd"}]}
        })
    }

    #[test]
    fn a_sample_is_read_with_its_names_decoded() {
        let read = decode_sample(sample().to_string().as_bytes()).unwrap();
        assert_eq!(read.pods[0].0, "a/b");
        assert_eq!(read.sampled_at.as_unix_millis() % 1000, 120);
        let unit = &read.units[0];
        assert_eq!((unit.name.as_str(), unit.usage.cpu_millicores), ("init.scope", 7));
        assert_eq!(read.units.len(), 1);
        assert_eq!((unit_name("/"), unit_name(""), unit_name("//a/b")), ("/", "", "a/b"));
    }

    #[test]
    fn a_bad_part_is_named_and_refuses_the_whole() {
        for (pointer, value, expected) in [
            ("/node_name", json!(""), "node_name is an empty name"),
            ("/sampled_at", json!("now"), "sampled_at must be a moment like"),
            ("/posts/0/path", json!("/api/nodes"), "posts[0].path must be the path of a node's or"),
            (
                "/posts/1/path",
                json!("/api/nodes/%FF/metrics"),
                "posts[1].path must be a path whose",
            ),
            ("/posts/1/body/cpu_millicores", json!(-1), "posts[1].body.cpu_millicores must be an"),
            ("/record", json!(7), "record must be an object"),
            ("/record/host_units", json!({}), "record must be an object with a list of host_units"),
            (
                "/record/host_units/0/cpu_millicores",
                json!("x"),
                "cpu_millicores must be an integer",
            ),
        ] {
            let mut bad = sample();
            *bad.pointer_mut(pointer).unwrap() = value;
            let error = decode_sample(bad.to_string().as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{pointer}: {error}");
        }
    }

    /// A unit has some 55 values, and a node some hundreds of them beside its pods.
    #[test]
    fn a_large_node_is_read_whole() {
        let mut large = sample();
        let post = large["posts"][1].clone();
        large["posts"] = (0..500).map(|_| post.clone()).collect();
        let mut unit = large["record"]["host_units"][0].clone();
        for key in 0..60 {
            unit[format!("key_{key}")] = json!(key);
        }
        large["record"]["host_units"] = (0..400).map(|_| unit.clone()).collect();
        large["record"]["pods"] = (0..500).map(|_| unit.clone()).collect();
        let read = decode_sample(large.to_string().as_bytes()).unwrap();
        assert_eq!((read.pods.len(), read.units.len()), (500, 400));
        let post = large["posts"][1].clone();
        large["posts"] = (0..=POSTS_MAX).map(|_| post.clone()).collect();
        let error = decode_sample(large.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains("posts must be a list of at most 5000"), "{error}");
    }

    proptest! {
        #[test]
        fn no_body_makes_reading_panic(body in any::<Vec<u8>>()) {
            let _ = decode_sample(&body);
        }
    }
}
