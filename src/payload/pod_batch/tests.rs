use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::directory::node::{Node, NodeInfo, NodeResources, StatedQuantity};
use crate::directory::pod::{Container, ContainerState, Phase, Pod};
use crate::directory::{Catalog, Directory, SourceKind};
use crate::disk_usage::usage::{NodeFilesystem, PodFilesystem};
use crate::ledger::Account;
use crate::ledger::account::{NetworkUsage, NodeCpu, PodUsage};
use crate::payload::options::{ClusterContext, RESOURCES_MAX, UnknownPodPolicy};
use crate::payload::running_totals::RunningTotals;
use crate::payload::samples::*;
use crate::quantity::{BootTime, Bytes, CpuTime, WallTime};
use crate::source::proc::meminfo::MemInfo;

fn cluster() -> ClusterContext {
    ClusterContext {
        cluster_id: "c-1".into(),
        name: "prod".into(),
        labels: labels(&[("env", "prod")]),
        ..ClusterContext::default()
    }
}

fn by_uid() -> UnknownPodPolicy {
    UnknownPodPolicy::Uid { namespace: "unknown".into() }
}

/// All messages' resources, the messages read as JSON.
fn sent(view: &Observation<'_>, totals: &mut RunningTotals, options: &EncodeOptions) -> Vec<Value> {
    let entities = totals.add(view);
    let messages = pods(view, &entities, options);
    assert!(messages.iter().all(|message| message.path == "/api/v1/metrics/pods"));
    messages.iter().map(|message| serde_json::from_slice(&message.body).unwrap()).collect()
}

fn resources(view: &Observation<'_>, unknown: UnknownPodPolicy) -> Vec<Value> {
    let options = options(unknown);
    let messages = sent(view, &mut RunningTotals::default(), &options);
    let all = messages.into_iter().map(|message| message["resources"].as_array().unwrap().clone());
    all.flatten().collect()
}

fn options(unknown_pods: UnknownPodPolicy) -> EncodeOptions {
    EncodeOptions { unknown_pods, cluster: cluster(), ..EncodeOptions::new("node-1") }
}

fn node_of_eks() -> Node {
    let quantity = StatedQuantity::parse;
    Node {
        name: "node-1".into(),
        uid: "n-uid".into(),
        labels: labels(&[
            ("eks.amazonaws.com/nodegroup", "pool-a"),
            ("kubernetes.io/hostname", "node-1"),
            ("node.kubernetes.io/instance-type", "m5.large"),
            ("topology.kubernetes.io/region", "eu-central-1"),
            ("topology.kubernetes.io/zone", "eu-central-1a"),
        ]),
        annotations: labels(&[("a.example/x", "1"), ("b.example/y", "2")]),
        provider_id: Some("aws:///eu-central-1a/i-0abc".into()),
        capacity: NodeResources {
            cpu: quantity("2"),
            memory: quantity("4194304Ki"),
            pods: quantity("110"),
            ephemeral_storage: quantity("20.5e9"),
        },
        allocatable: NodeResources { cpu: quantity("1930m"), ..NodeResources::default() },
        info: NodeInfo {
            operating_system: "linux".into(),
            architecture: "arm64".into(),
            kubelet_version: "v1.30.2".into(),
            ..NodeInfo::default()
        },
        ..Node::default()
    }
}

fn with_node(node: Node) -> Arc<Catalog> {
    let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes]);
    publishers[0].set_node(node);
    publishers[0].set_server_version("v1.30.1");
    directory.catalog()
}

fn context_of(node: Node, cluster: &ClusterContext) -> Value {
    serde_json::to_value(context::context(cluster, &with_node(node))).unwrap()
}

