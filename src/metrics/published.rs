//! The newest sample, for those who pull it.

use std::sync::{Arc, Mutex, PoisonError};

use super::pullers::Pullers;
use super::sample::MetricSample;

/// The newest sample, and who has seen which. Readers keep a sample as long as they write it out; the
/// sampling thread never waits for them.
#[derive(Debug, Default)]
pub struct PublishedMetrics {
    sample: Mutex<Option<Arc<MetricSample>>>,
    pub pullers: Pullers,
}

impl PublishedMetrics {
    /// The newest sample; `None` before the first.
    #[must_use]
    pub fn sample(&self) -> Option<Arc<MetricSample>> {
        self.sample.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn publish(&self, sample: Arc<MetricSample>) {
        *self.sample.lock().unwrap_or_else(PoisonError::into_inner) = Some(sample);
    }
}
