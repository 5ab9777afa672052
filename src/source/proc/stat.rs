//! `/proc/stat`: CPU time in ticks.

use serde::{Deserialize, Serialize};

use crate::quantity::Ticks;
use crate::source::text::{Odd, fields, lines};
use crate::source::{Malformed, Parsed};

/// All CPUs together, cumulative since boot. `None`: not in the file, or no figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeStat {
    /// Includes guest time.
    pub user: Option<Ticks>,
    /// Includes niced guest time.
    pub nice: Option<Ticks>,
    pub system: Option<Ticks>,
    pub idle: Option<Ticks>,
    /// Idle with I/O outstanding; counted apart from `idle`.
    pub iowait: Option<Ticks>,
    pub irq: Option<Ticks>,
    pub softirq: Option<Ticks>,
    /// Taken by the hypervisor: not this node's usage.
    pub steal: Option<Ticks>,
    pub guest: Option<Ticks>,
    pub guest_nice: Option<Ticks>,
    /// Interrupts of all kinds.
    pub interrupts: Option<u64>,
    /// Lines `cpuN`: CPUs that are online; 0 if there is none.
    pub cpus: u32,
    /// Seconds since 1970 at which the kernel started.
    pub boot_time_unix_seconds: Option<u64>,
    pub procs_running: Option<u64>,
    pub procs_blocked: Option<u64>,
    #[serde(skip)]
    pub odd: Option<Malformed>,
}

impl Parsed for NodeStat {
    fn odd(&self) -> Option<Malformed> {
        self.odd
    }
}

// cpu  743 0 1158 88525 662 0 9 17 0 0     user nice system idle iowait irq softirq steal guest
// guest_nice cpu0 339 0 418 44778 23 0 2 6 0 0        (steal since 2.6.11, guest 2.6.24, guest_nice
// 2.6.33) intr 71282 … btime 1795195592 procs_running 1 procs_blocked 0
pub fn parse(text: &[u8]) -> Result<NodeStat, Malformed> {
    let mut stat = NodeStat::default();
    let mut odd = Odd::default();
    let (mut has_total, mut has_end) = (false, false);
    for line in lines(text)? {
        // The lines of interrupts are most of the file. Only the first figure is wanted.
        match line.first() {
            Some(b'c') if line.starts_with(b"cpu ") => {
                let mut figures = fields(line).skip(1);
                for required in [
                    &mut stat.user,
                    &mut stat.nice,
                    &mut stat.system,
                    &mut stat.idle,
                    &mut stat.iowait,
                    &mut stat.irq,
                    &mut stat.softirq,
                ] {
                    let figure = odd.figure(figures.next(), "seven figures in the cpu line");
                    *required = figure.map(Ticks::from_ticks);
                }
                for late in [&mut stat.steal, &mut stat.guest, &mut stat.guest_nice] {
                    let Some(field) = figures.next() else {
                        // A kernel without it has none of it.
                        *late = Some(Ticks::default());
                        continue;
                    };
                    let figure = odd.figure(Some(field), "figures in the cpu line");
                    *late = figure.map(Ticks::from_ticks);
                }
                has_total = true;
            }
            Some(b'c') if line.starts_with(b"cpu") => stat.cpus += 1,
            Some(b'i') if line.starts_with(b"intr ") => {
                let total = fields(line).nth(1);
                stat.interrupts = odd.figure(total, "a figure behind each key");
            }
            Some(b'b' | b'p') => {
                let named: [(&[u8], &mut Option<u64>); 3] = [
                    (b"btime ", &mut stat.boot_time_unix_seconds),
                    (b"procs_running ", &mut stat.procs_running),
                    (b"procs_blocked ", &mut stat.procs_blocked),
                ];
                for (key, slot) in named {
                    if let Some(value) = line.strip_prefix(key) {
                        has_end = true;
                        *slot = odd.figure(Some(value), "a figure behind each key");
                    }
                }
            }
            _ => {}
        }
    }
    if !has_total {
        return Err(Malformed::expected("a line cpu"));
    }
    if !has_end {
        // It was cut, so there may be more.
        stat.cpus = 0;
    }
    stat.odd = odd.0;
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
        assert_eq!(stat.user.unwrap().as_ticks(), 743);
        assert_eq!(stat.irq.unwrap().as_ticks(), 3);
        assert_eq!(stat.softirq.unwrap().as_ticks(), 9);
        assert_eq!(stat.steal.unwrap().as_ticks(), 17);
        assert_eq!(stat.guest_nice.unwrap().as_ticks(), 6);
        assert_eq!(stat.boot_time_unix_seconds, Some(1_795_195_592));
        assert_eq!(stat.interrupts, Some(71_282));
        assert_eq!((stat.procs_running, stat.procs_blocked), (Some(9), Some(2)));
    }

    #[test]
    fn an_old_kernel_has_fewer_columns() {
        let text = b"cpu  7 1 11 8 6 3 9\ncpu0 7 1 11 8 6 3 9\nbtime 5\nprocs_running 1\nprocs_blocked 0\n";
        let stat = parse(text).unwrap();
        assert_eq!(stat.softirq.unwrap().as_ticks(), 9);
        assert_eq!(stat.steal.unwrap().as_ticks(), 0);
    }

    #[test]
    fn an_odd_figure_takes_no_other_away() {
        let text = b"cpu  743 1 1158 88525 -662 3 9 18446744073709551600 5 6\ncpu0 1\n\
            procs_running -3\nprocs_blocked 18446744073709551615";
        let stat = parse(text).unwrap();
        assert_eq!((stat.iowait, stat.steal), (None, None));
        assert_eq!((stat.procs_running, stat.procs_blocked), (None, None));
        assert_eq!((stat.user.unwrap().as_ticks(), stat.cpus), (743, 1));
        assert!(stat.odd.is_some());
        assert_eq!(parse(b"cpu  7 1 11\n").unwrap().idle, None);
        assert!(parse(b"cpu0 7 1 11\n").is_err());
    }
}
