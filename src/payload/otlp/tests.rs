//! Bodies as a receiver of prost's messages reads them.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;

use super::messages::{
    AttributeValue, ExportAnswer, ExportRequest, KeyValue, MetricData, NumberDataPoint, OtlpMetric,
    PartialSuccess, PointValue, ResourceMetrics,
};
use super::*;
use crate::attribution::InnerNode;
use crate::directory::Catalog;
use crate::ledger::Account;
use crate::ledger::account::{DiskUsage, ExitedUsage, PodUsage};
use crate::metrics::sample::{MetricSample, NodeAttributes};
use crate::metrics::samples::{
    account, any_account, any_catalog, catalog, pod, used, used_by_container, used_by_unit,
};
use crate::metrics::store::{MetricStore, StoreInput, StoreOptions};
use crate::payload::entities::Observation;
use crate::payload::options::{EncodeOptions, PodFilter};
use crate::payload::running_totals::Entities;
use crate::quantity::{BootTime, CpuTime, WallTime};

fn store() -> MetricStore {
    MetricStore::new(StoreOptions {
        node: NodeAttributes { name: "node-1".into(), in_kubernetes: true, cluster: "prod".into() },
        waits_for_names: true,
        processes: 0,
        keeps_intervals: true,
    })
}

/// The account of the interval of 15 s that ends at `second`.
fn at(second: u64, account: Account) -> Account {
    Account {
        since: Some(BootTime::from_nanos((second - 15) * 1_000_000_000)),
        until: BootTime::from_nanos(second * 1_000_000_000),
        wall: WallTime::from_unix_millis(1_760_000_000_000 + second * 1000),
        ..account
    }
}

fn sample(store: &mut MetricStore, account: &Account, catalog: &Catalog) -> MetricSample {
    store.add(&StoreInput {
        account,
        catalog,
        pod_filesystems: &BTreeMap::new(),
        node_filesystem: None,
        filesystems: &[],
        seen_by_all: None,
    })
}

fn cumulative() -> EncodeOptions {
    EncodeOptions { cumulative: true, ..EncodeOptions::new("node-1") }
}

fn bodies(sample: &MetricSample, catalog: &Catalog, options: &EncodeOptions) -> Vec<Bytes> {
    let view = Observation {
        account: &Account::default(),
        catalog,
        filesystems: &BTreeMap::new(),
        node_filesystem: None,
        metrics: Some(sample),
    };
    let messages = encode(&view, &Entities::default(), options);
    assert!(messages.iter().all(|message| message.path == "/v1/metrics"));
    messages.into_iter().map(|message| message.body).collect()
}

fn resources(bodies: &[Bytes]) -> Vec<ResourceMetrics> {
    let decoded = bodies.iter().map(|body| ExportRequest::decode(&**body).unwrap());
    decoded.flat_map(|request| request.resource_metrics).collect()
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &KeyValue| match value.value.clone().unwrap().value.unwrap() {
        AttributeValue::StringValue(text) => text,
        AttributeValue::IntValue(number) => number.to_string(),
    };
    let all: BTreeMap<_, _> = attributes.iter().map(|one| (one.key.clone(), text(one))).collect();
    assert_eq!(all.len(), attributes.len(), "an attribute twice: {attributes:?}");
    all
}

fn names(resource: &ResourceMetrics) -> BTreeMap<String, String> {
    texts(&resource.resource.as_ref().unwrap().attributes)
}

/// The points of a metric: attributes in words, and the point.
fn points(resource: &ResourceMetrics, name: &str) -> Vec<NumberDataPoint> {
    let metrics = &resource.scope_metrics[0].metrics;
    let found: Vec<_> = metrics.iter().filter(|metric| metric.name == name).collect();
    assert!(found.len() < 2, "{name} twice in one resource");
    match found.first().and_then(|metric| metric.data.clone()) {
        Some(MetricData::Gauge(gauge)) => gauge.data_points,
        Some(MetricData::Sum(sum)) => sum.data_points,
        None => Vec::new(),
    }
}

