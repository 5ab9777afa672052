//! Differences of counters, signed, so that a part can be subtracted from a total.

use crate::identity::CgroupKey;
use crate::quantity::CpuTime;
use crate::snapshot::gaps::{GapReason, Gaps};
use crate::source::cgroup::cpu_stat::CpuStat;

/// The width at which narrow counters start again from 0, in their own units.
const NARROW: u64 = 1 << 32;

/// The bounds of a counter within one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CounterBounds {
    /// The most that the hardware can add.
    pub most: u64,
    /// The value of one unit, for counters that some drivers and kernels keep in 32 bits: 512 for
    /// sectors in bytes. `None`: the counter has 64 bits everywhere.
    pub narrow_unit: Option<u64>,
}

impl CounterBounds {
    /// A counter of 64 bits that no hardware bounds.
    pub const NONE: Self = Self { most: u64::MAX, narrow_unit: None };

    /// A counter of 64 bits.
    pub const fn most(most: u64) -> Self {
        Self { most, narrow_unit: None }
    }

    /// A counter that may have 32 bits, in units of `unit`, unless one of its object's counters
    /// shows more.
    pub fn narrow(most: u64, unit: u64, all: impl IntoIterator<Item = u64>) -> Self {
        let is_narrow = all.into_iter().all(|value| value < NARROW.saturating_mul(unit));
        Self { most, narrow_unit: is_narrow.then_some(unit) }
    }
}

/// The increase of a counter between two readings of the same object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gain {
    Of(u64),
    /// The counter fell. Nothing was gained, and the next increase counts from the new value.
    WentBack,
    /// More than possible. The increase is not known.
    TooMuch,
}

/// The only subtraction of counters. Identity alone tells a new object from an old one, never the
/// value: of a new object, `before` is 0.
///
/// A counter of 32 bits that was in the last quarter of its range and is in the first again has
/// wrapped around.
#[must_use]
pub(super) fn gain(before: u64, now: u64, bounds: CounterBounds) -> Gain {
    let gained = match (now.checked_sub(before), bounds.narrow_unit) {
        (Some(gained), _) => gained,
        (None, Some(unit)) => {
            let range = NARROW.saturating_mul(unit);
            match range.checked_sub(before).map(|left| left.saturating_add(now)) {
                Some(gained) if gained <= range / 4 && gained <= bounds.most => gained,
                _ => return Gain::WentBack,
            }
        }
        (None, None) => return Gain::WentBack,
    };
    if gained > bounds.most { Gain::TooMuch } else { Gain::Of(gained) }
}

/// The increases of one object's counters, and what was odd about them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gains {
    /// A counter fell.
    pub went_back: bool,
    /// A counter gained more than possible: the usage is not known.
    pub too_much: bool,
    /// A reading on either side is none, which is a gap already: the usage is not known.
    pub unread: bool,
}

impl Gains {
    /// The increase of one counter; 0 where it fell, or is not known.
    pub fn of(&mut self, before: u64, now: u64, bounds: CounterBounds) -> u64 {
        match gain(before, now, bounds) {
            Gain::Of(gained) => gained,
            Gain::WentBack => {
                self.went_back = true;
                0
            }
            Gain::TooMuch => {
                self.too_much = true;
                0
            }
        }
    }

    /// True if the usage is known.
    pub fn known(self) -> bool {
        !self.too_much && !self.unread
    }

    /// Adds a gap for each oddity. `path` names the object, in pieces.
    pub fn report(self, gaps: &mut Gaps, path: &[&[u8]]) {
        if self.went_back {
            gaps.add(path, GapReason::WentBack);
        }
        if self.too_much {
            gaps.add(path, GapReason::Implausible);
        }
    }

    /// The same for a file of a cgroup.
    pub fn report_file(self, gaps: &mut Gaps, cgroup: &CgroupKey, file: &[u8]) {
        self.report(gaps, &[&cgroup.path, b"/", file]);
    }
}

/// Time that a kernel may be late with what it counts: a CPU without ticks is asked once a second.
const LATE_USEC: u64 = 1_100_000;

/// The most CPU time that `cpus` CPUs can give within `over_usec`, in microseconds. Not bounded
/// where either is not known.
pub(super) fn most_cpu_usec(cpus: u32, over_usec: u64) -> u64 {
    if cpus == 0 || over_usec == 0 {
        return u64::MAX;
    }
    // Two clocks differ by some hundredths.
    let time = over_usec.saturating_add(over_usec / 16).saturating_add(LATE_USEC);
    time.saturating_mul(cpus.into())
}

/// More than one block device transfers in a second, in bytes.
const DISK_RATE: u64 = 32 << 30;

/// More than one interface transfers in a second, in bytes: 400 Gbit/s.
const LINK_RATE: u64 = 50_000_000_000;

/// Bytes that wait in queues and are counted late.
const QUEUED_BYTES: u64 = 64 << 20;

/// The most bytes that one block device can transfer within `over_usec`.
pub(super) fn most_disk_bytes(over_usec: u64) -> u64 {
    most_bytes(DISK_RATE, over_usec)
}

