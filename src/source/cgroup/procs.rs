//! `cgroup.procs`: the processes in the cgroup itself, not below it.

use crate::source::text::{Odd, figure, lines_or_none};
use crate::source::{Malformed, Parsed};

/// The rest of the list, beside pids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListedProcesses {
    /// Processes of a pid namespace that the reader cannot see into: the kernel writes 0 for them.
    pub foreign: usize,
    pub odd: Option<Malformed>,
}

impl Parsed for ListedProcesses {
    fn odd(&self) -> Option<Malformed> {
        self.odd
    }
}

/// Fills `pids` in the kernel's order, which is no order.
// 1042
// 1043
// 0
pub fn parse(text: &[u8], pids: &mut Vec<u32>) -> Result<ListedProcesses, Malformed> {
    pids.clear();
    let mut foreign = 0;
    let mut odd = Odd::default();
    for line in lines_or_none(text) {
        match figure(line).and_then(|pid| u32::try_from(pid).ok()) {
            Some(0) => foreign += 1,
            Some(pid) => pids.push(pid),
            None => odd.note("one pid a line"),
        }
    }
    Ok(ListedProcesses { foreign, odd: odd.0 })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn foreign_processes_are_counted_and_odd_lines_skipped() {
        let mut pids = vec![9];
        assert_eq!(parse(b"12\n0\n7\n", &mut pids).unwrap().foreign, 1);
        assert_eq!(pids, [12, 7]);
        assert_eq!(parse(b"", &mut pids).unwrap().foreign, 0);
        assert!(pids.is_empty());
        assert!(parse(b"12\nx\n8", &mut pids).unwrap().odd.is_some());
        assert_eq!(pids, [12, 8]);
    }
}
