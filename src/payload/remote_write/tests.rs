//! Requests over samples in which pods come and end. The bytes are read in `tests/it/remote_write`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message as _;

use super::messages::{COUNTER, GAUGE, SymbolRequest, is_stale};
use super::symbols::{labels_of, text_at};
use super::{as_json, encode, split};
use crate::directory::Catalog;
use crate::ledger::Account;
use crate::ledger::account::PodUsage;
use crate::metrics::sample::{MetricSample, NodeAttributes};
use crate::metrics::samples::{account, catalog, pod, used, used_by_container};
use crate::metrics::store::{MetricStore, StoreInput, StoreOptions};
use crate::payload::entities::Observation;
use crate::payload::open_metrics::TextFormat;
use crate::payload::options::{EncodeOptions, PodFilter};
use crate::payload::prometheus::{EntityFilter, MetricText};
use crate::payload::running_totals::RunningTotals;
use crate::payload::selector::Selector;
use crate::quantity::{BootTime, WallTime};

const CPU: &str = "k8s_pod_cpu_time_seconds_total";
const MEMORY: &str = "k8s_pod_memory_usage_bytes";

/// The samples of one agent, every 15 seconds from 1,015,000 ms on.
struct Samples {
    store: MetricStore,
    catalog: Arc<Catalog>,
    count: u64,
    options: EncodeOptions,
}

impl Samples {
    fn new(catalog: Arc<Catalog>) -> Self {
        let node = NodeAttributes { name: "worker-1".into(), ..NodeAttributes::default() };
        let options = StoreOptions { node, keeps_intervals: true, ..StoreOptions::default() };
        let store = MetricStore::new(options);
        Self { store, catalog, count: 0, options: EncodeOptions::new("n1") }
    }

    fn add(&mut self, pods: Vec<PodUsage>) -> (MetricSample, Account) {
        self.count += 1;
        let account = Account {
            since: Some(BootTime::from_nanos((self.count - 1) * 15_000_000_000)),
            until: BootTime::from_nanos(self.count * 15_000_000_000),
            wall: WallTime::from_unix_millis(1_000_000 + self.count * 15_000),
            containers: vec![used_by_container(9, 9, 1)],
            ..account(pods)
        };
        let sample = self.store.add(&StoreInput {
            account: &account,
            catalog: &self.catalog,
            pod_filesystems: &BTreeMap::new(),
            node_filesystem: None,
            filesystems: &[],
            seen_by_all: None,
        });
        (sample, account)
    }

    /// The requests of the next sample.
    fn next(&mut self, pods: Vec<PodUsage>) -> Vec<SymbolRequest> {
        let (sample, account) = self.add(pods);
        self.requests(&sample, &account)
    }

    fn requests(&self, sample: &MetricSample, account: &Account) -> Vec<SymbolRequest> {
        let filesystems = BTreeMap::new();
        let view = Observation {
            account,
            catalog: &self.catalog,
            filesystems: &filesystems,
            node_filesystem: None,
            metrics: Some(sample),
        };
        let entities = RunningTotals::default().add(&view);
        let messages = encode(&view, &entities, &self.options);
        assert!(messages.iter().all(|message| message.path.is_empty()));
        messages.iter().map(|message| SymbolRequest::decode(&*message.body).unwrap()).collect()
    }
}

/// Values and times of one pod's series; `None`: its end.
fn points(requests: &[SymbolRequest], name: &str, pod: &str) -> Vec<(Option<f64>, i64)> {
    let mut found = Vec::new();
    for request in requests {
        for series in &request.timeseries {
            let labels: BTreeMap<&str, &str> = labels_of(series, &request.symbols).collect();
            if labels.get("__name__") == Some(&name) && labels.get("pod") == Some(&pod) {
                found.extend(series.samples.iter().map(|sample| {
                    ((!is_stale(sample.value)).then_some(sample.value), sample.timestamp)
                }));
            }
        }
    }
    found
}

