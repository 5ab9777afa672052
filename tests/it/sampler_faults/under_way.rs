//! Usage at every moment of a sample: none is late by more than one sample, and none is lost.

use nodetally::ledger::account::Usage;
use nodetally::ledger::{Account, Ledger};
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};

use crate::sampler_faults::copy::Clock;
use crate::support::host_tree::{Activity, BUSY_UNITS, HostTree};

const PODS: usize = 4;

/// CPU microseconds, bytes read and bytes written in an interval, of all pods and of all units.
fn used(account: &Account) -> [[u64; 3]; 2] {
    let figures = |usage: &Usage| {
        let disk = usage.disk.unwrap_or_default();
        let cpu = usage.cpu.map_or(0, |cpu| cpu.usage.as_usec());
        [cpu, disk.read.as_bytes(), disk.written.as_bytes()]
    };
    let pods = account.pods.iter().map(|pod| figures(&pod.usage));
    let units = account.units.iter().map(|unit| figures(&unit.usage));
    [pods.fold([0; 3], sum), units.fold([0; 3], sum)]
}

fn sum(a: [u64; 3], b: [u64; 3]) -> [u64; 3] {
    std::array::from_fn(|at| a[at] + b[at])
}

#[test]
fn what_is_used_while_a_sample_is_taken_is_in_this_one_or_the_next() {
    let mut tree = HostTree::build(PODS);
    let mut ledger = Ledger::new(tree.roots().units);
    let mut sampler = Sampler::open(tree.roots(), SamplerOptions::default()).unwrap();
    let (clock, mut account) = (Clock::new(), Account::default());
    for _ in 0..3 {
        ledger.settle(clock.sample(&mut sampler), &mut account);
    }
    // Each container and each busy unit, twice: 10 ms, and 8 KiB each way.
    let expected = [2 * PODS as u64, BUSY_UNITS as u64]
        .map(|owners| [20_000, 16_384, 16_384].map(|it| owners * it));
    let mut moments = 0;
    loop {
        // Otherwise the sample skips all pods as idle.
        tree.advance(Activity::All);
        let mut passed = 0;
        let snapshot = clock.sample_watched(&mut sampler, || {
            if passed == moments {
                tree.advance(Activity::All);
            }
            passed += 1;
        });
        ledger.settle(snapshot, &mut account);
        if moments >= passed {
            break;
        }
        let first = used(&account);
        ledger.settle(clock.sample(&mut sampler), &mut account);
        let second = used(&account);
        assert_eq!(
            [sum(first[0], second[0]), sum(first[1], second[1])],
            expected,
            "used at moment {moments} of a sample"
        );
        moments += 1;
    }
    assert!(moments > 4 * PODS, "{moments} moments");
}
