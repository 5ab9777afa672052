//! `cgroup.procs`: the processes in the cgroup itself, not below it.

use crate::source::Malformed;
use crate::source::text::{figure, lines_or_none};

/// Fills `pids` in the kernel's order, which is no order. Returns how many processes belong to a
/// pid namespace that the reader cannot see into: the kernel writes 0 for them.
// 1042
// 1043
// 0
pub fn parse(text: &[u8], pids: &mut Vec<u32>) -> Result<usize, Malformed> {
    pids.clear();
    let mut foreign = 0;
    for line in lines_or_none(text)? {
        let pid = figure(line).and_then(|pid| u32::try_from(pid).ok());
        match pid.ok_or(Malformed::expected("one pid a line"))? {
            0 => foreign += 1,
            pid => pids.push(pid),
        }
    }
    Ok(foreign)
}

#[cfg(test)]
mod tests {
    #[test]
    fn foreign_processes_are_counted_and_not_listed() {
        let mut pids = vec![9];
        assert_eq!(super::parse(b"12\n0\n7\n", &mut pids), Ok(1));
        assert_eq!(pids, [12, 7]);
        assert_eq!(super::parse(b"", &mut pids), Ok(0));
        assert!(pids.is_empty());
        assert!(super::parse(b"12\nx\n", &mut pids).is_err());
    }
}
