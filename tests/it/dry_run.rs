//! `run --dry-run`: requests are printed, and nothing is sent, kept or bound.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nodetally::clock;
use nodetally::delivery::{self, BaseUrl, DeliverySettings, DryRun, Storage};
use nodetally::directory::{Directory, SourceKind};
use nodetally::endpoint::lifecycle::Reporter;
use nodetally::identity::BootId;
use nodetally::payload::options::PodFilter;
use nodetally::quantity::BootTime;
use serde_json::Value;

use crate::support::agent::{Agent, Host, any_port};

/// A server at which nobody may call.
fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(any_port()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[track_caller]
fn assert_uncalled(listener: &TcpListener) {
    let called = listener.accept();
    assert!(called.is_err(), "a connection: {called:?}");
}

fn endpoint(dialect: &str, address: SocketAddr, more: &str) -> String {
    format!(
        "[[endpoint]]\nname = \"{dialect}\"\ndialect = \"{dialect}\"\n\
         url = \"http://{address}/in?key=hunter1\"\n{more}\n"
    )
}

/// Standard output, line by line, until `enough`.
fn lines_until(agent: &mut Agent, mut enough: impl FnMut(&[Value]) -> bool) -> Vec<Value> {
    let mut lines = BufReader::new(agent.0.stdout.as_mut().unwrap()).lines();
    let mut all = Vec::new();
    while !enough(&all) {
        let line = lines.next().expect("the agent ended").unwrap();
        assert!(!line.contains("hunter"), "a secret: {line}");
        all.push(serde_json::from_str(&line).unwrap());
    }
    all
}

fn of<'a>(all: &'a [Value], endpoint: &str) -> Vec<&'a Value> {
    all.iter().filter(|line| line["endpoint"] == endpoint).collect()
}

