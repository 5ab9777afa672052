//! `cpu.max`: the CPU bandwidth limit.

use crate::quantity::{CpuTime, Limit};
use crate::source::text::{fields, figure_or, lines};
use crate::source::{Malformed, Parsed};

/// `quota` of CPU time may be used in each `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuMax {
    pub quota: Limit<CpuTime>,
    pub period: CpuTime,
}

impl Parsed for CpuMax {}

// max 100000
// 50000 100000
pub fn parse(text: &[u8]) -> Result<CpuMax, Malformed> {
    let line = lines(text)?.next().unwrap_or_default();
    let mut fields = fields(line);
    let quota = match fields.next() {
        Some(b"max") => Limit::Max,
        other => Limit::At(CpuTime::from_usec(figure_or(other, "max or a quota")?)),
    };
    let period = CpuTime::from_usec(figure_or(fields.next(), "a period")?);
    Ok(CpuMax { quota, period })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_max_is_no_figure() {
        assert_eq!(parse(b"max 100000\n").unwrap().quota, Limit::Max);
        let half = parse(b"50000 100000\n").unwrap();
        assert_eq!(half.quota, Limit::At(CpuTime::from_usec(50_000)));
        assert_eq!(half.period.as_usec(), 100_000);
        assert!(parse(b"50000\n").is_err());
    }
}
