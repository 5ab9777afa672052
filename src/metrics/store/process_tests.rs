//! The processes with figures of their own, and the others of each owner.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::directory::Catalog;
use crate::identity::ProcessKey;
use crate::ledger::account::{CpuUsage, ProcessUsage};
use crate::metrics::entity::{AttributeName, EntityClass};
use crate::metrics::samples::catalog;
use crate::quantity::{Bytes, CpuTime};
use crate::source::proc::pid_stat::Comm;

/// A process: the owner's number, CPU microseconds, resident bytes and threads; `None`: not known.
type Figures = (u8, Option<u64>, Option<u64>, Option<u32>);

fn process(pid: usize, (owner, cpu, resident, threads): Figures) -> ProcessUsage {
    let usage = |usec| CpuUsage { usage: CpuTime::from_usec(usec), ..CpuUsage::default() };
    ProcessUsage {
        key: ProcessKey { pid: u32::try_from(pid).unwrap(), start_ticks: 7 },
        comm: Comm::default(),
        parent_pid: 1,
        threads,
        kernel_thread: owner == 0,
        cgroup: format!("/system.slice/{owner}.service").into_bytes().into(),
        named: None,
        cpu: cpu.map(usage),
        disk: None,
        resident: resident.map(Bytes::from_bytes),
        cmdline: None,
    }
}

fn owner(figures: Figures) -> String {
    match figures.0 {
        0 => "kernel".to_owned(),
        number => format!("unit /system.slice/{number}.service"),
    }
}

fn sample_of(
    store: &mut MetricStore,
    number: u64,
    all: &[Figures],
    none: &Catalog,
) -> MetricSample {
    let second = (number + 1) * 15;
    let processes = all.iter().enumerate().map(|(pid, of)| process(pid, *of)).collect();
    let account = Account {
        since: Some(BootTime::from_nanos((second - 15) * 1_000_000_000)),
        until: BootTime::from_nanos(second * 1_000_000_000),
        wall: WallTime::from_unix_millis(1_000_000 + second * 1000),
        processes,
        ..Account::default()
    };
    store.add(&StoreInput {
        account: &account,
        catalog: none,
        pod_filesystems: &BTreeMap::new(),
        node_filesystem: None,
        filesystems: &[],
        seen_by_all: None,
    })
}

fn store(count: usize) -> MetricStore {
    MetricStore::new(StoreOptions { processes: count, ..StoreOptions::default() })
}

fn place(name: &str) -> usize {
    table::of(EntityClass::Process).iter().position(|metric| metric.name == name).unwrap()
}

/// The pids with figures of their own, and the sums of four figures by owner.
fn exported(sample: &MetricSample) -> (BTreeSet<usize>, BTreeMap<String, [i64; 4]>) {
    let places = [
        "process.cpu.time",
        "process.memory.usage",
        "process.thread.count",
        "nodetally.process.count",
    ];
    let places = places.map(place);
    let (mut own, mut sums) = (BTreeSet::new(), BTreeMap::new());
    for entry in sample.of(EntityClass::Process).iter().filter(|entry| entry.ended.is_none()) {
        let owner = entry.entity.attribute(AttributeName::OWNER).unwrap().to_owned();
        match &entry.entity.id {
            EntityId::Process(key) => assert!(own.insert(usize::try_from(key.pid).unwrap())),
            EntityId::OtherProcesses(of) => {
                assert_eq!(**of, *owner);
                assert_eq!(entry.entity.attribute(AttributeName::COMMAND), Some("(others)"));
            }
            other => panic!("{other:?}"),
        }
        let sum: &mut [i64; 4] = sums.entry(owner).or_default();
        for (sum, at) in sum.iter_mut().zip(places) {
            *sum += entry.values.get(at).unwrap_or(0);
        }
    }
    (own, sums)
}

fn expected_sums(all: &[Figures]) -> BTreeMap<String, [i64; 4]> {
    let mut sums: BTreeMap<String, [i64; 4]> = BTreeMap::new();
    for figures in all {
        let (_, cpu, resident, threads) = *figures;
        let sum = sums.entry(owner(*figures)).or_default();
        for (sum, value) in sum.iter_mut().zip([cpu, resident, threads.map(u64::from), Some(1)]) {
            *sum += i64::try_from(value.unwrap_or(0)).unwrap();
        }
    }
    sums
}

