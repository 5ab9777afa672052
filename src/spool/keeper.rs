//! The thread that all queues on disk belong to.

use std::path::PathBuf;

use super::{Batch, Bounds, Found, Kept, Lost, Moment, RowId, SpoolError};

/// Where the queues of all endpoints lie. The thread starts with the first of them that is needed.
#[derive(Debug, Clone)]
pub struct Keeper {
    dir: PathBuf,
}

impl Keeper {
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The queue of this name, which is usable as a file's name. Touches nothing yet.
    #[must_use]
    pub fn queue(&self, name: &str, bounds: Bounds) -> Queue {
        let path = self.dir.join(name);
        Queue { path, bounds }
    }
}

/// One endpoint's. All calls but [`Queue::kept`] and [`Queue::take_lost`] wait for the disk.
#[derive(Debug, Clone)]
pub struct Queue {
    path: PathBuf,
    bounds: Bounds,
}

impl Queue {
    /// As of the last call that was answered; nothing before the first.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept::default()
    }

    /// What was lost since this was last asked.
    #[must_use]
    pub fn take_lost(&self) -> Lost {
        Lost::default()
    }

    /// Looks for what an earlier run has left; a queue that has no file stays without.
    pub async fn open(&self, _now: Moment) -> Result<Kept, SpoolError> {
        Err(self.unbuilt())
    }

    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Puts a batch at the end; it is on disk when this returns. Makes room for it by age and bytes.
    /// If it is `in_hand`, it is neither pushed out nor given by [`Queue::next`].
    pub async fn append(
        &self,
        _batch: &Batch,
        _in_hand: bool,
        _now: Moment,
    ) -> Result<RowId, SpoolError> {
        Err(self.unbuilt())
    }

    /// The oldest batch that is not in somebody's hands, and is so from here on.
    pub async fn next(&self, _now: Moment) -> Result<Option<(RowId, Batch)>, SpoolError> {
        Err(self.unbuilt())
    }

    /// It is no longer in somebody's hands.
    pub async fn release(&self, _row: RowId) {}

    /// Puts what is left of a batch in its place.
    pub async fn replace(&self, _row: RowId, _batch: &Batch) -> Result<Found, SpoolError> {
        Err(self.unbuilt())
    }

    pub async fn remove(&self, _rows: &[RowId]) -> Result<(), SpoolError> {
        Err(self.unbuilt())
    }

    /// One batch in the place of several, at once or not at all; it stands where the last of them
    /// stood.
    pub async fn merge(&self, _rows: &[RowId], _into: &Batch) -> Result<(), SpoolError> {
        Err(self.unbuilt())
    }

    /// Closes the file, and removes it if nothing is in it.
    pub async fn rest(&self) {}

    fn unbuilt(&self) -> SpoolError {
        SpoolError::Failed {
            path: self.path.display().to_string(),
            reason: format!("{:?}", self.bounds),
        }
    }
}
