//! `cpu.stat`: CPU time of a cgroup and everything below it, removed descendants included.

use serde::{Deserialize, Serialize};

use crate::quantity::CpuTime;
use crate::source::text::{Odd, key_and_rest, lines};
use crate::source::{Malformed, Parsed};

/// Cumulative since the cgroup was made. Usage is exact to the microsecond; user and system are
/// split from it by tick sampling on most kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CpuStat {
    pub usage: CpuTime,
    pub user: Option<CpuTime>,
    pub system: Option<CpuTime>,
    /// `None` where the cpu controller is off, and in the root cgroup.
    pub throttling: Option<Throttling>,
    #[serde(skip)]
    pub odd: Option<Malformed>,
}

impl Parsed for CpuStat {
    fn odd(&self) -> Option<Malformed> {
        self.odd
    }
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
    let mut odd = Odd::default();
    let (mut usage, mut user, mut system) = (None, None, None);
    let (mut periods, mut throttled_periods, mut throttled) = (None, None, None);
    for line in lines(text)? {
        let Some((key, rest)) = key_and_rest(line) else {
            odd.note("a key and a figure in each line");
            continue;
        };
        let slot = match key {
            b"usage_usec" => &mut usage,
            b"user_usec" => &mut user,
            b"system_usec" => &mut system,
            b"nr_periods" => &mut periods,
            b"nr_throttled" => &mut throttled_periods,
            b"throttled_usec" => &mut throttled,
            _ => continue,
        };
        *slot = odd.figure(Some(rest), "a figure behind each key");
    }
    let usage = usage.ok_or(Malformed::expected("usage_usec"))?;
    let throttling = match (periods, throttled_periods, throttled) {
        (Some(periods), Some(throttled_periods), Some(throttled)) => Some(Throttling {
            periods,
            throttled_periods,
            throttled: CpuTime::from_usec(throttled),
        }),
        _ => None,
    };
    Ok(CpuStat {
        usage: CpuTime::from_usec(usage),
        user: user.map(CpuTime::from_usec),
        system: system.map(CpuTime::from_usec),
        throttling,
        odd: odd.0,
    })
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
    fn an_odd_figure_takes_no_other_away() {
        let stat = parse(b"usage_usec 30\nuser_usec -10\nsystem_usec 20\nnonsense\n").unwrap();
        assert_eq!((stat.usage.as_usec(), stat.user), (30, None));
        assert_eq!(stat.system, Some(CpuTime::from_usec(20)));
        assert!(stat.odd.is_some());
        assert!(parse(b"usage_usec 18446744073709551609\nuser_usec 1\n").is_err());
    }
}
