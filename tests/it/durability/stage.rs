//! A captured host, an agent over it with directories of its own, and what it says.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::ExitStatus;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::durability::peer::Peer;
use crate::support::agent::{Agent, Host, eventually};

pub struct Stage {
    pub host: Host,
    pub scratch: tempfile::TempDir,
    has_other_state: Cell<bool>,
}

impl Stage {
    pub fn new() -> Self {
        Self {
            host: Host::copy("6.12-podman-bare"),
            scratch: tempfile::tempdir().unwrap(),
            has_other_state: Cell::new(false),
        }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.scratch.path().join(below)
    }

    /// `endpoints`: name, URL and further lines of each.
    pub fn configure(&self, endpoints: &[(&str, &str, &str)]) {
        let mut text = format!(
            "[node]\nname = \"n1\"\n[spool]\ndir = \"{}\"\n[status]\nlisten = \"none\"\n",
            self.path("spool").display()
        );
        for (name, url, more) in endpoints {
            text.push_str(&format!("[[endpoint]]\nname = \"{name}\"\nurl = \"{url}\"\n{more}\n"));
        }
        fs::write(self.path("config.toml"), text).unwrap();
    }

    pub fn start(&self) -> Agent {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.host.agent(&["run", "--interval", "1s"]);
        command.arg("--config").arg(self.path("config.toml"));
        if !self.has_other_state.get() {
            command.arg("--state-dir").arg(self.path("state"));
        }
        command.stderr(log);
        Agent::start(command)
    }

    /// Replaces `words` in the configuration by `others`.
    pub fn reconfigure(&self, words: &str, others: &str) {
        let text = fs::read_to_string(self.path("config.toml")).unwrap();
        assert!(text.contains(words), "{text}");
        fs::write(self.path("config.toml"), text.replace(words, others)).unwrap();
    }

    /// The state is where the configuration has it, which is the directory of this name at first.
    pub fn configure_state(&self, name: &str) {
        self.has_other_state.set(true);
        let dir = self.path(name);
        self.reconfigure("[spool]", &format!("[state]\ndir = \"{}\"\n[spool]", dir.display()));
    }

    /// The number of unacknowledged posts to an endpoint, in files beside the counters.
    pub fn on_their_way(&self, state: &str, endpoint: &str) -> usize {
        let dir = self.path(state).join("handover").join(endpoint);
        fs::read_dir(dir).map_or(0, Iterator::count)
    }

    /// All that agents here have logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    pub fn wait_for_log(&self, words: &str) {
        eventually(words, || self.log().contains(words).then_some(()));
    }

    pub fn count_in_log(&self, words: &str) -> usize {
        self.log().matches(words).count()
    }

    pub fn spool_file(&self, name: &str) -> PathBuf {
        self.path("spool").join(format!("{name}.spool"))
    }
}

pub fn stop(mut agent: Agent) -> ExitStatus {
    agent.signal(Signal::SIGTERM);
    agent.0.wait().unwrap()
}

/// The node's posts that a peer has taken, by key.
pub fn node_posts(peer: &Peer) -> Vec<Value> {
    let memory = peer.memory();
    assert_eq!(memory.contradictions, [""; 0]);
    let of_node = memory.posts.values().filter(|post| post.path.contains("/nodes/n1/"));
    of_node.map(|post| serde_json::from_str(&post.body).unwrap()).collect()
}

/// The sum of the node's written bytes over all posts.
pub fn written(peer: &Peer) -> u64 {
    let bytes = |post: &Value| post["disk_io"]["write_bytes"].as_u64().unwrap();
    node_posts(peer).iter().map(bytes).sum()
}
