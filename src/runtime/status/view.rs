//! The state of the running agent that the status server reports.

use std::sync::{Arc, Mutex, PoisonError};

use super::super::asked_sample::AskedSample;
use super::super::handshakes::HandshakeLog;
use super::super::self_metrics::SelfMetrics;
use super::access::MetricsAccess;
use super::requests::RequestCounts;
use crate::clock;
use crate::directory::Directory;
use crate::endpoint::endpoint::EndpointView;
use crate::identity::BootId;
use crate::metrics::published::PublishedMetrics;
use crate::payload::kubelet::MachineFacts;
use crate::quantity::{BootTime, WallTime};
use crate::source::own_process;

/// The state that the status server reports; a reload replaces it.
#[derive(Debug, Clone, Default)]
pub struct StatusView {
    pub node_name: String,
    pub directory: Directory,
    pub endpoints: Vec<EndpointView>,
    pub boot: Option<BootId>,
    pub machine: Arc<MachineFacts>,
}

/// The state that all requests share.
#[derive(Debug)]
pub(super) struct StatusShared {
    pub self_metrics: Arc<SelfMetrics>,
    pub published: Arc<PublishedMetrics>,
    pub asked_sample: Arc<AskedSample>,
    /// The requests to the metrics server.
    pub requests: RequestCounts,
    pub handshakes: HandshakeLog,
    view: Mutex<StatusView>,
    access: Mutex<Arc<MetricsAccess>>,
    pub started_at: BootTime,
    /// The start of the process.
    pub process_started: WallTime,
}

impl StatusShared {
    pub fn new(
        self_metrics: Arc<SelfMetrics>,
        published: Arc<PublishedMetrics>,
        asked_sample: Arc<AskedSample>,
        started_at: BootTime,
    ) -> Self {
        let age = own_process::read().map(|own| clock::boot_time().since(own.started));
        let process_started = clock::wall_time().minus(age.unwrap_or_default());
        Self {
            self_metrics,
            published,
            asked_sample,
            requests: RequestCounts::default(),
            handshakes: HandshakeLog::of_metrics(),
            view: Mutex::default(),
            access: Mutex::default(),
            started_at,
            process_started,
        }
    }

    /// Replaces the view.
    pub fn set_view(&self, view: StatusView) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    /// Replaces the conditions of the metrics server.
    pub fn set_access(&self, access: MetricsAccess) {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }

    /// The present conditions of the metrics server.
    pub fn access(&self) -> Arc<MetricsAccess> {
        Arc::clone(&self.access.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The present view.
    pub fn view(&self) -> StatusView {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
