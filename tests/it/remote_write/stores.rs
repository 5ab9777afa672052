//! Debian's Prometheus and VictoriaMetrics: what the agent sends them can be asked for again.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::support::agent::{
    Agent, Host, add, any_port, eventually, replace, with_few_descriptors,
};
use crate::support::rounds::outage;
use crate::support::skip::skip;

const KUBEPODS: &str = "sys/fs/cgroup/kubepods.slice";
pub(super) const POD: &str = "d757cf9d-1256-4c5a-abe2-5520cb3b6505";
pub(super) const SHORT_POD: &str = "11111111-2222-4333-8444-555555555555";
pub(super) const CPU: &str = "k8s_pod_cpu_time_seconds_total";
const DISK: &str = "nodetally_pod_disk_io_bytes_total";

pub(super) fn dir_of(uid: &str) -> String {
    format!("{KUBEPODS}/kubepods-pod{}.slice", uid.replace('-', "_"))
}

/// A database that takes remote write and answers queries.
struct Store {
    program: &'static str,
    dir: tempfile::TempDir,
    address: SocketAddr,
    child: Option<Child>,
}

impl Store {
    /// `None`: the program is not here, which is recorded.
    fn start(program: &'static str) -> Option<Self> {
        let is_here = Command::new(program)
            .arg(if program == "prometheus" { "--version" } else { "-version" })
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok();
        if !is_here {
            skip(format!("{program} is not installed"));
            return None;
        }
        let address = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
        let mut store = Self { program, dir: tempfile::tempdir().unwrap(), address, child: None };
        store.begin();
        Some(store)
    }

    fn begin(&mut self) {
        let (dir, address) = (self.dir.path(), self.address);
        let mut command = Command::new(self.program);
        if self.program == "prometheus" {
            fs::write(dir.join("empty.yml"), "global: {}\n").unwrap();
            command
                .arg(format!("--config.file={}", dir.join("empty.yml").display()))
                .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                .arg("--web.enable-remote-write-receiver");
        } else {
            command
                .arg(format!("-storageDataPath={}", dir.join("data").display()))
                .arg(format!("-httpListenAddr={address}"))
                .arg("-search.latencyOffset=0s")
                .arg("-search.disableCache");
        }
        let log = fs::File::create(dir.join("log")).unwrap();
        let child = command.current_dir(dir).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        eventually("the database answers", || self.ask("vector(1)").is_array().then_some(()));
    }

    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        child.wait().unwrap();
    }

    /// The result of an instant query; null without an answer.
    fn ask(&self, query: &str) -> Value {
        let Ok(mut stream) = TcpStream::connect(self.address) else { return Value::Null };
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        // With 1.0 the answer comes in one piece.
        let head = format!("GET /api/v1/query?query={query} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let mut answer = String::new();
        if stream.write_all(head.as_bytes()).is_err() || stream.read_to_string(&mut answer).is_err()
        {
            return Value::Null;
        }
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        body["data"]["result"].clone()
    }

    /// The value of the one series that a query finds; `None`: it finds none.
    fn value(&self, query: &str) -> Option<f64> {
        self.ask(query)[0]["value"][1].as_str()?.parse().ok()
    }

    /// Times in milliseconds and values of the one series of the last five minutes.
    fn points(&self, series: &str) -> Vec<(u64, f64)> {
        let found = self.ask(&format!("{series}[5m]"));
        let points = found[0]["values"].as_array().cloned().unwrap_or_default();
        let point = |point: &Value| {
            let millis = (point[0].as_f64().unwrap() * 1000.0).round();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a date")]
            (millis as u64, point[1].as_str().unwrap().parse().unwrap())
        };
        points.iter().map(point).collect()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Adds CPU time to a pod and to the slice above.
pub(super) fn burn(host: &Host, uid: &str, millis: u64) {
    for dir in [KUBEPODS, &dir_of(uid)] {
        let path = host.path(&format!("{dir}/cpu.stat"));
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| match line.split_once(' ') {
            Some((key @ ("usage_usec" | "user_usec"), usec)) => {
                format!("{key} {}\n", usec.parse::<u64>().unwrap() + millis * 1000)
            }
            _ => format!("{line}\n"),
        });
        replace(&path, &lines.collect::<String>());
    }
}

/// Adds written bytes to a pod, to the slice above and to the disk.
fn write(host: &Host, uid: &str, bytes: u64) {
    for disk in ["nvme0n1", "nvme0n1p3", "dm-1"] {
        host.write_sectors(disk, bytes / 512);
    }
    for dir in [KUBEPODS, &dir_of(uid)] {
        // The device mapper's device lies on the disk; the kernel counts a write on both.
        for device in ["253:1 ", "259:0 "] {
            add(host, &format!("{dir}/io.stat"), device, "wbytes=", bytes);
        }
    }
}

/// Makes a pod's cgroup without processes or usage.
pub(super) fn make_pod(host: &Host, uid: &str) {
    let dir = host.path(&dir_of(uid));
    // Beside the tree: the kernel renames no cgroup, and a sampler that has seen the first name stays with it.
    let made = host.path("made");
    fs::create_dir(&made).unwrap();
    for entry in fs::read_dir(host.path(&dir_of(POD))).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), made.join(entry.file_name())).unwrap();
        }
    }
    let zero = "usage_usec 0\nuser_usec 0\nsystem_usec 0\n";
    fs::write(made.join("cpu.stat"), zero).unwrap();
    fs::write(made.join("cgroup.procs"), "").unwrap();
    fs::rename(made, dir).unwrap();
}

