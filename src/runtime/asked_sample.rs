//! A copy of the newest sample, made for whoever asks for it: `nodetally top`.
//!
//! While nobody asks, there is no copy and no cost. The sampling thread copies between two samples, and
//! whoever asked makes the text of the copy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::wait::Waker;
use crate::directory::Catalog;
use crate::ledger::Account;

/// The longest wait for a copy. A sample of a large node takes some hundred milliseconds.
const COPY_DEADLINE: Duration = Duration::from_secs(5);

/// One sample, with the names of that time.
#[derive(Debug)]
pub struct SampleCopy {
    /// The number of the sample since the start.
    pub number: u64,
    pub account: Account,
    pub catalog: Arc<Catalog>,
}

/// The place where a copy is asked for and put.
#[derive(Debug, Default)]
pub struct AskedSample {
    asked: AtomicBool,
    copy: watch::Sender<Option<Arc<SampleCopy>>>,
    /// Of the sampling thread. Weak, since the thread ends when the last strong one is dropped.
    waker: Weak<Waker>,
}

impl AskedSample {
    #[must_use]
    pub fn new(waker: Weak<Waker>) -> Self {
        Self { waker, ..Self::default() }
    }

    /// Keeps the copies coming: the next sample is copied as soon as it is there.
    pub fn keep(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// The sample `number`, or a newer one. `None`: there is none in time.
    pub async fn get(&self, number: u64) -> Option<Arc<SampleCopy>> {
        let mut copies = self.copy.subscribe();
        self.keep();
        let is_it = |copy: &Option<Arc<SampleCopy>>| {
            copy.as_ref().is_some_and(|copy| copy.number >= number)
        };
        if !is_it(&copies.borrow_and_update()) {
            self.waker.upgrade()?.wake();
        }
        let copy = tokio::time::timeout(COPY_DEADLINE, copies.wait_for(is_it)).await.ok()?.ok()?;
        copy.clone()
    }

    /// Makes the copy that was asked for. Without a question it drops the last one if `is_new`: nobody
    /// reads any more.
    pub(super) fn answer(&self, number: u64, account: &Account, catalog: &Arc<Catalog>) {
        let is_new = self.copy.borrow().as_ref().is_none_or(|copy| copy.number != number);
        if !is_new {
            return;
        }
        if self.asked.swap(false, Ordering::Relaxed) {
            let catalog = Arc::clone(catalog);
            let copy = SampleCopy { number, account: account.clone(), catalog };
            self.copy.send_replace(Some(Arc::new(copy)));
        } else if self.copy.borrow().is_some() {
            self.copy.send_replace(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::wait;

    #[tokio::test]
    async fn a_copy_is_made_when_it_is_asked_for_and_dropped_when_nobody_asks() {
        let (waker, _stop) = wait::stop_signal().unwrap();
        let waker = Arc::new(waker);
        let asked = AskedSample::new(Arc::downgrade(&waker));
        let (account, catalog) = (Account::default(), Arc::default());
        asked.answer(1, &account, &catalog);
        assert!(asked.copy.borrow().is_none(), "nobody asked");
        let (got, ()) = tokio::join!(asked.get(1), async { asked.answer(1, &account, &catalog) });
        assert_eq!(got.unwrap().number, 1);
        // The same sample once more needs no other copy.
        assert_eq!(asked.get(1).await.unwrap().number, 1);
        asked.answer(2, &account, &catalog);
        assert_eq!(asked.copy.borrow().as_ref().unwrap().number, 2);
        asked.answer(3, &account, &catalog);
        assert!(asked.copy.borrow().is_none());
        drop(waker);
        assert!(asked.get(4).await.is_none(), "the sampling thread has ended");
    }
}
