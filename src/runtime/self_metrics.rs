//! Self-metrics of the sampling thread, read by the status server.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ledger::Account;
use crate::quantity::BootTime;
use crate::snapshot::Snapshot;

/// Counters and gauges of the sampling thread since its start.
#[derive(Debug, Clone, Copy, Default)]
pub struct SampleMetrics {
    /// Samples since the start.
    pub samples: u64,
    /// The end of the last sample; `None` before the first.
    pub last_at: Option<BootTime>,
    /// The duration of the last sample, in microseconds.
    pub took_usec: u64,
    /// Readings of the last sample that failed or were odd.
    pub gaps: u64,
    /// Cgroups in the last sample.
    pub cgroups: usize,
    /// The time between two samples; 0 before the first.
    pub interval: Duration,
}

impl SampleMetrics {
    /// True if the last sample is no older than three intervals (at least a minute). Before the
    /// first sample the start counts.
    #[must_use]
    pub fn is_sampling(&self, started_at: BootTime, now: BootTime) -> bool {
        let patience = self.interval.saturating_mul(3).max(Duration::from_secs(60));
        now.since(self.last_at.unwrap_or(started_at)) <= patience
    }
}

/// The metrics that the sampling thread shares with the status server.
#[derive(Debug, Default)]
pub struct SelfMetrics(Mutex<SampleMetrics>);

impl SelfMetrics {
    /// Records a sample; the next is due within `interval`.
    pub fn sampled(&self, snapshot: &Snapshot, account: &Account, interval: Duration) {
        let mut metrics = self.locked();
        *metrics = SampleMetrics {
            samples: metrics.samples + 1,
            last_at: Some(snapshot.ended_at),
            took_usec: snapshot.ended_at.usec_since(snapshot.begun_at),
            gaps: snapshot.gaps.count + account.gaps.count,
            cgroups: snapshot.cgroups.len(),
            interval,
        };
    }

    /// The present values.
    #[must_use]
    pub fn read(&self) -> SampleMetrics {
        *self.locked()
    }

    fn locked(&self) -> MutexGuard<'_, SampleMetrics> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_stopped_sampling_is_noticed() {
        let at = |secs: u64| BootTime::from_nanos(secs * 1_000_000_000);
        let self_metrics = SelfMetrics::default();
        assert!(self_metrics.read().is_sampling(at(100), at(160)));
        assert!(!self_metrics.read().is_sampling(at(100), at(161)), "never sampled");
        let snapshot = Snapshot { ended_at: at(200), ..Snapshot::default() };
        self_metrics.sampled(&snapshot, &Account::default(), Duration::from_secs(30));
        assert!(self_metrics.read().is_sampling(at(100), at(290)));
        assert!(!self_metrics.read().is_sampling(at(100), at(291)));
    }
}
