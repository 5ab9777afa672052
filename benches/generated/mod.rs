//! The metrics of a generated node, and the thread's CPU time, for the benches of what is served and sent.

#[path = "../../tests/it/support/host_tree.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
pub mod host_tree;

use std::collections::BTreeMap;
use std::time::Duration;

use host_tree::{Activity, HostTree};
use nix::time::{ClockId, clock_gettime};
use nodetally::directory::Catalog;
use nodetally::ledger::{Account, Ledger};
use nodetally::metrics::sample::MetricSample;
use nodetally::metrics::store::{MetricStore, StoreInput, StoreOptions};
use nodetally::quantity::{BootTime, WallTime};
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};

pub fn cpu_time() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the thread's CPU time"))
}

fn boot_time() -> BootTime {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME"));
    BootTime::default().plus(time)
}

/// The account and the metrics of a third sample, before which a fifth of the pods worked.
pub fn third_sample(mut tree: HostTree, options: StoreOptions) -> (Account, MetricSample) {
    let roots = tree.roots();
    let mut ledger = Ledger::new(roots.units);
    let mut sampler = Sampler::open(roots, SamplerOptions::default()).expect("a readable procfs");
    let mut account = Account::default();
    let mut store = MetricStore::new(options);
    let mut last = MetricSample::default();
    for round in 1..4 {
        let wall = WallTime::from_unix_millis(1_790_000_000_000 + round * 15_000);
        sampler.sample(&boot_time, wall);
        ledger.settle(sampler.snapshot(), &mut account);
        if account.since.is_some() {
            last = store.add(&StoreInput {
                account: &account,
                catalog: &Catalog::default(),
                pod_filesystems: &BTreeMap::new(),
                node_filesystem: None,
                filesystems: &[],
                seen_by_all: None,
            });
        }
        tree.advance(Activity::NextFifth);
    }
    (account, last)
}
