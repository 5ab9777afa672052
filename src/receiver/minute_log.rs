//! Lines that senders cause, once a minute and kind, with a count.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tracing::warn;

use crate::quantity::WallTime;

/// The time between two lines of one kind, in milliseconds.
const EVERY_MILLIS: u64 = 60_000;

/// The lines that are held back, by kind. The kinds are the program's own, so they are few.
#[derive(Debug, Default)]
pub(super) struct MinuteLog(Mutex<BTreeMap<&'static str, KindCount>>);

#[derive(Debug, Default)]
struct KindCount {
    said_at: Option<WallTime>,
    /// Events since.
    count: u64,
}

impl MinuteLog {
    /// Logs an event with its details, unless one of its kind was logged within a minute.
    pub(super) fn say(&self, now: WallTime, kind: &'static str, details: impl FnOnce() -> String) {
        if let Some(earlier) = self.count(now, kind) {
            let details = details();
            match earlier {
                0 => warn!("receiver: {kind}: {details}"),
                count => warn!("receiver: {kind}: {details} ({count} more since the last line)"),
            }
        }
    }

    /// The number of events since the last line; `None`: this one makes no line.
    fn count(&self, now: WallTime, kind: &'static str) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = kinds.entry(kind).or_default();
        let passed = |at: WallTime| now.as_unix_millis().abs_diff(at.as_unix_millis());
        if held.said_at.is_some_and(|at| passed(at) < EVERY_MILLIS) {
            held.count += 1;
            return None;
        }
        held.said_at = Some(now);
        Some(std::mem::take(&mut held.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_line_a_minute_with_the_number_held_back() {
        let log = MinuteLog::default();
        let at = |seconds: u64| WallTime::from_unix_millis(seconds * 1000);
        assert_eq!(log.count(at(100), "a"), Some(0));
        for second in 100..130 {
            assert_eq!(log.count(at(second), "a"), None);
        }
        assert_eq!(log.count(at(130), "b"), Some(0));
        assert_eq!(log.count(at(160), "a"), Some(30));
        assert_eq!(log.count(at(20), "a"), Some(0), "the clock was set back");
    }
}
