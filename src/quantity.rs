//! Quantities with their unit in the type.
//!
//! The kernel writes bare integers whose unit depends on the file. The constructors of these types
//! name the unit they take, and there is no `From<u64>`, so the caller has to name it.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An amount of memory, storage or traffic, in bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize,
)]
pub struct Bytes(u64);

impl Bytes {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// `kB` as /proc/meminfo writes it: units of 1024 bytes, whatever the name says.
    #[must_use]
    pub const fn from_kibibytes(kibibytes: u64) -> Self {
        Self(kibibytes.saturating_mul(1024))
    }

    /// Sectors of /proc/diskstats: always 512 bytes, whatever the device's block size
    /// (Documentation/admin-guide/iostats.rst).
    #[must_use]
    pub const fn from_sectors(sectors: u64) -> Self {
        Self(sectors.saturating_mul(512))
    }

    #[must_use]
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// CPU time, in microseconds: the unit of cgroup v2's cpu.stat.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize,
)]
pub struct CpuTime(u64);

impl CpuTime {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub const fn from_usec(usec: u64) -> Self {
        Self(usec)
    }

    #[must_use]
    pub const fn as_usec(self) -> u64 {
        self.0
    }

    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Clock ticks of /proc/stat and `/proc/<pid>/stat`, in units of 1/USER_HZ second.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize,
)]
pub struct Ticks(u64);

impl Ticks {
    #[must_use]
    pub const fn from_ticks(ticks: u64) -> Self {
        Self(ticks)
    }

    #[must_use]
    pub const fn as_ticks(self) -> u64 {
        self.0
    }

    /// The duration of the ticks at `ticks_per_second` (`sysconf(_SC_CLK_TCK)`, 100 on every Linux
    /// architecture in use). A rate of 0 gives zero time rather than a division by zero.
    #[must_use]
    pub const fn to_cpu_time(self, ticks_per_second: u64) -> CpuTime {
        if ticks_per_second == 0 {
            return CpuTime::ZERO;
        }
        // The u128 keeps a node of many CPUs and years of uptime from overflowing on the way.
        let usec = self.0 as u128 * 1_000_000 / ticks_per_second as u128;
        CpuTime(if usec > u64::MAX as u128 { u64::MAX } else { usec as u64 })
    }
}

/// Memory in pages, as `/proc/<pid>/stat` gives the resident set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Pages(u64);

impl Pages {
    #[must_use]
    pub const fn from_pages(pages: u64) -> Self {
        Self(pages)
    }

    /// The pages' size at `page_size_bytes` (`sysconf(_SC_PAGESIZE)`).
    #[must_use]
    pub const fn to_bytes(self, page_size_bytes: u64) -> Bytes {
        Bytes(self.0.saturating_mul(page_size_bytes))
    }
}

/// A moment on CLOCK_BOOTTIME, in nanoseconds since the kernel started.
///
/// Rates are quotients over these, never over the wall clock. The clock runs through suspend and is
/// the same for every process of one boot, so a restarted agent can continue counting.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize,
)]
pub struct BootTime(u64);

impl BootTime {
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Microseconds from `earlier` to this; 0 if `earlier` is later.
    #[must_use]
    pub const fn usec_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }

    /// Time from `earlier` to this; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(by))
    }
}

/// A moment on the wall clock, in milliseconds since 1970-01-01 UTC; for timestamps only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct WallTime(u64);

impl WallTime {
    #[must_use]
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    #[must_use]
    pub const fn as_unix_millis(self) -> u64 {
        self.0
    }

    /// `by` earlier, at most back to 1970-01-01.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(by))
    }
}

/// The value of a limit file of cgroup v2: the word `max`, or a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit<T> {
    Max,
    At(T),
}

impl<T> Limit<T> {
    /// The figure; `None` of the word `max`.
    pub fn at(self) -> Option<T> {
        match self {
            Self::Max => None,
            Self::At(figure) => Some(figure),
        }
    }
}

macro_rules! additive {
    ($type:ident) => {
        impl Add for $type {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }
        impl AddAssign for $type {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }
        impl Sum for $type {
            fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
                all.fold(Self(0), Add::add)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

additive!(Bytes);
additive!(CpuTime);
additive!(Ticks);
additive!(Pages);

/// A number with its noun: `1 cgroup`, `2 cgroups`, `0 cgroups`. `many` is the plural.
#[must_use]
pub fn counted(count: impl TryInto<u64>, one: &str, many: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_microseconds_without_overflow() {
        assert_eq!(Ticks::from_ticks(250).to_cpu_time(100), CpuTime::from_usec(2_500_000));
        assert_eq!(Ticks::from_ticks(u64::MAX).to_cpu_time(100), CpuTime::from_usec(u64::MAX));
        assert_eq!(Ticks::from_ticks(5).to_cpu_time(0), CpuTime::ZERO);
    }

    #[test]
    fn one_is_singular_and_everything_else_plural() {
        let shown = |count: usize| counted(count, "batch", "batches");
        assert_eq!([0, 1, 2].map(shown), ["0 batches", "1 batch", "2 batches"]);
    }

    #[test]
    fn a_sector_is_512_bytes_and_a_kb_of_meminfo_1024() {
        assert_eq!(Bytes::from_sectors(3).as_bytes(), 1536);
        assert_eq!(Bytes::from_kibibytes(3).as_bytes(), 3072);
    }

    #[test]
    fn time_between_reads_never_goes_below_zero() {
        let (early, late) = (BootTime::from_nanos(1_000), BootTime::from_nanos(5_500));
        assert_eq!(late.usec_since(early), 4);
        assert_eq!(early.usec_since(late), 0);
    }
}
