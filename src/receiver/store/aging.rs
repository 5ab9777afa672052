//! The ages at which pushes become minutes and minutes hours, and the clock that removal goes by.

use std::time::Duration;

use crate::quantity::WallTime;

pub(super) const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Points of one kind, which become those of the next level.
pub(super) struct AgingLevel {
    pub(super) number: i64,
    /// The age from which on its points are kept at the next level.
    pub(super) kept_for: Duration,
    /// The step of the next level.
    pub(super) step_millis: u64,
}

/// Pushes are kept for a day, minutes for a week.
pub(super) const LEVELS: [AgingLevel; 2] = [
    AgingLevel { number: 0, kept_for: DAY, step_millis: 60_000 },
    AgingLevel { number: 1, kept_for: Duration::from_secs(7 * 24 * 3600), step_millis: 3_600_000 },
];

/// The receiver's time between two passes of retention.
const AGE_EVERY: Duration = Duration::from_secs(60);

/// A step of the clock that is no passing of time. Posts come every few minutes at least.
const JUMP: Duration = HOUR;

/// The time of the last post, by which retention goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AgingClock {
    now: WallTime,
    aged_at: WallTime,
    /// Nothing is removed before: the clock has jumped ahead, and may be set back.
    removes_from: WallTime,
}

impl AgingClock {
    pub(super) fn now(&self) -> WallTime {
        self.now
    }

    /// Notes the time of a post. A jump of the clock removes nothing until it has held for an hour. The
    /// first post of a process counts as one.
    pub(super) fn set_now(&mut self, now: WallTime) {
        if self.now < now.minus(JUMP) {
            self.removes_from = later(now, JUMP);
        } else if now < self.now {
            self.removes_from = self.removes_from.min(later(now, JUMP));
        }
        self.now = now;
    }

    /// True if what is too old may be removed.
    pub(super) fn removes(&self) -> bool {
        self.now >= self.removes_from
    }

    /// True once a minute.
    pub(super) fn is_due(&self) -> bool {
        self.aged_at <= self.now.minus(AGE_EVERY) || self.now < self.aged_at
    }

    /// Notes that a pass begins.
    pub(super) fn has_aged(&mut self) {
        self.aged_at = self.now;
    }
}

fn later(at: WallTime, by: Duration) -> WallTime {
    let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    WallTime::from_unix_millis(at.as_unix_millis().saturating_add(by))
}
