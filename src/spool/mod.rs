//! What waits for an endpoint longer than a moment: one bounded queue on disk for each.
//!
//! It sees paths and bytes, and knows nothing of what they mean nor of how they are sent.

mod aside;
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
// The samples of the queue carry it.
pub use crate::clock::Moment;
pub use inflight::{Journal, RecoveredBatches};
pub use thread::{Queue, Spool};

/// How much a queue keeps. What is beyond is dropped from the oldest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// What its batches take on disk, in bytes.
    pub bytes_max: u64,
    pub age_max: Duration,
}

/// A batch on disk. Later ones have larger numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub i64);

/// Whether a batch still was where it had been put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowPresence {
    Present,
    /// With the file that it was in.
    Gone,
}

/// What is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueContents {
    pub batches: u64,
    pub posts: u64,
    /// What is counted against [`Bounds::bytes_max`].
    pub bytes: u64,
    /// When the oldest batch was taken.
    pub oldest: Option<Moment>,
    /// How many of the batches are in somebody's hands.
    pub leased: u64,
}

/// Posts that the queue dropped or lost by itself, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// Pushed out by newer ones.
    pub full_posts: u64,
    /// Older than the queue's age.
    pub old_posts: u64,
    /// Known to be in a file that turned out to be damaged.
    pub damaged_posts: u64,
}

/// Why something is not on disk. What was to be put there is the caller's still.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpoolError {
    #[error("{path}: no space is left")]
    NoSpace { path: String },
    /// Alone, or beside what is in somebody's hands.
    #[error("{path}: one batch is more than the queue keeps")]
    TooLarge { path: String },
    #[error("{path}: {reason}")]
    Failed { path: String, reason: String },
    /// For good.
    #[error("the spool's thread has ended")]
    Ended,
}
