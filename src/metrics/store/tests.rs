//! Running totals over samples in which entities come, end, wait for names and are renamed.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::directory::Catalog;
use crate::directory::pod::Pod;
use crate::ledger::account::{ExitedUsage, PodUsage};
use crate::metrics::entity::AttributeName;
use crate::metrics::entity::EntityClass;
use crate::metrics::samples::{
    account, catalog, container, container_id, pod, uid, used, used_by_container,
};
use crate::source::cgroup::cpu_stat::CpuStat;

/// The account of the interval that ends at `second`.
fn at(second: u64, pods: Vec<PodUsage>) -> Account {
    Account {
        since: Some(BootTime::from_nanos((second - 15) * 1_000_000_000)),
        until: BootTime::from_nanos(second * 1_000_000_000),
        wall: WallTime::from_unix_millis(1_000_000 + second * 1000),
        ..account(pods)
    }
}

fn add(
    store: &mut MetricStore,
    account: &Account,
    catalog: &Catalog,
    seen: Option<u64>,
) -> MetricSample {
    store.add(&StoreInput {
        account,
        catalog,
        pod_filesystems: &BTreeMap::new(),
        node_filesystem: None,
        filesystems: &[],
        seen_by_all: seen,
    })
}

fn place(class: EntityClass, name: &str) -> usize {
    table::of(class).iter().position(|metric| metric.name == name).unwrap()
}

/// CPU microseconds and memory of each exported pod, and if it has ended.
fn pods(sample: &MetricSample) -> Vec<(String, Option<i64>, Option<i64>, bool)> {
    let cpu = place(EntityClass::Pod, "k8s.pod.cpu.time");
    let memory = place(EntityClass::Pod, "k8s.pod.memory.usage");
    let row = |entry: &Entry| {
        let name = entry.entity.attribute(AttributeName::POD).unwrap_or("-").to_owned();
        let values = &entry.values;
        (name, values.get(cpu), values.get(memory), entry.ended.is_some())
    };
    sample.of(EntityClass::Pod).iter().map(row).collect()
}

#[test]
fn amounts_add_up_and_a_pod_that_ended_keeps_its_total() {
    let catalog = catalog(vec![pod(1, "a")], &[], &[]);
    let mut store = MetricStore::default();
    // 1,500 milliseconds, then 3,000.
    add(&mut store, &at(15, vec![used(1, 100)]), &catalog, None);
    let sample = add(&mut store, &at(30, vec![used(1, 200)]), &catalog, None);
    assert_eq!(pods(&sample), [("a".into(), Some(4_500_000), Some(200 << 20), false)]);
    // Read for the last time before its cgroup went.
    let last = PodUsage { exited: true, ..used(1, 20) };
    let sample = add(&mut store, &at(45, vec![last]), &catalog, None);
    assert_eq!(pods(&sample), [("a".into(), Some(4_800_000), None, true)]);
    let sample = add(&mut store, &at(60, vec![]), &catalog, None);
    assert_eq!(pods(&sample), [("a".into(), Some(4_800_000), None, true)]);
    let sample = add(&mut store, &at(75, vec![]), &catalog, None);
    assert_eq!(pods(&sample), []);
}

#[test]
fn what_has_ended_stays_until_every_puller_has_seen_it() {
    let catalog = catalog(vec![pod(1, "a")], &[], &[]);
    let mut store = MetricStore::default();
    add(&mut store, &at(15, vec![used(1, 100)]), &catalog, Some(0));
    for second in 2..9 {
        // It ended in sample 2; the slowest puller has seen sample 1.
        let sample = add(&mut store, &at(second * 15, vec![]), &catalog, Some(1));
        assert_eq!(pods(&sample).len(), 1, "second {second}");
    }
    let sample = add(&mut store, &at(150, vec![]), &catalog, Some(2));
    assert_eq!(pods(&sample), []);
    assert_eq!(store.ended_dropped(), 0);
}

#[test]
fn what_has_ended_is_bounded_in_number_and_the_oldest_goes() {
    let count = u32::try_from(ENDED_MAX).unwrap() + 3;
    let mut store = MetricStore::default();
    let unnamed = catalog(vec![], &[], &[]);
    add(&mut store, &at(15, (0..count).map(|number| used(number, 100)).collect()), &unnamed, None);
    let sample = add(&mut store, &at(30, vec![]), &unnamed, Some(0));
    assert_eq!(sample.of(EntityClass::Pod).len(), ENDED_MAX);
    assert_eq!(store.ended_dropped(), 3);
}

#[test]
fn a_start_time_is_that_of_the_sample_before() {
    let catalog = catalog(vec![], &[], &[]);
    let mut store = MetricStore::default();
    add(&mut store, &at(15, vec![]), &catalog, None);
    let sample = add(&mut store, &at(30, vec![used(1, 1)]), &catalog, None);
    let started = sample.of(EntityClass::Pod)[0].started;
    assert_eq!(started.as_unix_millis(), 1_015_000);
    // It is not moved by later samples.
    let sample = add(&mut store, &at(45, vec![used(1, 1)]), &catalog, None);
    assert_eq!(sample.of(EntityClass::Pod)[0].started, started);
}

