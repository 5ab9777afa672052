//! One endpoint: its specification from the settings, and its state while it runs.

use std::path::{Path, PathBuf};

use reqwest::header::HeaderMap;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::client::delivery_settings;
use super::error::EndpointError;
use super::render::{Encoder, SampleEncoder};
use crate::config::{self, EndpointSettings, EndpointUrl, Settings};
use crate::delivery::{self, BaseUrl, Credential, Handle};
use crate::payload::profile::Reports;
use crate::spool::{self, Batch, Journal, Queue};

/// The specification of an endpoint, from the settings.
#[derive(Debug)]
pub struct EndpointSpec {
    /// Set for the embedded receiver. It may have the same name as a configured endpoint.
    pub embedded: bool,
    pub delivery: delivery::DeliverySettings,
    pub storage: BacklogStorage,
    pub encoder: Encoder,
}

/// Directories that hold the backlog of an endpoint, beside memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BacklogStorage {
    /// The spool directory of all endpoints, and the bounds of this endpoint's queue. `None`: the
    /// backlog is in memory alone.
    pub spool: Option<(PathBuf, spool::Bounds)>,
    /// The directory of the journal, which holds samples that are being sent. `None`: no journal.
    pub journal: Option<PathBuf>,
}

impl BacklogStorage {
    fn of(endpoint: &EndpointSettings, settings: &Settings) -> Self {
        let waiting = &endpoint.waiting;
        let bounds =
            spool::Bounds { bytes_max: waiting.spool_bytes.as_bytes(), age_max: waiting.spool_age };
        let on_disk = waiting.durability == config::Durability::Disk;
        let spool_dir = settings.spool.dir.clone().filter(|_| on_disk);
        // Every run reports the life cycle of all pods anew; samples are sent once.
        let is_counted = matches!(endpoint.dialect.profile().reports, Reports::Usage(_));
        let state_dir = settings.state.dir.as_ref().filter(|_| is_counted);
        Self {
            spool: spool_dir.map(|dir| (dir, bounds)),
            journal: state_dir.map(|dir| journal_dir(dir)),
        }
    }
}

/// The directory of the journal, beside the counters.
pub(super) fn journal_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("handover")
}

impl EndpointSpec {
    /// The endpoint that is a server at `url`.
    ///
    /// # Errors
    /// Its URL, token, certificates or proxy cannot be used.
    pub fn of(
        endpoint: &EndpointSettings,
        url: &EndpointUrl,
        settings: &Settings,
    ) -> Result<Self, EndpointError> {
        Ok(Self {
            embedded: false,
            delivery: delivery_settings(endpoint, url, settings)?,
            storage: BacklogStorage::of(endpoint, settings),
            encoder: Encoder::of(endpoint, settings)?,
        })
    }
}

/// A running endpoint with its settings.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) embedded: bool,
    pub(super) delivery: delivery::DeliverySettings,
    pub(super) storage: BacklogStorage,
    pub(super) handle: Handle,
    /// The queue on disk. `None`: the backlog is in memory alone.
    pub(super) queue: Option<Queue>,
    /// The journal of samples in flight. `None`: no journal.
    pub(super) journal: Option<Journal>,
    /// Migrates the backlog of the previous settings; the worker starts when it is done.
    pub(super) migration: Option<JoinHandle<()>>,
}

impl Endpoint {
    pub(super) fn is_of(&self, spec: &EndpointSpec) -> bool {
        self.embedded == spec.embedded && self.delivery.name == spec.delivery.name
    }

    pub(super) fn is_called_as(&self, other: &Self) -> bool {
        self.embedded == other.embedded && self.delivery.name == other.delivery.name
    }

    /// Sends until `deadline` and returns the unacknowledged batches with the endpoint's name.
    pub(super) async fn finish(self, deadline: Instant) -> (String, Vec<Batch>) {
        if let Some(task) = self.migration {
            let _ = task.await;
        }
        (self.delivery.name, self.handle.flush(deadline).await)
    }
}

/// A running endpoint as the status side reports it.
#[derive(Debug, Clone)]
pub struct EndpointView {
    pub name: String,
    /// Without user, password and query, which may be secret.
    pub url: String,
    /// Set for the embedded receiver.
    pub embedded: bool,
    pub handle: Handle,
}

/// A running endpoint as the sampling thread uses it.
pub struct EndpointHandle {
    pub handle: Handle,
    pub encoder: SampleEncoder,
    /// The server that keeps its series; `None`: a file or standard output.
    pub(super) server: Option<SeriesServer>,
}

/// A server as far as it decides where series are kept: headers name a tenant.
#[derive(PartialEq, Eq)]
pub(super) struct SeriesServer {
    url: BaseUrl,
    headers: HeaderMap,
    header_files: Vec<Credential>,
}

impl SeriesServer {
    pub(super) fn of(delivery: &delivery::DeliverySettings) -> Self {
        let delivery::DeliverySettings { url, headers, trust, .. } = delivery;
        let (url, headers) = (url.clone(), headers.clone());
        Self { url, headers, header_files: trust.header_files.clone() }
    }
}

impl EndpointHandle {
    /// `true` where one of `others` sends the same series to the same server.
    #[must_use]
    pub fn is_continued_by(&self, others: &[Self]) -> bool {
        others.iter().any(|other| {
            self.server == other.server && self.encoder.makes_same_series(&other.encoder)
        })
    }
}
