//! Options of the container runtime as a source.

use std::path::PathBuf;
use std::time::Duration;

use crate::quantity::BootTime;

/// The default paths of the runtimes' sockets: containerd, CRI-O, cri-dockerd and k3s' containerd.
pub const SOCKETS: [&str; 4] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/run/k3s/containerd/containerd.sock",
];

/// Options of the container runtime as a source. [`CriOptions::new`] sets the defaults.
#[derive(Debug, Clone)]
pub struct CriOptions {
    /// The first socket that exists is used.
    pub sockets: Vec<PathBuf>,
    /// Time between two polls (10 s).
    pub interval: Duration,
    /// The time limit of one call (5 s).
    pub call_timeout: Duration,
    /// The largest answer, in bytes (16 MiB, the kubelet's own limit).
    pub message_bytes_max: usize,
    /// The longest annotation value that is kept, in bytes (1 KiB).
    pub annotation_bytes_max: usize,
    /// Seed of the random parts of the waits.
    pub seed: u64,
    pub clock: fn() -> BootTime,
}

impl CriOptions {
    #[must_use]
    pub fn new(sockets: Vec<PathBuf>, seed: u64, clock: fn() -> BootTime) -> Self {
        Self {
            sockets,
            interval: Duration::from_secs(10),
            call_timeout: Duration::from_secs(5),
            message_bytes_max: 16 << 20,
            annotation_bytes_max: 1 << 10,
            seed,
            clock,
        }
    }
}