#[test]
fn the_context_is_what_the_node_has_and_the_settings_say() {
    let expected = json!({
        "name": "prod",
        "kubernetes_version": "v1.30.1",
        "provider": {"name": "aws", "region": "eu-central-1", "zone": "eu-central-1a"},
        "labels": {"env": "prod"},
        "node_groups": [{
            "name": "pool-a",
            "labels": {
                "eks.amazonaws.com/nodegroup": "pool-a",
                "node.kubernetes.io/instance-type": "m5.large",
                "topology.kubernetes.io/region": "eu-central-1",
                "topology.kubernetes.io/zone": "eu-central-1a",
            },
            "platform": {"os": "linux", "architecture": "arm64", "version": "v1.30.2"},
            "metadata": {"instance_type": "m5.large"},
        }],
    });
    assert_eq!(context_of(node_of_eks(), &cluster()), expected);

    let said = ClusterContext {
        provider: Some("own".into()),
        region: Some("r".into()),
        zone: Some("z".into()),
        ..cluster()
    };
    let context = context_of(node_of_eks(), &said);
    assert_eq!(context["provider"], json!({"name": "own", "region": "r", "zone": "z"}));

    let old = Node {
        labels: labels(&[
            ("failure-domain.beta.kubernetes.io/region", "us-east1"),
            ("failure-domain.beta.kubernetes.io/zone", "us-east1-b"),
            ("cloud.google.com/gke-nodepool", "pool"),
        ]),
        provider_id: Some("gce://project/us-east1-b/vm".into()),
        ..Node::default()
    };
    let context = context_of(old, &cluster());
    let provider = json!({"name": "gcp", "region": "us-east1", "zone": "us-east1-b"});
    assert_eq!(context["provider"], provider);
    let platform = json!({"os": "", "architecture": ""});
    assert_eq!(context["node_groups"][0]["platform"], platform);

    for (label, name) in [("agentpool", "aks"), ("node-pool", "own")] {
        let node = Node { labels: labels(&[(label, name)]), ..Node::default() };
        let context = context_of(node, &cluster());
        assert_eq!(context["node_groups"][0]["name"], name);
    }

    let nothing = serde_json::to_value(context::context(&cluster(), &Catalog::default())).unwrap();
    let expected = json!({
        "name": "prod", "kubernetes_version": "", "provider": {"name": "", "region": ""},
        "labels": {"env": "prod"}, "node_groups": [],
    });
    assert_eq!(nothing, expected);
}

#[test]
fn a_pod_is_sent_with_all_that_is_known_of_it() {
    let mut web = pod(1, "web-0");
    web.api_uid = "api-uid".into();
    web.owners = vec![owner("StatefulSet", "web")];
    web.annotations = labels(&[
        ("checksum/config", "abc"),
        ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
        ("prometheus.io/port", "9090"),
    ]);
    web.service_account = "web".into();
    (web.reason, web.message) = (Some("Evicted".into()), Some("low on memory".into()));
    let app = Container {
        restart_count: 3,
        last_state: Some(ContainerState::Terminated {
            exit_code: 137,
            signal: Some(9),
            reason: Some("OOMKilled".into()),
            message: Some("out of memory".into()),
            started_at: Some("2026-01-01T00:00:00Z".into()),
            finished_at: None,
        }),
        ..container("app", 10)
    };
    let waiting = ContainerState::Waiting {
        reason: Some("CrashLoopBackOff".into()),
        message: Some("back-off 10s".into()),
    };
    let log = Container { ready: false, state: Some(waiting), ..container("log", 11) };
    web.containers = vec![app, log, Container { state: None, ..container("new", 12) }];
    let catalog = catalog(vec![web], &[], &[]);
    let account = account(vec![used(1, 7)]);
    let filesystem = PodFilesystem {
        usage_bytes: 5,
        capacity_bytes: Some(50),
        available_bytes: Some(40),
        inodes: Some(3),
        age_millis: 61_999,
        incomplete: true,
    };
    let filesystems = BTreeMap::from([(uid(1), filesystem)]);
    let view = Observation { filesystems: &filesystems, ..view(&account, &catalog) };
    let allowed = ["checksum/config".into(), "prometheus.io/*".into()];
    let options =
        EncodeOptions { annotations: allowed.to_vec(), ..options(UnknownPodPolicy::Wait) };
    let messages = sent(&view, &mut RunningTotals::default(), &options);
    let expected = json!([{
        "namespace": "shop", "name": "web-0", "uid": "api-uid",
        "status": {
            "phase": "Running", "reason": "Evicted", "message": "low on memory",
            "conditions": [],
            "container_statuses": [
                {"name": "app", "ready": true, "restarts": 3,
                 "state": {"running": {"started_at": ""}},
                 "last_state": {"terminated": {
                    "exit_code": 137, "reason": "OOMKilled", "signal": 9,
                    "message": "out of memory",
                    "started_at": "2026-01-01T00:00:00Z", "finished_at": "",
                 }}},
                {"name": "log", "ready": false, "restarts": 0,
                 "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}, "last_state": {}},
                {"name": "new", "ready": true, "restarts": 0, "state": {}, "last_state": {}},
            ],
        },
        "spec": {"node_name": "node-1", "priority_class": "", "service_account": "web"},
        "metadata": {
            "labels": {"app": "web-0"},
            "annotations": {"checksum/config": "abc", "prometheus.io/port": "9090"},
            "owner_references": [{"kind": "StatefulSet", "name": "web", "uid": "u"}],
            "creation_timestamp": "2026-01-01T00:00:01Z",
        },
        "metrics": {
            "cpu": {"usage": 0.007, "requests": 0.75, "limits": 0.0},
            "memory": {
                "usage_bytes": 7 << 20, "requests_bytes": 192 << 20, "limits_bytes": 384 << 20,
            },
            "network": {"rx_bytes": 700, "tx_bytes": 7000},
            "filesystem": {"usage_bytes": 5, "capacity_bytes": 50, "age_seconds": 61, "incomplete": true},
        },
    }]);
    assert_eq!(messages[0]["resources"], expected);
    assert_eq!(messages[0]["cluster_id"], "c-1");
    assert_eq!(messages[0]["collected_at"], "1970-01-01T00:00:00Z");
}

#[test]
fn pods_of_every_phase_are_sent_and_those_that_ended_with_what_they_used() {
    let phase = |number, name: &str, phase| Pod { phase, ..pod(number, name) };
    let catalog = catalog(
        vec![
            phase(1, "running", Phase::Running),
            phase(2, "pending", Phase::Pending),
            phase(3, "done", Phase::Succeeded),
        ],
        &[("/unit", "unit")],
        &[],
    );
    let gone = PodUsage { exited: true, ..used(3, 9) };
    let mut account = account(vec![used(1, 1), gone, used(4, 4)]);
    account.units = vec![used_by_unit("/unit", 5)];
    let view = view(&account, &catalog);
    let sent = |unknown| -> Vec<(String, String, u64)> {
        let all = resources(&view, unknown).into_iter().map(|resource| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let rx_bytes = resource["metrics"]["network"]["rx_bytes"].as_u64().unwrap();
            (text(&resource["name"]), text(&resource["status"]["phase"]), rx_bytes)
        });
        all.collect()
    };
    let is = |name: &str, phase: &str, rx_bytes| (name.to_owned(), phase.to_owned(), rx_bytes);
    let mut expected = vec![
        is("running", "Running", 100),
        is("done", "Succeeded", 900),
        is("pending", "Pending", 0),
        is("unit", "Running", 500),
    ];
    assert_eq!(sent(UnknownPodPolicy::Wait), expected);
    assert_eq!(sent(UnknownPodPolicy::Skip), expected);
    expected.insert(2, is(&uid(4).to_string(), "Unknown", 400));
    let by_uid: Vec<_> = sent(by_uid());
    expected[2].1 = "Running".to_owned();
    assert_eq!(by_uid, expected);
}

