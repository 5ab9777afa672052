//! The payloads of each dialect for a real node: a captured host, sampled and settled as the agent
//! does it, with the pods and the node from its API server. They are compared with golden files
//! and, key by key, with the shapes in the APIs' documents.

#![allow(clippy::disallowed_methods, reason = "it reads fixtures, no host")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fixture that cannot be read fails the test"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nodetally::directory::objects::{self, ObjectLimits};
use nodetally::directory::{Catalog, Directory, SourceKind};
use nodetally::disk_usage::usage::{NodeFilesystem, PodFilesystem};
use nodetally::identity::PodUid;
use nodetally::ledger::{Account, Ledger};
use nodetally::payload::entities::Observation;
use nodetally::payload::options::{ClusterContext, EncodeOptions, Message, PodFilter};
use nodetally::payload::pod_lifecycle::{self, Lifecycle, PodChange};
use nodetally::payload::running_totals::RunningTotals;
use nodetally::payload::{pod_batch, resource_api};
use nodetally::quantity::{BootTime, WallTime};
use nodetally::runtime::capture;
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};
use serde_json::{Value, json};

const HOST: &str = "7.2-containerd-systemd";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The account between the host's two instants.
fn account() -> Account {
    let instants = capture::load(&fixtures().join("hosts").join(HOST)).unwrap();
    let mut ledger = Ledger::new(instants[0].units);
    let mut account = Account::default();
    for roots in instants {
        let captured = roots.captured.clone().unwrap();
        let mut sampler = Sampler::open(roots, SamplerOptions::default()).unwrap();
        ledger.settle(sampler.sample(&|| captured.at, captured.wall), &mut account);
    }
    account
}

/// The catalog from the same node's API server, some seconds later.
fn catalog() -> Arc<Catalog> {
    catalog_of(["recorded/joined-systemd/pods-of-node.json", "recorded/joined-systemd/node.json"])
}

fn catalog_of([pods, node]: [&str; 2]) -> Arc<Catalog> {
    let read = |name: &str| std::fs::read(fixtures().join("kubernetes").join(name)).unwrap();
    let limits = ObjectLimits { annotation_bytes_max: 1024 };
    let page = objects::pods_of_list(&read(pods), &limits).unwrap();
    assert_eq!(page.unreadable, 0);
    let (directory, told) = Directory::new(&[SourceKind::Kubernetes]);
    told[0].replace_pods(page.pods, BootTime::default());
    told[0].set_node(objects::node(&read(node), &limits).unwrap());
    told[0].set_server_version("v1.20.2");
    directory.catalog()
}

struct Node {
    account: Account,
    catalog: Arc<Catalog>,
    filesystems: BTreeMap<PodUid, PodFilesystem>,
}

impl Node {
    fn load() -> Self {
        let exact = PodUid::parse(b"e3d5296e-b697-4cba-af3c-352149101fda").unwrap();
        let figure = PodFilesystem {
            usage_bytes: 8192,
            capacity_bytes: Some(1 << 30),
            available_bytes: None,
            inodes: None,
            age_millis: 42_000,
            incomplete: false,
        };
        let filesystems = BTreeMap::from([(exact, figure)]);
        Self { account: account(), catalog: catalog(), filesystems }
    }

    fn view(&self) -> Observation<'_> {
        let node_filesystem = NodeFilesystem {
            usage_bytes: 3 << 30,
            capacity_bytes: 8 << 30,
            available_bytes: 4 << 30,
            inodes_used: 1000,
            inodes_free: 9000,
        };
        Observation {
            account: &self.account,
            catalog: &self.catalog,
            filesystems: &self.filesystems,
            node_filesystem: Some(node_filesystem),
            metrics: None,
        }
    }
}

fn body(message: &Message) -> Value {
    serde_json::from_slice(&message.body).unwrap()
}

/// Path and body of every post of the resource API.
fn resource_api_posts(node: &Node, extras: bool) -> BTreeMap<String, Value> {
    let view = node.view();
    let entities = RunningTotals::default().add(&view);
    let messages = resource_api::encode(&view, &entities, &EncodeOptions { extras, ..options() });
    messages.iter().map(|message| (message.path.clone(), body(message))).collect()
}

fn cluster() -> ClusterContext {
    ClusterContext { cluster_id: "lab".into(), name: "lab".into(), ..ClusterContext::default() }
}

fn options() -> EncodeOptions {
    EncodeOptions { cluster: cluster(), ..EncodeOptions::new("worker-1") }
}