/// The agent over a host, every second to the endpoint at this address.
pub(super) fn agent(host: &Host, dir: &Path, address: SocketAddr) -> Agent {
    agent_with_state(host, dir, address, Path::new("none"))
}

/// The same with a state directory; `none` for none.
pub(super) fn agent_with_state(
    host: &Host,
    dir: &Path,
    address: SocketAddr,
    state: &Path,
) -> Agent {
    let config = dir.join("nodetally.toml");
    let text = format!(
        "[node]\nname = \"n1\"\n[sampling]\ninterval = \"1s\"\ntcp_sockets = false\n\
         [state]\ndir = {state:?}\n[spool]\ndir = {:?}\n[directory]\nsources = []\n\
         [[endpoint]]\nname = \"central\"\nurl = \"http://{}/api/v1/write\"\nspread = \"0s\"\n\
         dialect = \"prometheus-remote-write\"\nexternal_labels = [\"cluster=prod\"]\n",
        dir.join("spool"),
        address
    );
    fs::write(&config, text).unwrap();
    let mut command = with_few_descriptors(&host.agent(&["run"]));
    command.arg("--config").arg(config);
    Agent::start(command)
}

fn is_near(value: f64, expected: f64) -> bool {
    (value - expected).abs() <= expected * 0.02
}

fn now_millis() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[test]
fn prometheus_has_what_was_used_also_in_an_outage_and_of_a_short_life() {
    used_and_found("prometheus");
}

#[test]
fn victoria_metrics_has_what_was_used_also_in_an_outage_and_of_a_short_life() {
    used_and_found("victoria-metrics");
}

fn used_and_found(program: &'static str) {
    let Some(mut store) = Store::start(program) else { return };
    let (host, dir) = (Host::copy("6.8-crio-systemd"), tempfile::tempdir().unwrap());
    let agent = agent(&host, dir.path(), store.address);
    let pod = format!("{CPU}{{uid=\"{POD}\"}}");
    let disk = |direction| format!("{DISK}{{uid=\"{POD}\",direction=\"{direction}\"}}");
    let wait_for = |store: &Store, series: &str, expected: f64| {
        let query = format!("last_over_time({series}[5m])");
        eventually(&format!("{expected} of {series}"), || {
            store.value(&query).is_some_and(|value| is_near(value, expected)).then_some(())
        });
    };
    eventually("a first sample", || store.value(&pod));
    burn(&host, POD, 2500);
    write(&host, POD, 1 << 20);
    wait_for(&store, &pod, 2.5);
    wait_for(&store, &disk("write"), 1_048_576.0);
    assert_eq!(store.value(&disk("read")), Some(0.0));
    let labels = store.ask(&pod)[0]["metric"].clone();
    let expected = serde_json::json!({
        "__name__": CPU, "cluster": "prod", "instance": "n1", "job": "nodetally", "node": "n1",
        "uid": POD,
    });
    assert_eq!(labels, expected);

    // An outage: what was used then is found at its own time.
    store.stop();
    let stopped = now_millis();
    let outage = outage(Duration::from_secs(6));
    thread::sleep(outage / 2);
    burn(&host, POD, 1000);
    thread::sleep(outage / 2);
    let started = now_millis();
    store.begin();
    burn(&host, POD, 500);
    wait_for(&store, &pod, 4.0);
    let points = store.points(&pod);
    let in_outage: Vec<(u64, f64)> =
        points.iter().copied().filter(|(at, _)| (stopped..started).contains(at)).collect();
    for expected in [2.5, 3.5] {
        let found = in_outage.iter().any(|(_, value)| is_near(*value, expected));
        assert!(found, "{expected} between {stopped} and {started}: {points:?}");
    }
    // A sample a second, of which a busy machine may be late for a few.
    let (seconds, found) = (outage.as_secs(), in_outage.len() as u64);
    println!("{program}: {found} points in an outage of {seconds} s");
    assert!(found * 10 >= seconds * 8, "{found} in {seconds} s: {points:?}");

    // A pod that lives for little longer than an interval.
    make_pod(&host, SHORT_POD);
    burn(&host, SHORT_POD, 300);
    thread::sleep(Duration::from_millis(1200));
    fs::remove_dir_all(host.path(&dir_of(SHORT_POD))).unwrap();
    let short_pod = format!("{CPU}{{uid=\"{SHORT_POD}\"}}");
    wait_for(&store, &short_pod, 0.3);
    let increase = store.value(&format!("increase({short_pod}[2m])"));
    assert!(increase.is_some_and(|value| value > 0.0), "{increase:?}");
    // Without stale markers its series would be there for five minutes.
    eventually("the end of all its series", || {
        store.ask(&format!("{{uid=\"{SHORT_POD}\"}}")).as_array()?.is_empty().then_some(())
    });
    assert!(store.value(&pod).is_some());

    // An agent that stops leaves nothing behind that looks alive.
    agent.signal(Signal::SIGTERM);
    let (status, log) = agent.end();
    assert!(status.success(), "{log}");
    assert_eq!(log.matches("does not know remote write 2.0").count(), 1, "{log}");
    assert!(!log.contains("dropped"), "{log}");
    eventually("the end of all series", || {
        store.ask("{job=\"nodetally\"}").as_array()?.is_empty().then_some(())
    });
}
