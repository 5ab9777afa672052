//! Differences of counters, signed, so that a part can be subtracted from a total.

use crate::quantity::CpuTime;
use crate::source::cgroup::cpu_stat::CpuStat;

/// The increase of one counter. A counter that went back was reset and started again from 0, so its
/// new value is the increase: never negative, never a spike.
#[must_use]
pub(super) fn counter_delta(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

macro_rules! deltas {
    ($(#[$doc:meta])* $name:ident { $($part:ident),* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub(super) struct $name {
            $(pub $part: i64,)*
        }

        impl $name {
            fn zip(self, other: Self, f: fn(i64, i64) -> i64) -> Self {
                Self { $($part: f(self.$part, other.$part),)* }
            }

            pub fn add(&mut self, other: Self) {
                *self = self.zip(other, i64::saturating_add);
            }

            pub fn less(self, other: Self) -> Self {
                self.zip(other, i64::saturating_sub)
            }

            /// The greater of both, part by part.
            pub fn at_least(self, other: Self) -> Self {
                self.zip(other, i64::max)
            }
        }
    };
}

deltas! {
    /// CPU time in microseconds.
    CpuDelta { usage, user, system }
}

deltas! {
    /// Disk bytes and operations.
    IoDelta { read, written, read_ops, write_ops }
}

impl CpuDelta {
    /// From `before` to `now`; all of `now` where there is no before.
    pub fn between(before: Option<&CpuStat>, now: &CpuStat) -> Self {
        let delta = |part: fn(&CpuStat) -> CpuTime| {
            let before = before.map_or(0, |stat| part(stat).as_usec());
            signed(counter_delta(before, part(now).as_usec()))
        };
        Self {
            usage: delta(|stat| stat.usage),
            user: delta(|stat| stat.user),
            system: delta(|stat| stat.system),
        }
    }
}

/// CPU and disk together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct UsageDelta {
    pub cpu: CpuDelta,
    pub io: IoDelta,
}

impl UsageDelta {
    pub fn add(&mut self, other: Self) {
        self.cpu.add(other.cpu);
        self.io.add(other.io);
    }
}

pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A part below 0 is timing or rounding. It becomes 0 and shows in the remainder.
pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::counter_delta;

    #[test]
    fn a_reset_counts_from_zero() {
        assert_eq!(counter_delta(10, 25), 15);
        assert_eq!(counter_delta(10, 4), 4);
        assert_eq!(counter_delta(0, 0), 0);
    }
}
