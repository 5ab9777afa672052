//! The receiver under a cluster's posts over loopback: rows a second and core, bytes a stored sample, the
//! time of reads beside it, memory, and the time of a restart.
//!
//! ```text
//! cargo bench --bench receiver -- [NODES [PODS [MINUTES [SECONDS]]]] [--store STORE]     default: 25 110 60 0
//! ```
//!
//! | STORE | store |
//! |---|---|
//! | `sqlite` (default) | the receiver with a file |
//! | `postgres` | the receiver with a cluster of its own, with 64 MB of shared buffers, on the same disk |
//! | `victoria-metrics` | no receiver: the same samples by remote write |
//! | `all` | each of them, one after the other |
//!
//! The server is a process of its own, with a clock that the client sets: a round is 15 s of the cluster.
//! It takes SECONDS, over which its posts are spread; 0: as fast as both can. Each node posts its node and
//! one batch of its pods, as `pod-batch` has them. A fifth of the pods is active, the others use a little.

#![allow(clippy::disallowed_methods, reason = "a bench has a clock and opens files")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench that cannot go on ends"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nodetally::quantity::WallTime;
use nodetally::receiver::{
    PostgresAddress, Receiver, ReceiverBounds, ReceiverState, SqlitePlace, StorePlace,
};
use serde_json::{Value, json};

#[path = "../tests/it/support/postgres.rs"]
mod postgres;

#[path = "receiver/victoria_metrics.rs"]
mod victoria_metrics;

use postgres::{PostgresCluster, run_sql};

const BEGIN_MS: u64 = 1_749_654_000_000;
const ROUND_MS: u64 = 15_000;
/// Connections that post at the same time.
const CLIENTS: usize = 4;
/// Values of one push: CPU, memory, and bytes of disk and network.
const VALUES: u64 = 6;

/// Serves until its input ends. A line of its input is the time of its clock.
fn serve(path: &str) {
    let clock = Arc::new(AtomicU64::new(BEGIN_MS));
    let read = clock.clone();
    let bounds = ReceiverBounds {
        retention: Duration::from_secs(90 * 86_400),
        documents_bytes_max: 1 << 30,
        ..ReceiverBounds::for_interval(Duration::from_millis(ROUND_MS))
    };
    let place = match PostgresAddress::of_url(path) {
        Ok(address) => StorePlace::Postgres(Box::new(address)),
        Err(_) => StorePlace::Sqlite(SqlitePlace::File(path.into())),
    };
    let begun = Instant::now();
    let state = ReceiverState::open(
        &place,
        bounds,
        Arc::new(move || WallTime::from_unix_millis(read.load(Ordering::Relaxed))),
    )
    .unwrap();
    let opened = begun.elapsed();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let receiver = Receiver::bind_with(address, &state).await.unwrap();
        println!("{} {}", receiver.local_addr(), opened.as_micros());
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        thread::spawn(move || {
            for line in std::io::stdin().lines() {
                clock.store(line.unwrap().parse().unwrap(), Ordering::Relaxed);
            }
            drop(end);
        });
        receiver
            .serve(async {
                let _ = ended.await;
            })
            .await;
    });
}

struct Server {
    child: Child,
    address: SocketAddr,
    opened: Duration,
}

impl Server {
    fn start(path: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--serve")
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let (address, micros) = line.trim().split_once(' ').unwrap();
        Self {
            address: address.parse().unwrap(),
            opened: Duration::from_micros(micros.parse().unwrap()),
            child,
        }
    }

    fn set_clock(&mut self, millis: u64) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{millis}").unwrap();
        // The line is read before the posts of the round arrive.
        thread::sleep(Duration::from_millis(1));
    }

    fn status(&self, key: &str) -> u64 {
        status_of(self.child.id(), key)
    }

    fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// A figure of a process's status, in KiB.
fn status_of(pid: u32, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The CPU time of a process.
fn cpu_of(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    fn post(&mut self, path: &str, body: &str) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.get_mut().write_all(head.as_bytes()).unwrap();
        self.0.get_mut().write_all(body.as_bytes()).unwrap();
        let (status, answer) = self.answer();
        assert!(status.starts_with("HTTP/1.1 2"), "{status} {answer}");
    }

    /// Posts a request of remote write.
    fn write(&mut self, body: &[u8]) {
        let head = format!(
            "POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: snappy\r\n\
             Content-Type: application/x-protobuf\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.get_mut().write_all(head.as_bytes()).unwrap();
        self.0.get_mut().write_all(body).unwrap();
        let (status, answer) = self.answer();
        assert!(status.starts_with("HTTP/1.1 2"), "{status} {answer}");
    }

    fn get(&mut self, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.get_mut().write_all(head.as_bytes()).unwrap();
        let (status, answer) = self.answer();
        assert!(status.starts_with("HTTP/1.1 200"), "{status} {answer}");
        answer
    }

    fn chunks(&mut self) -> String {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            let begun = body.len();
            body.resize(begun + length + 2, 0);
            self.0.read_exact(&mut body[begun..]).unwrap();
            body.truncate(begun + length);
            if length == 0 {
                return String::from_utf8(body).unwrap();
            }
        }
    }

    fn answer(&mut self) -> (String, String) {
        let (mut status, mut length, mut is_chunked) = (String::new(), 0, false);
        self.0.read_line(&mut status).unwrap();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = text.trim().parse().unwrap();
            }
            is_chunked |= line.to_ascii_lowercase().starts_with("transfer-encoding: chunked");
            if line == "\r\n" {
                break;
            }
        }
        if is_chunked {
            return (status, self.chunks());
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, String::from_utf8(body).unwrap())
    }
}

