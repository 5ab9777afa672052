//! Round trips: the decoders read the output of the encoders.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::dump;
use super::metrics_k8s_io;
use super::options::{EncodeOptions, UnknownPodPolicy};
use super::pod_batch::{self, decode_nodes, decode_pods};
use super::pod_lifecycle::{decode_mark_dead, decode_spec, mark_dead_body, spec_body};
use super::resource_api::{
    self, ContainerExtra, NodeExtras, PodExtras, UsageValues, decode_node, decode_pod,
};
use super::running_totals::RunningTotals;
use super::samples::*;
use crate::attribution::QosClass;
use crate::directory::pod::{Phase, Pod};
use crate::ledger::account::PodUsage;
use crate::quantity::WallTime;
use crate::snapshot::gaps::Gaps;

/// Names that the API server gives nobody, and a receiver has no place for.
fn is_nameless(resource: &Value) -> bool {
    resource["name"] == "" || resource["namespace"] == ""
}

#[test]
fn every_extra_of_the_resource_api_is_read_and_written_again_as_it_was() {
    let labels = labels(&[("app", "web")]);
    let extras = PodExtras {
        uid: Some(uid(1)),
        qos: Some(QosClass::Burstable),
        deployment_name: Some("web"),
        workload_kind: Some("Deployment"),
        workload_name: Some("web"),
        labels: Some(&labels),
        window_millis: 15_012,
        cpu_nanocores: 300_123_456,
        containers: vec![ContainerExtra { name: "app", cpu_nanocores: 5, memory_bytes: 6 }],
    };
    let mut body = Vec::new();
    resource_api::encode_pod(&UsageValues::default(), "n", Some(&extras), &mut body);
    let read = decode_pod(&body).unwrap().extras;
    assert_eq!(serde_json::json!(read), serde_json::json!(extras));

    let extras = NodeExtras { window_millis: 15_012, cpu_nanocores: 7, labels: Some(&labels) };
    body.clear();
    resource_api::encode_node(&UsageValues::default(), Some(&extras), &mut body);
    let read = decode_node(&body).unwrap().extras;
    assert_eq!(serde_json::json!(read), serde_json::json!(extras));
}

/// One pod of a test: the usage of each interval of its life, and the first interval in which the
/// directory knows it.
#[derive(Debug, Clone)]
struct Life {
    used: Vec<(u64, Phase)>,
    known_from: usize,
}

const INTERVALS: usize = 12;

impl Life {
    fn usage(&self, number: u32, interval: usize) -> Option<PodUsage> {
        let (figure, _) = self.used.get(interval)?;
        let exited = interval + 1 == self.used.len();
        Some(PodUsage { exited, ..used(number, *figure) })
    }

    fn pod(&self, number: u32, interval: usize) -> Option<Pod> {
        let phase = self.used.get(interval).map_or(Phase::Succeeded, |(_, phase)| *phase);
        let name = format!("p{number}");
        (interval >= self.known_from).then(|| Pod { phase, ..pod(number, &name) })
    }
}

fn life() -> impl Strategy<Value = Life> {
    let phases = [Phase::Pending, Phase::Running, Phase::Unknown, Phase::Failed];
    let interval = (0..1000_u64, prop::sample::select(phases.to_vec()));
    (prop::collection::vec(interval, 1..8), 0..INTERVALS - 1)
        .prop_map(|(used, known_from)| Life { used, known_from })
}

