//! Those who pull, and the last sample that each of them has seen.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::quantity::BootTime;

/// A puller that did not come for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The most pullers that are remembered. Of further ones the one that came first is forgotten.
const PULLERS_MAX: usize = 32;

/// The pullers of the last ten minutes.
#[derive(Debug, Default)]
pub struct Pullers(Mutex<Vec<Puller>>);

#[derive(Debug)]
struct Puller {
    /// Its address and what it asked for, as one number.
    key: u64,
    seen: u64,
    at: BootTime,
}

impl Pullers {
    /// Notes that the puller `key` got the sample `sequence`.
    pub fn saw(&self, key: u64, sequence: u64, now: BootTime) {
        let mut all = self.locked();
        if let Some(known) = all.iter_mut().find(|puller| puller.key == key) {
            (known.seen, known.at) = (known.seen.max(sequence), now);
            return;
        }
        if all.len() >= PULLERS_MAX
            && let Some(oldest) = all.iter().enumerate().min_by_key(|(_, puller)| puller.at)
        {
            let at = oldest.0;
            all.swap_remove(at);
        }
        all.push(Puller { key, seen: sequence, at: now });
    }

    /// The newest sample that all pullers of the last ten minutes have seen; `None` if there are none.
    #[must_use]
    pub fn seen_by_all(&self, now: BootTime) -> Option<u64> {
        let mut all = self.locked();
        all.retain(|puller| now.since(puller.at) <= FORGOTTEN_AFTER);
        all.iter().map(|puller| puller.seen).min()
    }

    /// The number of pullers, of the ten minutes before the last sample and since.
    #[must_use]
    pub fn count(&self) -> usize {
        self.locked().len()
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Puller>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_puller_of_the_last_ten_minutes_counts() {
        let at = |secs: u64| BootTime::from_nanos(secs * 1_000_000_000);
        let pullers = Pullers::default();
        assert_eq!(pullers.seen_by_all(at(0)), None);
        pullers.saw(1, 7, at(10));
        pullers.saw(2, 5, at(20));
        assert_eq!(pullers.seen_by_all(at(30)), Some(5));
        // An answer to an older request cannot take back what was seen.
        pullers.saw(1, 6, at(100));
        assert_eq!(pullers.seen_by_all(at(620)), Some(5));
        assert_eq!(pullers.seen_by_all(at(621)), Some(7), "the second one did not come back");
        assert_eq!(pullers.seen_by_all(at(800)), None);
    }

    #[test]
    fn many_pullers_take_no_more_room() {
        let pullers = Pullers::default();
        for key in 0..10_000 {
            pullers.saw(key, key, BootTime::from_nanos(key));
        }
        assert_eq!(pullers.locked().len(), PULLERS_MAX);
        assert_eq!(pullers.seen_by_all(BootTime::from_nanos(1)), Some(10_000 - 32));
    }
}
