//! The cost of one tick, counted instead of timed: no allocation in the steady state, files in
//! proportion to the pods, and no process of an idle pod.

use std::cell::Cell;

use crate::counting::allocations_in;
use crate::host_tree::{Activity, HostTree, PROCESSES_PER_POD};
use nodetally::ledger::{Account, Ledger};
use nodetally::quantity::{BootTime, WallTime};
use nodetally::snapshot::ReadCounts;
use nodetally::snapshot::processes::ProcessDetail;
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};

/// A sampler and a ledger over a generated tree.
struct Bench {
    tree: HostTree,
    sampler: Sampler,
    ledger: Ledger,
    account: Account,
    ticks: u64,
}

impl Bench {
    fn over(pods: usize) -> Self {
        Self::with(pods, SamplerOptions::default())
    }

    fn with(pods: usize, options: SamplerOptions) -> Self {
        let tree = HostTree::build(pods);
        let roots = tree.roots();
        let units = roots.units;
        let sampler = Sampler::open(roots, options).expect("a readable tree");
        Self { tree, sampler, ledger: Ledger::new(units), account: Account::default(), ticks: 0 }
    }

    /// Lets the tree move on, then samples and settles. Answers how often that took memory.
    fn tick(&mut self, activity: Activity) -> u64 {
        self.tree.advance(activity);
        self.ticks += 1;
        let now = Cell::new(self.ticks * 15_000_000_000);
        // Every read is a microsecond after the one before.
        let clock = || {
            now.set(now.get() + 1000);
            BootTime::from_nanos(now.get())
        };
        let Self { sampler, ledger, account, .. } = self;
        allocations_in(|| {
            let snapshot = sampler.sample(&clock, WallTime::from_unix_millis(0));
            ledger.settle(snapshot, account);
        })
    }

    fn work(&self) -> ReadCounts {
        self.sampler.snapshot().counts
    }

    /// Over so many ticks that everybody had a turn to be read in full.
    fn work_of_a_round(&mut self, activity: Activity) -> ReadCounts {
        let mut sum = ReadCounts::default();
        for _ in 0..16 {
            self.tick(activity);
            let work = self.work();
            sum.files_read += work.files_read;
            sum.files_opened += work.files_opened;
            sum.cgroups_visited += work.cgroups_visited;
            sum.cgroups_skipped += work.cgroups_skipped;
            sum.processes_read += work.processes_read;
            sum.processes_skipped += work.processes_skipped;
        }
        sum
    }

    fn assert_whole(&self, pods: usize, active: usize) {
        let gaps = &self.sampler.snapshot().gaps;
        assert!(gaps.current.is_empty(), "{:?}", gaps.current);
        assert_eq!(self.account.pods.len(), pods);
        let used = |usec: u64| usec > 0;
        let pods = self.account.pods.iter().filter_map(|pod| pod.usage.cpu);
        assert_eq!(pods.filter(|cpu| used(cpu.usage.as_usec())).count(), active);
    }
}

#[test]
fn a_tick_takes_no_memory_once_the_first_few_are_over() {
    const PODS: usize = 100;
    const WARM_UP: usize = 8;
    let io = ProcessDetail { io: true, ..ProcessDetail::default() };
    let options = SamplerOptions { processes: io, events: true, ..Default::default() };
    let mut bench = Bench::with(PODS, options);
    let first = bench.tick(Activity::NextFifth);
    assert!(first > 1000, "the counter counts: it saw {first} allocations in the first tick");
    for _ in 0..WARM_UP {
        bench.tick(Activity::NextFifth);
    }
    // The hundred hold every kind of periodical work several times over.
    let mut taken = Vec::new();
    for tick in 0..100 {
        let active = bench.tree.active_pods(Activity::NextFifth);
        let allocations = bench.tick(Activity::NextFifth);
        bench.assert_whole(PODS, active);
        if allocations > 0 {
            taken.push((tick, allocations));
        }
    }
    assert!(taken.is_empty(), "ticks that took or gave back memory, and how often: {taken:?}");
}

#[test]
fn files_read_grow_in_proportion_to_the_pods() {
    let files = |pods: usize| {
        let mut bench = Bench::over(pods);
        bench.tick(Activity::SameFifth);
        bench.work_of_a_round(Activity::SameFifth).files_read as i64
    };
    let [few, between, many] = [20, 110, 200].map(files);
    assert!(few < between && between < many, "{few}, {between}, {many}");
    // On a line, what the middle has more than the ends' mean is nothing.
    let bend = (few + many - 2 * between).abs();
    assert!(bend * 100 <= many, "{few}, {between}, {many} files do not lie on a line");
}

#[test]
fn processes_of_idle_pods_are_skipped_and_those_of_busy_ones_are_not() {
    const PODS: usize = 50;
    let mut bench = Bench::over(PODS);
    bench.tick(Activity::SameFifth);
    let fifth = bench.work_of_a_round(Activity::SameFifth);
    let all = bench.work_of_a_round(Activity::All);
    // In each of sixteen ticks four fifths of the pods rest, but for the one in which it is their
    // turn to be read all the same.
    let resting = (PODS / 5 * 4 * PROCESSES_PER_POD) as u64;
    assert!(fifth.processes_skipped >= resting * 15, "{fifth:?}");
    // The control: with everybody busy only units and sandboxes rest.
    let (units, sandboxes) = (30, PODS as u64);
    assert!(all.processes_skipped <= (units + sandboxes) * 16, "{all:?}");
    assert!(all.processes_read >= fifth.processes_read + resting / 6 * 5 * 15, "{all:?}");
    assert!(all.files_read > fifth.files_read * 2, "{} and {}", all.files_read, fifth.files_read);
}

#[test]
fn who_rests_is_read_now_and_then_with_all_below_but_for_its_processes() {
    const PODS: usize = 10;
    let mut bench = Bench::over(PODS);
    bench.tick(Activity::All);
    bench.tick(Activity::Nobody);
    let resting = bench.work_of_a_round(Activity::Nobody);
    let others = bench.sampler.snapshot().cgroups.len() as u64 - 1;
    assert_eq!(resting.cgroups_visited, 16 + others, "{resting:?}");
    // The root's kernel threads, every tick.
    assert_eq!(resting.processes_read, 16 * 80, "{resting:?}");
}