/// The message has no window, so a reader multiplies by the interval: here 15 s.
#[test]
fn a_pod_that_lived_for_a_part_of_the_interval_has_its_rate_over_all_of_it() {
    let catalog = catalog(vec![pod(1, "job")], &[], &[]);
    let mut gone = PodUsage { exited: true, ..used(1, 1) };
    // 20.0 s of four CPUs in the 6.7 s that it lived.
    let cpu = gone.usage.cpu.as_mut().unwrap();
    (cpu.usage, cpu.over_usec) = (CpuTime::from_usec(20_000_000), 6_700_000);
    let account = account(vec![gone]);
    let sent = resources(&view(&account, &catalog), UnknownPodPolicy::Wait);
    let cores = sent[0]["metrics"]["cpu"]["usage"].as_f64().unwrap();
    assert!((cores * 15.0 - 20.0).abs() < 1e-6, "{cores}");
}

#[test]
fn what_flowed_before_a_pod_was_known_comes_with_its_first_message() {
    let known = catalog(vec![Pod { phase: Phase::Pending, ..pod(1, "web") }], &[], &[]);
    let account = account(vec![used(1, 1)]);
    for (unknown, expected) in [(UnknownPodPolicy::Wait, 200), (UnknownPodPolicy::Skip, 100)] {
        let options = options(unknown);
        let mut totals = RunningTotals::default();
        let nobody = Catalog::default();
        assert!(sent(&view(&account, &nobody), &mut totals, &options).is_empty());
        let rx_bytes = |messages: &[Value]| {
            messages[0]["resources"][0]["metrics"]["network"]["rx_bytes"].clone()
        };
        let first = sent(&view(&account, &known), &mut totals, &options);
        assert_eq!(rx_bytes(&first), expected);
        let second = sent(&view(&account, &known), &mut totals, &options);
        assert_eq!(rx_bytes(&second), 100);
        let total = sent(
            &view(&account, &known),
            &mut totals,
            &EncodeOptions { cumulative: true, ..options },
        );
        assert_eq!(rx_bytes(&total), 400);
    }
}

