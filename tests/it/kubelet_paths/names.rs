//! Names, types and labels: those of the recordings, but what is left out with a reason.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nodetally::metrics::sample::MetricSample;
use nodetally::payload::kubelet::{cadvisor, resource, summary::Summary};
use nodetally::payload::open_metrics::TextFormat;
use serde_json::Value;

use super::{FamilyShape, HOSTS, fixtures, left_out, machine, sample, settings, shapes};
use crate::support::skip::skip;

pub fn text(host: &str, path: &str, format: TextFormat) -> String {
    text_of(sample(host), path, format)
}

pub fn text_of(sample: Arc<MetricSample>, path: &str, format: TextFormat) -> String {
    let mut out = Vec::new();
    let mut text = match path {
        "/metrics/resource" => resource::of_sample(sample, format),
        _ => cadvisor::of_sample(sample, &machine(), format),
    };
    // Pieces may end anywhere.
    while text.write(&mut out, 100) {}
    String::from_utf8(out).unwrap()
}

/// The shape of each family that the kubelets answered, by path.
fn recorded() -> BTreeMap<String, BTreeMap<String, FamilyShape>> {
    let table = fs::read_to_string(fixtures().join("kubernetes/kubelet/metrics.tsv")).unwrap();
    let mut recorded: BTreeMap<String, BTreeMap<String, FamilyShape>> = BTreeMap::new();
    for row in table.lines().skip(1) {
        let [path, name, kind, labels, help] =
            row.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let families = recorded.entry(path.to_owned()).or_default();
        let shape = families.entry(name.to_owned()).or_default();
        (shape.kind, shape.help) = (kind.to_owned(), help.to_owned());
        shape.labels.insert(labels.to_owned());
    }
    recorded
}

#[test]
fn families_have_the_kubelets_names_types_labels_and_help() {
    let recorded = recorded();
    assert_eq!(recorded.len(), 2);
    // No capture has every file: one of them lacks pids.max, and all of them the settings.
    let samples = HOSTS.map(sample).into_iter().chain([settings::sample()]);
    let samples: Vec<_> = samples.collect();
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    for sample in &samples {
        for (path, families) in &recorded {
            let own = shapes(&text_of(Arc::clone(sample), path, TextFormat::Prometheus));
            for (name, shape) in families {
                match own.get(name) {
                    Some(own) => assert_eq!(own, shape, "{name}"),
                    None => *missing.entry(name).or_default() += 1,
                }
            }
        }
    }
    missing.retain(|_, hosts| *hosts == samples.len());
    let missing: Vec<&str> = missing.into_keys().collect();
    let left_out: Vec<&str> = left_out::FAMILIES.iter().map(|(name, _)| *name).collect();
    assert_eq!(missing, left_out);
}

#[test]
fn rows_have_the_kubelets_ids_and_one_time() {
    let text = text("7.2-containerd-cgroupfs", "/metrics/cadvisor", TextFormat::Prometheus);
    let pod = "/kubepods/burstable/poda4f84705-bef9-406a-8a69-9550b819cc57";
    let name = "b30454918848ede76dd5122d3508fa1eeaf2cde4ff804905bdf0f196d5cf8dc9";
    let stamp = 1_795_196_029_813_u64;
    // cpu.stat and memory.current of the second instant.
    for row in [
        format!("container_cpu_usage_seconds_total{{container=\"app\",id=\"{pod}/{name}\",image=\"docker.io/library/busybox:1.35\",name=\"{name}\",namespace=\"shop\",pod=\"web-6877cbddcc-j6hdb\",cpu=\"total\"}} "),
        format!("container_cpu_usage_seconds_total{{container=\"\",id=\"{pod}\",image=\"\",name=\"\",namespace=\"shop\",pod=\"web-6877cbddcc-j6hdb\",cpu=\"total\"}} 1.818613 {stamp}\n"),
        format!("container_memory_usage_bytes{{container=\"\",id=\"{pod}\",image=\"\",name=\"\",namespace=\"shop\",pod=\"web-6877cbddcc-j6hdb\"}} 1884160 {stamp}\n"),
        format!("container_network_receive_bytes_total{{container=\"\",id=\"{pod}\",image=\"\",name=\"\",namespace=\"shop\",pod=\"web-6877cbddcc-j6hdb\",interface=\"eth0\"}} 2899996 {stamp}\n"),
        format!("container_fs_writes_bytes_total{{container=\"\",id=\"/\",image=\"\",name=\"\",namespace=\"\",pod=\"\",device=\"/dev/ubda\"}} 14340096 {stamp}\n"),
        format!("container_memory_failures_total{{container=\"\",id=\"/\",image=\"\",name=\"\",namespace=\"\",pod=\"\",failure_type=\"pgmajfault\",scope=\"hierarchy\"}} 631 {stamp}\n"),
        "container_cpu_usage_seconds_total{container=\"\",id=\"/system.slice/kubelet.service\",image=\"\",name=\"\",namespace=\"\",pod=\"\",cpu=\"total\"} ".to_owned(),
        "machine_cpu_cores{boot_id=\"b\",machine_id=\"m\",system_uuid=\"u\"} 1\n".to_owned(),
    ] {
        assert!(text.contains(&row), "{row}");
    }
    // A pod in the host's network does not have the host's traffic.
    let edge =
        "container_network_receive_bytes_total{container=\"\",id=\"/kubepods/burstable/pod576c6dbe";
    let edge = text.lines().find(|line| line.starts_with(edge));
    assert!(edge.is_none_or(|row| !row.contains("eth0")), "{edge:?}");
}