fn waiting_store() -> MetricStore {
    MetricStore::new(StoreOptions { waits_for_names: true, ..StoreOptions::default() })
}

#[test]
fn a_pod_waits_for_its_name_and_loses_nothing() {
    let (unknown, known) = (catalog(vec![], &[], &[]), catalog(vec![pod(1, "a")], &[], &[]));
    let mut store = waiting_store();
    let sample = add(&mut store, &at(15, vec![used(1, 100)]), &unknown, None);
    assert_eq!(pods(&sample), []);
    let sample = add(&mut store, &at(30, vec![used(1, 100)]), &known, None);
    assert_eq!(pods(&sample), [("a".into(), Some(3_000_000), Some(100 << 20), false)]);
    // One whose name nobody knows is exported without it after two minutes.
    let mut store = waiting_store();
    for second in 1..9 {
        let sample = add(&mut store, &at(second * 15, vec![used(1, 100)]), &unknown, None);
        assert_eq!(pods(&sample), [], "{second}");
    }
    let sample = add(&mut store, &at(135, vec![used(1, 100)]), &unknown, None);
    assert_eq!(pods(&sample), [("-".into(), Some(13_500_000), Some(100 << 20), false)]);
}

/// Other attributes are another series to OTLP, which would have what was counted before too.
#[test]
fn a_container_has_the_same_attributes_however_late_its_name_is_known() {
    let unknown = catalog(vec![], &[], &[]);
    let named = Pod { containers: vec![container("app", 4)], ..pod(3, "a") };
    let sandbox = Pod { sandbox: Some(container_id(4)), ..pod(3, "a") };
    for of_pod in [named, sandbox] {
        let known = catalog(vec![of_pod], &[], &[]);
        let with = |second| {
            let containers = vec![used_by_container(3, 4, 1)];
            Account { containers, ..at(second, vec![]) }
        };
        let attributes = |sample: &MetricSample| {
            let [one] = sample.of(EntityClass::Container) else { panic!("{sample:?}") };
            one.entity.attributes.clone()
        };
        let live = attributes(&add(&mut waiting_store(), &with(15), &known, None));
        let mut store = waiting_store();
        let sample = add(&mut store, &with(15), &unknown, None);
        assert!(sample.of(EntityClass::Container).is_empty());
        let ended = add(&mut store, &at(30, vec![]), &known, None);
        assert!(ended.of(EntityClass::Container)[0].ended.is_some());
        assert_eq!(attributes(&ended), live);
        assert_eq!(attributes(&add(&mut store, &with(45), &known, None)), live, "it is back");
    }
}

#[test]
fn a_pod_that_ended_before_its_name_was_known_is_exported_when_it_is() {
    let (unknown, known) = (catalog(vec![], &[], &[]), catalog(vec![pod(1, "a")], &[], &[]));
    let mut store = waiting_store();
    let ended = PodUsage { exited: true, ..used(1, 100) };
    add(&mut store, &at(15, vec![ended]), &unknown, None);
    for second in 2..6 {
        assert_eq!(pods(&add(&mut store, &at(second * 15, vec![]), &unknown, None)), []);
    }
    for second in 6..8 {
        let sample = add(&mut store, &at(second * 15, vec![]), &known, None);
        assert_eq!(pods(&sample), [("a".into(), Some(1_500_000), None, true)], "{second}");
    }
    assert_eq!(pods(&add(&mut store, &at(120, vec![]), &known, None)), []);
}

#[test]
fn usage_of_exited_cgroups_grows_though_it_is_not_in_every_interval() {
    let catalog = catalog(vec![], &[], &[]);
    let mut store = MetricStore::default();
    let exited = |usec: u64| {
        vec![ExitedUsage {
            path: b"/system.slice".as_slice().into(),
            node: crate::attribution::InnerNode::Slice,
            cpu: crate::quantity::CpuTime::from_usec(usec),
            disk: Default::default(),
            network: Default::default(),
        }]
    };
    let cpu = place(EntityClass::Exited, "nodetally.exited.cpu.time");
    let mut total = |second: u64, usec: &[u64]| {
        let exited = usec.iter().flat_map(|usec| exited(*usec)).collect();
        let account = Account { exited, ..at(second, vec![]) };
        let sample = add(&mut store, &account, &catalog, None);
        let values: Vec<i64> =
            sample.of(EntityClass::Exited).iter().filter_map(|one| one.values.get(cpu)).collect();
        values
    };
    assert_eq!(total(15, &[5]), [5]);
    assert_eq!(total(30, &[]), [5]);
    assert_eq!(total(45, &[7]), [12], "one series, and it did not start anew");
}

