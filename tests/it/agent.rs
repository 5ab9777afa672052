//! The real binary: `run` over captured trees that change under it, into a receiver.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test starts the binary, edits its trees and waits for what it says"
)]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::agent::{
    Agent, EMBEDDED, Host, any_port, config, eventually, get, receiver, replace, written,
};
use nix::sys::signal::Signal;

#[test]
fn a_restart_neither_loses_nor_doubles_an_interval_whether_it_is_asked_or_killed() {
    let host = Host::copy("6.12-podman-bare");
    let scratch = tempfile::tempdir().unwrap();
    let address = receiver(any_port());
    let config = config(scratch.path(), &format!("http://{address}"));
    let state = scratch.path().join("state");
    let start = || {
        let mut command = host.agent(&["run", "--interval", "1s"]);
        command.arg("--config").arg(&config).arg("--state-dir").arg(&state);
        Agent::start(command)
    };
    let series = || get(address, "/api/nodes/n1?window=3600").1;
    let points = || series().as_array().map_or(0, Vec::len);
    let wait_until_written = |sectors: u64| {
        eventually("the posts to sum up to what was written", || {
            (written(&series()) == sectors * 512).then_some(())
        });
    };

    let first = start();
    eventually("a first post", || (points() > 0).then_some(()));
    host.write_sectors("sda", 1000);
    wait_until_written(1000);
    first.signal(Signal::SIGKILL);
    first.end();

    // While nobody looks.
    host.write_sectors("sda", 70_000);
    let second = start();
    wait_until_written(71_000);
    host.write_sectors("sda", 500);
    wait_until_written(71_500);
    second.signal(Signal::SIGTERM);
    let (status, log) = second.end();
    assert!(status.success(), "{status}: {log}");
    assert!(log.contains("resumed from the counters"), "{log}");

    host.write_sectors("sda", 9);
    let third = start();
    wait_until_written(71_509);
    let before = points();
    eventually("more posts", || (points() > before + 2).then_some(()));
    assert_eq!(written(&series()), 71_509 * 512, "an interval was sent twice");
    third.signal(Signal::SIGTERM);
    assert!(third.end().0.success());
}

#[test]
fn the_counters_of_another_boot_are_not_gone_on_from() {
    let host = Host::copy("6.12-podman-bare");
    let scratch = tempfile::tempdir().unwrap();
    let address = receiver(any_port());
    let config = config(scratch.path(), &format!("http://{address}"));
    let state = scratch.path().join("state");
    let run_until_posted = |posts: usize| {
        let mut command = host.agent(&["run", "--interval", "1s"]);
        command.arg("--config").arg(&config).arg("--state-dir").arg(&state);
        let agent = Agent::start(command);
        eventually("a post", || {
            let (_, series) = get(address, "/api/nodes/n1?window=3600");
            (series.as_array().map_or(0, Vec::len) >= posts).then_some(())
        });
        agent.signal(Signal::SIGTERM);
        assert!(agent.end().0.success());
        let (_, series) = get(address, "/api/nodes/n1?window=3600");
        series
    };
    let before = run_until_posted(1).as_array().unwrap().len();
    let boot = host.path("proc/sys/kernel/random/boot_id");
    replace(&boot, "00000000-1111-2222-3333-444444444444\n");
    // Counters that happen to be higher than before must not look like traffic.
    host.write_sectors("sda", 1_000_000);
    let series = run_until_posted(before + 1);
    assert_eq!(written(&series), 0);
}

#[test]
fn samples_taken_while_the_endpoint_is_down_come_later_and_the_log_says_so_once() {
    let host = Host::copy("6.12-podman-bare");
    let scratch = tempfile::tempdir().unwrap();
    // A port that was just free; nobody listens on it yet.
    let address = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    let config = config(scratch.path(), &format!("http://{address}"));
    let mut command = host.agent(&["run", "--interval", "1s", "--state-dir", "none"]);
    command.arg("--config").arg(&config);
    let agent = Agent::start(command);
    thread::sleep(Duration::from_millis(1500));
    host.write_sectors("sda", 400);
    thread::sleep(Duration::from_secs(3));
    receiver(address);
    eventually("what was written during the outage", || {
        let (_, series) = get(address, "/api/nodes/n1?window=3600");
        (written(&series) == 400 * 512).then_some(())
    });
    agent.signal(Signal::SIGTERM);
    let (status, log) = agent.end();
    assert!(status.success());
    assert_eq!(log.matches("is not answering").count(), 1, "{log}");
    assert_eq!(log.matches("answers again").count(), 1, "{log}");
}

