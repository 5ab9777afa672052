//! Options of the API server as a source, and the paths of its requests.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::access::ApiAccess;
use crate::directory::objects::ObjectLimits;
use crate::directory::pod::Pod;
use crate::quantity::{BootTime, WallTime};

const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text, encoded as one part of a path or a query.
pub(super) fn part(text: &str) -> String {
    utf8_percent_encode(text, IN_PATH).to_string()
}

/// Options of the API server as a source. [`KubernetesOptions::new`] sets the defaults.
#[derive(Debug, Clone)]
pub struct KubernetesOptions {
    /// The node's name in the cluster (`spec.nodeName`).
    pub node_name: String,
    pub access: ApiAccess,
    pub limits: ObjectLimits,
    /// Pods on one page of a list (50).
    pub page_limit: u32,
    /// The shortest watch, in seconds (290 s); up to a fifth is added at random.
    pub watch_seconds: u32,
    /// The silence that is allowed beyond the length of a watch (30 s).
    pub watch_grace: Duration,
    /// The longest silence of a watch after a bookmark (150 s). A server that sends bookmarks sends one
    /// about once a minute, so that a lost connection is noticed sooner.
    pub watch_silence: Duration,
    /// The longest silence within an answer (30 s).
    pub answer_timeout: Duration,
    /// Time between two requests for the Node object and the version (5 min).
    pub refresh: Duration,
    /// The first wait after a failure (500 ms); it doubles.
    pub backoff_min: Duration,
    /// The longest wait after a failure (60 s).
    pub backoff_max: Duration,
    pub clock: fn() -> BootTime,
    /// Used only for waits that a server gives as a date.
    pub wall_clock: fn() -> WallTime,
    /// Seed of the random parts of the waits; it differs between nodes.
    pub seed: u64,
}

impl KubernetesOptions {
    /// Options with the default values, which the fields name in brackets.
    #[must_use]
    pub fn new(
        node_name: impl Into<String>,
        access: ApiAccess,
        clock: fn() -> BootTime,
        wall_clock: fn() -> WallTime,
        seed: u64,
    ) -> Self {
        Self {
            node_name: node_name.into(),
            access,
            limits: ObjectLimits { annotation_bytes_max: 256 },
            page_limit: 50,
            watch_seconds: 290,
            watch_grace: Duration::from_secs(30),
            watch_silence: Duration::from_secs(150),
            answer_timeout: Duration::from_secs(30),
            refresh: Duration::from_secs(300),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
            clock,
            wall_clock,
            seed,
        }
    }

    /// True for a pod that runs on this node.
    pub(super) fn is_of_node(&self, pod: &Pod) -> bool {
        *pod.node_name == *self.node_name
    }

    fn pods_path(&self) -> String {
        format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", part(&self.node_name))
    }

    pub(super) fn page_path(&self, token: Option<&str>) -> String {
        let page = format!("{}&limit={}", self.pods_path(), self.page_limit);
        token.map_or_else(|| page.clone(), |token| format!("{page}&continue={}", part(token)))
    }

    pub(super) fn watch_path(&self, resource_version: &str, seconds: u32) -> String {
        format!(
            "{}&watch=true&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={seconds}",
            self.pods_path(),
            part(resource_version)
        )
    }

    pub(super) fn node_path(&self) -> String {
        format!("/api/v1/nodes/{}", part(&self.node_name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::access::ServiceAccount;
    use super::*;

    #[test]
    fn paths_are_the_apis_with_everything_in_its_place() {
        let clock = || BootTime::from_nanos(0);
        let wall_clock = || WallTime::from_unix_millis(0);
        let access = ApiAccess::InCluster(ServiceAccount::default());
        let options = KubernetesOptions::new("worker-1.example", access, clock, wall_clock, 0);
        let selector = "/api/v1/pods?fieldSelector=spec.nodeName%3Dworker-1.example";
        assert_eq!(options.page_path(None), format!("{selector}&limit=50"));
        assert_eq!(
            options.page_path(Some("eyJ2+/=&limit=1")),
            format!("{selector}&limit=50&continue=eyJ2%2B%2F%3D%26limit%3D1")
        );
        assert_eq!(
            options.watch_path("494", 300),
            format!(
                "{selector}&watch=true&allowWatchBookmarks=true&resourceVersion=494\
                 &timeoutSeconds=300"
            )
        );
        assert_eq!(options.node_path(), "/api/v1/nodes/worker-1.example");
    }
}
