//! Makes the two ends of one endpoint's delivery.

use std::time::Duration;

use thiserror::Error;

use super::disk::DiskQueue;
use super::http::{HttpError, Sender};
use super::queue::{Handle, QueueLimits};
use super::settings::DeliverySettings;
use super::worker::{MomentClock, Worker};
use crate::spool::{Journal, Queue};

/// The error of an HTTP client that cannot be made: token, certificates or proxy cannot be used, or
/// the system has no certificates.
#[derive(Debug, Error)]
#[error("endpoint {name}: the HTTP client cannot be made: {source}")]
pub struct ClientError {
    name: String,
    source: HttpError,
}

/// The places beside memory that hold an endpoint's samples.
#[derive(Debug, Clone, Default)]
pub struct Storage {
    /// `None`: the backlog is in memory only.
    pub queue: Option<Queue>,
    /// `None`: batches in flight are in memory only.
    pub journal: Option<Journal>,
}

/// The time beyond its deadline for which a flush waits for the worker.
const GRACE: Duration = Duration::from_millis(200);
/// The time beyond its deadline for which a flush waits for a worker that writes to disk.
const GRACE_ON_DISK: Duration = Duration::from_secs(3);

/// The two ends of one endpoint's delivery: the handle that accepts batches, and the worker, to be
/// run ([`Worker::run`]) on a Tokio runtime with time and I/O.
///
/// # Errors
/// The HTTP client cannot be made.
pub fn endpoint(
    settings: DeliverySettings,
    places: Storage,
    clock: MomentClock,
) -> Result<(Handle, Worker), ClientError> {
    let sender = Sender::new(&settings)
        .map_err(|source| ClientError { name: settings.name.clone(), source })?;
    let has_disk = places.queue.is_some() || places.journal.is_some();
    let grace = if has_disk { GRACE_ON_DISK } else { GRACE };
    let limits = QueueLimits {
        grace,
        bytes_max: settings.queue_bytes_max,
        samples_max: settings.queue_samples_max,
        spread: settings.spread,
    };
    let handle = Handle::new(limits, places.journal);
    let disk = DiskQueue::new(&settings.name, handle.clone(), places.queue);
    let worker = Worker::new(settings, sender, handle.clone(), disk, clock);
    Ok((handle, worker))
}

/// Sends one GET to the endpoint's base, and returns the status of the answer.
///
/// # Errors
/// The client cannot be made, or there is no answer.
pub async fn probe(settings: &DeliverySettings) -> Result<u16, HttpError> {
    Sender::new(settings)?.probe().await
}