#[test]
fn a_total_begins_at_zero_and_both_kinds_of_series_come_to_an_end() {
    let mut samples = Samples::new(catalog(vec![pod(1, "a")], &[], &[]));
    let both =
        |requests: &[SymbolRequest]| (points(requests, CPU, "a"), points(requests, MEMORY, "a"));
    let mib = |count: u32| Some(f64::from(count << 20));
    samples.next(vec![]);
    // 1,500 milliseconds in the interval that began at 1,015,000.
    let (cpu, memory) = both(&samples.next(vec![used(1, 100)]));
    assert_eq!(cpu, [(Some(0.0), 1_015_001), (Some(1.5), 1_030_000)]);
    assert_eq!(memory, [(mib(100), 1_030_000)]);
    let (cpu, memory) = both(&samples.next(vec![used(1, 200)]));
    assert_eq!((cpu, memory), (vec![(Some(4.5), 1_045_000)], vec![(mib(200), 1_045_000)]));
    // It ends with a last 300 milliseconds.
    let (cpu, memory) = both(&samples.next(vec![PodUsage { exited: true, ..used(1, 20) }]));
    assert_eq!((cpu, memory), (vec![(Some(4.8), 1_060_000)], vec![(None, 1_060_000)]));
    let (cpu, memory) = both(&samples.next(vec![]));
    assert_eq!((cpu, memory), (vec![(None, 1_075_000)], vec![]));
    assert_eq!(both(&samples.next(vec![])), (vec![], vec![]));
}

/// Names, labels and last points of all series.
fn last_points(requests: &[SymbolRequest]) -> BTreeMap<Vec<(String, String)>, (bool, i64)> {
    let mut all = BTreeMap::new();
    for request in requests {
        for series in &request.timeseries {
            let labels = labels_of(series, &request.symbols);
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let last = series.samples.last().unwrap();
            all.insert(labels, (is_stale(last.value), last.timestamp));
        }
    }
    all
}

#[test]
fn an_agent_that_stops_ends_what_it_has_not_ended_yet() {
    let pods = vec![pod(1, "a"), pod(2, "b"), pod(3, "c")];
    let mut samples = Samples::new(catalog(pods, &[], &[]));
    let exited = |number| PodUsage { exited: true, ..used(number, 20) };
    samples.next(vec![used(1, 100), used(2, 100), exited(3)]);
    let (last, account) = samples.add(vec![used(1, 100), exited(2)]);
    let mut live = last_points(&samples.requests(&last, &account));
    live.retain(|_, (is_stale, _)| !*is_stale);
    let sample = samples.store.closing_sample(WallTime::from_unix_millis(1_050_000));
    let closing = samples.requests(&sample, &account);
    let ended = last_points(&closing);
    assert!(live.len() > 30, "{}", live.len());
    assert_eq!(ended.keys().collect::<Vec<_>>(), live.keys().collect::<Vec<_>>());
    assert!(ended.values().all(|last| *last == (true, 1_050_000)), "{ended:?}");
    assert_eq!(points(&closing, CPU, "c"), []);
}

/// The run before ended its series at 1,020,000, after its last sample at 1,015,000.
#[test]
fn after_a_restart_a_total_begins_behind_the_end_that_the_run_before_sent() {
    let mut samples = Samples::new(catalog(vec![pod(1, "a")], &[], &[]));
    samples.count = 1;
    let store = std::mem::take(&mut samples.store);
    samples.store = store.started_at(WallTime::from_unix_millis(1_021_000));
    let expected = [(Some(0.0), 1_021_001), (Some(1.5), 1_030_000)];
    assert_eq!(points(&samples.next(vec![used(1, 100)]), CPU, "a"), expected);
}

#[test]
fn a_pod_of_one_interval_has_a_rate() {
    let mut samples = Samples::new(catalog(vec![pod(1, "a")], &[], &[]));
    samples.next(vec![]);
    let requests = samples.next(vec![PodUsage { exited: true, ..used(1, 100) }]);
    let expected = [(Some(0.0), 1_015_001), (Some(1.5), 1_030_000)];
    assert_eq!(points(&requests, CPU, "a"), expected);
    assert_eq!(points(&requests, MEMORY, "a"), []);
}

#[test]
fn labels_are_sorted_whole_and_those_of_the_settings_win_over_job_and_instance_alone() {
    let mut samples = Samples::new(catalog(vec![pod(1, "a")], &[], &[]));
    let label = |name: &str, value: &str| (name.into(), value.into());
    samples.options.external_labels = vec![
        label("zone", "z1"),
        label("job", "mine"),
        label("pod", "not this"),
        label("empty", ""),
    ];
    let requests = samples.next(vec![used(1, 100)]);
    let mut is_seen = false;
    for request in &requests {
        assert_eq!(request.symbols.first().map(String::as_str), Some(""));
        for series in &request.timeseries {
            let labels: Vec<(&str, &str)> = labels_of(series, &request.symbols).collect();
            assert!(labels.is_sorted_by(|a, b| a.0 < b.0), "{labels:?}");
            assert!(labels.iter().all(|(_, value)| !value.is_empty()), "{labels:?}");
            let labels: BTreeMap<&str, &str> = labels.into_iter().collect();
            assert_eq!(labels.get("zone"), Some(&"z1"));
            assert_eq!(labels.get("job"), Some(&"mine"));
            let metadata = series.metadata.unwrap();
            let is_total = labels.get("__name__").unwrap().ends_with("_total");
            assert_eq!(metadata.kind, if is_total { COUNTER } else { GAUGE }, "{labels:?}");
            assert_eq!(series.samples.iter().all(|it| it.start_timestamp > 0), is_total);
            assert!(!text_at(&request.symbols, metadata.help_ref).is_empty());
            is_seen |= labels.get("pod") == Some(&"a");
        }
    }
    assert!(is_seen);
}

