//! Keys of a post beyond those of the API. Servers keep and echo keys that they do not know, so
//! a reader can have names, workloads and containers from the same record.

use serde::{Serialize, Serializer};

use crate::attribution::QosClass;
use crate::directory::pod::Labels;
use crate::identity::PodUid;
use crate::ledger::RunningContainer;

/// Keys of a node's post that the API does not name.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct NodeExtras<'a> {
    /// The length of the interval, in milliseconds.
    pub window_millis: u64,
    /// CPU use in billionths of one CPU.
    pub cpu_nanocores: u64,
    /// Of the Node object; left out while that is not known.
    #[serde(serialize_with = "labels", skip_serializing_if = "Option::is_none")]
    pub labels: Option<&'a Labels>,
}

/// Keys of a pod's post that the API does not name. What is not known is left out.
#[derive(Debug, Clone, Serialize)]
pub struct PodExtras<'a> {
    #[serde(rename = "pod_uid", serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub uid: Option<PodUid>,
    #[serde(
        rename = "qos_class",
        serialize_with = "qos_class",
        skip_serializing_if = "Option::is_none"
    )]
    pub qos: Option<QosClass>,
    /// Only of a pod that a Deployment made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_name: Option<&'a str>,
    /// `{}` of a pod that has none; left out of one known by its uid alone.
    #[serde(serialize_with = "labels", skip_serializing_if = "Option::is_none")]
    pub labels: Option<&'a Labels>,
    /// The length of the interval, in milliseconds.
    pub window_millis: u64,
    /// CPU use in billionths of one CPU.
    pub cpu_nanocores: u64,
    /// Those that have a name and run; their sum is less than the pod, which has its sandbox and what the
    /// runtime spends as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerExtra<'a>>,
}

/// A container of a pod, with the run before where it was restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ContainerExtra<'a> {
    pub name: &'a str,
    pub cpu_nanocores: u64,
    pub memory_bytes: u64,
}

impl<'a> From<RunningContainer<'a>> for ContainerExtra<'a> {
    fn from(container: RunningContainer<'a>) -> Self {
        let RunningContainer { name, cpu_nanocores, memory_bytes } = container;
        Self { name, cpu_nanocores, memory_bytes }
    }
}

#[expect(clippy::ref_option, reason = "serde hands the field over as it is")]
fn shown<S: Serializer>(
    value: &Option<impl std::fmt::Display>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn qos_class<S: Serializer>(qos: &Option<QosClass>, serializer: S) -> Result<S::Ok, S::Error> {
    shown(&qos.map(QosClass::as_str), serializer)
}

/// Kubernetes' labels are far below these bounds; a container engine's can be documents. What is
/// beyond them is left out: a post with all of it would be refused.
const LABELS_MAX: usize = 128;
const LABEL_BYTES_MAX: usize = 317;
const LABELS_BYTES_MAX: usize = 8 << 10;

fn labels<S: Serializer>(labels: &Option<&Labels>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut left = LABELS_BYTES_MAX;
    let all = labels.iter().flat_map(|labels| labels.iter());
    let bounded = all.filter(|(key, value)| {
        let both = key.len() + value.len();
        let fits = key.len() <= LABEL_BYTES_MAX && value.len() <= LABEL_BYTES_MAX && both <= left;
        left -= if fits { both } else { 0 };
        fits
    });
    let kept: Vec<_> = bounded.take(LABELS_MAX).map(|(key, value)| (key, value)).collect();
    serializer.collect_map(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_no_server_would_take_are_left_out_and_the_others_are_not() {
        let label = |key: String, value: String| (Box::<str>::from(key), Box::<str>::from(value));
        let mut all: Labels = (0..200).map(|n| label(format!("k{n}"), "v".repeat(100))).collect();
        all.insert(0, label("document".to_owned(), "x".repeat(318)));
        let extras = NodeExtras { window_millis: 1, cpu_nanocores: 2, labels: Some(&all) };
        let json = serde_json::to_value(extras).unwrap();
        let written = json["labels"].as_object().unwrap();
        assert!(!written.contains_key("document"));
        assert_eq!(written["k0"], "v".repeat(100));
        // 8 KiB of keys and values of 102 and 103 bytes.
        assert_eq!(written.len(), 79);
    }
}
