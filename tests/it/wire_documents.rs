//! The pages and schemas of docs/wire, held against the golden payloads of the dialects.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "it reads documents and golden files"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::ndjson::{hosts, lines_of_dump, lines_of_run};

fn file(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

/// A golden file of `tests/it/payloads.rs`, which holds what the code makes.
fn golden(name: &str) -> Value {
    let text = fs::read_to_string(file(&format!("tests/it/snapshots/it__payloads__{name}.snap")));
    let text = text.unwrap();
    let body = text.splitn(3, "---\n").last().unwrap();
    serde_json::from_str(body).unwrap()
}

fn schema(name: &str) -> Value {
    let text = fs::read(file(&format!("docs/wire/{name}.schema.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn page(name: &str) -> String {
    fs::read_to_string(file(&format!("docs/wire/{name}.md"))).unwrap()
}

/// The error of a value that a schema does not allow.
fn error_of(schema_name: &str, value: &Value) -> Option<String> {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    let location = format!("https://nodetally.invalid/{schema_name}");
    compiler.add_resource(&location, schema(schema_name)).unwrap();
    let compiled = compiler.compile(&location, &mut schemas).unwrap();
    schemas.validate(value, compiled).err().map(|error| format!("{error:#}"))
}

/// Each golden payload with the name of its schema.
fn payloads() -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    for (path, body) in golden("resource-api").as_object().unwrap() {
        let is_node = path.starts_with("/api/nodes/");
        all.push((if is_node { "resource-api-node" } else { "resource-api-pod" }, body.clone()));
    }
    all.push(("pod-batch-pods", golden("pod-batch-pods")));
    all.push(("pod-batch-nodes", golden("pod-batch-nodes")));
    for body in golden("pod-lifecycle").as_object().unwrap().values() {
        all.push(("pod-lifecycle-spec", body.clone()));
    }
    all
}

#[test]
fn payloads_are_what_the_schemas_allow() {
    let payloads = payloads();
    assert!(payloads.len() > 10, "{}", payloads.len());
    for (name, value) in &payloads {
        assert_eq!(error_of(name, value), None, "{name}");
        // A schema that allows everything shows nothing.
        let mut other = value.clone();
        other["surprise"] = Value::from(1);
        assert!(error_of(name, &other).is_some(), "{name} allows any key");
        for key in schema(name)["required"].as_array().unwrap() {
            let mut other = value.clone();
            other.as_object_mut().unwrap().remove(key.as_str().unwrap());
            assert!(error_of(name, &other).is_some(), "{name} does not need {key}");
        }
    }
}

/// The JSON blocks of a page.
fn examples(page: &str) -> Vec<Value> {
    let blocks = page.split("```json\n").skip(1);
    blocks.map(|block| serde_json::from_str(block.split("```").next().unwrap()).unwrap()).collect()
}

/// Each example is a payload that the code makes, and each field of the schema has its row.
#[test]
fn pages_show_what_is_sent_and_every_field_of_it() {
    let pages: [(&str, &[&str]); 3] = [
        ("resource-api", &["resource-api-node", "resource-api-pod"]),
        ("pod-batch", &["pod-batch-nodes", "pod-batch-pods"]),
        ("pod-lifecycle", &["pod-lifecycle-spec", "pod-lifecycle-mark-dead"]),
    ];
    for (name, schemas) in pages {
        let page = page(name);
        let examples = examples(&page);
        assert!(examples.len() >= schemas.len(), "{name}");
        for (example, of) in examples.iter().zip(schemas) {
            assert_eq!(error_of(of, example), None, "{name}: {of}");
            if *of == "pod-lifecycle-mark-dead" {
                continue;
            }
            let is_example = |(schema, payload): &(&str, Value)| {
                // The page shows one pod of a batch.
                let shown = example["resources"].as_array();
                let resources = payload["resources"].as_array();
                let is_part = shown.zip(resources).is_some_and(|(shown, all)| {
                    shown.iter().all(|one| all.contains(one))
                        && example["context"] == payload["context"]
                });
                schema == of && (payload == example || is_part)
            };
            assert!(payloads().iter().any(is_example), "{name}: {of} is out of date");
        }
        for of in schemas {
            check_rows(&page, &schema(of), "");
        }
    }
}

fn check_rows(page: &str, schema: &Value, within: &str) {
    for (key, field) in schema["properties"].as_object().into_iter().flatten() {
        let name = format!("{within}{key}");
        let meaning = field["description"].as_str().unwrap();
        let row = page.lines().find(|line| {
            line.starts_with(&format!("| `{name}` |")) && line.ends_with(&format!("| {meaning} |"))
        });
        assert!(row.is_some(), "no row of {name}: {meaning}");
        check_rows(page, field, &format!("{name}."));
        check_rows(page, &field["items"], &format!("{name}[]."));
    }
}

/// The schema of a line of this kind, alone.
fn of_kind(schema: &Value, kind: &str) -> Value {
    schema["$defs"][kind].clone()
}

fn compiled_error(schema: Value, value: &Value) -> Option<String> {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    let location = "https://nodetally.invalid/one";
    compiler.add_resource(location, schema).unwrap();
    let compiled = compiler.compile(location, &mut schemas).unwrap();
    schemas.validate(value, compiled).err().map(|error| format!("{error:#}"))
}

/// One schema holds the lines of `run` and of `dump`: their keys, and their types.
#[test]
fn lines_of_run_and_dump_are_what_one_schema_allows() {
    let whole = schema("ndjson");
    let mut kinds = BTreeSet::new();
    for host in hosts() {
        let dumped = lines_of_dump(&host);
        let made = lines_of_run(&host, "node-1");
        for line in dumped.iter().chain(&made) {
            let kind = line["kind"].as_str().unwrap().to_owned();
            assert_eq!(compiled_error(of_kind(&whole, &kind), line), None, "{line}");
            if !kinds.insert(kind.clone()) {
                continue;
            }
            assert_eq!(error_of("ndjson", line), None, "{line}");
            // A schema that allows everything shows nothing.
            let mut other = line.clone();
            other["surprise"] = Value::from(1);
            assert!(error_of("ndjson", &other).is_some(), "{kind} allows any key");
            for key in of_kind(&whole, &kind)["required"].as_array().unwrap() {
                let mut other = line.clone();
                other.as_object_mut().unwrap().remove(key.as_str().unwrap());
                assert!(error_of("ndjson", &other).is_some(), "{kind} does not need {key}");
            }
        }
    }
    let known: BTreeSet<String> = whole["$defs"].as_object().unwrap().keys().cloned().collect();
    let unseen: Vec<&String> = known.difference(&kinds).collect();
    // No captured host has processes that ended without a counter.
    assert!(unseen.iter().all(|kind| *kind == "exited_children"), "{unseen:?}");
}

#[test]
fn the_page_of_lines_shows_what_run_writes_and_every_key() {
    let page = page("ndjson");
    let example = page.split("```jsonl\n").nth(1).unwrap().split("```").next().unwrap();
    let made = lines_of_run(&file("fixtures/hosts/7.2-containerd-systemd"), "worker-1");
    let mut kinds = BTreeSet::new();
    for line in example.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(made.contains(&line), "out of date: {line}");
        kinds.insert(line["kind"].as_str().unwrap().to_owned());
    }
    let all: BTreeSet<String> =
        made.iter().map(|line| line["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, all);
    let whole = schema("ndjson");
    for kind in whole["$defs"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("### `{kind}`\n")), "no part of {kind}");
        check_rows(&page, &of_kind(&whole, kind), "");
    }
}
