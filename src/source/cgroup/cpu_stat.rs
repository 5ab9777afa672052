//! `cpu.stat`: CPU time of a cgroup and everything below it, removed descendants included.

use serde::{Deserialize, Serialize};

use crate::quantity::CpuTime;
use crate::source::Malformed;
use crate::source::text::{figure, key_and_rest, lines};

/// Cumulative since the cgroup was made. Usage is exact to the microsecond; user and system are
/// split from it by tick sampling on most kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CpuStat {
    pub usage: CpuTime,
    pub user: CpuTime,
    pub system: CpuTime,
    /// `None` where the cpu controller is off, and in the root cgroup.
    pub throttling: Option<Throttling>,
}

/// Counters of `cpu.max`'s effect on the cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Throttling {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled: CpuTime,
}

// usage_usec 1867946
// user_usec 1200000
// system_usec 667946
// nice_usec 0                      since 6.12
// core_sched.force_idle_usec 0     with CONFIG_SCHED_CORE
// nr_periods 0                     from here on with the cpu controller only
// nr_throttled 0
// throttled_usec 0
// nr_bursts 0
// burst_usec 0
pub fn parse(text: &[u8]) -> Result<CpuStat, Malformed> {
    let mut stat = CpuStat::default();
    let mut throttling = Throttling::default();
    let mut seen = 0_u8;
    for line in lines(text)? {
        let (key, rest) =
            key_and_rest(line).ok_or(Malformed::expected("a key and a figure in each line"))?;
        let bit = match key {
            b"usage_usec" => 1,
            b"user_usec" => 2,
            b"system_usec" => 4,
            b"nr_periods" => 8,
            b"nr_throttled" => 16,
            b"throttled_usec" => 32,
            _ => continue,
        };
        let value = figure(rest).ok_or(Malformed::expected("a figure behind each key"))?;
        match bit {
            1 => stat.usage = CpuTime::from_usec(value),
            2 => stat.user = CpuTime::from_usec(value),
            4 => stat.system = CpuTime::from_usec(value),
            8 => throttling.periods = value,
            16 => throttling.throttled_periods = value,
            _ => throttling.throttled = CpuTime::from_usec(value),
        }
        seen |= bit;
    }
    if seen & 7 != 7 {
        return Err(Malformed::expected("usage_usec, user_usec and system_usec"));
    }
    stat.throttling = (seen & 56 == 56).then_some(throttling);
    Ok(stat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_is_absent_where_the_controller_is_off() {
        let stat = parse(b"usage_usec 30\nuser_usec 10\nsystem_usec 20\nnice_usec 0\n").unwrap();
        assert_eq!(stat.usage.as_usec(), 30);
        assert_eq!(stat.throttling, None);
    }

    #[test]
    fn throttled_periods_are_read() {
        let text = b"usage_usec 3\nuser_usec 1\nsystem_usec 2\nnr_periods 9\nnr_throttled 4\nthrottled_usec 77\n";
        let throttling = parse(text).unwrap().throttling.unwrap();
        assert_eq!((throttling.periods, throttling.throttled_periods), (9, 4));
        assert_eq!(throttling.throttled.as_usec(), 77);
    }

    #[test]
    fn a_figure_cut_short_is_no_smaller_figure() {
        let whole = b"usage_usec 3000\nuser_usec 1000\nsystem_usec 2000\n";
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }
}