/// The series of a text, each as its name and labels in order.
fn of_text(text: &str) -> BTreeSet<Vec<(String, String)>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, rest) = line.split_once('{').unwrap();
            let (labels, _) = rest.rsplit_once('}').unwrap();
            let labels = labels.split("\",").map(|pair| pair.split_once("=\"").unwrap());
            let labels = labels
                .map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned()));
            let mut all: Vec<_> = labels.collect();
            all.push(("__name__".to_owned(), name.to_owned()));
            all.sort();
            all
        })
        .collect()
}

#[test]
fn the_series_are_those_of_the_text() {
    let mut samples = Samples::new(catalog(vec![pod(1, "a")], &[], &[]));
    samples.next(vec![used(1, 10), used(2, 20)]);
    let (sample, account) = samples.add(vec![used(1, 10), used(2, 20)]);
    let requests = samples.requests(&sample, &account);
    let mut pushed = BTreeSet::new();
    for request in &requests {
        for series in &request.timeseries {
            let labels = labels_of(series, &request.symbols);
            let labels = labels.filter(|(name, _)| !matches!(*name, "job" | "instance"));
            let mut labels: Vec<_> =
                labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            labels.sort();
            assert!(pushed.insert(labels.clone()), "twice: {labels:?}");
        }
    }
    let mut text = Vec::new();
    let mut pulled =
        MetricText::new(Arc::new(sample), TextFormat::Prometheus, EntityFilter::default());
    while pulled.write(&mut text, 1 << 20) {}
    assert!(pushed.len() > 50);
    assert_eq!(pushed, of_text(&String::from_utf8(text).unwrap()));
}

#[test]
fn a_filter_holds_back_pods_and_their_containers() {
    let mut samples = Samples::new(catalog(vec![pod(1, "a"), pod(2, "b"), pod(9, "c")], &[], &[]));
    samples.options.filter =
        PodFilter { selector: Selector::parse("app=b").unwrap(), ..PodFilter::default() };
    let requests = samples.next(vec![used(1, 10), used(2, 20)]);
    let names: BTreeSet<&str> = requests
        .iter()
        .flat_map(|request| {
            let labels =
                request.timeseries.iter().flat_map(|series| labels_of(series, &request.symbols));
            labels.filter(|(name, _)| *name == "pod").map(|(_, value)| value)
        })
        .collect();
    assert_eq!(names, BTreeSet::from(["b"]));
}

#[test]
fn halves_have_the_same_series_and_a_single_one_has_none() {
    let mut samples = Samples::new(catalog(vec![pod(1, "a")], &[], &[]));
    let request = samples.next(vec![used(1, 100)]).remove(0);
    let body = request.encode_to_vec();
    let (first, second) = split(&body).unwrap();
    let json = |body: &[u8]| -> Vec<serde_json::Value> {
        let document: serde_json::Value = serde_json::from_slice(&as_json(body).unwrap()).unwrap();
        document["timeseries"].as_array().unwrap().clone()
    };
    assert_eq!([json(&first), json(&second)].concat(), json(&body));
    let one = SymbolRequest { timeseries: request.timeseries[..1].to_vec(), ..request };
    assert_eq!(split(&one.encode_to_vec()), None);
    assert_eq!(split(b"\xff\xff"), None);
}

#[test]
fn the_example_of_the_page_is_part_of_a_request() {
    let page = include_str!("../../../docs/wire/remote-write.md");
    let (_, example) = page.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let example: serde_json::Value = serde_json::from_str(example).unwrap();
    let mut samples = Samples::new(catalog(vec![pod(1, "a")], &[], &[]));
    samples.next(vec![]);
    let request = samples.next(vec![used(1, 100)]).remove(0);
    let made = as_json(&request.encode_to_vec()).unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
    let made = made["timeseries"].as_array().unwrap();
    for series in example["timeseries"].as_array().unwrap() {
        let name = &series["labels"]["__name__"];
        let found = made.iter().find(|made| made["labels"]["__name__"] == *name);
        assert_eq!(found, Some(series));
    }
}