#[test]
fn two_pods_of_one_name_are_two_resources() {
    let catalog = catalog(vec![pod(1, "db-0"), pod(2, "db-0")], &[], &[]);
    let account = account(vec![used(1, 1), used(2, 2)]);
    let all = resources(&view(&account, &catalog), UnknownPodPolicy::Wait);
    let rx_bytes = |at: usize| all[at]["metrics"]["network"]["rx_bytes"].as_u64().unwrap();
    assert_eq!((all.len(), rx_bytes(0), rx_bytes(1)), (2, 100, 200));
}

#[test]
fn the_node_is_sent_with_what_it_has_and_uses() {
    let catalog = with_node(node_of_eks());
    let mut account = account(Vec::new());
    account.wall = WallTime::from_unix_millis(1_740_304_800_000);
    account.node.cpus = 2;
    let busy = CpuTime::from_usec(7_500_000);
    account.node.cpu = Some(NodeCpu { busy, over_usec: 15_000_000, ..NodeCpu::default() });
    account.node.memory = Some(MemInfo {
        total: Some(Bytes::from_bytes(4000)),
        free: Some(Bytes::from_bytes(1000)),
        inactive_file: Some(Bytes::ZERO),
        ..MemInfo::default()
    });
    account.node.network = Some(NetworkUsage {
        rx: Bytes::from_bytes(10),
        tx: Bytes::from_bytes(20),
        rx_errors: 1,
        tx_errors: 2,
        ..NetworkUsage::default()
    });
    let node_filesystem = Some(NodeFilesystem {
        usage_bytes: 1,
        capacity_bytes: 2,
        available_bytes: 3,
        inodes_used: 4,
        inodes_free: 5,
    });
    let view = Observation { node_filesystem, ..view(&account, &catalog) };
    let allowed = ["a.example/*".into()];
    let options =
        EncodeOptions { annotations: allowed.to_vec(), ..options(UnknownPodPolicy::Wait) };
    let entities = RunningTotals::default().add(&view);
    let read = |message: Message| -> Value { serde_json::from_slice(&message.body).unwrap() };
    let message = nodes(&view, &entities, &options);
    assert_eq!(message.path, "/api/v1/metrics/nodes");
    let message = read(message);
    assert_eq!(message["collected_at"], "2025-02-23T10:00:00Z");
    let mut resource = message["resources"][0].clone();
    assert_eq!(resource["metadata"]["labels"]["kubernetes.io/hostname"], "node-1");
    resource["metadata"]["labels"] = json!({});
    let expected = json!({
        "name": "node-1", "uid": "n-uid",
        "status": {
            "conditions": [], "addresses": [],
            "capacity": {
                "cpu": "2", "memory": "4194304Ki", "pods": "110", "ephemeral-storage": "20.5e9",
            },
            "allocatable": {
                "cpu": "1930m", "memory": "4194304Ki", "pods": "110",
                "ephemeral-storage": "20.5e9",
            },
        },
        "metadata": {"labels": {}, "annotations": {"a.example/x": "1"}, "creation_timestamp": ""},
        "metrics": {
            "cpu": {"usage": 0.5, "capacity": 2.0, "allocatable": 1.93},
            "memory": {
                "usage_bytes": 3000, "capacity_bytes": 4_294_967_296_u64,
                "allocatable_bytes": 4_294_967_296_u64,
            },
            "network": {"rx_bytes": 10, "tx_bytes": 20, "rx_errors": 1, "tx_errors": 2},
            "filesystem": {
                "usage_bytes": 1, "capacity_bytes": 2, "available_bytes": 3, "inodes_used": 4,
                "inodes_free": 5,
            },
        },
    });
    assert_eq!(resource, expected);

    let unknown = Catalog::default();
    let view = Observation { catalog: &unknown, ..view };
    let entities = RunningTotals::default().add(&view);
    let resource = read(nodes(&view, &entities, &options))["resources"][0].clone();
    assert_eq!((&resource["name"], &resource["uid"]), (&json!("node-1"), &json!("")));
    let of_host = json!({"cpu": "2", "memory": "4000", "pods": "0", "ephemeral-storage": "2"});
    assert_eq!(resource["status"]["capacity"], of_host);
    assert_eq!(resource["status"]["allocatable"], of_host);
    let metrics = &resource["metrics"];
    assert_eq!(metrics["cpu"], json!({"usage": 0.5, "capacity": 2.0, "allocatable": 2.0}));
    assert_eq!(
        metrics["memory"],
        json!({"usage_bytes": 3000, "capacity_bytes": 4000, "allocatable_bytes": 4000})
    );
}

