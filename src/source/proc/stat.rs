//! `/proc/stat`: CPU time in ticks.

use serde::{Deserialize, Serialize};

use crate::quantity::Ticks;
use crate::source::Malformed;
use crate::source::text::{fields, figure_or, lines};

/// All CPUs together, cumulative since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeStat {
    /// Includes guest time.
    pub user: Ticks,
    /// Includes niced guest time.
    pub nice: Ticks,
    pub system: Ticks,
    pub idle: Ticks,
    /// Idle with I/O outstanding; counted apart from `idle`.
    pub iowait: Ticks,
    pub irq: Ticks,
    pub softirq: Ticks,
    /// Taken by the hypervisor: not this node's usage.
    pub steal: Ticks,
    pub guest: Ticks,
    pub guest_nice: Ticks,
    /// Lines `cpuN`: CPUs that are online.
    pub cpus: u32,
    /// Seconds since 1970 at which the kernel started.
    pub boot_time_unix_seconds: u64,
    pub procs_running: u64,
    pub procs_blocked: u64,
}

// cpu  743 0 1158 88525 662 0 9 17 0 0     user nice system idle iowait irq softirq steal guest
// guest_nice cpu0 339 0 418 44778 23 0 2 6 0 0        (steal since 2.6.11, guest 2.6.24, guest_nice
// 2.6.33) intr 71282 … btime 1795195592 procs_running 1 procs_blocked 0
pub fn parse(text: &[u8]) -> Result<NodeStat, Malformed> {
    let mut stat = NodeStat::default();
    let mut seen = 0_u8;
    for line in lines(text)? {
        // The interrupt lines are most of the file and hold nothing wanted.
        match line.first() {
            Some(b'c') if line.starts_with(b"cpu ") => {
                let mut figures = fields(line).skip(1);
                let mut required = || {
                    figure_or(figures.next(), "at least seven figures in the cpu line")
                        .map(Ticks::from_ticks)
                };
                stat.user = required()?;
                stat.nice = required()?;
                stat.system = required()?;
                stat.idle = required()?;
                stat.iowait = required()?;
                stat.irq = required()?;
                stat.softirq = required()?;
                for late in [&mut stat.steal, &mut stat.guest, &mut stat.guest_nice] {
                    let Some(field) = figures.next() else { break };
                    *late = Ticks::from_ticks(figure_or(Some(field), "figures in the cpu line")?);
                }
                seen |= 1;
            }
            Some(b'c') if line.starts_with(b"cpu") => (stat.cpus, seen) = (stat.cpus + 1, seen | 2),
            Some(b'b' | b'p') => {
                let named: [(&[u8], &mut u64, u8); 3] = [
                    (b"btime ", &mut stat.boot_time_unix_seconds, 4),
                    (b"procs_running ", &mut stat.procs_running, 8),
                    (b"procs_blocked ", &mut stat.procs_blocked, 16),
                ];
                for (key, slot, bit) in named {
                    if let Some(value) = line.strip_prefix(key) {
                        *slot = figure_or(Some(value), "a figure behind each key")?;
                        seen |= bit;
                    }
                }
            }
            _ => {}
        }
    }
    // A file that was cut behind a line would have fewer CPUs and nothing that runs.
    if seen != 31 {
        return Err(Malformed::expected(
            "lines cpu and cpu0, btime, procs_running and procs_blocked",
        ));
    }
    Ok(stat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_line_and_the_count_of_cpus() {
        let text = b"cpu  743 1 1158 88525 662 3 9 17 5 6\ncpu0 339 0 418 44778 23 0 2 6 0 0\n\
            cpu1 404 0 739 43746 639 0 7 11 0 0\nintr 71282 0 0\nctxt 163728\nbtime 1795195592\n\
            processes 4122\nprocs_running 9\nprocs_blocked 2\n";
        let stat = parse(text).unwrap();
        assert_eq!(stat.cpus, 2);
        assert_eq!(stat.user.as_ticks(), 743);
        assert_eq!(stat.irq.as_ticks(), 3);
        assert_eq!(stat.softirq.as_ticks(), 9);
        assert_eq!(stat.steal.as_ticks(), 17);
        assert_eq!(stat.guest_nice.as_ticks(), 6);
        assert_eq!(stat.boot_time_unix_seconds, 1_795_195_592);
        assert_eq!((stat.procs_running, stat.procs_blocked), (9, 2));
    }

    #[test]
    fn an_old_kernel_has_fewer_columns() {
        let text = b"cpu  7 1 11 8 6 3 9\ncpu0 7 1 11 8 6 3 9\nbtime 5\nprocs_running 1\nprocs_blocked 0\n";
        let stat = parse(text).unwrap();
        assert_eq!(stat.softirq.as_ticks(), 9);
        assert_eq!(stat.steal.as_ticks(), 0);
        assert!(parse(b"cpu  7 1 11\n").is_err());
    }
}
