//! The state of the running agent that the status server reports.

use std::sync::{Arc, Mutex, PoisonError};

use super::super::self_metrics::SelfMetrics;
use crate::directory::Directory;
use crate::endpoint::endpoint::EndpointView;
use crate::identity::BootId;
use crate::metrics::published::PublishedMetrics;
use crate::quantity::BootTime;

/// The state that the status server reports; a reload replaces it.
#[derive(Debug, Clone, Default)]
pub struct StatusView {
    pub node_name: String,
    pub directory: Directory,
    pub endpoints: Vec<EndpointView>,
    pub boot: Option<BootId>,
}

/// The state that all requests share.
#[derive(Debug)]
pub(super) struct StatusShared {
    pub self_metrics: Arc<SelfMetrics>,
    pub published: Arc<PublishedMetrics>,
    view: Mutex<StatusView>,
    pub started_at: BootTime,
}

impl StatusShared {
    pub fn new(
        self_metrics: Arc<SelfMetrics>,
        published: Arc<PublishedMetrics>,
        started_at: BootTime,
    ) -> Self {
        Self { self_metrics, published, view: Mutex::default(), started_at }
    }

    /// Replaces the view.
    pub fn set_view(&self, view: StatusView) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    /// The present view.
    pub fn view(&self) -> StatusView {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