#[test]
fn openmetrics_has_its_own_heads_and_seconds() {
    let text = text("7.2-containerd-systemd", "/metrics/cadvisor", TextFormat::OpenMetrics);
    assert!(text.contains("# TYPE container_cpu_usage_seconds counter\n"));
    assert!(text.contains("# TYPE container_memory_failcnt unknown\n"));
    assert!(!text.contains("_total counter\n"));
    let row = text.lines().find(|line| line.starts_with("container_cpu_usage_seconds_total{"));
    let stamp = row.unwrap().rsplit(' ').next().unwrap();
    assert_eq!(stamp.split_once('.').unwrap().1.len(), 3, "{stamp}");
}

#[test]
fn promtool_reads_both_texts() {
    for path in ["/metrics/resource", "/metrics/cadvisor"] {
        let text = text(HOSTS[0], path, TextFormat::Prometheus);
        let promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut promtool) = promtool else {
            skip("promtool is not installed");
            return;
        };
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        // Some of the kubelet's names are not as it likes them.
        let known =
            ["cadvisor_version_info ", "container_memory_failcnt ", "container_fs_inodes_total "];
        let lines = said.lines().filter(|line| !known.iter().any(|known| line.starts_with(known)));
        assert_eq!(lines.collect::<Vec<_>>(), [""; 0], "{path}");
    }
}

fn walk(value: &Value, path: &str, paths: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(member, &path, paths);
            }
        }
        Value::Array(elements) => {
            elements.iter().for_each(|element| walk(element, &format!("{path}[]"), paths));
        }
        Value::String(_) => drop(paths.insert(path.to_owned(), "string".to_owned())),
        Value::Number(_) => drop(paths.insert(path.to_owned(), "number".to_owned())),
        Value::Null | Value::Bool(_) => panic!("{path}: {value}"),
    }
}

#[test]
fn the_summary_has_the_kubelets_paths_and_types() {
    let table = fs::read_to_string(fixtures().join("kubernetes/kubelet/stats-summary.tsv"));
    let table = table.unwrap();
    let mut own = BTreeMap::new();
    for host in HOSTS {
        let document = Summary::of_sample(&sample(host), &machine()).to_json();
        walk(&serde_json::from_str(&document).unwrap(), "", &mut own);
    }
    for row in table.lines().skip(1) {
        let (path, kind) = row.split_once('\t').unwrap();
        if left_out::has_path(path) {
            assert_eq!(own.remove(path), None, "{path} is there, and listed as left out");
        } else {
            assert_eq!(own.remove(path).as_deref(), Some(kind), "{path}");
        }
    }
    // Newer kubelets have swap.
    own.retain(|path, _| !path.contains("swap."));
    assert_eq!(own, BTreeMap::new());
}
