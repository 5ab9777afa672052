//! The processes that are listed one by one where not all can be.

use std::cmp::Reverse;

use crate::ledger::account::{Account, ProcessUsage};
use crate::quantity::Bytes;

/// At most `max` processes: those with the most CPU time, memory and disk traffic, a third each, in the
/// order of the account.
#[must_use]
pub fn largest_processes(account: &Account, max: usize) -> Vec<&ProcessUsage> {
    let all: Vec<&ProcessUsage> = account.processes.iter().collect();
    if all.len() <= max {
        return all;
    }
    let cpu = |process: &ProcessUsage| process.cpu.map_or(0, |cpu| cpu.usage.as_usec());
    let memory = |process: &ProcessUsage| process.resident.map_or(0, Bytes::as_bytes);
    let disk = |process: &ProcessUsage| {
        process.disk.map_or(0, |disk| disk.read.as_bytes().saturating_add(disk.written.as_bytes()))
    };
    let weights: [&dyn Fn(&ProcessUsage) -> u64; 3] = [&disk, &memory, &cpu];
    let mut left: Vec<usize> = (0..all.len()).collect();
    let mut chosen = Vec::with_capacity(max);
    for (turn, weight) in weights.into_iter().enumerate() {
        // The last takes what the division left.
        let share = (max - chosen.len()) / (weights.len() - turn);
        left.sort_by_key(|at| (Reverse(all.get(*at).map_or(0, |one| weight(one))), *at));
        chosen.extend(left.drain(..share.min(left.len())));
    }
    chosen.sort_unstable();
    chosen.into_iter().filter_map(|at| all.get(at).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ProcessKey;
    use crate::ledger::account::{CpuUsage, DiskUsage};
    use crate::quantity::CpuTime;
    use crate::source::proc::pid_stat::Comm;

    fn process(pid: u32, cpu: u64, resident: u64, written: u64) -> ProcessUsage {
        ProcessUsage {
            key: ProcessKey { pid, start_ticks: 1 },
            cpu: Some(CpuUsage { usage: CpuTime::from_usec(cpu), ..CpuUsage::default() }),
            resident: Some(Bytes::from_bytes(resident)),
            disk: Some(DiskUsage { written: Bytes::from_bytes(written), ..DiskUsage::default() }),
            comm: Comm::default(),
            parent_pid: 1,
            threads: None,
            kernel_thread: false,
            cgroup: (*b"/").into(),
            named: None,
            cmdline: None,
        }
    }

    #[test]
    fn the_largest_of_each_resource_are_there() {
        let mut account = Account::default();
        for pid in 0..100 {
            account.processes.push(process(pid, u64::from(pid), 1000 - u64::from(pid), 0));
        }
        account.processes.push(process(200, 0, 0, 9));
        let pids = |max| -> Vec<u32> {
            largest_processes(&account, max).iter().map(|one| one.key.pid).collect()
        };
        assert_eq!(pids(3), [0, 99, 200]);
        // Two by disk traffic, of which one has none; two by memory; three by CPU time.
        assert_eq!(pids(7), [0, 1, 2, 97, 98, 99, 200]);
        assert_eq!(pids(0), [0; 0]);
        assert_eq!(pids(101).len(), 101);
        assert_eq!(pids(1000).len(), 101);
    }
}
