//! The clocks: the only place that asks for the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::identity::BootId;
use crate::quantity::{BootTime, WallTime};

/// A moment by both clocks, and the boot it was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub boot: BootId,
    /// Time since that boot, suspend included. Ages are differences of it, as nobody can set this clock.
    pub since_boot: BootTime,
    pub wall: WallTime,
}

impl Moment {
    /// The age at `now`. Across a boot the wall clock gives it; a wall clock that was set back gives 0.
    #[must_use]
    pub fn age(&self, now: &Self) -> Duration {
        if self.boot == now.boot {
            return now.since_boot.since(self.since_boot);
        }
        let millis = now.wall.as_unix_millis().saturating_sub(self.wall.as_unix_millis());
        Duration::from_millis(millis)
    }
}

/// Time since boot, suspend included. A kernel without the clock, of which none is known, stands
/// still at 0.
#[must_use]
pub fn boot_time() -> BootTime {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(BootTime::default(), |now| {
        let nanos = Duration::from(now).as_nanos();
        BootTime::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    })
}

/// Time since boot without suspend.
#[must_use]
pub fn awake_time() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// The wall clock; 0 for a clock set before 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the edge at which time is asked for")]
pub fn wall_time() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Now, on the clock of Tokio's timers, which a test can pause.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the edge at which time is asked for")]
pub fn timer_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The present moment.
#[must_use]
pub fn moment(boot: BootId) -> Moment {
    Moment { boot, since_boot: boot_time(), wall: wall_time() }
}

/// The wait until the next multiple of `interval` on the wall clock, at least `least`. Samples of all
/// nodes fall on the same instants.
#[must_use]
pub fn until_next(now: WallTime, interval: Duration, least: Duration) -> Duration {
    let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let into = now.as_unix_millis() % interval_ms;
    let mut wait = Duration::from_millis(interval_ms - into);
    while wait < least {
        wait += Duration::from_millis(interval_ms);
    }
    wait
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_fall_on_multiples_of_the_interval() {
        let interval = Duration::from_secs(15);
        let at = |ms| until_next(WallTime::from_unix_millis(ms), interval, Duration::from_secs(1));
        assert_eq!(at(30_000), Duration::from_secs(15));
        assert_eq!(at(31_000), Duration::from_secs(14));
        // Half a second is too short to say anything of; the next but one it is.
        assert_eq!(at(44_500), Duration::from_millis(15_500));
    }

    #[test]
    fn a_wall_clock_that_is_set_changes_one_interval_and_bunches_none() {
        let (interval, least) = (Duration::from_secs(15), Duration::from_millis(500));
        for jump_ms in [3_600_000_i64, -3_600_000, 3_599_400, -7_300, 1] {
            // On the clock that nobody sets, beside the other.
            let (mut boot_ms, mut wall_ms) = (0, 1_790_000_010_000_i64);
            let mut sampled_at = Vec::new();
            for sample in 0..8 {
                sampled_at.push(boot_ms);
                let now = WallTime::from_unix_millis(u64::try_from(wall_ms).unwrap());
                let wait = i64::try_from(until_next(now, interval, least).as_millis()).unwrap();
                boot_ms += wait;
                // While it waits.
                wall_ms += wait + if sample == 3 { jump_ms } else { 0 };
            }
            let waits: Vec<i64> = sampled_at.windows(2).map(|two| two[1] - two[0]).collect();
            assert!(waits.iter().all(|wait| (500..=15_500).contains(wait)), "{jump_ms}: {waits:?}");
            let others = waits.iter().filter(|wait| **wait != 15_000).count();
            assert!(others <= 1, "{jump_ms}: {waits:?}");
        }
    }

    fn moment(boot: u8, since_boot_secs: u64, wall_secs: u64) -> Moment {
        let id = format!("{boot:08x}-0000-4000-8000-000000000000");
        Moment {
            boot: BootId::parse(id.as_bytes()).unwrap(),
            since_boot: BootTime::from_nanos(since_boot_secs * 1_000_000_000),
            wall: WallTime::from_unix_millis(wall_secs * 1000),
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_changes_no_age_within_a_boot() {
        let taken = moment(1, 1000, 500_000);
        for wall in [500_010, 503_610, 496_410] {
            assert_eq!(taken.age(&moment(1, 1010, wall)), Duration::from_secs(10));
        }
        assert_eq!(taken.age(&moment(1, 999, 500_000)), Duration::ZERO);
    }

    #[test]
    fn across_a_boot_the_wall_clock_tells_the_age() {
        let taken = moment(1, 1000, 500_000);
        assert_eq!(taken.age(&moment(2, 5, 500_090)), Duration::from_secs(90));
        assert_eq!(taken.age(&moment(2, 5, 400_000)), Duration::ZERO);
    }
}
