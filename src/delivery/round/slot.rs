//! The place of one post in a round.

use tokio::task;

use crate::delivery::queue::QueuedPost;

/// An unresolved post of a round.
#[derive(Debug)]
pub(super) struct PostSlot {
    pub(super) entry: usize,
    pub(super) in_flight: Option<Try>,
    pub(super) waiting: QueuedPost,
}

impl PostSlot {
    pub(super) fn new(entry: usize, waiting: QueuedPost) -> Self {
        Self { entry, in_flight: None, waiting }
    }
}

/// A post in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Try {
    pub(super) task: task::Id,
    /// The number of posts accepted in this round when the try began.
    pub(super) accepted_before: u32,
}
