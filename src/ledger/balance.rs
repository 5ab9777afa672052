//! The balance of the node: the sum of its owners' usage against the node's own.

use super::account::{Account, Balance, Conservation, DiskUsage, NetworkUsage, NodeCpu, Usage};
use crate::quantity::{Bytes, CpuTime};
use crate::snapshot::node::InterruptTime;

/// Sums that the balance needs and no list of the account shows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UnlistedSums {
    pub kernel_usec: u64,
    pub kernel_network: NetworkUsage,
    pub pods_memory: u64,
    pub units_memory: u64,
    pub inner_memory: u64,
}

/// Interrupt time that is in no task's usage, in microseconds. Where the kernel counts an interrupt
/// with the task that it interrupts, only those of idle CPUs remain. The kernel does not say how
/// many, so they are assumed to be spread evenly over the CPUs' time.
fn interrupts(node: &NodeCpu) -> u64 {
    let usec = |time: Option<CpuTime>| time.map_or(0, CpuTime::as_usec);
    let all = usec(node.irq).saturating_add(usec(node.softirq));
    match node.interrupts {
        InterruptTime::Apart => all,
        InterruptTime::InTasks => {
            let idle = u128::from(usec(node.idle)) + u128::from(usec(node.iowait));
            let whole = idle + u128::from(node.busy.as_usec());
            let over_idle = (u128::from(all) * idle).checked_div(whole).unwrap_or(0);
            u64::try_from(over_idle).unwrap_or(all)
        }
    }
}

pub(super) fn balance(account: &Account, totals: &UnlistedSums) -> Conservation {
    let node = &account.node;
    let pods = || account.pods.iter().map(|pod| &pod.usage);
    let units = || account.units.iter().map(|unit| &unit.usage);
    let cpu = |usage: &Usage| usage.cpu.map_or(0, |cpu| cpu.usage.as_usec());
    let disk = |part: fn(&DiskUsage) -> Bytes| {
        let of = move |usage: &Usage| usage.disk.as_ref().map_or(0, |disk| part(disk).as_bytes());
        let exited = account.exited.iter().map(|exited| part(&exited.disk).as_bytes()).sum();
        let node = part(&node.disk?).as_bytes();
        Some(Balance::new(node, pods().map(of).sum(), units().map(of).sum(), 0, 0, exited))
    };
    let network = |part: fn(&NetworkUsage) -> Bytes| {
        let of = move |usage: &Usage| usage.network.as_ref().map_or(0, |net| part(net).as_bytes());
        let node = part(&node.network?).as_bytes();
        let kernel = part(&totals.kernel_network).as_bytes();
        let exited = account.exited.iter().map(|exited| part(&exited.network).as_bytes()).sum();
        let (pods, units) = (pods().map(of).sum(), units().map(of).sum());
        Some(Balance::new(node, pods, units, kernel, 0, exited))
    };
    Conservation {
        cpu_usec: node.cpu.map(|busy| {
            Balance::new(
                busy.busy.as_usec(),
                pods().map(cpu).sum(),
                units().map(cpu).sum(),
                totals.kernel_usec,
                interrupts(&busy),
                account.exited.iter().map(|exited| exited.cpu.as_usec()).sum(),
            )
        }),
        memory_bytes: node.memory.and_then(|memory| memory.used()).map(|used| {
            let used = used.as_bytes();
            let UnlistedSums { pods_memory, units_memory, inner_memory, .. } = *totals;
            Balance::new(used, pods_memory, units_memory, 0, 0, inner_memory)
        }),
        disk_read_bytes: disk(|disk| disk.read),
        disk_written_bytes: disk(|disk| disk.written),
        network_rx_bytes: network(|network| network.rx),
        network_tx_bytes: network(|network| network.tx),
    }
}