/// The node's resource of the messages of one interval of 15 s that ends at `seconds`, in which the
/// node used 3 s of CPU and received 10 bytes; `None`: no message has one.
fn node_at(
    totals: &mut RunningTotals,
    seconds: u64,
    catalog: &Catalog,
    options: &EncodeOptions,
) -> Option<Value> {
    let mut account = account(Vec::new());
    let at = |seconds: u64| BootTime::from_nanos(seconds * 1_000_000_000);
    (account.since, account.until) = (Some(at(seconds - 15)), at(seconds));
    account.node.cpus = 2;
    let busy = CpuTime::from_usec(3_000_000);
    account.node.cpu = Some(NodeCpu { busy, over_usec: 15_000_000, ..NodeCpu::default() });
    account.node.network =
        Some(NetworkUsage { rx: Bytes::from_bytes(10), rx_errors: 1, ..NetworkUsage::default() });
    let view = view(&account, catalog);
    let entities = totals.add(&view);
    let all = encode(&view, &entities, options);
    let node = all.into_iter().find(|message| message.path == NODES_PATH)?;
    let node: Value = serde_json::from_slice(&node.body).unwrap();
    Some(node["resources"][0].clone())
}

#[test]
fn a_node_that_is_expected_waits_and_comes_with_what_it_used_meanwhile() {
    let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes]);
    let known = with_node(node_of_eks());
    let flows = |node: &Value| {
        let metrics = &node["metrics"];
        let network = &metrics["network"];
        (metrics["cpu"]["usage"].clone(), network["rx_bytes"].clone(), network["rx_errors"].clone())
    };
    for cumulative in [false, true] {
        let options = EncodeOptions { cumulative, ..options(UnknownPodPolicy::Wait) };
        let mut totals = RunningTotals::default();
        let unanswered = directory.catalog();
        for seconds in [15, 30] {
            assert_eq!(node_at(&mut totals, seconds, &unanswered, &options), None);
        }
        let first = node_at(&mut totals, 45, &known, &options).unwrap();
        assert_eq!((&first["uid"], &first["name"]), (&json!("n-uid"), &json!("node-1")));
        // Three intervals of 3 s each, over 15 s.
        assert_eq!(flows(&first), (json!(0.6), json!(30), json!(3)));
        let second = node_at(&mut totals, 60, &known, &options).unwrap();
        let rx_bytes = if cumulative { 40 } else { 10 };
        assert_eq!(flows(&second), (json!(0.2), json!(rx_bytes), json!(1)));
    }

    // The wait has an end, also where the API server never answers.
    let options = options(UnknownPodPolicy::Wait);
    let mut totals = RunningTotals::default();
    let mut sent = (1..12)
        .map(|n| (n * 15, directory.catalog()))
        .map(|(seconds, catalog)| (seconds, node_at(&mut totals, seconds, &catalog, &options)));
    let (seconds, first) = sent.find_map(|(at, node)| Some((at, node?))).unwrap();
    assert_eq!(seconds, 135, "two minutes after the first interval");
    assert_eq!(first["status"]["capacity"]["cpu"], "2");
    // 9 × 3 s over 15 s.
    assert_eq!(flows(&first), (json!(1.8), json!(90), json!(9)));

    // Nobody waits for a node that no source has: a host without the API server, or one whose
    // server refuses the Node object.
    let (without, _publishers) = Directory::new(&[SourceKind::Kubelet, SourceKind::File]);
    publishers[0].lacks_node();
    for catalog in [without.catalog(), Arc::default(), directory.catalog()] {
        let first = node_at(&mut RunningTotals::default(), 15, &catalog, &options).unwrap();
        assert_eq!((&first["name"], &first["uid"]), (&json!("node-1"), &json!("")));
        assert_eq!(first["status"]["capacity"]["cpu"], "2");
        assert_eq!(flows(&first), (json!(0.2), json!(10), json!(1)));
    }
}

