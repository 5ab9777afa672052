//! Where a worker's samples are: in memory, on disk, or there and in its hands as well.

use super::Worker;
use crate::delivery::late::Then;
use crate::delivery::queue::{Entry, put_in_order};
use crate::delivery::round::Round;
use crate::delivery::statistics::Health;
use crate::delivery::telling::Place;
use crate::spool::{Batch, Found, RowId};

/// Fresh samples that are held in memory though they are on disk, so that they can go first.
const LIVE_MAX: usize = 4;

/// Samples that are held in memory though they are on disk, for what is known of them beyond that; what the
/// endpoint left of others comes on top.
const HELD_MAX: usize = 16;

impl Worker {
    /// Puts what is fresh to disk: to be read from there in its order, or kept in hand as well, so
    /// that it can go first. Where the disk does not take it, it stays in memory.
    pub(super) async fn take_in(&mut self) {
        self.take_in_behind(false).await;
    }

    /// The same beside a round. Where order is meaning, nothing gets to disk that has to come behind what
    /// is in memory alone.
    pub(super) async fn take_in_behind(&mut self, older_in_memory: bool) {
        let mut appends = self.disk.takes() && !(self.settings.in_order && older_in_memory);
        if self.is_in_order() && appends {
            appends = self.put_backlog_to_disk().await || !self.settings.in_order;
        }
        while let Some(mut entry) = self.handle.take_fresh(None) {
            if self.is_in_order() || self.live.len() >= LIVE_MAX {
                let not_taken = match appends {
                    true => self.put_to_disk(entry).await,
                    false => Some(entry),
                };
                if let Some(entry) = not_taken {
                    appends &= !self.settings.in_order;
                    self.handle.put_back(entry);
                }
            } else {
                self.keep(&mut entry).await;
                self.live.push_back(entry);
            }
        }
        self.merge_late().await;
    }

    /// Whether all of it is there.
    async fn put_backlog_to_disk(&mut self) -> bool {
        let mut not_taken = Vec::new();
        while self.disk.takes()
            && (not_taken.is_empty() || !self.settings.in_order)
            && let Some(entry) = self.handle.take_backlog()
        {
            not_taken.extend(self.put_to_disk(entry).await);
        }
        let all_taken = not_taken.is_empty() && self.disk.takes();
        for entry in not_taken.into_iter().rev() {
            self.handle.put_back(entry);
        }
        all_taken
    }

    /// It is given back where the disk does not take it.
    async fn put_to_disk(&mut self, entry: Entry) -> Option<Entry> {
        let batch = entry.to_batch();
        let now = self.now();
        if self.disk.append(&self.handle, &batch, false, now).await.is_none() {
            return Some(entry);
        }
        self.handle.no_longer_in_memory(&batch.posts);
        self.handle.forget(&entry);
        None
    }

    /// Puts it to disk and goes on with it, unless it is there.
    pub(super) async fn keep(&mut self, entry: &mut Entry) {
        let batch = entry.to_batch();
        self.keep_as(entry, batch).await;
    }

    /// The same for what is sent from there on, so that it is written once.
    pub(super) async fn keep_and_send(&mut self, entry: &mut Entry) {
        let batch = Batch { tried: true, ..entry.to_batch() };
        self.keep_as(entry, batch).await;
    }

    async fn keep_as(&mut self, entry: &mut Entry, batch: Batch) {
        if entry.row.is_some() {
            return;
        }
        let now = self.now();
        entry.row = self.disk.append(&self.handle, &batch, true, now).await;
        if entry.row.is_some() {
            self.handle.no_longer_in_memory(&batch.posts);
            self.handle.forget(entry);
            entry.handed_over = false;
            entry.is_touched = false;
            entry.is_marked = batch.tried;
        }
    }

    /// What a kill leaves of these says that they were tried, before they are: nobody could tell any
    /// more whether the endpoint has them, and what has become a part of a sum is recognised by no key.
    /// Where nothing is added up, it need not say so.
    pub(super) async fn mark(&mut self, entries: &mut [Entry]) {
        if !self.adds_late() {
            return;
        }
        for entry in entries.iter_mut().filter(|entry| !entry.is_marked) {
            match entry.row {
                // Not for every try while the disk is ill.
                Some(_) if !self.disk.takes() => {}
                Some(row) => {
                    let batch = Batch { tried: true, ..entry.to_batch() };
                    self.write_over(entry, row, &batch).await;
                }
                None => self.handle.mark_tried(entry),
            }
        }
    }

    fn adds_late(&self) -> bool {
        self.settings.late.is_some_and(|late| matches!(late.then, Then::Add(_)))
    }

    /// Whether less is known where it is on disk than here.
    fn is_outdated(&self, entry: &Entry) -> bool {
        entry.is_touched || self.adds_late() && entry.was_tried() && !entry.is_marked
    }

