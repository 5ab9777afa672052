//! Reads the posts, and writes a row as its server answers it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::payload::body::{BodyError, Fields, LabelLimits, object_of};
use crate::payload::resource_api::NAME_CHARS_MAX;

/// The longest address, in characters; an IPv6 address with a zone has some 60.
const IP_CHARS_MAX: usize = 64;

/// The longest `pod_identity`, in characters.
const IDENTITY_CHARS_MAX: usize = 512;

const SELECTOR_LIMITS: LabelLimits =
    LabelLimits { count_max: 128, text_bytes_max: 317, bytes_max: 16 << 10 };

/// The body of `POST /pod/spec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSpecPost {
    pub row: RowHead,
    /// `pod_obj` as JSON; `None`: absent or null.
    pub pod_obj: Option<String>,
}

/// A row without its `pod_obj`. What is absent is written as null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowHead {
    pub pod_name: String,
    pub pod_ip: String,
    pub pod_namespace: Option<String>,
    /// A date-time in UTC that does not say so: `2026-05-12T10:32:14.123456`.
    pub time_stamp: String,
    pub node_name: String,
    pub is_dead: bool,
    pub pod_identity: Option<String>,
    pub workload_selector_labels: Option<BTreeMap<String, String>>,
}

impl RowHead {
    /// The row as JSON up to the value of `pod_obj`, its last key; that and a `}` are to follow.
    #[must_use]
    pub fn json_up_to_pod_obj(&self) -> String {
        let mut json = serde_json::json!(self).to_string();
        json.pop();
        json.push_str(",\"pod_obj\":");
        json
    }

    /// Its texts, in bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let labels = self.workload_selector_labels.iter().flatten();
        self.pod_name.len()
            + self.pod_ip.len()
            + self.node_name.len()
            + self.time_stamp.len()
            + optional(&self.pod_namespace)
            + optional(&self.pod_identity)
            + labels.map(|(key, value)| key.len() + value.len()).sum::<usize>()
    }
}

/// The body of `POST /pod/mark_dead`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkDead {
    pub pod_name: String,
    /// Only a row with this address is meant; `None`: whatever its address.
    pub pod_ip: Option<String>,
}

/// Reads the body of `POST /pod/spec`. A blank `pod_name` is read like any other.
///
/// # Errors
/// It is no JSON object, or a field is missing, of another type or too long; `time_stamp` is no
/// date-time, or has a zone.
pub fn decode_spec(body: &[u8]) -> Result<PodSpecPost, BodyError> {
    let object = object_of(body)?;
    let fields = Fields::of(&object);
    let text = |key: &str, bytes_max| fields.text(key, bytes_max).map(str::to_owned);
    let nullable =
        |key: &str, bytes_max| fields.nullable_text(key, bytes_max).map(|t| t.map(str::to_owned));
    let workload_selector_labels = match fields.nullable("workload_selector_labels") {
        None => None,
        Some(_) => fields.optional_labels("workload_selector_labels", SELECTOR_LIMITS)?,
    };
    let row = RowHead {
        pod_name: text("pod_name", NAME_CHARS_MAX)?,
        pod_ip: text("pod_ip", IP_CHARS_MAX)?,
        pod_namespace: nullable("pod_namespace", NAME_CHARS_MAX)?,
        time_stamp: text("time_stamp", 40)?,
        node_name: text("node_name", NAME_CHARS_MAX)?,
        is_dead: fields.boolean("is_dead")?,
        pod_identity: nullable("pod_identity", IDENTITY_CHARS_MAX)?,
        workload_selector_labels,
    };
    if !is_naive_date_time(&row.time_stamp) {
        return Err(BodyError::Wrong {
            field: "time_stamp".to_owned(),
            allowed: "a date-time without a zone like 2026-05-12T10:32:14.123456".to_owned(),
            found: format!("{:?}", row.time_stamp),
        });
    }
    Ok(PodSpecPost { row, pod_obj: fields.nullable("pod_obj").map(ToString::to_string) })
}

