//! Every figure of a dump has a metric, and every metric's key is one of a dump.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use nodetally::metrics::entity::EntityClass;
use nodetally::metrics::table;
use serde_json::Value;

/// Figures of a dump without a metric, and why. `*` stands for any one part of the path.
const WITHOUT: &[(&str, &str)] = &[
    ("schema_version", "no figure"),
    ("node.interval_usec", "the time between two samples, which have a time each"),
    ("node.cpu_over_usec", "the time over which the gauge of CPUs is a mean"),
    ("pods[].cpu_over_usec", "as of the node"),
    ("pods[].containers[].cpu_over_usec", "as of the node"),
    ("host_units[].cpu_over_usec", "as of the node"),
    ("processes[].cpu_over_usec", "as of the node"),
    ("processes[].cpu_millicores", "the rate of process.cpu.time"),
    ("processes[].pid", "an attribute"),
    ("processes[].parent_pid", "names another process"),
    ("processes[].parent_start_ticks", "names another process"),
    ("processes[].start_ticks", "tells two processes of one pid apart; the start time does"),
    ("pods[].containers_cpu_usage_usec", "the sum of the metrics of its containers"),
    ("pods[].processes_cpu_usage_usec", "the split holds within one interval only"),
    ("pods[].containers[].processes_cpu_usage_usec", "the split holds within one interval only"),
    ("host_units[].processes_cpu_usage_usec", "the split holds within one interval only"),
    ("host_units[].exited_processes_cpu_usage_usec", "the split holds within one interval only"),
    ("conservation.*.node", "the sum of the parts and the remainder"),
    ("conservation.memory_bytes.interrupts", ALWAYS_0),
    ("conservation.disk_read_bytes.interrupts", ALWAYS_0),
    ("conservation.disk_written_bytes.interrupts", ALWAYS_0),
    ("conservation.network_rx_bytes.interrupts", ALWAYS_0),
    ("conservation.network_tx_bytes.interrupts", ALWAYS_0),
    ("conservation.disk_read_bytes.kernel", ALWAYS_0),
    ("conservation.disk_written_bytes.kernel", ALWAYS_0),
];

/// There is no such part; the key is there since all balances have the same keys.
const ALWAYS_0: &str = "always 0";

/// The place of a class in the document.
fn place(class: EntityClass, key: &str) -> String {
    let before = match class {
        _ if key.starts_with("conservation.") => "",
        EntityClass::Node | EntityClass::Filesystem => "node.",
        EntityClass::Pod => "pods[].",
        EntityClass::Container => "pods[].containers[].",
        EntityClass::Unit => "host_units[].",
        EntityClass::Process => "processes[].",
        EntityClass::Exited => "",
    };
    format!("{before}{key}")
}

fn is_without(path: &str) -> Option<&'static str> {
    let fits = |pattern: &str| {
        let (parts, wanted) = (path.split('.'), pattern.split('.'));
        parts.clone().count() == wanted.clone().count()
            && parts.zip(wanted).all(|(part, wanted)| wanted == "*" || part == wanted)
    };
    WITHOUT.iter().find(|(pattern, _)| fits(pattern)).map(|(_, why)| *why)
}

/// The numbers of a document by their place; of each the values.
fn numbers(value: &Value, path: &str, all: &mut BTreeMap<String, BTreeSet<i64>>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                numbers(value, &format!("{path}{dot}{key}"), all);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| numbers(item, &format!("{path}[]"), all));
        }
        Value::Number(number) => {
            all.entry(path.to_owned()).or_default().insert(number.as_i64().unwrap());
        }
        _ => {}
    }
}

/// The numbers of all captured hosts.
fn captured() -> BTreeMap<String, BTreeSet<i64>> {
    let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts");
    let mut all = BTreeMap::new();
    let folders = fs::read_dir(hosts).unwrap().flatten().map(|entry| entry.path());
    for host in folders.filter(|path| path.is_dir()) {
        // Few processes, so that the others of an owner are summed.
        let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
            .env_clear()
            .args(["dump", "--top", "5", "--format", "json", "--replay"])
            .arg(host)
            .output()
            .unwrap();
        numbers(&serde_json::from_slice(&output.stdout).unwrap(), "", &mut all);
    }
    all
}

#[test]
fn every_figure_of_a_dump_has_a_metric_or_a_reason() {
    let declared: BTreeSet<String> = table::all()
        .filter(|metric| !metric.dump_key.is_empty())
        .map(|metric| place(metric.class, metric.dump_key))
        .collect();
    let captured = captured();
    assert!(captured.len() > 200, "{}", captured.len());
    let without = |path: &&String| !declared.contains(*path) && is_without(path).is_none();
    let missing: Vec<&String> = captured.keys().filter(without).collect();
    assert!(missing.is_empty(), "no metric and no reason: {missing:#?}");
    for (path, values) in &captured {
        if is_without(path) == Some(ALWAYS_0) {
            assert!(values.iter().all(|value| *value == 0), "{path}: {values:?}");
        }
        assert!(!declared.contains(path) || is_without(path).is_none(), "{path}: both");
    }
    for (pattern, why) in WITHOUT {
        let is_there = captured.keys().any(|path| {
            is_without(path).is_some() && {
                let last = pattern.rsplit('.').next().unwrap();
                path.ends_with(last)
            }
        });
        // Nobody captured a host whose processes have no cgroup with a counter and end.
        assert!(is_there || pattern.ends_with("parent_start_ticks"), "{pattern}: {why}: gone");
    }
}

#[test]
fn every_key_of_a_metric_is_one_of_a_dump() {
    let captured = captured();
    let schema = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dump-schema.md"));
    let schema = schema.unwrap();
    for metric in table::all().filter(|metric| !metric.dump_key.is_empty()) {
        let path = place(metric.class, metric.dump_key);
        let last = metric.dump_key.rsplit('.').next().unwrap();
        // What a capture cannot have: filesystems, and the meters that need a running kernel.
        let is_documented = schema.contains(&format!("`{last}`"));
        assert!(captured.contains_key(&path) || is_documented, "{}: no {path}", metric.name);
    }
}