#[test]
fn a_stop_with_a_dead_endpoint_comes_to_an_end_and_says_what_is_left() {
    let host = Host::copy("6.12-podman-bare");
    let scratch = tempfile::tempdir().unwrap();
    let address = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    let config = config(scratch.path(), &format!("http://{address}"));
    let mut command = host.agent(&["run", "--interval", "1s", "--state-dir", "none"]);
    command.arg("--config").arg(&config);
    let agent = Agent::start(command);
    thread::sleep(Duration::from_millis(2500));
    let asked = Instant::now();
    agent.signal(Signal::SIGTERM);
    let (status, log) = agent.end();
    assert!(status.success(), "{log}");
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    assert!(log.contains("could not be sent"), "{log}");
}

#[test]
fn without_an_endpoint_the_agent_brings_its_receiver_and_says_where() {
    let host = Host::copy("6.8-crio-systemd");
    let mut agent = Agent::start(host.agent(&EMBEDDED));
    let line = agent.wait_for_output("the receiver answers on");
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let address: SocketAddr = address.parse().unwrap();
    eventually("the node", || (get(address, "/api/nodes/node-1").0 == 200).then_some(()));
    let pods = eventually("the pods", || {
        let (_, pods) = get(address, "/api/nodes/node-1/pods");
        (pods.as_array().map_or(0, Vec::len) == 5).then_some(pods)
    });
    // The guaranteed pod of the capture, by its uid, until a directory tells its name.
    let uid = "d757cf9d-1256-4c5a-abe2-5520cb3b6505";
    let pod = pods.as_array().unwrap().iter().find(|pod| pod["pod_name"] == uid).unwrap();
    assert_eq!(pod["node_name"], "node-1");
    assert_eq!(pod["namespace"], "unknown");
    assert!(pod["memory_bytes"].as_u64().unwrap() > 0);
    for path in [
        "/api/nodes",
        "/api/pods",
        "/api/namespaces",
        "/api/namespaces/unknown/pods",
        "/api/nodes/node-1?window=60",
        "/api/namespaces/unknown?window=60",
        &format!("/api/pods/{uid}?window=60"),
    ] {
        let (status, body) = get(address, path);
        assert_eq!(status, 200, "{path}");
        assert!(body.as_array().is_some_and(|list| !list.is_empty()), "{path}: {body}");
    }
    agent.signal(Signal::SIGTERM);
    assert!(agent.end().0.success());
}

#[test]
fn an_address_in_use_is_one_line_and_exit_code_1_since_it_can_pass() {
    let taken = TcpListener::bind(any_port()).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let host = Host::copy("6.12-podman-bare");
    let command = host.agent(&["run", "--state-dir", "none", "--listen", &address]);
    let (status, log) = Agent::start(command).end();
    assert_eq!(status.code(), Some(1));
    assert_eq!(log.matches("Address already in use").count(), 1, "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains(&address) && log.contains("--listen"), "{log}");
}

#[test]
fn a_typo_in_the_configuration_is_one_line_and_exit_code_2() {
    let host = Host::copy("3.10-v1-only");
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("bad.toml");
    fs::write(&path, "[sampling]\nintervall = \"15s\"\n").unwrap();
    let mut command = host.agent(&["run"]);
    command.arg("--config").arg(&path);
    let (status, log) = Agent::start(command).end();
    assert_eq!(status.code(), Some(2));
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("bad.toml:2") && log.contains("interval"), "{log}");
}

#[test]
fn a_host_without_cgroup_v2_still_has_its_node() {
    let host = Host::copy("3.10-v1-only");
    let mut agent = Agent::start(host.agent(&EMBEDDED));
    let line = agent.wait_for_output("the receiver answers on");
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let address: SocketAddr = address.parse().unwrap();
    let node = eventually("the node", || {
        let (status, node) = get(address, "/api/nodes/node-1");
        (status == 200).then_some(node)
    });
    assert!(node["memory_bytes"].as_u64().unwrap() > 0);
    agent.signal(Signal::SIGTERM);
    let (status, log) = agent.end();
    assert!(status.success());
    assert_eq!(log.matches("no cgroup2 hierarchy is mounted").count(), 1, "{log}");
}

#[test]
fn before_the_first_sample_reads_are_answered_503_and_never_404() {
    let host = Host::copy("6.12-podman-bare");
    let address = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    let address_text = address.to_string();
    let mut command = host.agent(&["run", "--state-dir", "none", "--node-name", "n1"]);
    command.args(["--listen", &address_text]);
    let mut agent = Agent::start(command);
    agent.wait_for_output("curl");
    let ask = |path: &str| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        answer
    };
    let mut was_early = false;
    eventually("the node", || {
        let answer = ask("/api/nodes/n1");
        if answer.starts_with("HTTP/1.1 503") {
            was_early = true;
            assert!(answer.contains("retry-after: 1"), "{answer}");
            assert!(answer.contains("no sample yet"), "{answer}");
            return None;
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Some(())
    });
    assert!(was_early, "the first sample comes a second after the start");
    assert!(ask("/api/nodes/other").starts_with("HTTP/1.1 404"));
    agent.signal(Signal::SIGTERM);
    assert!(agent.end().0.success());
}