/// Every key of `shape` is in `value`, and what it holds is of the same type.
fn check_shape(value: &Value, shape: &Value, at: &str) {
    match (value, shape) {
        (Value::Object(found), Value::Object(wanted)) => {
            for (key, shape) in wanted {
                let at = format!("{at}.{key}");
                let value = found.get(key).unwrap_or_else(|| panic!("{at} is missing"));
                check_shape(value, shape, &at);
            }
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.iter().for_each(|value| check_shape(value, &wanted[0], at));
        }
        (Value::Number(found), Value::Number(wanted)) => {
            assert_eq!(found.is_f64(), wanted.is_f64(), "{at}: {found}");
        }
        (found, wanted) => {
            let same = std::mem::discriminant(found) == std::mem::discriminant(wanted);
            assert!(same, "{at}: {found}");
        }
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(all) => all.iter().any(has_null),
        Value::Object(all) => all.values().any(has_null),
        _ => false,
    }
}

fn shape() -> Value {
    json!({
        "cluster_id": "", "collected_at": "",
        "context": {
            "name": "", "kubernetes_version": "", "provider": {"name": "", "region": ""},
            "labels": {}, "node_groups": [],
        },
        "resources": [{
            "namespace": "", "name": "", "uid": "",
            "status": {
                "phase": "",
                "conditions": [{
                    "type": "", "status": "", "reason": "", "message": "",
                    "last_transition_time": "",
                }],
                "container_statuses": [{
                    "name": "", "ready": true, "restarts": 0, "state": {}, "last_state": {},
                }],
            },
            "spec": {"node_name": "", "priority_class": "", "service_account": ""},
            "metadata": {
                "labels": {}, "annotations": {}, "creation_timestamp": "",
                "owner_references": [{"kind": "", "name": "", "uid": ""}],
            },
            "metrics": {
                "cpu": {"usage": 0.0, "requests": 0.0, "limits": 0.0},
                "memory": {"usage_bytes": 0, "requests_bytes": 0, "limits_bytes": 0},
                "network": {"rx_bytes": 0, "tx_bytes": 0},
                "filesystem": {"usage_bytes": 0, "capacity_bytes": 0},
            },
        }],
    })
}

fn whole_batch(account: &Account, catalog: &Catalog, resources_max: usize) -> Vec<Message> {
    let options = EncodeOptions { resources_max, ..options(by_uid()) };
    let view = view(account, catalog);
    let entities = RunningTotals::default().add(&view);
    pods(&view, &entities, &options)
}

fn resources_of(body: &[u8]) -> Vec<Value> {
    let message: Value = serde_json::from_slice(body).unwrap();
    message["resources"].as_array().unwrap().clone()
}

proptest! {
    #[test]
    fn no_message_holds_a_null_or_lacks_a_key_and_every_named_pod_is_in_one(
        account in any_account(),
        catalog in any_catalog(),
        resources_max in 0..4_usize,
    ) {
        let messages = whole_batch(&account, &catalog, resources_max);
        let mut uids = Vec::new();
        for message in &messages {
            let message: Value = serde_json::from_slice(&message.body).unwrap();
            prop_assert!(!has_null(&message));
            check_shape(&message, &shape(), "");
            let resources = message["resources"].as_array().unwrap();
            prop_assert!((1..=resources_max.max(1)).contains(&resources.len()));
            uids.extend(resources.iter().map(|r| r["uid"].as_str().unwrap().to_owned()));
        }
        for pod in catalog.pods() {
            let of_pod = uids.iter().filter(|uid| **uid == *pod.api_uid);
            let is_named = !pod.namespace.is_empty() && !pod.name.is_empty();
            prop_assert_eq!(of_pod.count(), usize::from(is_named));
        }
    }

    #[test]
    fn halves_are_messages_with_all_resources_between_them(
        account in any_account(),
        catalog in any_catalog(),
    ) {
        for message in whole_batch(&account, &catalog, RESOURCES_MAX) {
            let whole = resources_of(&message.body);
            let Some((first, second)) = split(&message.body) else {
                prop_assert!(whole.len() < 2);
                continue;
            };
            let (one, other) = (resources_of(&first), resources_of(&second));
            prop_assert!(one.len().abs_diff(other.len()) <= 1);
            prop_assert_eq!([one, other].concat(), whole);
            let envelope = |body: &[u8]| {
                let mut message: Value = serde_json::from_slice(body).unwrap();
                message["resources"] = json!([]);
                message
            };
            prop_assert_eq!(envelope(&first), envelope(&message.body));
            prop_assert_eq!(envelope(&second), envelope(&message.body));
        }
    }

    #[test]
    fn what_is_no_message_is_not_split(body in any::<Vec<u8>>()) {
        prop_assert_eq!(split(&body), None);
    }
}