fn of_pod(resources: &[ResourceMetrics]) -> Vec<&ResourceMetrics> {
    let is_pod = |one: &&ResourceMetrics| {
        let names = names(one);
        names.contains_key("k8s.pod.uid") && !names.contains_key("container.id")
    };
    resources.iter().filter(is_pod).collect()
}

#[test]
fn a_pod_is_a_resource_with_its_names_and_figures() {
    let catalog = catalog(vec![pod(1, "cart")], &[], &[]);
    let mut store = store();
    // 1.5 s, then 3 s: usage(100) is 100 × 15 ms over 15 s.
    sample(&mut store, &at(15, account(vec![used(1, 100)])), &catalog);
    let sample = sample(&mut store, &at(30, account(vec![used(1, 200)])), &catalog);
    let all = resources(&bodies(&sample, &catalog, &cumulative()));
    let [pod] = of_pod(&all)[..] else { panic!("{all:?}") };
    assert_eq!(pod.schema_url, "https://opentelemetry.io/schemas/1.44.0");
    let scope = &pod.scope_metrics[0];
    assert_eq!(scope.schema_url, pod.schema_url);
    assert_eq!(scope.scope.as_ref().unwrap().name, "nodetally");
    assert_eq!(scope.scope.as_ref().unwrap().version, env!("CARGO_PKG_VERSION"));
    let uid = "00000001-0000-0000-0000-000000000000";
    let expected = [
        ("host.name", "node-1"),
        ("k8s.cluster.name", "prod"),
        ("k8s.namespace.name", "shop"),
        ("k8s.node.name", "node-1"),
        ("k8s.pod.name", "cart"),
        ("k8s.pod.uid", uid),
        ("service.instance.id", "node-1/pod/00000001-0000-0000-0000-000000000000"),
        ("service.name", "nodetally"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(names(pod).into_iter().collect::<Vec<_>>(), expected);

    let metric =
        |name: &str| scope.metrics.iter().find(|metric| metric.name == name).cloned().unwrap();
    let time = metric("k8s.pod.cpu.time");
    assert_eq!(time.unit, "s");
    let Some(MetricData::Sum(sum)) = time.data else { panic!("no sum") };
    assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (2, true));
    let point = &sum.data_points[0];
    assert_eq!(point.value, Some(PointValue::AsDouble(4.5)));
    assert_eq!(point.start_time_unix_nano, 1_760_000_000_000_000_000);
    assert_eq!(point.time_unix_nano, 1_760_000_030_000_000_000);

    let usage = metric("k8s.pod.cpu.usage");
    let Some(MetricData::Gauge(gauge)) = usage.data else { panic!("no gauge") };
    assert_eq!(gauge.data_points[0].value, Some(PointValue::AsDouble(0.2)));
    assert_eq!(gauge.data_points[0].start_time_unix_nano, 0);

    let memory = metric("k8s.pod.memory.usage");
    assert_eq!(memory.unit, "By");
    let Some(MetricData::Sum(_) | MetricData::Gauge(_)) = memory.data else { panic!("no data") };
    let value = points(pod, "k8s.pod.memory.usage")[0].value.clone();
    assert_eq!(value, Some(PointValue::AsInt(200 << 20)));

    // The directions of one name are points of one metric.
    let io = points(pod, "k8s.pod.network.io");
    let by_direction: BTreeMap<_, _> = io
        .iter()
        .map(|point| {
            (texts(&point.attributes)["network.io.direction"].clone(), point.value.clone())
        })
        .collect();
    let int = |value| Some(PointValue::AsInt(value));
    assert_eq!(by_direction["receive"], int(300 * 100));
    assert_eq!(by_direction["transmit"], int(300 * 1000));
}

#[test]
fn no_two_entities_have_one_instance_and_nothing_is_sent_twice() {
    let catalog = catalog(vec![pod(1, "a"), pod(2, "a")], &[], &[]);
    let mut all = account(vec![used(1, 1), used(2, 2)]);
    all.containers = vec![used_by_container(1, 1, 1), used_by_container(2, 2, 1)];
    all.units = vec![used_by_unit("/a.service", 1), used_by_unit("/b.service", 1)];
    let mut store = store();
    for second in [15, 135, 150] {
        let sample = sample(&mut store, &at(second, all.clone()), &catalog);
        let resources = resources(&bodies(&sample, &catalog, &cumulative()));
        let mut instances: Vec<String> =
            resources.iter().map(|one| names(one)["service.instance.id"].clone()).collect();
        let sent = instances.len();
        instances.sort();
        instances.dedup();
        assert_eq!(instances.len(), sent, "{instances:?}");
    }
}

#[test]
fn what_has_ended_is_sent_once_with_its_last_totals() {
    let catalog = catalog(vec![pod(1, "a")], &[], &[]);
    let mut store = store();
    sample(&mut store, &at(15, account(vec![used(1, 100)])), &catalog);
    let last = PodUsage { exited: true, ..used(1, 20) };
    let sent = |account: Account, store: &mut MetricStore| {
        let sample = sample(store, &account, &catalog);
        let all = resources(&bodies(&sample, &catalog, &cumulative()));
        of_pod(&all).iter().map(|pod| points(pod, "k8s.pod.cpu.time")).collect::<Vec<_>>()
    };
    let points = sent(at(30, account(vec![last])), &mut store);
    assert_eq!(points[0][0].value, Some(PointValue::AsDouble(1.8)));
    assert_eq!(sent(at(45, account(vec![])), &mut store), Vec::<Vec<_>>::new());
}

#[test]
fn the_first_delta_has_what_was_counted_before_the_name() {
    let (unknown, known) = (catalog(vec![], &[], &[]), catalog(vec![pod(1, "a")], &[], &[]));
    let options = EncodeOptions::new("node-1");
    let mut store = store();
    let mut seen = Vec::new();
    for (second, catalog) in [(15, &unknown), (30, &unknown), (45, &known), (60, &known)] {
        let sample = sample(&mut store, &at(second, account(vec![used(1, 100)])), catalog);
        let all = resources(&bodies(&sample, catalog, &options));
        for pod in of_pod(&all) {
            let point = points(pod, "k8s.pod.cpu.time")[0].clone();
            let seconds = |nanos: u64| nanos / 1_000_000_000 - 1_760_000_000;
            let (start, end) = (point.start_time_unix_nano, point.time_unix_nano);
            seen.push((seconds(start), seconds(end), point.value.unwrap()));
        }
    }
    let value = PointValue::AsDouble;
    assert_eq!(seen, [(0, 45, value(4.5)), (45, 60, value(1.5))]);
}

#[test]
fn an_endpoint_gets_the_pods_that_it_wants_and_the_node() {
    let catalog = catalog(vec![pod(1, "a"), pod(2, "b")], &[], &[]);
    let mut account = account(vec![used(1, 1), used(2, 1)]);
    account.containers = vec![used_by_container(1, 1, 1), used_by_container(2, 2, 1)];
    account.units = vec![used_by_unit("/a.service", 1)];
    let mut options = MetricStore::new(StoreOptions::default());
    let sample = sample(&mut options, &at(15, account), &catalog);
    let count = |filter: PodFilter| {
        let options = EncodeOptions { filter, ..cumulative() };
        let all = resources(&bodies(&sample, &catalog, &options));
        let has = |name: &str| all.iter().filter(|one| names(one).contains_key(name)).count();
        (has("k8s.pod.uid"), has("nodetally.unit.name"))
    };
    let only = |name: &str| PodFilter { include: vec![name.into()], ..PodFilter::default() };
    assert_eq!(count(PodFilter::default()), (4, 1));
    assert_eq!(count(only("shop")), (4, 1));
    assert_eq!(count(only("other")), (0, 1));
    let selector = crate::payload::selector::Selector::parse("app=a").unwrap();
    assert_eq!(count(PodFilter { selector, ..PodFilter::default() }), (2, 1));
}

#[test]
fn bodies_keep_below_their_limit_and_halves_have_all_resources() {
    let catalog = catalog((1..40).map(|number| pod(number, "a")).collect(), &[], &[]);
    let all = account((1..40).map(|number| used(number, 1)).collect());
    let sample = sample(&mut store(), &at(15, all), &catalog);
    let whole = bodies(&sample, &catalog, &cumulative());
    assert_eq!(whole.len(), 1);
    let expected = resources(&whole);
    let without_words = |mut all: Vec<ResourceMetrics>| {
        let scopes = all.iter_mut().flat_map(|one| &mut one.scope_metrics);
        scopes.flat_map(|scope| &mut scope.metrics).for_each(|one| one.description.clear());
        all
    };
    let plain = without_words(expected.clone());
    // Each class is described once in a body.
    let described = |all: &[ResourceMetrics]| {
        let first =
            |one: &&ResourceMetrics| !one.scope_metrics[0].metrics[0].description.is_empty();
        all.iter().filter(first).count()
    };
    assert_eq!(described(&expected), 2, "the node and one pod");
    for bytes_max in [1, 20_000, 60_000] {
        let options = EncodeOptions { body_bytes_max: bytes_max, ..cumulative() };
        let parts = bodies(&sample, &catalog, &options);
        assert_eq!(without_words(resources(&parts)), plain, "{bytes_max}");
        for part in &parts {
            let part = resources(std::slice::from_ref(part));
            assert!(described(&part) > 0);
        }
        let is_small = |part: &Bytes| {
            part.len() <= bytes_max || resources(std::slice::from_ref(part)).len() == 1
        };
        assert!(parts.iter().all(is_small), "{bytes_max}");
    }
    let mut parts = whole.clone();
    for pieces in [2, 4, 8, 16, 32] {
        parts = parts.iter().flat_map(|part| <[Bytes; 2]>::from(split(part).unwrap())).collect();
        assert_eq!(parts.len(), pieces);
        assert_eq!(resources(&parts), expected);
    }
    let points = |body: &Bytes| -> usize {
        let of_metric = |metric: &OtlpMetric| match metric.data.as_ref().unwrap() {
            MetricData::Gauge(gauge) => gauge.data_points.len(),
            MetricData::Sum(sum) => sum.data_points.len(),
        };
        let all = resources(std::slice::from_ref(body));
        all.iter().flat_map(|one| &one.scope_metrics[0].metrics).map(of_metric).sum()
    };
    for body in whole.iter().chain(&parts) {
        assert_eq!(count(body), points(body) as u64);
    }
    assert!(count(&whole[0]) > 100);
    assert_eq!((count(b""), count(b"{}"), count(&[0x0a, 0xff])), (0, 0, 0));
    // One resource is not split, and neither is anything else.
    let one = bodies(&sample, &catalog, &EncodeOptions { body_bytes_max: 1, ..cumulative() });
    for body in [&one[0][..], b"", b"{}", &whole[0][..whole[0].len() - 1], &[0x0a, 0xff]] {
        assert_eq!(split(body), None);
    }
}

/// Attributes of resources are those of the registry, of its types.
#[test]
fn attributes_of_resources_are_those_of_the_conventions() {
    let registry = include_str!("../../../fixtures/semconv/attributes-1.44.0.tsv");
    let types: BTreeMap<&str, &str> = registry
        .lines()
        .filter_map(|line| Some((line.split('\t').next()?, line.split('\t').nth(1)?)))
        .collect();
    let mut all = account(vec![used(1, 700)]);
    all.units = vec![used_by_unit("/a.service", 100)];
    let catalog = catalog(vec![pod(1, "a")], &[], &[]);
    let sample = sample(&mut store(), &at(15, all), &catalog);
    let mut names = BTreeMap::new();
    for resource in resources(&bodies(&sample, &catalog, &cumulative())) {
        for KeyValue { key, value } in resource.resource.unwrap().attributes {
            if key.starts_with("nodetally.") {
                continue;
            }
            let is_text = matches!(value.unwrap().value, Some(AttributeValue::StringValue(_)));
            let expected = if is_text { &["string", "enum"][..] } else { &["int"] };
            assert!(types.get(&*key).is_some_and(|kind| expected.contains(kind)), "{key}");
            *names.entry(key).or_insert(0) += 1;
        }
    }
    for name in ["service.name", "service.instance.id", "host.name", "k8s.cluster.name"] {
        assert!(names.contains_key(name), "{names:?}");
    }
}

#[test]
fn the_json_form_is_the_protocols() {
    let catalog = catalog(vec![], &[], &[]);
    let mut all = account(vec![]);
    all.units = vec![used_by_unit("/a.service", 100)];
    let mut store = MetricStore::new(StoreOptions::default());
    let sample = sample(&mut store, &at(15, all), &catalog);
    let body = &bodies(&sample, &catalog, &cumulative())[0];
    let json: serde_json::Value = serde_json::from_slice(&as_json(body).unwrap()).unwrap();
    let all = json["resourceMetrics"].as_array().unwrap();
    let unit = all.last().unwrap();
    assert_eq!(unit["schemaUrl"], "https://opentelemetry.io/schemas/1.44.0");
    let attributes = unit["resource"]["attributes"].as_array().unwrap();
    let expected = serde_json::json!(
        {"key": "nodetally.unit.name", "value": {"stringValue": "a.service"}}
    );
    assert!(attributes.contains(&expected), "{attributes:?}");
    let metrics = unit["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let find = |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap();
    let time = metrics.iter().find(|metric| metric["unit"] == "s").unwrap();
    let point = &time["sum"]["dataPoints"][0];
    assert_eq!(time["sum"]["aggregationTemporality"], 2);
    assert_eq!(time["sum"]["isMonotonic"], true);
    assert_eq!(point["asDouble"], 1.5);
    assert_eq!(point["startTimeUnixNano"], "1760000000000000000");
    assert_eq!(point["timeUnixNano"], "1760000015000000000");
    let bytes = metrics.iter().find(|metric| metric["unit"] == "By").unwrap();
    let name = bytes["name"].as_str().unwrap();
    let value = &find(name)["sum"]["dataPoints"][0]["asInt"];
    assert!(value.is_string(), "{bytes}");
}

#[test]
fn the_documents_example_is_what_is_sent() {
    let document = include_str!("../../../docs/wire/otlp.md");
    let mut blocks = document.split("```json\n").skip(1).map(|rest| rest.split("```").next());
    let mut block = || blocks.next().flatten().unwrap();
    let example = block().replace("\"0.1.0\"", &format!("\"{}\"", env!("CARGO_PKG_VERSION")));
    let example: serde_json::Value = serde_json::from_str(&example).unwrap();

    let exited = ExitedUsage {
        path: b"/system.slice".as_slice().into(),
        node: InnerNode::Slice,
        cpu: CpuTime::from_usec(2_500_000),
        disk: DiskUsage {
            read: crate::quantity::Bytes::from_bytes(4096),
            written: crate::quantity::Bytes::from_bytes(8192),
            ..DiskUsage::default()
        },
        network: Default::default(),
    };
    let catalog = catalog(vec![], &[], &[]);
    let account = Account { exited: vec![exited], ..at(15, account(vec![])) };
    let sample = sample(&mut store(), &account, &catalog);
    let body = &bodies(&sample, &catalog, &cumulative())[0];
    let json: serde_json::Value = serde_json::from_slice(&as_json(body).unwrap()).unwrap();
    let resources = json["resourceMetrics"].as_array().unwrap();
    assert_eq!(resources.len(), 2, "the node and the cgroup");
    assert_eq!(resources.last(), example["resourceMetrics"].as_array().unwrap().first());

    let read = decode_answer("application/json", block().as_bytes());
    assert_eq!(read, Ok((3, "out of order".to_owned())));
}

#[test]
fn an_answer_says_what_was_refused() {
    let answer = |rejected_data_points, error_message: &str| {
        let error_message = error_message.to_owned();
        let partial_success = Some(PartialSuccess { rejected_data_points, error_message });
        ExportAnswer { partial_success }.encode_to_vec()
    };
    let protobuf = "application/x-protobuf";
    for (kind, body, expected) in [
        (protobuf, Vec::new(), (0, "")),
        ("", Vec::new(), (0, "")),
        (protobuf, answer(3, "out of order"), (3, "out of order")),
        (protobuf, answer(0, "old schema"), (0, "old schema")),
        (protobuf, answer(-5, "odd"), (0, "odd")),
        (protobuf, b"\xff\xff".to_vec(), (0, "")),
        ("text/plain; charset=utf-8", b"ok".to_vec(), (0, "")),
        ("application/json", b"{}".to_vec(), (0, "")),
        ("application/json", br#"{"partialSuccess":{}}"#.to_vec(), (0, "")),
        (
            "application/json; charset=utf-8",
            br#"{"partialSuccess":{"rejectedDataPoints":"7","errorMessage":"late"}}"#.to_vec(),
            (7, "late"),
        ),
        ("application/json", br#"{"partialSuccess":{"rejectedDataPoints":7}}"#.to_vec(), (7, "")),
        ("application/json", b"[1".to_vec(), (0, "")),
    ] {
        let read = decode_answer(kind, &body);
        assert_eq!(read, Ok((expected.0, expected.1.to_owned())), "{kind} {body:?}");
    }
    for (kind, body) in [
        ("text/html; charset=utf-8", &b""[..]),
        ("", b"\n<!doctype html>"),
        ("TEXT/HTML", b"hello"),
    ] {
        assert!(decode_answer(kind, body).unwrap_err().contains("OTLP"), "{kind}");
    }
}

/// The identity of a series.
type Series = (BTreeMap<String, String>, String, BTreeMap<String, String>);

/// The monotonic points of a sample by series, with their start times.
fn counters(bodies: &[Bytes]) -> Vec<(Series, u64, f64)> {
    let mut all = Vec::new();
    for resource in resources(bodies) {
        for metric in &resource.scope_metrics[0].metrics {
            let Some(MetricData::Sum(sum)) = &metric.data else { continue };
            for point in sum.data_points.iter().filter(|_| sum.is_monotonic) {
                let series = (names(&resource), metric.name.clone(), texts(&point.attributes));
                let value = match point.value.clone().unwrap() {
                    PointValue::AsDouble(value) => value,
                    PointValue::AsInt(value) => value as f64,
                };
                all.push((series, point.start_time_unix_nano, value));
            }
        }
    }
    all
}

proptest! {
    #[test]
    fn the_sum_of_deltas_is_the_last_total(
        histories in prop::collection::vec((any_account(), any_catalog()), 1..8)
    ) {
        let mut store = store();
        let mut deltas: BTreeMap<Series, f64> = BTreeMap::new();
        // The last total since each start.
        let mut totals: BTreeMap<(Series, u64), f64> = BTreeMap::new();
        for (number, (account, catalog)) in histories.into_iter().enumerate() {
            let account = at(15 * (number as u64 + 1), account);
            let sample = sample(&mut store, &account, &catalog);
            for (series, _, value) in
                counters(&bodies(&sample, &catalog, &EncodeOptions::new("node-1")))
            {
                *deltas.entry(series).or_default() += value;
            }
            for (series, start, value) in counters(&bodies(&sample, &catalog, &cumulative())) {
                totals.insert((series, start), value);
            }
        }
        let mut sums: BTreeMap<Series, f64> = BTreeMap::new();
        for ((series, _), value) in totals {
            *sums.entry(series).or_default() += value;
        }
        prop_assert_eq!(sums.len(), deltas.len());
        for (series, sum) in sums {
            let delta = deltas[&series];
            prop_assert!((delta - sum).abs() <= sum * 1e-9, "{:?}: {} of {}", series, delta, sum);
        }
    }

    #[test]
    fn no_answer_panics(kind in "(text/|application/)?(html|json|x-protobuf)?", body: Vec<u8>) {
        let _ = decode_answer(&kind, &body);
        let _ = split(&body);
        let _ = count(&body);
    }
}
