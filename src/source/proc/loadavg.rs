//! `/proc/loadavg`.

use crate::source::text::{fields, figure, hundredths, lines};
use crate::source::{Malformed, Parsed};

/// Load averages in hundredths (3.73 is 373).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadAverage {
    pub one_minute_hundredths: Option<u64>,
    pub five_minutes_hundredths: Option<u64>,
    pub fifteen_minutes_hundredths: Option<u64>,
    /// Processes and threads of the system, those of the kernel included.
    pub tasks: Option<u64>,
}

impl Parsed for LoadAverage {}

// 3.73 1.11 0.39 9/232 4122
pub fn parse(text: &[u8]) -> Result<LoadAverage, Malformed> {
    let mut fields = fields(lines(text)?.next().unwrap_or_default());
    let mut next = || fields.next().and_then(hundredths);
    let mut load = LoadAverage {
        one_minute_hundredths: next(),
        five_minutes_hundredths: next(),
        fifteen_minutes_hundredths: next(),
        tasks: None,
    };
    if load == LoadAverage::default() {
        return Err(Malformed::expected("three averages"));
    }
    let slash = |tasks: &[u8]| tasks.iter().position(|byte| *byte == b'/');
    load.tasks = fields.next().and_then(|tasks| figure(tasks.get(slash(tasks)? + 1..)?));
    Ok(load)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn three_averages() {
        let load = parse(b"3.73 1.11 0.39 9/232 4122\n").unwrap();
        assert_eq!(load.one_minute_hundredths, Some(373));
        assert_eq!((load.fifteen_minutes_hundredths, load.tasks), (Some(39), Some(232)));
        let load = parse(b"-3.73 1.11\n").unwrap();
        assert_eq!((load.one_minute_hundredths, load.five_minutes_hundredths), (None, Some(111)));
        assert!(parse(b"load\n").is_err());
    }
}