    pub(super) async fn keep_round(&mut self, round: &mut Round) {
        for (number, batch) in round.not_on_disk() {
            let now = self.now();
            let row = self.disk.append(&self.handle, &batch, true, now).await;
            let Some(entry) = row.and_then(|row| round.is_on_disk(number, row)) else { continue };
            self.handle.no_longer_in_memory(&batch.posts);
            self.handle.forget(entry);
            entry.handed_over = false;
        }
    }

    /// What is left of an entry goes on at its place in the backlog.
    pub(super) async fn keep_left(&mut self, mut entry: Entry) {
        self.bring_up_to_date(&mut entry).await;
        self.keep(&mut entry).await;
        match entry.row {
            Some(_) => put_in_order(&mut self.held, entry),
            None => self.handle.put_back(entry),
        }
    }

    /// Writes what is left of an entry over what is on disk of it.
    async fn bring_up_to_date(&mut self, entry: &mut Entry) {
        let Some(row) = entry.row.filter(|_| self.is_outdated(entry)) else { return };
        let batch = entry.to_batch();
        self.write_over(entry, row, &batch).await;
    }

    async fn write_over(&mut self, entry: &mut Entry, row: RowId, batch: &Batch) {
        match self.disk.replace(&self.handle, row, batch).await {
            Some(Found::There) => {
                entry.is_touched = false;
                entry.is_marked = batch.tried;
            }
            Some(Found::Gone) => {
                entry.row = None;
                self.handle.in_memory_again(&batch.posts);
            }
            // Where the disk is ill, what stands there is more than what is left: as long as the entry
            // is in hand, it is not read from there.
            None => {}
        }
    }

    /// Nothing is held in memory that is on disk as well, but for what is not to be forgotten: which
    /// samples the endpoint took a part of, which posts were tried how often, and what it may have taken
    /// without a word: added to another sample, that would be taken once more, or for a repeat with all
    /// that was added to it.
    pub(super) async fn let_go(&mut self) {
        let is_down = self.health == Health::Down;
        let adds = self.adds_late();
        let mut in_hand = std::mem::take(&mut self.held);
        if is_down {
            self.live.drain(..).for_each(|entry| put_in_order(&mut in_hand, entry));
        }
        let mut others = 0;
        for entry in in_hand {
            let is_known = !entry.has_no_failures() || adds && entry.was_tried();
            let is_held = entry.partly_accepted || is_known && others < HELD_MAX;
            others += usize::from(!entry.partly_accepted && is_held);
            match is_held && entry.row.is_some() {
                true => self.held.push_back(entry),
                false => self.release(entry).await,
            }
        }
    }

    /// To be read from the disk in its turn, or had from memory if it is not there.
    async fn release(&mut self, mut entry: Entry) {
        self.bring_up_to_date(&mut entry).await;
        match entry.row {
            Some(_) if self.is_outdated(&entry) => self.held.push_back(entry),
            Some(row) => {
                if self.disk.release(&self.handle, row).await == Found::Gone {
                    entry.row = None;
                    self.handle.in_memory_again(&entry.to_batch().posts);
                    self.handle.put_back(entry);
                }
            }
            None => self.handle.put_back(entry),
        }
    }

    /// Nothing is left of it.
    pub(super) async fn settled(&mut self, entry: Entry) {
        match entry.row {
            Some(row) => self.disk.remove(&self.handle, row).await,
            None => self.handle.no_longer_in_memory(&[]),
        }
        self.handle.forget(&entry);
    }

    /// At the end: what is in memory alone goes to disk, if it can.
    pub(super) async fn leave(&mut self) {
        let in_hand = self.held.drain(..).chain(self.live.drain(..));
        for entry in in_hand.collect::<Vec<_>>() {
            self.release(entry).await;
        }
        // Where the disk is ill, more stands there than is left; that is recognised by its keys when it
        // comes twice.
        for row in std::mem::take(&mut self.held).iter().filter_map(|entry| entry.row) {
            self.disk.release(&self.handle, row).await;
        }
        let mut not_taken = Vec::new();
        while let Some(entry) = self.handle.take_backlog().or_else(|| self.handle.take_fresh(None))
        {
            match self.settings.in_order && !not_taken.is_empty() {
                true => not_taken.push(entry),
                false => not_taken.extend(self.put_to_disk(entry).await),
            }
        }
        for entry in not_taken.into_iter().rev() {
            self.handle.put_back(entry);
        }
    }

    /// Where samples are kept, and how much of them.
    pub(super) fn place(&self) -> Place {
        match self.disk.bytes_max() {
            Some(bytes_max) => Place::Disk { bytes_max },
            None => Place::Memory { bytes_max: self.settings.queue_bytes_max as u64 },
        }
    }
}
