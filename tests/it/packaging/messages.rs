//! The messages that docs/kubernetes.md and docs/troubleshooting.md explain are messages that the code has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{text, tree};

/// Messages of Kubernetes and the node, and quotes that are no message.
const NOT_OF_THE_AGENT: [&str; 7] = [
    "violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true, hostPID=true)",
    "insufficient quota to match these scopes: \
     [{PriorityClass In [system-node-critical system-cluster-critical]}]",
    "ImagePullBackOff",
    "exec /nodetally: exec format error",
    "connection refused",
    "check",
    "OOMKilled",
];

/// The texts within backticks; between two of them there may be single ones.
fn quoted(cell: &str) -> Vec<String> {
    let mut quoted = Vec::new();
    let mut rest = cell;
    while let Some((_, after)) = rest.split_once('`') {
        let (fence, after) = match after.strip_prefix('`') {
            Some(after) => ("``", after),
            None => ("`", after),
        };
        let (text, after) = after.split_once(fence).unwrap_or_else(|| panic!("{cell}"));
        quoted.push(text.to_owned());
        rest = after;
    }
    quoted
}

/// The texts of a source file: its code without comments, each string in one line.
fn said_in(source: &str) -> String {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut said = String::new();
    for line in code {
        match line.strip_suffix('\\') {
            Some(first) => said += first.trim_start(),
            None => said = said + line.trim_start() + "\n",
        }
    }
    said.replace("\\\"", "\"")
}

/// Only what is built, and not the tests at a file's end.
fn collect_said(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_said(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            into.push(said_in(source.split("#[cfg(test)]\nmod tests").next().unwrap()));
        }
    }
}

#[test]
fn every_explained_line_is_printed_by_the_sources() {
    let mut said = Vec::new();
    for room in ["directory", "endpoint", "runtime", "cli"] {
        collect_said(&tree("src").join(room), &mut said);
    }
    // Lines that are put together from several parts stand in a whole where a test provokes them,
    // which that of the URL does in its own file.
    for test in ["directory_kubernetes/errors.rs", "directory_sources/kubelet.rs"] {
        said.push(said_in(&text(&format!("tests/it/{test}"))));
    }
    said.push(said_in(&text("src/config/endpoint_url.rs")));

    let document = text("docs/kubernetes.md");
    let section = document.split("## When it does not work\n").nth(1).unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let mut others = BTreeSet::new();
    let mut of_the_agent = 0;
    for row in &rows {
        let seen = row.split(" | ").next().unwrap();
        for quoted in quoted(seen) {
            if let Some(other) = NOT_OF_THE_AGENT.iter().find(|other| **other == quoted) {
                others.insert(*other);
                continue;
            }
            let pieces = quoted.split('…').map(str::trim).filter(|piece| piece.len() > 1);
            for piece in pieces {
                assert!(said.iter().any(|said| said.contains(piece)), "{quoted}: {piece}");
                of_the_agent += 1;
            }
        }
    }
    assert!(of_the_agent > 15, "{of_the_agent}");
    assert_eq!(others, BTreeSet::from(NOT_OF_THE_AGENT), "nothing is let through unused");
}

#[test]
fn a_line_that_is_never_printed_is_not_found() {
    let source = "// certificate signed\nformat!(\n    \"lacks \\\n     `{verb}` \\\"x\\\"\")";
    let said = said_in(source);
    assert!(said.contains("lacks `{verb}` \"x\""), "{said}");
    assert!(!said.contains("certificate signed"));
    assert_eq!(quoted("`a b`, or ``c `d` e``"), ["a b", "c `d` e"]);
}

/// In docs/troubleshooting.md: commands, words of systemd and the C library, and lines that the sources put together
/// from pieces without a colon between them.
const PUT_TOGETHER: [&str; 11] = [
    "nodetally check --config FILE",
    "nodetally config --config FILE",
    "kubectl -n nodetally logs daemonset/nodetally",
    "curl http://127.0.0.1:7643/",
    "Watchdog timeout",
    "failed to lookup address information",
    "answers 302 Found to POST",
    "the receiver cannot listen on 127.0.0.1:7643",
    "processes here have no CPU counter but their own",
    "stale, its last answer is",
    "old, pods keep their last names",
];

#[test]
fn every_line_of_the_troubleshooting_page_is_printed() {
    let mut said = Vec::new();
    collect_said(&tree("src"), &mut said);
    // A line that is put together stands in a whole where a test provokes it.
    collect_said(&tree("tests/it"), &mut said);
    let document = text("docs/troubleshooting.md");
    let rows = document.lines().filter(|line| line.starts_with("| "));
    let (mut count, mut allowed) = (0, BTreeSet::new());
    for quoted in rows.flat_map(|row| quoted(row.split(" | ").next().unwrap())) {
        let ends: &[char] = &[' ', ':', ';'];
        let pieces =
            quoted.split('…').flat_map(|part| part.split(": ")).flat_map(|part| part.split("; "));
        for piece in pieces.map(|piece| piece.trim_matches(ends)).filter(|piece| piece.len() > 1) {
            count += 1;
            if let Some(other) = PUT_TOGETHER.iter().find(|other| **other == piece) {
                allowed.insert(*other);
                continue;
            }
            assert!(said.iter().any(|said| said.contains(piece)), "{quoted}: {piece}");
        }
    }
    assert!(count > 100, "{count}");
    assert_eq!(allowed.len(), PUT_TOGETHER.len(), "{allowed:?}");
}