/// The most bytes that one interface can transfer within `over_usec` in one direction.
/// `link_rate`: bytes in a second, where the driver knows its link. A link may have become faster
/// meanwhile, so twice as much is possible.
pub(super) fn most_link_bytes(link_rate: Option<u64>, over_usec: u64) -> u64 {
    most_bytes(link_rate.map_or(LINK_RATE, |rate| rate.saturating_mul(2)), over_usec)
}

fn most_bytes(rate: u64, over_usec: u64) -> u64 {
    if over_usec == 0 {
        return u64::MAX;
    }
    let usec = u128::from(over_usec) + u128::from(LATE_USEC);
    let bytes = u128::from(rate) * usec / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(QUEUED_BYTES)
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

            /// The lesser of both, part by part.
            pub fn at_most(self, other: Self) -> Self {
                self.zip(other, i64::min)
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
    /// From `before` to `now`; all of `now` where there is no before. `most`: what the CPUs can
    /// give, in microseconds.
    pub fn between(before: Option<&CpuStat>, now: &CpuStat, most: u64, gains: &mut Gains) -> Self {
        let mut delta = |part: fn(&CpuStat) -> Option<CpuTime>| {
            // A split that is not known on either side is none: see `is_split`.
            let then = before.map_or(Some(CpuTime::ZERO), part);
            let (Some(then), Some(now)) = (then, part(now)) else { return 0 };
            signed(gains.of(then.as_usec(), now.as_usec(), CounterBounds::most(most)))
        };
        Self {
            usage: delta(|stat| Some(stat.usage)),
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

    pub fn take(&mut self, other: Self) {
        self.cpu = self.cpu.less(other.cpu);
        self.io = self.io.less(other.io);
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lower_value_is_no_new_object() {
        for (before, now, gained) in [
            (10, 25, Gain::Of(15)),
            (0, 0, Gain::Of(0)),
            (10, 4, Gain::WentBack),
            (u64::MAX, 0, Gain::WentBack),
            (5_261_334_938, 5_261_333_938, Gain::WentBack),
            // Near 2^32, but all 64 bits wide.
            (4_294_967_000, 500, Gain::WentBack),
        ] {
            assert_eq!(gain(before, now, CounterBounds::NONE), gained, "{before} {now}");
        }
    }

    #[test]
    fn a_counter_of_32_bits_wraps_around_near_its_end() {
        let most = 10_000_000_000;
        let bytes = CounterBounds::narrow(most, 1, [4_294_967_000, 500]);
        assert_eq!(gain(4_294_967_000, 500, bytes), Gain::Of(796));
        assert_eq!(gain(4_294_000_000, 1_000_000, bytes), Gain::Of(1_967_296));
        assert_eq!(gain(4_294_967_295, 0, bytes), Gain::Of(1));
        // In the middle of the range, or a little back near its end: no wrap.
        assert_eq!(gain(3_000_000_000, 500, bytes), Gain::WentBack);
        assert_eq!(gain(4_294_967_000, 4_294_966_000, bytes), Gain::WentBack);
        // Its other counter is wider.
        let wide = CounterBounds::narrow(most, 1, [4_294_967_000, 500, 9_000_000_000]);
        assert_eq!(gain(4_294_967_000, 500, wide), Gain::WentBack);
        // 8 sectors before 2^32, then 24.
        let range = 512_u64 << 32;
        let sectors = CounterBounds::narrow(most, 512, [range - 4096, 12_288]);
        assert_eq!(gain(range - 4096, 12_288, sectors), Gain::Of(16_384));
        // A wrap that the link could not have made.
        let slow = CounterBounds::narrow(700, 1, [4_294_967_000, 500]);
        assert_eq!(gain(4_294_967_000, 500, slow), Gain::WentBack);
    }

    #[test]
    fn hardware_bounds_what_can_be_gained() {
        assert_eq!(gain(5, 1005, CounterBounds::most(1000)), Gain::Of(1000));
        assert_eq!(gain(5, 1006, CounterBounds::most(1000)), Gain::TooMuch);
        // 4 CPUs, 10 s: 40 s, 2.5 s between clocks, 4.4 s late.
        assert_eq!(most_cpu_usec(4, 10_000_000), 46_900_000);
        assert_eq!(most_cpu_usec(0, 10_000_000), u64::MAX);
        // 1 Gbit/s is 125,000,000 bytes a second; twice that for 11.1 s, and 64 MiB.
        assert_eq!(most_link_bytes(Some(125_000_000), 10_000_000), 2_775_000_000 + 67_108_864);
    }

    proptest! {
        /// Nothing is ever gained that the counter does not show, whatever it does.
        #[test]
        fn a_gain_is_the_rise_or_a_short_way_around(
            before: u64, now: u64, most: u64, unit in prop::option::of(1..1024_u64),
        ) {
            let bounds = CounterBounds { most, narrow_unit: unit };
            match gain(before, now, bounds) {
                Gain::Of(gained) if now >= before => prop_assert_eq!(gained, now - before),
                Gain::Of(gained) => {
                    let range = unit.unwrap() << 32;
                    prop_assert_eq!(before + gained, now + range);
                    prop_assert!(gained <= range / 4 && gained <= most);
                }
                Gain::WentBack => prop_assert!(now < before),
                Gain::TooMuch => prop_assert!(now - before > most),
            }
        }
    }
}
