//! The parts that pods, nodes and the context have in common.

use serde::{Serialize, Serializer};

use crate::directory::pod::{Condition, Labels};
use crate::payload::options::EncodeOptions;

/// One of `status.conditions`.
#[derive(Serialize)]
pub(super) struct ConditionJson<'a> {
    r#type: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
    last_transition_time: &'a str,
}

pub(super) fn conditions(all: &[Condition]) -> Vec<ConditionJson<'_>> {
    all.iter().map(ConditionJson::of).collect()
}

impl<'a> ConditionJson<'a> {
    fn of(condition: &'a Condition) -> Self {
        Self {
            r#type: &condition.kind,
            status: &condition.status,
            reason: or_empty(condition.reason.as_deref()),
            message: or_empty(condition.message.as_deref()),
            last_transition_time: or_empty(condition.last_transition_time.as_deref()),
        }
    }
}

pub(super) fn or_empty(text: Option<&str>) -> &str {
    text.unwrap_or_default()
}

/// Labels, or those annotations that may be sent.
pub(super) struct LabelMap<'a> {
    pub all: &'a [(Box<str>, Box<str>)],
    /// `None`: all keys are sent.
    pub allowed: Option<&'a [Box<str>]>,
    /// A key that is not sent.
    pub except: &'static str,
}

impl<'a> LabelMap<'a> {
    pub fn labels(labels: &'a Labels) -> Self {
        Self { all: labels, allowed: None, except: "" }
    }

    pub fn annotations(annotations: &'a Labels, options: &'a EncodeOptions) -> Self {
        Self { all: annotations, allowed: Some(&options.annotations), except: "" }
    }
}

impl Serialize for LabelMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fits = |key: &str, pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => key.starts_with(start),
            None => key == pattern,
        };
        let is_sent = |key: &str| {
            key != self.except
                && self.allowed.is_none_or(|all| all.iter().any(|pattern| fits(key, pattern)))
        };
        let sent = self.all.iter().filter(|(key, _)| is_sent(key));
        serializer.collect_map(sent.map(|(key, value)| (key, value)))
    }
}

/// Billionths of a CPU as CPUs. A CPU figure of a node is far below 2^53 billionths.
#[expect(clippy::cast_precision_loss, reason = "beyond 9 million CPUs nobody counts billionths")]
pub(super) fn cores(nanocores: u64) -> f64 {
    nanocores as f64 / 1e9
}
