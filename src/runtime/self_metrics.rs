//! Self-metrics of the sampling thread, read by the status side.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::quantity::BootTime;
use crate::snapshot::Snapshot;

/// Counters and gauges of the sampling thread since its start. Each is read on its own; two reads are
/// not of one moment.
#[derive(Debug, Default)]
pub struct SelfMetrics {
    samples: AtomicU64,
    ended_at_nanos: AtomicU64,
    took_usec: AtomicU64,
    gaps: AtomicU64,
    cgroups: AtomicU64,
    interval_nanos: AtomicU64,
}

impl SelfMetrics {
    /// Records a sample; the next is due within `interval`.
    pub fn sampled(&self, snapshot: &Snapshot, interval: Duration) {
        let set = |figure: &AtomicU64, value: u64| figure.store(value, Ordering::Relaxed);
        set(&self.ended_at_nanos, snapshot.ended_at.as_nanos());
        set(&self.took_usec, snapshot.ended_at.usec_since(snapshot.begun_at));
        set(&self.gaps, snapshot.gaps.count);
        set(&self.cgroups, snapshot.cgroups.len() as u64);
        set(&self.interval_nanos, u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX));
        self.samples.fetch_add(1, Ordering::Relaxed);
    }

    /// Samples since the start.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }

    /// The end of the last sample; `None` before the first.
    #[must_use]
    pub fn last_at(&self) -> Option<BootTime> {
        (self.samples() > 0)
            .then(|| BootTime::from_nanos(self.ended_at_nanos.load(Ordering::Relaxed)))
    }

    /// The duration of the last sample, in microseconds.
    #[must_use]
    pub fn took_usec(&self) -> u64 {
        self.took_usec.load(Ordering::Relaxed)
    }

    /// Readings that failed in the last sample.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    /// Cgroups in the last sample.
    #[must_use]
    pub fn cgroups(&self) -> u64 {
        self.cgroups.load(Ordering::Relaxed)
    }

    /// The time between two samples; 0 before the first.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval_nanos.load(Ordering::Relaxed))
    }

    /// Tells whether the last sample is no older than three intervals (at least a minute). Before the
    /// first sample the start counts.
    #[must_use]
    pub fn is_sampling(&self, started_at: BootTime, now: BootTime) -> bool {
        let patience = self.interval().saturating_mul(3).max(Duration::from_secs(60));
        now.since(self.last_at().unwrap_or(started_at)) <= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_stopped_sampling_is_noticed() {
        let at = |secs: u64| BootTime::from_nanos(secs * 1_000_000_000);
        let self_metrics = SelfMetrics::default();
        assert!(self_metrics.is_sampling(at(100), at(160)));
        assert!(!self_metrics.is_sampling(at(100), at(161)), "never sampled");
        let snapshot = Snapshot { ended_at: at(200), ..Snapshot::default() };
        self_metrics.sampled(&snapshot, Duration::from_secs(30));
        assert!(self_metrics.is_sampling(at(100), at(290)));
        assert!(!self_metrics.is_sampling(at(100), at(291)));
    }
}
