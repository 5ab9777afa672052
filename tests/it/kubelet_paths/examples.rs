//! The examples of docs/kubelet-paths.md: answers of a captured host, for the node and one pod.
//! `UPDATE_DOCS=1` writes them.

use std::fs;
use std::path::Path;

use nodetally::payload::kubelet::summary::Summary;
use nodetally::payload::open_metrics::TextFormat;
use serde_json::Value;

use super::{HOSTS, machine, sample};
use crate::kubelet_paths::names::text;

const POD: &str = "exact";

/// The heads of families, and the rows in which `is_wanted` holds.
fn rows(path: &str, is_wanted: impl Fn(&str) -> bool) -> String {
    let text = text(HOSTS[0], path, TextFormat::Prometheus);
    let lines: Vec<&str> =
        text.lines().filter(|line| line.starts_with('#') || is_wanted(line)).collect();
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        // A head whose rows are all left out is left out too.
        let next = lines.iter().skip(at).find(|line| !line.starts_with("# "));
        let name = line.split([' ', '{']).nth(if line.starts_with('#') { 2 } else { 0 }).unwrap();
        if next.is_some_and(|row| row.split([' ', '{']).next() == Some(name)) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn summary() -> String {
    let document = Summary::of_sample(&sample(HOSTS[0]), &machine()).to_json();
    let mut document: Value = serde_json::from_str(&document).unwrap();
    document["pods"].as_array_mut().unwrap().retain(|pod| pod["podRef"]["name"] == POD);
    serde_json::to_string_pretty(&document).unwrap() + "\n"
}

#[test]
fn the_examples_are_answers() {
    let pod = format!("pod=\"{POD}\"");
    let resource = rows("/metrics/resource", |row| row.contains(&pod) || !row.contains("pod="));
    let cadvisor = rows("/metrics/cadvisor", |row| {
        let of_pod = row.contains(&pod)
            && !row
                .contains("container=\"\",id=\"/kubepods/pod94b72f17-32c1-4c96-a8d0-bca9b197a6b1/");
        of_pod || row.contains(",id=\"/\",") || !row.contains("pod=")
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kubelet-paths.md");
    let document = fs::read_to_string(&path).unwrap();
    let mut updated = document.clone();
    for (path, language, example) in [
        ("/metrics/resource", "text", resource),
        ("/metrics/cadvisor", "text", cadvisor),
        ("/stats/summary", "json", summary()),
    ] {
        let begin = format!("\n## Example of {path}\n\n```{language}\n");
        let (before, rest) = updated.split_once(&begin).unwrap_or_else(|| panic!("{begin}"));
        let (_, after) = rest.split_once("```\n").unwrap();
        updated = format!("{before}{begin}{example}```\n{after}");
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &updated).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), updated, "UPDATE_DOCS=1 writes the examples");
}