fn envelope(resources: Vec<Value>) -> String {
    json!({
        "cluster_id": "bench", "collected_at": "2026-11-20T17:28:17Z",
        "context": {
            "name": "bench", "kubernetes_version": "v1.31.2", "labels": {}, "node_groups": [],
            "provider": {"name": "aws", "region": "eu-central-1"}
        },
        "resources": resources
    })
    .to_string()
}

/// Changes with the round as a real pod does: an active one by some percent, others hardly.
fn pod(node: usize, pod: usize, round: u64) -> Value {
    let mut random = fastrand::Rng::with_seed((node as u64) << 40 | (pod as u64) << 20 | round);
    let is_active = pod.is_multiple_of(5);
    let cores = if is_active { 0.2 + random.f64() / 5.0 } else { random.f64() / 500.0 };
    let base = (64 + pod as u64 % 90) << 20;
    let moved = if is_active { random.u64(0..256) * 4096 } else { random.u64(0..2) * 4096 };
    let (rx, tx) = if is_active { (random.u64(..200_000), random.u64(..400_000)) } else { (0, 0) };
    json!({
        "name": format!("web-{pod}-7d9f6b8c4-{node:05x}"), "namespace": format!("team-{}", pod % 12),
        "uid": format!("d757cf9d-0000-4000-{node:04x}-{pod:012x}"),
        "status": {
            "phase": "Running", "qos_class": "Burstable", "conditions": [],
            "container_statuses": []
        },
        "metadata": {
            "labels": {"app.kubernetes.io/name": "web", "pod-template-hash": "7d9f6b8c4"},
            "annotations": {}, "creation_timestamp": "2026-11-20T17:27:02Z",
            "owner_references": []
        },
        "spec": {"node_name": format!("node-{node:04}"), "priority_class": "", "service_account": ""},
        "metrics": {
            "cpu": {"usage": cores, "requests": 0.1, "limits": 1.0},
            "memory": {"usage_bytes": base + moved, "requests_bytes": 1 << 27, "limits_bytes": 1 << 28},
            "network": {"rx_bytes": rx, "tx_bytes": tx, "rx_errors": 0, "tx_errors": 0},
            "filesystem": {"usage_bytes": 1 << 20, "capacity_bytes": 1_u64 << 33}
        },
        "resources": {"requests": {}, "limits": {}}
    })
}

fn node_body(node: usize, round: u64) -> String {
    let mut random = fastrand::Rng::with_seed((node as u64) << 32 | round);
    json!({
        "cpu_millicores": 2000 + random.u64(..2000), "memory_bytes": (8_u64 << 30) + random.u64(..1 << 28),
        "disk_io": {"read_bytes": random.u64(..1 << 24), "write_bytes": random.u64(..1 << 26)},
        "network_io": {"bytes_sent": random.u64(..1 << 22), "bytes_recv": random.u64(..1 << 22)}
    })
    .to_string()
}

/// The rounds after which bodies come again.
fn rounds_of_bodies(nodes: usize, pods: usize) -> u64 {
    (150_000 / (nodes * pods).max(1)).clamp(3, 53) as u64
}

/// Bodies are made once and come again after some rounds, so that the client's share of the cores is
/// small. No round divides the points of a block.
fn bodies(node: usize, pods: usize, nodes: usize) -> Vec<(String, String)> {
    (0..rounds_of_bodies(nodes, pods))
        .map(|round| {
            let batch = envelope((0..pods).map(|at| pod(node, at, round)).collect());
            (node_body(node, round), batch)
        })
        .collect()
}

/// The store under test.
enum BenchStore {
    Sqlite(tempfile::TempDir),
    Postgres(PostgresCluster, String),
}

impl BenchStore {
    /// The argument of `--serve`.
    fn place(&self) -> String {
        match self {
            Self::Sqlite(dir) => dir.path().join("receiver.db").display().to_string(),
            Self::Postgres(_, url) => url.clone(),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Sqlite(_) => bytes_of(Path::new(&self.place())),
            Self::Postgres(_, url) => {
                run_sql(url, "SELECT pg_database_size(current_database())")[0].parse().unwrap()
            }
        }
    }

