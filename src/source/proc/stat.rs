//! `/proc/stat`: what the CPUs did, in ticks.

use crate::quantity::Ticks;
use crate::source::Malformed;
use crate::source::text::{fields, figure, figure_or, lines};

/// All CPUs together, cumulative since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeStat {
    /// Guest time is inside: it must not be added again.
    pub user: Ticks,
    /// Niced guest time is inside.
    pub nice: Ticks,
    pub system: Ticks,
    pub idle: Ticks,
    /// Idle with I/O outstanding: idle all the same.
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

// cpu  743 0 1158 88525 662 0 9 17 0 0     user nice system idle iowait irq softirq steal guest guest_nice
// cpu0 339 0 418 44778 23 0 2 6 0 0        (steal since 2.6.11, guest 2.6.24, guest_nice 2.6.33)
// intr 71282 …
// btime 1795195592
// procs_running 1
// procs_blocked 0
pub fn parse(text: &[u8]) -> Result<NodeStat, Malformed> {
    let mut stat = NodeStat::default();
    let mut seen_total = false;
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
                seen_total = true;
            }
            Some(b'c') if line.starts_with(b"cpu") => stat.cpus += 1,
            Some(b'b') => named(line, b"btime ", &mut stat.boot_time_unix_seconds),
            Some(b'p') => {
                named(line, b"procs_running ", &mut stat.procs_running);
                named(line, b"procs_blocked ", &mut stat.procs_blocked);
            }
            _ => {}
        }
    }
    if seen_total { Ok(stat) } else { Err(Malformed::expected("a line that starts with cpu")) }
}

fn named(line: &[u8], key: &[u8], into: &mut u64) {
    if let Some(value) = line.strip_prefix(key).and_then(figure) {
        *into = value;
    }
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
        let stat = parse(b"cpu  7 1 11 8 6 3 9\n").unwrap();
        assert_eq!(stat.softirq.as_ticks(), 9);
        assert_eq!(stat.steal.as_ticks(), 0);
        assert!(parse(b"cpu  7 1 11\n").is_err());
    }
}
