//! Debian's Prometheus scrapes the real binary over a captured host, knows what was used there, and answers
//! every query of the dashboards and rules in `packaging/`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test starts two programs and asks them"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::support::agent::{Agent, EMBEDDED, Host, add, eventually, replace};
use crate::support::skip::skip;

fn packaging(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(below)
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Ends a program when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn prometheus(dir: &Path, target: SocketAddr, listen: SocketAddr) -> Program {
    let config = format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\n\
         rule_files:\n  - {}\n\
         scrape_configs:\n  - job_name: nodetally\n    static_configs:\n      - targets: [\"{target}\"]\n",
        packaging("prometheus/nodetally.rules.yaml").display()
    );
    fs::write(dir.join("prometheus.yaml"), config).unwrap();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", dir.join("prometheus.yaml").display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()))
        .arg(format!("--web.listen-address={listen}"))
        .arg("--web.enable-remote-write-receiver")
        .arg("--log.level=error")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Program(child.unwrap())
}

/// Lets half a second of four CPUs pass, a quarter of it in use; `false`: the host is gone.
fn spend(stat: &Path) -> bool {
    std::thread::sleep(Duration::from_millis(500));
    let Ok(text) = fs::read_to_string(stat) else { return false };
    let lines = text.lines().map(|line| {
        let mut fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let ticks = if fields[0] == "cpu" { 50 } else { 12 };
        if fields[0].starts_with("cpu") {
            for (at, ticks) in [(1, ticks), (4, 3 * ticks)] {
                fields[at] = (fields[at].parse::<u64>().unwrap() + ticks).to_string();
            }
        }
        fields.join(" ") + "\n"
    });
    let text: String = lines.collect();
    replace(stat, &text);
    true
}

/// Status and body of an answer. HTTP/1.0, so that a large one comes in one piece.
fn ask(server: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn wait_for_prometheus(server: SocketAddr) {
    eventually("prometheus is ready", || {
        let is_up = TcpStream::connect(server).is_ok();
        (is_up && ask(server, "/-/ready").0 == 200).then_some(())
    });
}

/// The series of a query; an error of the query fails the test.
fn series(server: SocketAddr, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/query?query={}", utf8_percent_encode(query, NON_ALPHANUMERIC));
    let (status, answer) = ask(server, &path);
    assert_eq!(status, 200, "{query}: {answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["data"]["result"].as_array().unwrap().clone()
}

/// Metrics that a host which stands still does not have: nothing begins and ends there.
const WITHOUT_DATA: [&str; 1] = ["nodetally_exited_cpu_time_seconds_total"];

/// Every query of every panel, with its dashboard and title, for all nodes, pods and agents.
fn panels() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(packaging("grafana")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if !name.ends_with(".json") {
            continue;
        }
        let dashboard: Value = serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let mut query = target["expr"].as_str().unwrap().replace("$__rate_interval", "1m");
                for variable in ["node", "namespace", "pod", "instance"] {
                    query = query.replace(&format!("${variable}\""), ".*\"");
                }
                assert!(!query.contains('$'), "{query}");
                if WITHOUT_DATA.iter().any(|metric| query.contains(metric)) {
                    continue;
                }
                let title = format!("{name}, {}: {query}", panel["title"].as_str().unwrap());
                all.push((title, query));
            }
        }
    }
    all
}

/// The metrics that the rules ask for, and the names that they record.
fn metrics_of_rules() -> (BTreeSet<String>, BTreeSet<String>) {
    let text = fs::read_to_string(packaging("prometheus/nodetally.rules.yaml")).unwrap();
    let rules: Value = serde_saphyr::from_str(&text).unwrap();
    let (mut asked, mut recorded) = (BTreeSet::new(), BTreeSet::new());
    for group in rules["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            recorded.extend(rule["record"].as_str().map(str::to_owned));
            let words = rule["expr"].as_str().unwrap();
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            let words = words.split(|c: char| !is_part(c));
            let is_metric = |word: &&str| {
                ["nodetally_", "k8s_", "container_", "system_"]
                    .iter()
                    .any(|it| word.starts_with(it))
            };
            asked.extend(words.filter(is_metric).map(str::to_owned));
        }
    }
    (asked, recorded)
}