proptest! {
    /// Pods start, end and become known in any order: both APIs get all that they used, and nothing
    /// follows the last post of one that ended.
    #[test]
    fn all_that_pods_used_is_posted_whenever_they_end_and_become_known(
        lives in prop::collection::vec(life(), 1..5),
    ) {
        let options = EncodeOptions { extras: true, ..EncodeOptions::new("node-1") };
        let mut totals = RunningTotals::default();
        let lives: Vec<(u32, Life)> = (0..).zip(lives).collect();
        let mut posted: BTreeMap<String, [u64; 2]> = BTreeMap::new();
        let mut in_batch: BTreeMap<String, [u64; 2]> = BTreeMap::new();
        for interval in 0..INTERVALS {
            let usage = lives.iter().filter_map(|(number, life)| life.usage(*number, interval));
            let account = account(usage.collect());
            let pods = lives.iter().filter_map(|(number, life)| life.pod(*number, interval));
            let catalog = catalog(pods.collect(), &[], &[]);
            let view = view(&account, &catalog);
            let entities = totals.add(&view);
            for message in resource_api::encode(&view, &entities, &options) {
                let Some(name) = message.path.split('/').nth(5) else { continue };
                let (_, life) = lives.iter().find(|(number, _)| format!("p{number}") == name).unwrap();
                prop_assert!(interval <= life.known_from.max(life.used.len() - 1), "{}", name);
                let body: Value = serde_json::from_slice(&message.body).unwrap();
                let sum = posted.entry(name.to_owned()).or_default();
                sum[0] += body["cpu_nanocores"].as_u64().unwrap() / 1_000_000;
                sum[1] += body["network_io"]["bytes_recv"].as_u64().unwrap() / 100;
            }
            for message in pod_batch::pods(&view, &entities, &options) {
                let body: Value = serde_json::from_slice(&message.body).unwrap();
                for pod in body["resources"].as_array().unwrap() {
                    let metrics = &pod["metrics"];
                    let sum = in_batch.entry(pod["name"].as_str().unwrap().to_owned()).or_default();
                    sum[0] += (metrics["cpu"]["usage"].as_f64().unwrap() * 1000.0).round() as u64;
                    sum[1] += metrics["network"]["rx_bytes"].as_u64().unwrap() / 100;
                }
            }
        }
        for (number, life) in &lives {
            let used: u64 = life.used.iter().map(|(figure, _)| *figure).sum();
            let of = |sums: &BTreeMap<String, [u64; 2]>| {
                sums.get(&format!("p{number}")).copied().unwrap_or_default()
            };
            // `samples::usage` has as many thousandths of a CPU as hundreds of bytes.
            prop_assert_eq!(of(&posted), [used; 2], "resource API: {:?}", life);
            prop_assert_eq!(of(&in_batch), [used; 2], "pod batch: {:?}", life);
        }
    }
}

