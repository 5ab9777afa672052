//! Reads a post of a sample.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::payload::body::{BodyError, Fields, object_of};
use crate::payload::resource_api::{
    NAME_BYTES_MAX, NodePost, PodPost, UsageValues, check_name, node_post, pod_post,
};
use crate::quantity::WallTime;

/// The most posts of one sample.
const POSTS_MAX: usize = 5000;

/// The most host units of one record. Further ones are passed over.
const UNITS_MAX: usize = 4096;

/// The longest path of a post: two names, percent-encoded.
const PATH_BYTES_MAX: usize = 2 * 3 * NAME_BYTES_MAX + 64;

/// A sample as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedSample {
    pub node_name: String,
    pub sampled_at: WallTime,
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

/// Reads the body of `POST /api/samples`.
///
/// # Errors
/// It is no JSON object, a field is missing or of another type, a post's path is none of the resource
/// API, or its body is none.
pub fn decode_sample(body: &[u8]) -> Result<ReceivedSample, BodyError> {
    let object = object_of(body)?;
    let fields = Fields::of(&object);
    let node_name = named(&fields, "node_name")?;
    let sampled_at = moment(&fields, "sampled_at")?;
    let (mut nodes, mut pods) = (Vec::new(), Vec::new());
    for post in fields.objects("posts", POSTS_MAX)? {
        let path = post.text("path", PATH_BYTES_MAX)?;
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
            ["", "api", "nodes", node, "metrics"] => nodes.push((name(node)?, node_post(&body)?)),
            ["", "api", "namespaces", namespace, "pods", pod, "metrics"] => {
                pods.push((name(namespace)?, name(pod)?, pod_post(&body)?));
            }
            _ => return Err(wrong("the path of a node's or pod's metrics")),
        }
    }
    let record = fields.optional_object("record")?;
    let units = record.map(|record| units(&record)).transpose()?.unwrap_or_default();
    let record = object.get("record").map(Value::to_string);
    Ok(ReceivedSample { node_name, sampled_at, nodes, pods, units, record })
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
    let name = fields.text(key, NAME_BYTES_MAX)?;
    match check_name(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(error) => Err(BodyError::Name { field: fields.name(key), error }),
    }
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
fn units(record: &Fields<'_>) -> Result<Vec<ReceivedUnit>, BodyError> {
    let mut units = Vec::new();
    for unit in record.optional_objects("host_units", usize::MAX)?.into_iter().take(UNITS_MAX) {
        let name = unit.optional_text("cgroup", usize::MAX)?.unwrap_or_default();
        let name = unit_name(name);
        if check_name(&name.replace('/', "-")).is_err() {
            continue;
        }
        let figure = |key: &str| Ok(unit.optional_integer(key)?.unwrap_or(0));
        let memory = match unit.optional_integer("memory_working_set_bytes")? {
            Some(bytes) => bytes,
            None => figure("memory_resident_bytes")?,
        };
        units.push(ReceivedUnit {
            name: name.to_owned(),
            usage: UsageValues {
                cpu_millicores: figure("cpu_millicores")?,
                memory_bytes: memory,
                read_bytes: figure("disk_read_bytes")?,
                write_bytes: figure("disk_written_bytes")?,
                sent_bytes: figure("network_tx_bytes")?,
                recv_bytes: figure("network_rx_bytes")?,
            },
        });
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

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

    proptest! {
        #[test]
        fn no_body_makes_reading_panic(body in any::<Vec<u8>>()) {
            let _ = decode_sample(&body);
        }
    }
}