/// Reads the body of `POST /pod/mark_dead`.
///
/// # Errors
/// It is no JSON object, `pod_name` is missing, or one of the two is no string.
pub fn decode_mark_dead(body: &[u8]) -> Result<MarkDead, BodyError> {
    let object = object_of(body)?;
    let fields = Fields::of(&object);
    Ok(MarkDead {
        pod_name: fields.text("pod_name", NAME_CHARS_MAX)?.to_owned(),
        pod_ip: fields.nullable_text("pod_ip", IP_CHARS_MAX)?.map(str::to_owned),
    })
}

/// `2026-05-12T10:32:14`, with up to nine digits of a fraction.
fn is_naive_date_time(text: &str) -> bool {
    let (seconds, fraction) = match text.split_once('.') {
        Some((seconds, fraction)) => (seconds, Some(fraction)),
        None => (text, None),
    };
    let is_fraction =
        |text: &str| (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    // The parser of moments wants the zone, and knows how long each month is.
    seconds.len() == 19
        && seconds.as_bytes().get(10) == Some(&b'T')
        && humantime::parse_rfc3339(&format!("{seconds}Z")).is_ok()
        && fraction.is_none_or(is_fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_date_time_has_no_zone_and_is_one() {
        for good in [
            "2026-05-12T10:32:14.123456",
            "2026-05-12T10:32:14",
            "2028-02-29T00:00:00.1",
            "2026-05-12T10:32:14.123456789",
        ] {
            assert!(is_naive_date_time(good), "{good}");
        }
        for bad in [
            "2026-05-12T10:32:14Z",
            "2026-05-12T10:32:14.123456Z",
            "2026-05-12T10:32:14+02:00",
            "2026-05-12 10:32:14",
            "2026-02-29T00:00:00",
            "2026-05-12T10:32:14.",
            "2026-05-12T10:32:14.1234567890",
            "2026-05-12T10:32",
            "2026-05-12",
            "",
        ] {
            assert!(!is_naive_date_time(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_optional_may_be_absent_or_null_and_nothing_else() {
        let post = json!({
            "pod_name": "web", "pod_ip": "10.0.0.1", "time_stamp": "2026-05-12T10:32:14",
            "node_name": "n", "is_dead": false, "pod_obj": null, "pod_namespace": null
        });
        let read = |post: &Value| decode_spec(post.to_string().as_bytes());
        let absent = read(&post).unwrap();
        assert_eq!((absent.pod_obj, absent.row.pod_namespace), (None, None));
        for (key, value, expected) in [
            (
                "pod_namespace",
                json!(1),
                "pod_namespace must be a string of at most 253 characters, not 1",
            ),
            ("is_dead", json!("no"), "is_dead must be true or false, not \"no\""),
            (
                "workload_selector_labels",
                json!([]),
                "workload_selector_labels must be an object, not []",
            ),
            (
                "time_stamp",
                json!("2026-05-12T10:32:14Z"),
                "time_stamp must be a date-time without \
              a zone like 2026-05-12T10:32:14.123456, not \"2026-05-12T10:32:14Z\"",
            ),
        ] {
            let mut bad = post.clone();
            bad[key] = value;
            assert_eq!(read(&bad).unwrap_err().to_string(), expected);
        }
        for key in ["pod_name", "pod_ip", "time_stamp", "node_name", "is_dead"] {
            let mut bad = post.clone();
            bad.as_object_mut().unwrap().remove(key);
            let expected = format!("Missing required field: {key}");
            assert_eq!(read(&bad).unwrap_err().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reading_side_panic(body in any::<Vec<u8>>()) {
            let _ = decode_spec(&body);
            let _ = decode_mark_dead(&body);
        }

        #[test]
        fn no_text_makes_the_date_times_check_panic(text in "\\PC{0,30}") {
            let _ = is_naive_date_time(&text);
        }
    }
}
