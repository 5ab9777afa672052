//! Texts of figures and times.

use crate::cli::lines::shortened;
use crate::payload::size::size;
use crate::quantity::Bytes;

/// CPUs, in hundredths; below that as such.
pub fn cores(millicores: u64) -> String {
    format!("{:.2}", millicores as f64 / 1000.0)
}

pub fn bytes(bytes: u64) -> String {
    size(Bytes::from_bytes(bytes))
}

/// The cell of a value that may not be known.
pub fn cell(value: Option<u64>, show: impl Fn(u64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

/// The time of day in `2026-11-30T02:33:50.120Z`; the whole text if it is none.
pub fn time_of_day(stamp: &str) -> String {
    match (stamp.get(10..11), stamp.get(11..19)) {
        (Some("T"), Some(time)) => format!("{time} UTC"),
        _ => shortened(stamp, 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_becomes_the_time_of_day() {
        assert_eq!(time_of_day("2026-11-30T02:33:50.120Z"), "02:33:50 UTC");
        assert_eq!(time_of_day("a\u{301}bc"), "a\u{301}bc");
        assert_eq!(time_of_day(""), "");
    }
}