/// By hand: two by CPU time and two by memory of five.
#[test]
fn the_busiest_and_the_largest_have_figures_of_their_own() {
    let none = catalog(vec![], &[], &[]);
    let all = [
        (1, Some(500), Some(10), Some(1)),
        (1, Some(400), Some(90), Some(2)),
        (1, Some(1), Some(80), Some(3)),
        (1, Some(2), Some(20), Some(4)),
        (2, Some(3), None, None),
    ];
    let (own, sums) = exported(&sample_of(&mut store(2), 0, &all, &none));
    assert_eq!(own, BTreeSet::from([0, 1, 2]));
    let unit = |number: u8| format!("unit /system.slice/{number}.service");
    let expected = [(unit(1), [903, 200, 10, 4]), (unit(2), [3, 0, 0, 1])];
    assert_eq!(sums, BTreeMap::from(expected));
    // Without the setting nothing of processes is exported.
    assert_eq!(sample_of(&mut store(0), 0, &all, &none).of(EntityClass::Process).len(), 0);
}

fn any_figures() -> impl Strategy<Value = Figures> {
    let known = |max: u64| prop::option::weighted(0.9, 0..max);
    (0..4_u8, known(50), known(50), prop::option::weighted(0.9, 1..9_u32))
}

proptest! {
    #[test]
    fn the_picked_and_the_others_are_all_processes_of_an_owner(
        all in prop::collection::vec(any_figures(), 0..30),
        count in 1..6_usize,
    ) {
        let none = catalog(vec![], &[], &[]);
        let (own, sums) = exported(&sample_of(&mut store(count), 0, &all, &none));
        prop_assert_eq!(sums, expected_sums(&all));
        prop_assert!(own.len() <= 2 * count && own.len() >= count.min(all.len()));
        // Whoever has more than all but `count - 1` others is picked, and only who has as much.
        let above = |of: &dyn Fn(&Figures) -> Option<u64>, pid: usize| {
            all.iter().filter(|other| of(other) > of(&all[pid])).count()
        };
        let level = |of: &dyn Fn(&Figures) -> Option<u64>, pid: usize| {
            all.iter().filter(|other| of(other) >= of(&all[pid])).count()
        };
        let (cpu, memory) = (|of: &Figures| of.1, |of: &Figures| of.2);
        for pid in 0..all.len() {
            let must = level(&cpu, pid) <= count || level(&memory, pid) <= count;
            let may = above(&cpu, pid) < count || above(&memory, pid) < count;
            let is_own = own.contains(&pid);
            prop_assert!((!must || is_own) && (!is_own || may), "{pid}: {must} {is_own} {may}");
        }
    }

    /// A process that becomes one of the others, and back, takes nothing away from their totals.
    #[test]
    fn totals_of_the_picked_and_the_others_never_fall_and_add_up(
        intervals in prop::collection::vec(prop::collection::vec(any_figures(), 8), 1..8),
        count in 1..4_usize,
    ) {
        let none = catalog(vec![], &[], &[]);
        let (mut store, cpu) = (store(count), place("process.cpu.time"));
        let (mut used, mut totals) = (0, BTreeMap::new());
        for (number, all) in intervals.iter().enumerate() {
            // An owner is a process's own for good.
            let all: Vec<Figures> =
                all.iter().enumerate().map(|(pid, of)| ((pid % 3) as u8, of.1, of.2, of.3)).collect();
            used += all.iter().filter_map(|of| of.1).sum::<u64>();
            let sample = sample_of(&mut store, number as u64, &all, &none);
            let mut seen = BTreeSet::new();
            for entry in sample.of(EntityClass::Process) {
                prop_assert!(seen.insert(entry.entity.id.clone()), "twice: {:?}", entry.entity.id);
                let series = (entry.entity.id.clone(), entry.started.as_unix_millis());
                let total = entry.values.get(cpu).unwrap_or(0);
                let before = totals.insert(series, total).unwrap_or(0);
                prop_assert!(total >= before, "{total} after {before}");
            }
        }
        prop_assert_eq!(totals.values().sum::<i64>(), i64::try_from(used).unwrap());
    }
}
