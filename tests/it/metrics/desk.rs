//! A captured host with an agent that serves its metrics.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use nix::sys::signal::Signal;

use super::scrape::{OPEN_METRICS, Series, ask};
use crate::support::agent::{Agent, Host, any_port, eventually, receiver};

pub const HOST: &str = "6.8-crio-systemd";

pub struct Desk {
    pub host: Host,
    dir: tempfile::TempDir,
    pub listen: SocketAddr,
    endpoint: SocketAddr,
}

impl Desk {
    /// `more` stands in `[metrics]`, behind the address.
    pub fn new(more: &str) -> Self {
        // A port that was just free.
        let listen = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let endpoint = receiver(any_port());
        let desk = Self { host: Host::copy(HOST), dir, listen, endpoint };
        desk.configure(more);
        desk
    }

    pub fn configure(&self, more: &str) {
        let text = format!(
            "[node]\nname = \"n1\"\n[sampling]\ninterval = \"1s\"\n[spool]\ndir = \"none\"\n\
             [metrics]\nlisten = \"{}\"\n{more}\n\
             [[endpoint]]\nname = \"central\"\nurl = \"http://{}/\"\n",
            self.listen, self.endpoint
        );
        fs::write(self.path("c.toml"), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.host.agent(arguments);
        command.arg("--config").arg(self.path("c.toml"));
        command.arg("--state-dir").arg(self.path("state"));
        command
    }

    pub fn start(&self) -> Agent {
        Agent::start(self.command(&["run"]))
    }

    /// All series as OpenMetrics, asked under a name.
    pub fn series(&self, name: &str) -> Option<Series> {
        let headers = [("User-Agent", name), ("Accept", OPEN_METRICS)];
        let answer = ask(self.listen, "/metrics", &headers).ok()?;
        (answer.status == 200).then(|| Series::of(&answer.text()))
    }

    /// The series of the first answer in which `is_it` holds.
    #[track_caller]
    pub fn until(&self, what: &str, is_it: impl Fn(&Series) -> bool) -> Series {
        eventually(what, || self.series("a").filter(&is_it))
    }

    /// The series of the next sample but `beyond`.
    #[track_caller]
    pub fn next(&self, beyond: u32) -> Series {
        let samples = |series: &Series| series.get("nodetally_samples_total", &[]);
        let before = samples(&self.until("an answer", |_| true));
        self.until("a next sample", |now| samples(now) > before + f64::from(beyond))
    }

    /// Changes the host between two samples.
    pub fn change(&self, agent: &Agent, change: impl FnOnce(&Host)) {
        self.next(0);
        agent.signal(Signal::SIGSTOP);
        change(&self.host);
        agent.signal(Signal::SIGCONT);
    }
}