proptest! {
    #[test]
    fn every_batch_is_read(account in any_account(), catalog in any_catalog()) {
        let view = view(&account, &catalog);
        let entities = RunningTotals::default().add(&view);
        let options = EncodeOptions {
            unknown_pods: UnknownPodPolicy::Uid { namespace: "unknown".into() },
            annotations: vec!["*".into()],
            resources_max: 2,
            ..EncodeOptions::new("node-1")
        };
        for message in pod_batch::pods(&view, &entities, &options) {
            let sent: Value = serde_json::from_slice(&message.body).unwrap();
            let sent = sent["resources"].as_array().unwrap();
            let read = decode_pods(&message.body);
            if sent.iter().any(is_nameless) {
                prop_assert!(read.unwrap_err().to_string().contains("is an empty name"));
                continue;
            }
            let read = read.unwrap().resources;
            let read: Vec<Value> =
                read.iter().map(|pod| serde_json::from_str(&pod.json).unwrap()).collect();
            prop_assert_eq!(&read, sent);
        }
        let message = pod_batch::nodes(&view, &entities, &options);
        prop_assert_eq!(decode_nodes(&message.body).unwrap().resources.len(), 1);
    }

    #[test]
    fn every_specification_is_read(
        pod in any_pod(),
        millis in 0_u64..1 << 47,
        has_ip in any::<bool>(),
    ) {
        let body = spec_body(&pod, "node-1", WallTime::from_unix_millis(millis));
        let read = decode_spec(&body).unwrap();
        prop_assert_eq!(&*read.row.pod_name, &*pod.name);
        let sent: BTreeMap<String, Value> = serde_json::from_slice(&body).unwrap();
        let object: Value = serde_json::from_str(&read.pod_obj.unwrap()).unwrap();
        prop_assert_eq!(&object, &sent["pod_obj"]);
        let ip = has_ip.then_some("10.0.0.1");
        let read = decode_mark_dead(&mark_dead_body(&pod.name, ip)).unwrap();
        prop_assert_eq!(read.pod_ip.as_deref(), ip);
    }

    /// The rules are the ledger's: two endpoints of one agent list the same pods and containers
    /// with the same CPU and memory, whatever dialect each speaks, and `dump` shows the same.
    #[test]
    fn all_dialects_agree_about_who_runs_and_what_it_uses(
        account in any_account(),
        catalog in any_catalog(),
    ) {
        let view = view(&account, &catalog);
        let entities = RunningTotals::default().add(&view);
        let options = EncodeOptions {
            unknown_pods: UnknownPodPolicy::Uid { namespace: "unknown".into() },
            extras: true,
            resources_max: 100,
            ..EncodeOptions::new("node-1")
        };
        let mut posted: BTreeMap<String, Value> = BTreeMap::new();
        for message in resource_api::encode(&view, &entities, &options) {
            let body: Value = serde_json::from_slice(&message.body).unwrap();
            posted.insert(message.path, body);
        }
        let path_of = |namespace: &Value, name: &Value| {
            let (namespace, name) = (namespace.as_str().unwrap(), name.as_str().unwrap());
            resource_api::pod_metrics_path(namespace, name).ok()
        };

        let wall = WallTime::from_unix_millis(0);
        let (_, list) = metrics_k8s_io::of_account(&account, &catalog, "node-1", wall);
        let list = json!(list);
        let mut listed: BTreeMap<String, Value> = BTreeMap::new();
        for pod in list["items"].as_array().unwrap() {
            let metadata = &pod["metadata"];
            let Some(path) = path_of(&metadata["namespace"], &metadata["name"]) else { continue };
            let twice = listed.insert(path, pod["containers"].clone());
            prop_assert!(twice.is_none());
        }
        let is_unmeasured = |path: &str| {
            let pods = account.pods.iter().filter(|pod| pod.usage.cpu.is_none());
            pods.filter_map(|pod| catalog.pod(pod.uid)).any(|pod| {
                resource_api::pod_metrics_path(&pod.namespace, &pod.name).ok().as_deref() == Some(path)
            })
        };
        for (path, body) in &posted {
            let Some(containers) = body.get("containers") else {
                prop_assert_eq!(listed.get(path), None);
                continue;
            };
            let wanted: Vec<Value> = containers.as_array().unwrap().iter().map(|container| {
                let usage = metrics_k8s_io::ResourceUsage::new(
                    container["cpu_nanocores"].as_u64().unwrap(),
                    container["memory_bytes"].as_u64().unwrap(),
                );
                json!({"name": container["name"], "usage": usage})
            }).collect();
            match listed.remove(path) {
                Some(containers) => prop_assert_eq!(containers, Value::from(wanted)),
                None => prop_assert!(is_unmeasured(path), "{} is not listed", path),
            }
        }
        prop_assert!(listed.is_empty(), "listed and not posted: {:?}", listed.keys());

        // Of those with one name, the one that has it is sent with the amounts of the others.
        let mut in_batch: BTreeMap<String, Vec<(f64, Value)>> = BTreeMap::new();
        for message in pod_batch::pods(&view, &entities, &options) {
            let body: Value = serde_json::from_slice(&message.body).unwrap();
            for pod in body["resources"].as_array().unwrap() {
                let Some(path) = path_of(&pod["namespace"], &pod["name"]) else { continue };
                let metrics = &pod["metrics"];
                let cpu = (metrics["cpu"]["usage"].as_f64().unwrap() * 1e9).round();
                let both = (cpu, metrics["memory"]["usage_bytes"].clone());
                in_batch.entry(path).or_default().push(both);
            }
        }
        for (path, body) in posted.iter().filter(|(path, _)| path.contains("/pods/")) {
            let cpu = body["cpu_nanocores"].as_u64().unwrap() as f64;
            let pods = in_batch.get(path).map(Vec::as_slice).unwrap_or_default();
            let found = pods.iter().any(|(own, memory)| {
                let is_alone = pods.len() == 1;
                *memory == body["memory_bytes"] && (*own == cpu || !is_alone && *own <= cpu)
            });
            prop_assert!(found, "{} {} not in {:?}", path, body, in_batch);
        }

        let printed = dump::Dump {
            host: &dump::HostFacts::default(),
            account: &account,
            catalog: &catalog,
            gaps: &Gaps::default(),
            filesystems: Some(&[]),
            pods: account.pods.iter().collect(),
            container_weight: |_| 0,
            units: Vec::new(),
            processes: Vec::new(),
            exited_children: account.exited_children.iter().collect(),
            rests: Vec::new(),
        };
        let mut document = Vec::new();
        dump::write_json(&printed, &mut document).unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        let all = document["pods"].as_array().unwrap();
        let shared: Vec<&Value> = all.iter().map(|pod| &pod["pod_name"]).filter(|name| {
            all.iter().filter(|pod| pod["pod_name"] == **name).count() > 1
        }).collect();
        for pod in all {
            let is_it = |body: &&Value| body["pod_uid"] == pod["uid"];
            let Some(body) = posted.values().find(is_it).filter(|_| pod["phase"].is_string()) else {
                continue;
            };
            if pod["exited"] == true || shared.contains(&&pod["pod_name"]) {
                continue;
            }
            prop_assert_eq!(pod["cpu_millicores"].as_u64().unwrap_or(0), body["cpu_millicores"].as_u64().unwrap());
            let memory = pod.get("memory_working_set_bytes").unwrap_or(&pod["memory_resident_bytes"]);
            prop_assert_eq!(memory, &body["memory_bytes"]);
            let containers = pod["containers"].as_array().unwrap();
            for posted in body.get("containers").and_then(Value::as_array).into_iter().flatten() {
                let runs = containers.iter().any(|container| {
                    container["container_name"] == posted["name"] && container.get("exited").is_none()
                });
                prop_assert!(runs, "{} in {}", posted, pod);
            }
        }
    }
}
