//! `/proc/loadavg`.

use crate::source::Malformed;
use crate::source::text::{fields, hundredths, lines};

/// Load averages in hundredths (3.73 is 373).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadAverage {
    pub one_minute_hundredths: u64,
    pub five_minutes_hundredths: u64,
    pub fifteen_minutes_hundredths: u64,
}

// 3.73 1.11 0.39 9/232 4122
pub fn parse(text: &[u8]) -> Result<LoadAverage, Malformed> {
    let mut fields = fields(lines(text)?.next().unwrap_or_default());
    let mut next =
        || fields.next().and_then(hundredths).ok_or(Malformed::expected("three averages"));
    Ok(LoadAverage {
        one_minute_hundredths: next()?,
        five_minutes_hundredths: next()?,
        fifteen_minutes_hundredths: next()?,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn three_averages() {
        let load = super::parse(b"3.73 1.11 0.39 9/232 4122\n").unwrap();
        assert_eq!(load.one_minute_hundredths, 373);
        assert_eq!(load.fifteen_minutes_hundredths, 39);
        assert!(super::parse(b"3.73 1.11\n").is_err());
    }
}