#[test]
fn every_query_of_dashboards_and_rules_has_an_answer() {
    if !is_installed("prometheus") {
        return skip("no prometheus (Debian's package)");
    }
    // It has everything: pods with limits, an OOM kill, throttling, pressure, disks and exited cgroups.
    let host = Host::copy("6.8-crio-systemd");
    let (metrics, server) = (free_port(), free_port());
    let stat = host.path("proc/stat");
    std::thread::spawn(move || while spend(&stat) {});
    let mut command = host.agent(&EMBEDDED);
    command.env("NODETALLY_METRICS_LISTEN", metrics.to_string());
    let _agent = Agent::start(command);
    let dir = tempfile::tempdir().unwrap();
    let _prometheus = prometheus(dir.path(), metrics, server);
    wait_for_prometheus(server);
    // A rate needs two samples of the agent, and the recording rules an evaluation behind them.
    let utilization = "node:nodetally_cpu_utilization:rate5m";
    eventually("the recording rules", || (!series(server, utilization).is_empty()).then_some(()));
    let panels = panels();
    assert!(panels.len() > 40, "{}", panels.len());
    let empty = |queries: &[(String, String)]| -> Vec<String> {
        let is_empty = |query: &str| series(server, query).is_empty();
        queries
            .iter()
            .filter(|(_, query)| is_empty(query))
            .map(|(title, _)| title.clone())
            .collect()
    };
    // Scrapes go on meanwhile.
    let mut left = panels;
    eventually("an answer to each query", || {
        let titles = empty(&left);
        left.retain(|(title, _)| titles.contains(title));
        if left.is_empty() {
            return Some(());
        }
        eprintln!("no answer yet: {left:#?}");
        None
    });
    let (asked, recorded) = metrics_of_rules();
    assert!(asked.len() > 10 && recorded.len() == 3, "{asked:?} {recorded:?}");
    for name in asked.iter().chain(&recorded) {
        eventually(name, || (!series(server, name).is_empty()).then_some(()));
    }
}

#[test]
fn cpu_time_that_a_pod_used_is_found_as_scraped_and_as_sent() {
    if !is_installed("prometheus") {
        return skip("no prometheus (Debian's package)");
    }
    let host = Host::copy("6.8-crio-systemd");
    let (metrics, server) = (free_port(), free_port());
    let dir = tempfile::tempdir().unwrap();
    let _prometheus = prometheus(dir.path(), metrics, server);
    wait_for_prometheus(server);
    let text = format!(
        "[node]\nname = \"n1\"\n[sampling]\ninterval = \"1s\"\n[state]\ndir = \"none\"\n\
         [spool]\ndir = \"none\"\n[directory]\nsources = []\n[metrics]\nlisten = \"{metrics}\"\n\
         [[endpoint]]\nname = \"central\"\nurl = \"http://{server}/api/v1/write\"\nspread = \"0s\"\n\
         dialect = \"prometheus-remote-write\"\nexternal_labels = [\"cluster=prod\"]\n"
    );
    let config = dir.path().join("nodetally.toml");
    fs::write(&config, text).unwrap();
    let mut command = host.agent(&["run"]);
    command.arg("--config").arg(config);
    let _agent = Agent::start(command);

    let pod = "uid=\"d757cf9d-1256-4c5a-abe2-5520cb3b6505\"";
    let scraped = format!("k8s_pod_cpu_time_seconds_total{{{pod},cluster=\"\"}}");
    let sent = format!("k8s_pod_cpu_time_seconds_total{{{pod},cluster=\"prod\"}}");
    let value = |query: &str| -> Option<f64> {
        let found = series(server, query);
        assert!(found.len() < 2, "{found:?}");
        found.first()?["value"][1].as_str()?.parse().ok()
    };
    for query in [&scraped, &sent] {
        let first = eventually(query, || value(query));
        assert!(first.abs() < 1e-9, "{query}: {first} before anything was used");
    }
    let slice = "sys/fs/cgroup/kubepods.slice";
    let below = "kubepods-podd757cf9d_1256_4c5a_abe2_5520cb3b6505.slice";
    for cgroup in [slice, &format!("{slice}/{below}")] {
        for key in ["usage_usec ", "user_usec "] {
            add(&host, &format!("{cgroup}/cpu.stat"), key, key, 2_500_000);
        }
    }
    for query in [&scraped, &sent] {
        let is_near = |value: &f64| (value - 2.5).abs() <= 2.5 * 0.02;
        eventually(&format!("2.5 s of {query}"), || value(query).filter(is_near));
    }
    let names = |query: &str| {
        let found = series(server, query);
        ["job", "instance"].map(|label| found[0]["metric"][label].as_str().unwrap().to_owned())
    };
    assert_eq!(names(&scraped), ["nodetally".to_owned(), metrics.to_string()]);
    assert_eq!(names(&sent), ["nodetally", "n1"]);
}

#[test]
fn the_rules_hold_their_own_tests() {
    if !is_installed("promtool") {
        return skip("no promtool (Debian's package prometheus)");
    }
    let output = Command::new("promtool")
        .args(["test", "rules", "nodetally.rules.test.yaml"])
        .current_dir(packaging("prometheus"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
