//! Reads what [`encode_node`](super::encode_node) and [`encode_pod`](super::encode_pod) write, and
//! says in one line what is wrong with anything else.

use serde_json::{Map, Value};
use thiserror::Error;

use super::{Figures, NameError, check_name};

/// The longest `pod_uid` or `qos_class` that [`decode_pod`] keeps, in bytes.
const EXTRA_BYTES_MAX: usize = 64;

/// A pod's post as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodPost {
    pub figures: Figures,
    pub node_name: String,
    pub pod_uid: Option<String>,
    pub qos_class: Option<String>,
}

/// Why a body is no post of this API; its text is the answer's `error`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    #[error("the body is not valid JSON: {0}")]
    NotJson(String),
    #[error("the body must be a JSON object, not {0}")]
    NotAnObject(String),
    #[error("Missing required field: {0}")]
    Missing(&'static str),
    #[error("{field} must be {allowed}, not {found}")]
    Wrong { field: &'static str, allowed: &'static str, found: String },
    #[error("node_name is {0}")]
    NodeName(NameError),
}

/// Reads the body of a node's post. Keys it does not know are passed over.
///
/// # Errors
/// The body is no JSON object, lacks a figure, or has one that is no integer from 0 to 2^64-1.
pub fn decode_node(body: &[u8]) -> Result<Figures, BodyError> {
    figures_of(&object(body)?)
}

/// Reads the body of a pod's post: a node's, `node_name`, and the extras that
/// [`encode_pod`](super::encode_pod) adds.
///
/// # Errors
/// As [`decode_node`]; also where `node_name` is absent or no name.
pub fn decode_pod(body: &[u8]) -> Result<PodPost, BodyError> {
    let object = object(body)?;
    let figures = figures_of(&object)?;
    let node_name = match object.get("node_name") {
        None => return Err(BodyError::Missing("node_name")),
        Some(Value::String(name)) => name.clone(),
        Some(other) => return Err(wrong("node_name", "a string", other)),
    };
    check_name(&node_name).map_err(BodyError::NodeName)?;
    Ok(PodPost {
        figures,
        node_name,
        pod_uid: extra(&object, "pod_uid")?,
        qos_class: extra(&object, "qos_class")?,
    })
}

fn object(body: &[u8]) -> Result<Map<String, Value>, BodyError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(BodyError::NotAnObject(excerpt(&other))),
        Err(error) => Err(BodyError::NotJson(error.to_string())),
    }
}

fn figures_of(object: &Map<String, Value>) -> Result<Figures, BodyError> {
    // All four keys first, so that what is named as missing does not depend on the others' values.
    for key in ["cpu_millicores", "memory_bytes", "disk_io", "network_io"] {
        if !object.contains_key(key) {
            return Err(BodyError::Missing(key));
        }
    }
    let disk = inner(object, "disk_io")?;
    let network = inner(object, "network_io")?;
    Ok(Figures {
        cpu_millicores: integer(object, "cpu_millicores", "cpu_millicores")?,
        memory_bytes: integer(object, "memory_bytes", "memory_bytes")?,
        read_bytes: integer(disk, "read_bytes", "disk_io.read_bytes")?,
        write_bytes: integer(disk, "write_bytes", "disk_io.write_bytes")?,
        sent_bytes: integer(network, "bytes_sent", "network_io.bytes_sent")?,
        recv_bytes: integer(network, "bytes_recv", "network_io.bytes_recv")?,
    })
}

fn inner<'a>(
    object: &'a Map<String, Value>,
    field: &'static str,
) -> Result<&'a Map<String, Value>, BodyError> {
    match object.get(field) {
        None => Err(BodyError::Missing(field)),
        Some(Value::Object(inner)) => Ok(inner),
        Some(other) => Err(wrong(field, "an object", other)),
    }
}

fn integer(object: &Map<String, Value>, key: &str, field: &'static str) -> Result<u64, BodyError> {
    let value = object.get(key).ok_or(BodyError::Missing(field))?;
    value.as_u64().ok_or_else(|| wrong(field, "an integer from 0 to 18446744073709551615", value))
}

fn extra(object: &Map<String, Value>, key: &'static str) -> Result<Option<String>, BodyError> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= EXTRA_BYTES_MAX => Ok(Some(text.clone())),
        Some(other) => Err(wrong(key, "a string of at most 64 bytes", other)),
    }
}

fn wrong(field: &'static str, allowed: &'static str, found: &Value) -> BodyError {
    BodyError::Wrong { field, allowed, found: excerpt(found) }
}

/// The value as JSON, cut after 40 characters: an error line is no place for a whole body.
fn excerpt(value: &Value) -> String {
    let whole = value.to_string();
    let mut text: String = whole.chars().take(40).collect();
    if text.len() < whole.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

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
            read(&good).unwrap().figures,
            Figures {
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
            ("/node_name", json!(7), "node_name must be a string, not 7"),
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
