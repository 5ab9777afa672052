//! The backlog on disk: one bounded queue for each endpoint.
//!
//! The spool sees paths and bytes, and does not interpret them.

mod batch;
mod database;
mod error;
mod file;
mod inflight;
pub mod record;
mod rows;
mod thread;

use std::time::Duration;

use thiserror::Error;

pub use batch::{Batch, Part, Post};
// Batches carry it.
pub use crate::clock::Moment;
pub use inflight::{Journal, RecoveredBatches};
pub use thread::{Queue, Spool};

/// The limits of a queue. Beyond them the oldest batches are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The size of its batches on disk, in bytes.
    pub bytes_max: u64,
    pub age_max: Duration,
}

/// The number of a batch on disk. Newer ones have larger numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub i64);

/// The presence of a batch in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowPresence {
    Present,
    /// Its file is gone.
    Gone,
}

/// The contents of a queue on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueContents {
    pub batches: u64,
    pub posts: u64,
    /// The bytes counted against [`Bounds::bytes_max`].
    pub bytes: u64,
    /// The sampling time of the oldest batch.
    pub oldest: Option<Moment>,
    /// The number of leased batches.
    pub leased: u64,
}

/// Posts that the queue dropped or lost, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// Pushed out by newer ones.
    pub full_posts: u64,
    /// Older than the queue's age limit.
    pub old_posts: u64,
    /// In a file that was damaged.
    pub damaged_posts: u64,
}

/// The error of a batch that is not on disk. The caller still has the batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpoolError {
    #[error("{path}: no space is left")]
    NoSpace { path: String },
    /// Alone, or beside the leased batches.
    #[error("{path}: one batch is more than the queue keeps")]
    TooLarge { path: String },
    #[error("{path}: {reason}")]
    Failed { path: String, reason: String },
    /// It does not come back.
    #[error("the spool's thread has ended")]
    Ended,
}