fn pods_message(node: &Node) -> Value {
    let view = node.view();
    let entities = RunningTotals::default().add(&view);
    let messages = pod_batch::pods(&view, &entities, &options());
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].path, "/api/v1/metrics/pods");
    body(&messages[0])
}

fn nodes_message(node: &Node) -> Value {
    let view = node.view();
    let entities = RunningTotals::default().add(&view);
    body(&pod_batch::nodes(&view, &entities, &options()))
}

fn specifications(node: &Node) -> BTreeMap<String, Value> {
    let acts = Lifecycle::default().changes(&node.catalog, &PodFilter::default());
    let stamp = WallTime::from_unix_millis(1_778_581_934_123);
    let specifications = acts.into_iter().map(|act| {
        let PodChange::Upsert(pod) = act else { panic!("{act:?}") };
        let body = pod_lifecycle::spec_body(&pod, "worker-1", stamp);
        (pod.name.to_string(), serde_json::from_slice(&body).unwrap())
    });
    specifications.collect()
}

/// One line of the host's truth.tsv.
fn truth(pod: &str) -> Vec<String> {
    let table = std::fs::read_to_string(fixtures().join("hosts").join(HOST).join("truth.tsv"));
    let table = table.unwrap();
    let row = table.lines().find(|line| line.starts_with(&format!("pod\t{pod}")));
    let row = row.unwrap_or_else(|| panic!("no {pod} in truth.tsv"));
    row.split('\t').map(str::to_owned).collect()
}

/// Every key of `shape` is there, and what it holds has the same type: a whole number where the
/// document has one, a fraction where it has one. Keys beyond it are allowed.
fn check(value: &Value, shape: &Value, at: &str) {
    match (value, shape) {
        (Value::Object(found), Value::Object(wanted)) => {
            for (key, shape) in wanted {
                let at = format!("{at}.{key}");
                let value = found.get(key).unwrap_or_else(|| panic!("{at} is missing"));
                check(value, shape, &at);
            }
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.iter().for_each(|value| check(value, &wanted[0], at));
        }
        (Value::Number(found), Value::Number(wanted)) => {
            assert_eq!(found.is_f64(), wanted.is_f64(), "{at}: {found}");
        }
        (found, wanted) => {
            let same = std::mem::discriminant(found) == std::mem::discriminant(wanted);
            assert!(same && !found.is_null(), "{at}: {found}");
        }
    }
}