fn files_below(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn requests_are_printed_and_nothing_else_happens() {
    let (listener, address) = silent();
    let (status, status_address) = silent();
    drop(status);
    let host = Host::copy("6.8-crio-systemd");
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    fs::write(dir.join("token"), "hunter2").unwrap();
    let text = format!(
        "[node]\nname = \"n1\"\n[sampling]\ninterval = \"1s\"\n\
         [state]\ndir = \"{dir}/state\"\n[spool]\ndir = \"{dir}/spool\"\n\
         [status]\nlisten = \"{status_address}\"\n{}{}{}{}",
        endpoint(
            "resource-api",
            address,
            &format!(
                "bearer_token_file = \"{}/token\"\nheaders = {{ X-Scope = \"hunter3\" }}",
                dir.display()
            )
        ),
        endpoint("pod-batch", address, "compression = \"gzip\""),
        endpoint("otlp", address, ""),
        endpoint("prometheus-remote-write", address, ""),
        dir = dir.display(),
    );
    fs::write(dir.join("c.toml"), text).unwrap();
    let before = files_below(dir);
    let mut command = host.agent(&["run", "--dry-run"]);
    command.arg("--config").arg(dir.join("c.toml"));
    let mut agent = Agent::start(command);
    let all = lines_until(&mut agent, |all| {
        let names = ["resource-api", "pod-batch", "otlp", "prometheus-remote-write"];
        // More than one sample of each.
        names.iter().all(|name| of(all, name).len() > 8) || all.len() > 400
    });
    assert!(TcpStream::connect(status_address).is_err(), "a server answers");
    agent.signal(Signal::SIGTERM);
    // What the agent still prints has to be read.
    thread::scope(|scope| {
        let stdout = agent.0.stdout.take().unwrap();
        scope.spawn(|| BufReader::new(stdout).lines().count());
        let (status, log) = agent.end();
        assert!(status.success(), "{log}");
        assert!(log.contains("dry run: requests are printed"), "{log}");
    });
    assert_uncalled(&listener);
    assert_eq!(files_below(dir), before, "a file was left");

    for line in &all {
        assert_eq!(line["method"], "POST");
        assert_eq!(line["headers"]["user-agent"], "nodetally/0.1.0");
        assert!(line["headers"]["idempotency-key"].is_string());
    }
    let base = format!("http://{address}/in");
    let resource = of(&all, "resource-api");
    let of_node = resource
        .iter()
        .find(|line| line["url"] == format!("{base}/api/nodes/n1/metrics?hidden"))
        .unwrap();
    assert_eq!(of_node["headers"]["content-type"], "application/json");
    assert_eq!(of_node["headers"]["authorization"], "(hidden)");
    assert_eq!(of_node["headers"]["x-scope"], "(hidden)");
    assert!(of_node["body"]["memory_bytes"].is_u64(), "{of_node}");
    let batch = of(&all, "pod-batch");
    let pods = batch.iter().find(|line| line["url"].as_str().unwrap().contains("metrics/pods"));
    let pods = pods.unwrap();
    assert_eq!(pods["headers"]["content-encoding"], "gzip");
    assert!(!pods["body"]["resources"].as_array().unwrap().is_empty());
    let otlp = of(&all, "otlp")[0];
    assert_eq!(otlp["url"], format!("{base}/v1/metrics?hidden"));
    assert_eq!(otlp["headers"]["content-type"], "application/x-protobuf");
    assert!(otlp["body"]["resourceMetrics"].is_array());
    let write = of(&all, "prometheus-remote-write")[0];
    assert_eq!(write["url"], format!("{base}?hidden"));
    assert_eq!(write["headers"]["x-prometheus-remote-write-version"], "2.0.0");
    assert_eq!(write["headers"]["content-encoding"], "snappy");
    assert!(write["body"]["timeseries"].is_array());
}

#[test]
fn without_an_endpoint_the_posts_to_the_own_receiver_are_printed_until_the_reader_leaves() {
    let (receiver, address) = silent();
    let host = Host::copy("6.12-podman-bare");
    let listen = address.to_string();
    let mut command = host.agent(&["run", "--dry-run", "--interval", "1s", "--listen", &listen]);
    command.args(["--node-name", "n1"]);
    let mut agent = Agent::start(command);
    let all = lines_until(&mut agent, |all| !all.is_empty());
    assert_eq!(all[0]["endpoint"], "receiver");
    assert_eq!(all[0]["url"], format!("http://{address}/api/samples"));
    assert_eq!(all[0]["body"]["posts"][0]["path"], "/api/nodes/n1/metrics");
    // Its address is in use, which would else keep the agent from starting.
    assert_uncalled(&receiver);
    drop(agent.0.stdout.take());
    let (status, log) = agent.end();
    assert!(status.success() && log.contains("the end of the output"), "{log}");
}

#[tokio::test]
async fn an_endpoint_of_life_cycles_is_not_asked_for_its_pods() {
    for dry_run in [None, Some(DryRun::default())] {
        let (listener, address) = silent();
        let is_dry = dry_run.is_some();
        let url = BaseUrl::parse(&format!("http://{address}")).unwrap();
        let mut settings = DeliverySettings::new("central", url, 1);
        settings.dry_run = dry_run;
        let boot = BootId::parse(b"0f3c1d2e-4a5b-4c6d-8e7f-0123456789ab").unwrap();
        let moment = Arc::new(move || clock::moment(boot));
        let (handle, worker) =
            delivery::endpoint(settings.clone(), Storage::default(), moment).unwrap();
        let worker = tokio::spawn(worker.run());
        let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes]);
        publishers[0].replace_pods(Vec::new(), BootTime::from_nanos(1));
        let filters = PodFilter::default();
        let _reporter = Reporter::start(handle, settings, filters, "n1", boot, &directory);
        let mut was_called = false;
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            was_called |= listener.accept().is_ok();
            if was_called {
                break;
            }
        }
        assert_eq!(was_called, !is_dry);
        worker.abort();
    }
}
