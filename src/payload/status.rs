//! The report of a running agent at `GET /status`, which `nodetally status` reads.
//!
//! ```text
//! {"schema_version":1,"version":"0.1.0","node":"worker-1","pid":4711,"at":"…","up_ms":…,
//!  "is_healthy":true,"sampling":{…},"directory":[{…}],"endpoints":[{…}]}
//! ```
//!
//! As in the dump, values are integers with their unit in the key, what is not known is left out,
//! and nothing is null. docs/status.md has every key. Who reads leaves out what it does not know,
//! and takes what is missing as not known or 0: agent and reader may be of two releases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Goes up when a key changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// The path that it is asked for under.
pub const PATH: &str = "/status";

/// The path of the newest sample, as lines of a dump. On the unix socket only.
pub const SAMPLE_PATH: &str = "/sample";

/// The largest text of a sample, in bytes. A container has about 700 and an agent follows 16,384
/// cgroups.
pub const SAMPLE_BYTES_MAX: usize = 32 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusReport {
    pub schema_version: u32,
    /// Of the program.
    pub version: String,
    pub node: String,
    pub pid: u32,
    /// RFC 3339.
    pub at: String,
    /// Since it began to answer.
    pub up_ms: u64,
    /// `true` while samples are taken.
    pub is_healthy: bool,
    pub sampling: SamplingReport,
    pub directory: Vec<SourceReport>,
    pub endpoints: Vec<EndpointReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SamplingReport {
    pub interval_ms: u64,
    pub samples: u64,
    /// The last sample; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastSample>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LastSample {
    pub age_ms: u64,
    pub took_usec: u64,
    pub cgroups: u64,
    /// The number of failed readings.
    pub gaps: u64,
}

/// A source of identity.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceReport {
    pub source: String,
    /// Pods, containers and patterns.
    pub known: u64,
    /// The age of its last answer, in milliseconds; `None`: it has not answered yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// The error of its last try; `None` while it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Panics after which its task was started again.
    pub restarts: u64,
    /// Since the first error in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointReport {
    pub name: String,
    /// Without what may be secret.
    pub url: String,
    /// `true` of the agent's own receiver.
    pub embedded: bool,
    pub state: EndpointState,
    /// For how long it has been in that state.
    pub state_ms: u64,
    /// All that waits or is under way.
    pub waiting: BacklogReport,
    pub in_memory: BacklogReport,
    pub on_disk: BacklogReport,
    /// Of the oldest sample that waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_age_ms: Option<u64>,
    pub offered_posts: u64,
    /// Posts that an earlier run had left on disk.
    pub recovered_posts: u64,
    pub accepted_posts: u64,
    pub accepted_bytes: u64,
    /// Posts that live on in others.
    pub merged_posts: u64,
    /// Posts given up, by reason.
    pub dropped_posts: BTreeMap<String, u64>,
    /// Points that the endpoint refused, by reason.
    pub dropped_points: BTreeMap<String, u64>,
    /// Answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// Tries without a whole answer.
    pub unanswered: u64,
    /// Tries beyond each post's first.
    pub retries: u64,
    /// Panics after which a task of the endpoint was started again.
    pub restarts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success_age_ms: Option<u64>,
    /// RFC 3339: the stamp of the newest sample of which a post was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_accepted: Option<String>,
    /// Why samples that should be on disk are not; `None` while they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool_error: Option<String>,
}

/// The health of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointState {
    Healthy,
    Degraded,
    Rejecting,
    Down,
    /// A word that this release does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BacklogReport {
    pub samples: u64,
    pub posts: u64,
    pub bytes: u64,
}

/// Why an answer is none that this release can read.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error("no status of an agent")]
    Malformed,
    #[error(
        "the agent's status has schema {0}, and this program reads {SCHEMA_VERSION}; use the \
         agent's own release"
    )]
    Version(u32),
}

impl StatusReport {
    /// As JSON, on one line.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        super::append(self, &mut json);
        json
    }

    /// Reads what an agent answered.
    ///
    /// # Errors
    /// It is none, or of a schema that is not known.
    pub fn from_json(json: &[u8]) -> Result<Self, StatusError> {
        // Another program's answer has no reason to be shown; its words could hold anything.
        let status: Self = serde_json::from_slice(json).map_err(|_| StatusError::Malformed)?;
        match status.schema_version {
            SCHEMA_VERSION => Ok(status),
            0 => Err(StatusError::Malformed),
            other => Err(StatusError::Version(other)),
        }
    }

    /// `true` while samples are taken and no endpoint is rejecting or down.
    #[must_use]
    pub fn is_all_healthy(&self) -> bool {
        let is_failing = |endpoint: &EndpointReport| {
            matches!(endpoint.state, EndpointState::Rejecting | EndpointState::Down)
        };
        self.is_healthy && !self.endpoints.iter().any(is_failing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_of_another_release_is_read_as_far_as_it_is_understood() {
        let json = br#"{"schema_version":1,"new":{"deep":[1]},"endpoints":[
            {"name":"a","state":"asleep","answers":{"200":3},"dropped_posts":{"bored":2}}]}"#;
        let status = StatusReport::from_json(json).unwrap();
        assert_eq!(status.endpoints[0].state, EndpointState::Unknown);
        assert_eq!(status.endpoints[0].answers, BTreeMap::from([(200, 3)]));
        assert_eq!(status.endpoints[0].dropped_posts["bored"], 2);
        let later = StatusReport::from_json(br#"{"schema_version":2}"#).unwrap_err();
        assert!(later.to_string().contains("schema 2"), "{later}");
        for other in [&b"{}"[..], b"hello", b"[]", b"{\"schema_version\":1,\"pid\":\"x\"}"] {
            assert!(matches!(StatusReport::from_json(other), Err(StatusError::Malformed)));
        }
    }

    #[test]
    fn a_written_report_is_read_again() {
        let endpoint = EndpointReport {
            state: EndpointState::Down,
            answers: BTreeMap::from([(503, 7)]),
            oldest_age_ms: Some(3),
            ..EndpointReport::default()
        };
        let status = StatusReport {
            schema_version: SCHEMA_VERSION,
            endpoints: vec![endpoint],
            ..StatusReport::default()
        };
        assert_eq!(StatusReport::from_json(&status.to_json()).unwrap(), status);
    }
}
