//! The pods whose files are counted, and the bounds of the count.

use std::path::PathBuf;
use std::time::Duration;

use crate::identity::{ContainerId, PodUid, ProcessKey};

/// More pods than this are not counted.
pub const PODS_MAX: usize = 4096;

/// The options of the lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageOptions {
    /// Files and directories asked for a second, at most; 0 counts as 1.
    pub entries_per_second: u64,
    /// Between the end of one count of a pod and the beginning of the next.
    pub refresh: Duration,
    /// The kubelet's own directory on the host.
    pub kubelet_dir: PathBuf,
    /// Where the host keeps the logs of pods.
    pub pod_logs_dir: PathBuf,
    /// The longest wait for the filesystem's capacity.
    pub capacity_deadline: Duration,
}

impl Default for UsageOptions {
    fn default() -> Self {
        Self {
            entries_per_second: 2000,
            refresh: Duration::from_secs(300),
            kubelet_dir: PathBuf::from("/var/lib/kubelet"),
            pod_logs_dir: PathBuf::from("/var/log/pods"),
            capacity_deadline: Duration::from_secs(2),
        }
    }
}

/// A pod that is to be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub pod: PodUid,
    pub containers: Vec<TargetContainer>,
}

/// One of its containers, with a process of it that stands in its own root and not in that of a
/// container inside it: the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetContainer {
    pub id: ContainerId,
    /// `None`: none was seen, and then its layer cannot be found.
    pub process: Option<ProcessKey>,
}
