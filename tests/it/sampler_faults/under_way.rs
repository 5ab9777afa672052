//! Usage at every moment of a sample: none is late by more than one sample, and none is lost.

use nodetally::ledger::{Account, Ledger};
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};

use crate::sampler_faults::copy::Clock;
use crate::support::host_tree::{Activity, HostTree};

const PODS: usize = 4;

/// CPU microseconds, bytes read and bytes written of all pods in an interval.
fn used(account: &Account) -> [u64; 3] {
    let mut sum = [0; 3];
    for pod in &account.pods {
        let disk = pod.usage.disk.unwrap_or_default();
        sum[0] += pod.usage.cpu.map_or(0, |cpu| cpu.usage.as_usec());
        sum[1] += disk.read.as_bytes();
        sum[2] += disk.written.as_bytes();
    }
    sum
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
    // Each pod works in two containers, twice: 10 ms, and 8 KiB each way.
    let expected = [40_000, 32_768, 32_768].map(|figure| PODS as u64 * figure);
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
        let mut sum = used(&account);
        ledger.settle(clock.sample(&mut sampler), &mut account);
        for (sum, next) in sum.iter_mut().zip(used(&account)) {
            *sum += next;
        }
        assert_eq!(sum, expected, "used at moment {moments} of a sample");
        moments += 1;
    }
    assert!(moments > 4 * PODS, "{moments} moments");
}
