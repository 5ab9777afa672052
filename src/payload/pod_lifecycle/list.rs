//! Reads the answer to `GET /pod/list/<node>`.

use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::payload::body::reason;

/// More rows are not kept: no node has so many pods.
pub const LIST_ROWS_MAX: usize = 8192;

/// A row that is alive at the server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedPod {
    /// Never blank.
    pub pod_name: Box<str>,
    pub pod_namespace: Option<Box<str>>,
    pub pod_ip: Option<Box<str>>,
}

/// The answer is no list.
#[derive(Debug, Error)]
#[error("the list of pods cannot be read: {}", reason(.0))]
pub struct ListError(serde_json::Error);

/// The rows, but for those that have no name. What else a row holds is passed over.
///
/// # Errors
/// The answer is no JSON array.
pub fn decode_list(body: &[u8]) -> Result<Vec<ListedPod>, ListError> {
    let ListedPods(rows) = serde_json::from_slice(body).map_err(ListError)?;
    Ok(rows)
}

struct ListedPods(Vec<ListedPod>);

impl<'de> Deserialize<'de> for ListedPods {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = ListedPods;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of pods")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ListedPods, A::Error> {
                let mut rows = Vec::new();
                while let Some(item) = seq.next_element::<&RawValue>()? {
                    if rows.len() < LIST_ROWS_MAX {
                        rows.extend(row(item.get()));
                    }
                }
                Ok(ListedPods(rows))
            }
        }
        deserializer.deserialize_seq(All)
    }
}

fn row(text: &str) -> Option<ListedPod> {
    // Serde would take an array for an object whose keys are left out.
    let wire: ListedPodJson =
        text.starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()?;
    Some(ListedPod {
        pod_name: wire.pod_name.not_blank()?,
        pod_namespace: wire.pod_namespace.not_blank(),
        pod_ip: wire.pod_ip.not_blank(),
    })
}

#[derive(Deserialize)]
struct ListedPodJson {
    pod_name: LenientText,
    #[serde(default)]
    pod_namespace: LenientText,
    #[serde(default)]
    pod_ip: LenientText,
}

/// A text, or a value of another type in its place.
#[derive(Deserialize)]
#[serde(untagged)]
enum LenientText {
    Is(Box<str>),
    IsNot(IgnoredAny),
}

impl Default for LenientText {
    fn default() -> Self {
        Self::IsNot(IgnoredAny)
    }
}

impl LenientText {
    fn not_blank(self) -> Option<Box<str>> {
        match self {
            Self::Is(text) => Some(text).filter(|text| !text.trim().is_empty()),
            Self::IsNot(_) => None,
        }
    }
}
