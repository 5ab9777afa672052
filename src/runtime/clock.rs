//! The only place that asks for the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::identity::BootId;
use crate::quantity::{BootTime, WallTime};
use crate::spool::Moment;

/// Time since boot, suspend included. A kernel without the clock, of which none is known, stands
/// still at 0.
#[must_use]
pub fn boot_time() -> BootTime {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(BootTime::default(), |now| {
        let nanos = Duration::from(now).as_nanos();
        BootTime::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    })
}

/// Time since boot without what the node slept through.
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

/// Now, by both clocks.
#[must_use]
pub fn moment(boot: BootId) -> Moment {
    Moment { boot, since_boot: boot_time(), wall: wall_time() }
}

/// How long until the next multiple of `interval` on the wall clock, at least `least`: samples of
/// all nodes fall on the same instants.
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
}
