//! Time stamps as the dialects write them.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::quantity::WallTime;

/// 9999-12-31T23:59:59Z, the last moment RFC 3339 can write.
const LAST_UNIX_SECS: u64 = 253_402_300_799;

/// A moment as RFC 3339 in UTC with whole seconds, `2025-06-11T15:00:00Z`; the fraction is cut.
/// A moment beyond the year 9999 is written as that year's last second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rfc3339Seconds(pub WallTime);

impl fmt::Display for Rfc3339Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unix_secs = (self.0.as_unix_millis() / 1000).min(LAST_UNIX_SECS);
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(unix_secs);
        humantime::format_rfc3339_seconds(moment).fmt(f)
    }
}

/// A moment as RFC 3339 in UTC with milliseconds, `2025-06-11T15:00:00.123Z`.
/// A moment beyond the year 9999 is written as that year's last second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rfc3339Millis(pub WallTime);

impl fmt::Display for Rfc3339Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unix_millis = self.0.as_unix_millis().min(LAST_UNIX_SECS * 1000);
        let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(unix_millis);
        humantime::format_rfc3339_millis(moment).fmt(f)
    }
}

/// A moment in UTC with microseconds and without a zone, `2026-05-12T10:32:14.123456`. The last three
/// digits are 0, as the clock has milliseconds. A moment beyond the year 9999 is written as that
/// year's last second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NaiveMicros(pub WallTime);

impl fmt::Display for NaiveMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = Rfc3339Millis(self.0).to_string();
        write!(f, "{}000", millis.trim_end_matches('Z'))
    }
}

impl Serialize for NaiveMicros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Rfc3339Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_utc_with_whole_seconds() {
        let stamp = |millis| Rfc3339Seconds(WallTime::from_unix_millis(millis)).to_string();
        assert_eq!(stamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(stamp(1_749_654_000_999), "2025-06-11T15:00:00Z");
    }

    #[test]
    fn a_stamp_with_milliseconds_keeps_them() {
        let stamp = Rfc3339Millis(WallTime::from_unix_millis(1_749_654_000_999)).to_string();
        assert_eq!(stamp, "2025-06-11T15:00:00.999Z");
    }

    #[test]
    fn a_naive_stamp_has_microseconds_and_no_zone() {
        let stamp = NaiveMicros(WallTime::from_unix_millis(1_778_581_934_123)).to_string();
        assert_eq!(stamp, "2026-05-12T10:32:14.123000");
        let last = NaiveMicros(WallTime::from_unix_millis(u64::MAX)).to_string();
        assert_eq!(last, "9999-12-31T23:59:59.000000");
    }

    #[test]
    fn a_clock_gone_mad_still_gives_a_stamp() {
        let last = Rfc3339Seconds(WallTime::from_unix_millis(u64::MAX));
        assert_eq!(last.to_string(), "9999-12-31T23:59:59Z");
    }
}