/// A pod's usage in an interval, and if it ends there.
fn event() -> impl Strategy<Value = (u32, u64, bool)> {
    (0..5_u32, 0..1000_u64, any::<bool>())
}

proptest! {
    /// Pods come, go and come again: no two series have one name, no total falls, and the sum
    /// of all that was ever exported is what was used.
    #[test]
    fn totals_never_fall_and_lose_nothing(
        intervals in prop::collection::vec(prop::collection::vec(event(), 0..4), 1..20),
        named_from in 0..20_usize,
        waits in any::<bool>(),
    ) {
        let (unknown, known) = (
            catalog(vec![], &[], &[]),
            catalog((0..5).map(|number| pod(number, &format!("p{number}"))).collect(), &[], &[]),
        );
        let options = StoreOptions { waits_for_names: waits, ..StoreOptions::default() };
        let mut store = MetricStore::new(options);
        let cpu = place(EntityClass::Pod, "k8s.pod.cpu.time");
        let (mut used_usec, mut exported) = (0_i64, BTreeMap::new());
        let quiet = std::iter::repeat_n(&[][..], 12);
        for (number, events) in intervals.iter().map(Vec::as_slice).chain(quiet).enumerate() {
            let mut seen = BTreeSet::new();
            let mut all = Vec::new();
            for (pod, figure, exited) in events.iter().filter(|(pod, ..)| seen.insert(*pod)) {
                all.push(PodUsage { exited: *exited, ..used(*pod, *figure) });
                used_usec += i64::try_from(*figure).unwrap() * 15_000;
            }
            let second = (number as u64 + 1) * 15;
            let catalog = if number >= named_from { &known } else { &unknown };
            let sample = add(&mut store, &at(second, all), catalog, None);
            let mut names = BTreeSet::new();
            for entry in sample.of(EntityClass::Pod) {
                let labels: Vec<_> = entry.entity.attributes.iter().map(|it| it.value.clone()).collect();
                prop_assert!(names.insert(labels.clone()), "twice: {labels:?}");
                let total = entry.values.get(cpu).unwrap_or(0);
                let series = (labels, entry.started.as_unix_millis());
                let before = exported.insert(series, total).unwrap_or(0);
                prop_assert!(total >= before, "{total} after {before}");
            }
        }
        prop_assert_eq!(exported.values().sum::<i64>(), used_usec);
    }
}

#[test]
fn an_entity_of_each_class_is_found_by_its_class() {
    let catalog = catalog(vec![], &[], &[]);
    let mut store = MetricStore::default();
    let sample = add(&mut store, &at(15, vec![used(1, 1), used(2, 1)]), &catalog, None);
    assert_eq!(sample.of(EntityClass::Node).len(), 1);
    assert_eq!(sample.of(EntityClass::Pod).len(), 2);
    assert_eq!(sample.of(EntityClass::Pod)[0].entity.id, EntityId::Pod(uid(1)));
    assert_eq!(sample.of(EntityClass::Process).len(), 0);
}

#[test]
fn the_cpu_time_before_and_the_start_of_an_object_stay() {
    let catalog = catalog(vec![pod(1, "a")], &[], &[]);
    let mut store = MetricStore::default();
    // 1.5 s in each interval, after 8.5 s that nobody saw; it started 3 s after the boot.
    let used = |total_usec: u64| {
        let mut pod = used(1, 100);
        let usage = CpuTime::from_usec(total_usec);
        pod.usage.cpu_counters = Some(CpuStat { usage, ..CpuStat::default() });
        pod.usage.started = Some(BootTime::from_nanos(3_000_000_000));
        pod
    };
    let facts = |sample: &MetricSample| sample.of(EntityClass::Pod)[0].facts.clone();
    let first = add(&mut store, &at(15, vec![used(10_000_000)]), &catalog, None);
    let before = CpuBefore { usage: 8_500_000, user: None, system: None };
    assert_eq!(facts(&first).cpu_before, Some(before));
    assert_eq!(facts(&first).created, Some(WallTime::from_unix_millis(1_003_000)));
    // The wall clock is a little ahead.
    let mut account = at(30, vec![used(11_500_000)]);
    account.wall = WallTime::from_unix_millis(1_031_000);
    let second = add(&mut store, &account, &catalog, None);
    assert_eq!(facts(&second), facts(&first));
    assert_eq!(pods(&second)[0].1, Some(3_000_000));
    // It was set.
    let mut account = at(45, vec![used(13_000_000)]);
    account.wall = WallTime::from_unix_millis(9_045_000);
    let third = add(&mut store, &account, &catalog, None);
    assert_eq!(facts(&third).created, Some(WallTime::from_unix_millis(9_003_000)));
    // Read no more, it keeps what is known.
    let last = crate::metrics::samples::used(1, 100);
    let fourth = add(&mut store, &at(60, vec![last]), &catalog, None);
    assert_eq!(facts(&fourth), facts(&third));
}
