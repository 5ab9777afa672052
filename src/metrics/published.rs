//! The newest sample, for those who pull it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::pullers::Pullers;
use super::sample::MetricSample;

/// The newest sample, and who has seen which. Readers keep a sample as long as they write it out; the
/// sampling thread never waits for them.
#[derive(Debug, Default)]
pub struct PublishedMetrics {
    sample: Mutex<Option<Arc<MetricSample>>>,
    pub pullers: Pullers,
    ended_dropped: AtomicU64,
}

impl PublishedMetrics {
    /// The newest sample; `None` before the first.
    #[must_use]
    pub fn sample(&self) -> Option<Arc<MetricSample>> {
        self.sample.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ended entities that were left out before everybody had seen them, since the start.
    #[must_use]
    pub fn ended_dropped(&self) -> u64 {
        self.ended_dropped.load(Ordering::Relaxed)
    }

    pub fn publish(&self, sample: Arc<MetricSample>, ended_dropped: u64) {
        self.ended_dropped.store(ended_dropped, Ordering::Relaxed);
        *self.sample.lock().unwrap_or_else(PoisonError::into_inner) = Some(sample);
    }
}
