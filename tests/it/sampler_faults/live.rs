//! The kernel that runs the tests.

use std::path::PathBuf;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nodetally::ledger::Ledger;
use nodetally::ledger::account::{Account, Balance};
use nodetally::quantity::{BootTime, WallTime};
use nodetally::snapshot::processes::ProcessDetail;
use nodetally::snapshot::roots::{Roots, Units};
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};

fn now() -> BootTime {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
    BootTime::from_nanos(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

#[test]
fn two_samples_of_this_host_add_up() {
    let units = Units { ticks_per_second: 100, page_size_bytes: 4096 };
    let roots = Roots {
        procfs: PathBuf::from("/proc"),
        sysfs: PathBuf::from("/sys"),
        cgroupfs: None,
        rootfs: PathBuf::from("/"),
        units,
        captured: None,
    };
    let options = SamplerOptions {
        processes: ProcessDetail { io: true, cmdline: true },
        ..SamplerOptions::default()
    };
    let mut sampler = Sampler::open(roots, options).unwrap();
    let mut ledger = Ledger::new(units);
    let mut account = Account::default();
    ledger.settle(sampler.sample(&now, WallTime::default()), &mut account);
    assert_eq!(account.since, None);
    std::thread::sleep(Duration::from_millis(300));
    let snapshot = sampler.sample(&now, WallTime::default());
    assert!(snapshot.begun_at < snapshot.ended_at);
    for gap in snapshot.gaps.standing.iter().chain(&snapshot.gaps.current) {
        println!("{}: {}", String::from_utf8_lossy(&gap.path), gap.reason);
    }
    ledger.settle(snapshot, &mut account);
    let Balance { node, pods, host_units, kernel, interrupts, exited, unattributed, .. } =
        account.conservation.cpu_usec.unwrap();
    let parts: i128 = [pods, host_units, kernel, interrupts, exited].map(i128::from).iter().sum();
    assert_eq!(parts + i128::from(unattributed), i128::from(node));
    let over = account.node.cpu.unwrap().over_usec;
    assert!(over >= 300_000, "{over}");
    // No more than there was time for, with ticks of slack.
    let most = (over + 40_000) * u64::from(account.node.cpus.max(1));
    assert!(node <= most, "{node} of {most}");
    for process in &account.processes {
        let usec = process.cpu.map_or(0, |cpu| cpu.usage.as_usec());
        assert!(usec <= most, "{:?} used {usec} of {most}", process.comm);
    }
    // This test is one of the processes.
    let own = std::process::id();
    assert!(account.processes.iter().any(|process| process.key.pid == own));
}