    /// CPU time of the processes of a database server.
    fn cpu(&self) -> Option<Duration> {
        let Self::Postgres(cluster, _) = self else { return None };
        let pid = std::fs::read_to_string(cluster.path().join("data/postmaster.pid")).unwrap();
        let server = pid.lines().next().unwrap();
        let mut ticks = 0;
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(text) = std::fs::read_to_string(process.path().join("stat")) else { continue };
            let Some((head, behind)) = text.rsplit_once(')') else { continue };
            let fields: Vec<&str> = behind.split_whitespace().collect();
            let is_server = head.split(' ').next() == Some(server);
            if is_server || fields[1] == server {
                // Its own, and of the server also that of connections that have ended.
                let columns = if is_server { 11..15 } else { 11..13 };
                ticks += columns.map(|at| fields[at].parse::<u64>().unwrap()).sum::<u64>();
            }
        }
        Some(Duration::from_millis(ticks * 10))
    }
}

fn bytes_of(path: &Path) -> u64 {
    let sizes = ["", "-wal"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        std::fs::metadata(name).map_or(0, |metadata| metadata.len())
    });
    sizes.iter().sum()
}

fn main() {
    let mut arguments: Vec<String> =
        std::env::args().skip(1).filter(|text| text != "--bench").collect();
    if let [flag, path] = &arguments[..]
        && flag == "--serve"
    {
        return serve(path);
    }
    let store = match arguments.iter().position(|argument| argument == "--store") {
        Some(at) => arguments.drain(at..).nth(1).expect("a store behind --store"),
        None => "sqlite".to_owned(),
    };
    let number = |at: usize, default: usize| {
        arguments.get(at).map_or(default, |text| text.parse().expect("a number"))
    };
    let (nodes, pods, minutes) = (number(0, 25), number(1, 110), number(2, 60));
    for one in ["sqlite", "postgres", "victoria-metrics"] {
        if store != "all" && store != one {
            continue;
        }
        println!("\n{one}:");
        match one {
            "victoria-metrics" => victoria_metrics::run(nodes, pods, minutes as u64 * 4),
            _ => receiver(one == "postgres", nodes, pods, minutes, number(3, 0)),
        }
    }
}

fn receiver(is_postgres: bool, nodes: usize, pods: usize, minutes: usize, seconds: usize) {
    let rounds = minutes as u64 * 4;
    let pause = Duration::from_secs(seconds as u64) * CLIENTS as u32 / nodes as u32;
    let store = if is_postgres {
        let cluster = PostgresCluster::start("").expect("initdb in $PATH");
        let url = cluster.database();
        BenchStore::Postgres(cluster, url)
    } else {
        BenchStore::Sqlite(tempfile::tempdir().unwrap())
    };
    let mut server = Server::start(&store.place());
    let all: Vec<Vec<(String, String)>> =
        (0..nodes).map(|node| bodies(node, pods, nodes)).collect();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
    let mut reader = Client::connect(server.address);
    let mut reads: Vec<Duration> = Vec::new();
    let begun = Instant::now();
    for round in 0..rounds {
        server.set_clock(BEGIN_MS + round * ROUND_MS);
        thread::scope(|scope| {
            for (at, client) in clients.iter_mut().enumerate() {
                let all = &all;
                scope.spawn(move || {
                    for (node, bodies) in all.iter().enumerate().skip(at).step_by(CLIENTS) {
                        let (body, batch) = &bodies[round as usize % bodies.len()];
                        client.post(&format!("/api/nodes/node-{node:04}/metrics"), body);
                        client.post("/api/v1/metrics/pods", batch);
                        thread::sleep(pause);
                    }
                });
            }
            if round % 4 == 3 {
                for node in (0..nodes).step_by((nodes / 25).max(1)) {
                    thread::sleep(pause * 4);
                    let begun = Instant::now();
                    reader.get(&format!("/api/nodes/node-{node:04}/pods"));
                    reads.push(begun.elapsed());
                }
            }
        });
    }
    let (took, cpu) = (begun.elapsed(), server.cpu());
    let rows = nodes as u64 * (pods as u64 + 1) * rounds;
    reads.sort_unstable();
    let percentile = |part: usize| reads[(reads.len() * part / 100).min(reads.len() - 1)];
    println!("{nodes} nodes, {pods} pods each, {minutes} min: {rows} rows in {took:.1?}");
    println!("rows a second of the server's CPU: {:.0}", rows as f64 / cpu.as_secs_f64());
    println!("CPU of a core at 15 s: {:.2} %", cpu.as_secs_f64() / (rounds * 15) as f64 * 100.0);
    if let Some(cpu) = store.cpu() {
        println!("rows a second of PostgreSQL's CPU: {:.0}", rows as f64 / cpu.as_secs_f64());
    }
    println!("resident: {} KiB, peak {} KiB", server.status("VmRSS:"), server.status("VmHWM:"));
    println!("bytes a value: {:.2}", store.bytes() as f64 / (rows * VALUES) as f64);
    println!("pods of a node: median {:.1?}, 99 % {:.1?}", percentile(50), percentile(99));
    let begun = Instant::now();
    let series = reader.get(&format!("/api/nodes/node-0000?window={}", minutes * 60));
    println!("a node's past: {} KB in {:.1?}", series.len() / 1000, begun.elapsed());
    drop((clients, reader));
    server.end();
    let again = Server::start(&store.place());
    println!("restart: {:.1?}; {} MB on disk", again.opened, store.bytes() / 1_000_000);
    again.end();
}
