//! The end of series at a reload.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ChildStderr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::bodies::all_series;
use super::server::Server;
use super::wire::Sample;
use crate::support::agent::{Agent, Host, any_port, eventually, with_few_descriptors};

/// A running agent with its configuration.
struct Desk {
    dir: tempfile::TempDir,
    agent: Agent,
    log: BufReader<ChildStderr>,
    _host: Host,
}

impl Desk {
    fn start(endpoints: &str) -> Self {
        let (host, dir) = (Host::copy("6.8-crio-systemd"), tempfile::tempdir().unwrap());
        configure(dir.path(), endpoints);
        let mut command = with_few_descriptors(&host.agent(&["run"]));
        command.arg("--config").arg(config(dir.path()));
        let mut agent = Agent::start(command);
        let log = BufReader::new(agent.0.stderr.take().unwrap());
        Self { dir, agent, log, _host: host }
    }

    /// Reloads, and returns how long that took.
    fn reload(&mut self, endpoints: &str) -> Duration {
        configure(self.dir.path(), endpoints);
        let began = Instant::now();
        self.agent.signal(Signal::SIGHUP);
        let mut line = String::new();
        while !line.contains("reloaded: ") {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "it ended");
            assert!(!line.contains("not reloaded"), "{line}");
        }
        began.elapsed()
    }

    /// The samples in the file of lines.
    fn samples(&self) -> usize {
        let lines = fs::read_to_string(self.dir.path().join("lines")).unwrap_or_default();
        lines.lines().filter(|line| line.contains("\"kind\":\"node\"")).count()
    }
}

fn config(dir: &Path) -> PathBuf {
    dir.join("nodetally.toml")
}

fn configure(dir: &Path, endpoints: &str) {
    let text = format!(
        "[node]\nname = \"n1\"\n[sampling]\ninterval = \"1s\"\ntcp_sockets = false\n\
         [state]\ndir = {:?}\n[spool]\ndir = {:?}\n[directory]\nsources = []\n\
         [[endpoint]]\nname = \"lines\"\nurl = \"file://{}\"\ndialect = \"ndjson\"\n{endpoints}",
        dir.join("state"),
        dir.join("spool"),
        dir.join("lines").display(),
    );
    fs::write(config(dir), text).unwrap();
}

fn push(name: &str, url: &str, more: &str) -> String {
    format!(
        "[[endpoint]]\nname = \"{name}\"\nurl = \"{url}\"\nspread = \"0s\"\n\
         dialect = \"prometheus-remote-write\"\n{more}\n"
    )
}

/// A server of protocol 2.0 that takes all.
fn server() -> Server {
    Server::start(|_, request| {
        let series = request.series();
        let count: usize = series.iter().map(|series| series.samples.len()).sum();
        (format!("204 No Content\r\nx-prometheus-remote-write-samples-written: {count}"), "")
    })
}

fn url(server: &Server) -> String {
    format!("http://{}/write", server.address)
}

/// The points of each series with this value of `cluster`.
fn series(server: &Server, cluster: &str) -> BTreeMap<Vec<(String, String)>, Vec<Sample>> {
    let mut all = all_series(server);
    let pair = ("cluster".to_owned(), cluster.to_owned());
    all.retain(|labels, _| labels.contains(&pair));
    all
}

fn wait_for_samples(server: &Server, cluster: &str) {
    let before = server.received().len();
    eventually("two samples", || {
        (server.received().len() > before + 1 && series(server, cluster).len() > 50).then_some(())
    });
}

const PROD: &str = "external_labels = [\"cluster=prod\"]";

#[test]
fn series_end_that_a_reload_takes_away_and_no_others() {
    for case in ["removed", "url", "dialect", "tenant", "labels", "timeout", "name"] {
        let (first, second) = (server(), server());
        let otlp = super::server::Server::start(|_, _| ("200 OK".to_owned(), ""));
        let (here, there) = (url(&first), url(&second));
        let mut desk = Desk::start(&push("a", &here, PROD));
        wait_for_samples(&first, "prod");
        let next = match case {
            "removed" => String::new(),
            "url" => push("a", &there, PROD),
            "dialect" => {
                let base = format!("http://{}", otlp.address);
                format!("[[endpoint]]\nname = \"a\"\nurl = \"{base}\"\ndialect = \"otlp\"\n")
            }
            "tenant" => push("a", &here, &format!("{PROD}\nheaders = {{ X-Scope-OrgID = \"b\" }}")),
            "labels" => push("a", &here, "external_labels = [\"cluster=test\"]"),
            "timeout" => push("a", &here, &format!("{PROD}\ntimeout = \"2s\"")),
            _ => push("b", &here, PROD),
        };
        desk.reload(&next);
        let is_kept = ["timeout", "name"].contains(&case);
        match case {
            "url" => wait_for_samples(&second, "prod"),
            "labels" => wait_for_samples(&first, "test"),
            _ if is_kept => wait_for_samples(&first, "prod"),
            _ => {}
        }
        let ends = |points: &Vec<Sample>| points.iter().filter(|point| point.is_stale()).count();
        if is_kept {
            let all = series(&first, "prod");
            let ended: Vec<_> = all.iter().filter(|(_, points)| ends(points) > 0).collect();
            assert!(ended.is_empty(), "{case}: {ended:?}");
        } else {
            eventually(case, || {
                series(&first, "prod").values().all(|of| ends(of) > 0).then_some(())
            });
            for (labels, points) in series(&first, "prod") {
                assert_eq!(ends(&points), 1, "{case}: {labels:?}: {points:?}");
                let is_last = points.last().unwrap().is_stale();
                // Another tenant's points of the same names come behind the end.
                assert!(is_last || case == "tenant", "{case}: {labels:?}: {points:?}");
                let is_ordered = points.is_sorted_by(|a, b| a.millis < b.millis);
                assert!(is_ordered, "{case}: {labels:?}: {points:?}");
            }
        }
        for (labels, points) in series(&second, "prod").into_iter().chain(series(&first, "test")) {
            assert_eq!(ends(&points), 0, "{case}: {labels:?}: {points:?}");
        }
        desk.agent.signal(Signal::SIGTERM);
        assert!(desk.agent.0.wait().unwrap().success(), "{case}");
        // Nothing comes behind the end of the endpoint.
        let all = series(&first, "prod");
        assert!(all.values().all(|of| of.last().unwrap().is_stale()), "{case}");
        assert!(all.values().all(|of| ends(of) <= 2), "{case}");
    }
}

/// A server that takes connections and answers nothing.
#[test]
fn a_server_that_does_not_answer_does_not_hold_the_reload_that_removes_it() {
    let silent = TcpListener::bind(any_port()).unwrap();
    let here = format!("http://{}/write", silent.local_addr().unwrap());
    let mut desk = Desk::start(&push("a", &here, PROD));
    eventually("samples", || (desk.samples() > 1).then_some(()));
    let took = desk.reload("");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let before = desk.samples();
    eventually("more samples", || (desk.samples() > before + 1).then_some(()));
    desk.agent.signal(Signal::SIGTERM);
    let began = Instant::now();
    assert!(desk.agent.0.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}
