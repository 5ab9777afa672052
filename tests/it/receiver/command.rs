//! `nodetally receive`: the receiver alone, for the agents of other nodes.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::node_body;
use crate::support::agent::{Agent, Host, config, eventually, get, post};

pub fn receive(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nodetally"));
    command.env_clear().arg("receive").args(arguments);
    // The default is the host's own.
    command.env("NODETALLY_RECEIVER_STORE", "none");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The address, from the line in which it is printed.
pub fn address_of(agent: &mut Agent) -> SocketAddr {
    let line = agent.wait_for_output("the receiver answers on http://");
    line.split("http://").nth(1).unwrap().trim_end().trim_end_matches('/').parse().unwrap()
}

fn nodes(address: SocketAddr) -> Vec<String> {
    let (status, nodes) = get(address, "/api/nodes");
    assert_eq!(status, 200, "{nodes}");
    let nodes = nodes.as_array().unwrap();
    nodes.iter().map(|node| node["node_name"].as_str().unwrap().to_owned()).collect()
}

/// Only what was sent: this host is not sampled.
#[test]
fn it_answers_for_every_node_that_sends_and_for_no_other() {
    let mut receiver = Agent::start(receive(&["--listen", "127.0.0.1:0"]));
    let address = address_of(&mut receiver);
    assert_eq!(nodes(address), Vec::<String>::new());
    let answer = post(address, "/api/nodes/worker-2/metrics", &node_body(1900));
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");

    let host = Host::copy("7.2-containerd-systemd");
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &format!("http://{address}"));
    let mut agent = host.agent(&["run", "--interval", "1s", "--node-name", "worker-1"]);
    agent.args(["--state-dir", "none", "--config"]).arg(&config).env("NODETALLY_SPOOL_DIR", "none");
    let agent = Agent::start(agent);
    eventually("the figures of both nodes", || {
        (nodes(address) == ["worker-1", "worker-2"]).then_some(())
    });
    drop(agent);

    receiver.signal(Signal::SIGTERM);
    let (status, log) = receiver.end();
    assert!(status.success(), "{status}: {log}");
}

#[test]
fn an_address_that_is_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = receive(&["--listen", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains(&format!("the receiver cannot listen on {address}")), "{line}");
}

#[test]
fn an_address_that_others_reach_comes_with_a_warning_if_it_is_insecure() {
    let mut receiver = Agent::start(receive(&["--listen", "0.0.0.0:0", "--insecure"]));
    let said = receiver.wait_for_output("no TLS");
    assert!(said.contains("whoever reaches it"), "{said}");
    receiver.signal(Signal::SIGINT);
    assert!(receiver.end().0.success());
}