fn check_no_null(value: &Value, at: &str) {
    match value {
        Value::Null => panic!("{at} holds a null"),
        Value::Array(all) => all.iter().for_each(|value| check_no_null(value, at)),
        Value::Object(all) => {
            all.iter().for_each(|(key, value)| check_no_null(value, &format!("{at}.{key}")));
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `cargo insta review`, or INSTA_UPDATE=always, takes new output over.
#[test]
fn the_posts_of_the_resource_api_are_as_they_were_looked_at() {
    insta::assert_json_snapshot!("resource-api", resource_api_posts(&Node::load(), true));
}

#[test]
fn the_posts_of_the_resource_api_have_the_documents_keys() {
    let usage = json!({
        "cpu_millicores": 0, "memory_bytes": 0,
        "disk_io": {"read_bytes": 0, "write_bytes": 0},
        "network_io": {"bytes_sent": 0, "bytes_recv": 0},
    });
    let mut of_pod = usage.clone();
    of_pod["node_name"] = json!("");
    for extras in [true, false] {
        let all = resource_api_posts(&Node::load(), extras);
        let paths: Vec<&str> = all.keys().map(String::as_str).collect();
        let expected = [
            "/api/namespaces/kube-system/pods/edge-worker-1/metrics",
            "/api/namespaces/kube-system/pods/node-helper-wtjt2/metrics",
            "/api/namespaces/shop/pods/exact/metrics",
            "/api/namespaces/shop/pods/web-6877cbddcc-hx6s4/metrics",
            "/api/namespaces/shop/pods/web-6877cbddcc-lm9mb/metrics",
            "/api/namespaces/shop/pods/web-6877cbddcc-ztv9k/metrics",
            "/api/nodes/worker-1/metrics",
        ];
        assert_eq!(paths, expected);
        for (path, body) in &all {
            let shape = if path.starts_with("/api/nodes/") { &usage } else { &of_pod };
            check(body, shape, path);
            check_no_null(body, path);
            if !extras {
                let keys = |value: &Value| -> Vec<String> {
                    value.as_object().unwrap().keys().cloned().collect()
                };
                assert_eq!(keys(body), keys(shape), "{path}");
            }
        }
    }
}

#[test]
fn the_posts_of_the_resource_api_have_the_figures_of_the_truth() {
    let node = Node::load();
    let all = resource_api_posts(&node, true);
    for pod in ["shop/exact", "shop/web-6877cbddcc-lm9mb", "kube-system/edge-worker-1"] {
        let (namespace, name) = pod.split_once('/').unwrap();
        let post = &all[&format!("/api/namespaces/{namespace}/pods/{name}/metrics")];
        let truth = truth(pod);
        let is = |value: &Value, at: usize| assert_eq!(value.to_string(), truth[at], "{pod} {at}");
        is(&post["disk_io"]["read_bytes"], 4);
        is(&post["disk_io"]["write_bytes"], 5);
        is(&post["memory_bytes"], 7);
        let cpu_usec: u64 = truth[3].parse().unwrap();
        let window_millis = post["window_millis"].as_u64().unwrap();
        assert_eq!(window_millis, 15_259);
        // Each cgroup has been read at its own time, within some tenths of a second.
        let expected = cpu_usec * 1_000_000 / window_millis;
        let nanocores = post["cpu_nanocores"].as_u64().unwrap();
        assert!(nanocores.abs_diff(expected) < expected / 20, "{pod}: {nanocores} {expected}");
        assert_eq!(post["cpu_millicores"].as_u64().unwrap(), (nanocores + 500_000) / 1_000_000);
    }
    // The static pod is known by its mirror, and its cgroup by the hash.
    let edge = &all["/api/namespaces/kube-system/pods/edge-worker-1/metrics"];
    assert_eq!(edge["pod_uid"], "72dd719cb36a6d92769b0e001945c7b5");
    let names: Vec<&Value> =
        edge["containers"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["fetch", "proxy"]);
    let web = &all["/api/namespaces/shop/pods/web-6877cbddcc-lm9mb/metrics"];
    assert_eq!(web["deployment_name"], "web");
    assert_eq!(edge.get("workload_kind"), None, "its node is no workload");
    let helper = &all["/api/namespaces/kube-system/pods/node-helper-wtjt2/metrics"];
    assert_eq!(
        (&helper["workload_kind"], helper.get("deployment_name")),
        (&json!("DaemonSet"), None)
    );
}

#[test]
fn the_batch_of_pods_is_as_it_was_looked_at() {
    let mut message = pods_message(&Node::load());
    let shown = ["edge-worker-1", "exact", "sums-6gxwq", "web-6877cbddcc-lm9mb"];
    let resources = message["resources"].as_array_mut().unwrap();
    resources.retain(|resource| shown.contains(&resource["name"].as_str().unwrap()));
    assert_eq!(resources.len(), shown.len());
    insta::assert_json_snapshot!("pod-batch-pods", message);
}

#[test]
fn the_batch_of_nodes_is_as_it_was_looked_at() {
    insta::assert_json_snapshot!("pod-batch-nodes", nodes_message(&Node::load()));
}

/// As the document has it, with the states that a container can be in.
fn envelope(resource: &Value) -> Value {
    json!({
        "cluster_id": "",
        "context": {
            "name": "", "kubernetes_version": "", "provider": {"name": "", "region": ""},
            "labels": {}, "node_groups": [],
        },
        "collected_at": "",
        "resources": [resource],
    })
}

fn conditions() -> Value {
    json!([{"type": "", "status": "", "reason": "", "message": "", "last_transition_time": ""}])
}

#[test]
fn the_batch_of_pods_has_the_documents_keys() {
    let shape = envelope(&json!({
        "namespace": "", "name": "", "uid": "",
        "status": {
            "phase": "",
            "conditions": conditions(),
            "container_statuses": [{
                "name": "", "ready": true, "restarts": 0, "state": {}, "last_state": {},
            }],
        },
        "spec": {"node_name": "", "priority_class": "", "service_account": ""},
        "metadata": {
            "labels": {}, "annotations": {},
            "owner_references": [{"kind": "", "name": "", "uid": ""}],
            "creation_timestamp": "",
        },
        "metrics": {
            "cpu": {"usage": 0.0, "requests": 0.0, "limits": 0.0},
            "memory": {"usage_bytes": 0, "requests_bytes": 0, "limits_bytes": 0},
            "network": {"rx_bytes": 0, "tx_bytes": 0},
            "filesystem": {"usage_bytes": 0, "capacity_bytes": 0},
        },
    }));
    let states = json!({
        "running": {"started_at": ""},
        "waiting": {"reason": ""},
        "terminated": {"exit_code": 0, "reason": "", "started_at": "", "finished_at": ""},
    });
    let catalog = catalog_of(["by-hand/pods-1.37.json", "by-hand/node-1.37.json"]);
    let newer = pods_message(&Node { catalog, ..Node::load() });
    assert!(!newer["resources"].as_array().unwrap().is_empty());
    check(&newer, &shape, "");
    check_no_null(&newer, "");

    let message = pods_message(&Node::load());
    check(&message, &shape, "");
    check_no_null(&message, "");
    assert_eq!(message["collected_at"], "2026-11-20T17:28:17Z");
    let resources = message["resources"].as_array().unwrap();
    assert_eq!(resources.len(), 25);
    let mut seen = 0;
    for resource in resources {
        assert_eq!(resource["status"]["conditions"].as_array().unwrap().len(), 4);
        let statuses = resource["status"]["container_statuses"].as_array().unwrap();
        assert!(!statuses.is_empty());
        for status in statuses {
            for key in ["state", "last_state"] {
                for (state, value) in status[key].as_object().unwrap() {
                    check(value, &states[state.as_str()], state);
                    seen += 1;
                }
            }
        }
    }
    assert!(seen >= resources.len());
}

#[test]
fn the_batch_of_nodes_has_the_documents_keys() {
    let amounts = json!({"cpu": "", "memory": "", "pods": "", "ephemeral-storage": ""});
    let shape = envelope(&json!({
        "name": "", "uid": "",
        "status": {
            "conditions": conditions(),
            "addresses": [{"type": "", "address": ""}],
            "capacity": amounts, "allocatable": amounts,
        },
        "metadata": {"labels": {}, "annotations": {}, "creation_timestamp": ""},
        "metrics": {
            "cpu": {"usage": 0.0, "capacity": 0.0, "allocatable": 0.0},
            "memory": {"usage_bytes": 0, "capacity_bytes": 0, "allocatable_bytes": 0},
            "network": {"rx_bytes": 0, "tx_bytes": 0, "rx_errors": 0, "tx_errors": 0},
            "filesystem": {
                "usage_bytes": 0, "capacity_bytes": 0, "available_bytes": 0, "inodes_used": 0,
                "inodes_free": 0,
            },
        },
    }));
    let message = nodes_message(&Node::load());
    check(&message, &shape, "");
    check_no_null(&message, "");
    let metrics = &message["resources"][0]["metrics"];
    assert_eq!(metrics["cpu"]["capacity"], 1.0);
    assert_eq!(metrics["cpu"]["allocatable"], 0.9);
    assert_eq!(metrics["memory"]["capacity_bytes"], 6_170_336_u64 * 1024);
}

#[test]
fn the_specifications_are_as_they_were_looked_at() {
    let mut all = specifications(&Node::load());
    let shown = ["edge-worker-1", "exact", "node-helper-wtjt2", "web-6877cbddcc-lm9mb"];
    all.retain(|name, _| shown.contains(&name.as_str()));
    assert_eq!(all.len(), shown.len());
    insta::assert_json_snapshot!("pod-lifecycle", all);
}

#[test]
fn the_specifications_have_the_documents_keys_and_are_those_of_pods_that_live() {
    let required =
        json!({"pod_name": "", "pod_ip": "", "node_name": "", "is_dead": true, "time_stamp": ""});
    let mut whole = required.clone();
    whole["pod_namespace"] = json!("");
    whole["pod_identity"] = json!("");
    whole["workload_selector_labels"] = json!({});
    whole["pod_obj"] = json!({"metadata": {}, "spec": {}, "status": {}});
    let all = specifications(&Node::load());
    // Eighteen jobs are over.
    assert_eq!(all.len(), 7);
    for (name, body) in &all {
        check_no_null(body, name);
        // `exact` has neither labels nor owners.
        check(body, if name == "exact" { &required } else { &whole }, name);
        assert_eq!(body["is_dead"], false);
        assert_eq!(body["time_stamp"], "2026-05-12T10:32:14.123000");
    }
    assert_eq!(all["edge-worker-1"]["pod_identity"], "edge");
    assert_eq!(all["edge-worker-1"]["workload_selector_labels"], json!({"k8s-app": "edge"}));
    let web = &all["web-6877cbddcc-lm9mb"];
    assert_eq!(web["pod_identity"], "web");
    assert_eq!(web["workload_selector_labels"], json!({"app": "web"}));
}
