//! The pace at which files are counted.

use std::time::Duration;

use crate::quantity::BootTime;

/// So many entries a second, and no more than half of the time.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    entries_per_second: u64,
    ready_at: BootTime,
}

impl Pace {
    #[must_use]
    pub fn new(entries_per_second: u64) -> Self {
        Self { entries_per_second: entries_per_second.max(1), ready_at: BootTime::default() }
    }

    /// When the next entries may be asked for. Unused time is not made up for.
    #[must_use]
    pub fn ready_at(&self) -> BootTime {
        self.ready_at
    }

    /// `entries` were asked for between the two times: a disk that took long for them is left alone
    /// for as long again.
    pub fn spent(&mut self, entries: u64, begun: BootTime, ended: BootTime) {
        let nanos = u128::from(entries) * 1_000_000_000 / u128::from(self.entries_per_second);
        let worth = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let rest = ended.plus(ended.since(begun));
        self.ready_at = self.ready_at.max(begun).plus(worth).max(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> BootTime {
        BootTime::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn the_rate_holds_over_any_time_and_nothing_is_made_up_for() {
        let mut pace = Pace::new(2000);
        pace.spent(256, millis(1000), millis(1001));
        assert_eq!(pace.ready_at(), millis(1128));
        pace.spent(100, millis(1128), millis(1129));
        assert_eq!(pace.ready_at(), millis(1178));
        // After a long rest the rate is the same.
        pace.spent(200, millis(60_000), millis(60_001));
        assert_eq!(pace.ready_at(), millis(60_100));
    }

    #[test]
    fn a_slow_disk_has_half_of_the_time_to_itself() {
        let mut pace = Pace::new(2000);
        pace.spent(20, millis(1000), millis(3000));
        assert_eq!(pace.ready_at(), millis(5000));
        let mut none = Pace::new(0);
        none.spent(3, millis(0), millis(0));
        assert_eq!(none.ready_at(), millis(3000));
    }
}
