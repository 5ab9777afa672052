//! The paths of a running agent.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::support::agent::{Agent, Host, any_port, eventually, receiver};

/// The whole answer; empty if there is none.
fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut text = String::new();
    let Ok(mut stream) = TcpStream::connect(address) else { return text };
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if write!(stream, "{head}{headers}\r\n").is_ok() {
        let _ = stream.read_to_string(&mut text);
    }
    text
}

#[test]
fn an_agent_answers_on_the_kubelets_paths() {
    let listen = receiver(any_port());
    let address = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    let host = Host::copy("7.2-containerd-cgroupfs");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.toml");
    let text = format!(
        "[node]\nname = \"worker-1\"\n[sampling]\ninterval = \"1s\"\n[spool]\ndir = {:?}\n\
         [metrics]\nlisten = \"{address}\"\n\
         [[endpoint]]\nname = \"central\"\nurl = \"http://{listen}/\"\n",
        dir.path().join("spool")
    );
    fs::write(&config, text).unwrap();
    let mut command = host.agent(&["run"]);
    command.arg("--config").arg(&config).arg("--state-dir").arg(dir.path().join("state"));
    let _agent = Agent::start(command);
    let resource = eventually("an answer with the node's memory", || {
        let text = get(address, "/metrics/resource", "");
        text.contains("\nnode_memory_working_set_bytes 6").then_some(text)
    });
    assert!(resource.contains("content-type: text/plain; version=0.0.4"), "{resource}");
    let cadvisor = get(address, "/metrics/cadvisor", "");
    let node = "container_memory_usage_bytes{container=\"\",id=\"/\",";
    assert!(cadvisor.contains(node), "{cadvisor}");
    assert!(cadvisor.contains("kernelVersion=\"7.2.13\""), "{cadvisor}");
    let open = get(address, "/metrics/cadvisor", "Accept: application/openmetrics-text\r\n");
    assert!(open.contains("application/openmetrics-text") && open.contains("# EOF\n"), "{open}");
    let summary = get(address, "/stats/summary", "");
    assert!(summary.contains("content-type: application/json"), "{summary}");
    assert!(summary.contains("\"nodeName\":\"worker-1\""), "{summary}");
}
