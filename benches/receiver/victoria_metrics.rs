//! The same samples in victoria-metrics (Debian's package), by remote write 1.0.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use prost::Message;
use serde_json::Value;

use super::{
    BEGIN_MS, Client, ROUND_MS, VALUES, cpu_of, node_body, pod, rounds_of_bodies, status_of,
};

#[derive(Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<Series>,
}

#[derive(Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

const NAMES: [&str; VALUES as usize] =
    ["cpu_cores", "memory_bytes", "disk_read", "disk_written", "network_sent", "network_received"];

fn series(node: usize, pod: Option<&Value>, values: [f64; 6], at: u64) -> Vec<Series> {
    let label = |name: &str, value: String| Label { name: name.to_owned(), value };
    let one = |(name, value): (&str, f64)| {
        let mut labels = vec![label("__name__", name.to_owned())];
        if let Some(pod) = pod {
            labels.push(label("namespace", pod["namespace"].as_str().unwrap().to_owned()));
        }
        labels.push(label("node", format!("node-{node:04}")));
        if let Some(pod) = pod {
            labels.push(label("pod", pod["name"].as_str().unwrap().to_owned()));
        }
        Series { labels, samples: vec![Sample { value, timestamp: at as i64 }] }
    };
    NAMES.into_iter().zip(values).map(one).collect()
}

fn request(node: usize, pods: usize, round: u64, bodies: u64) -> Vec<u8> {
    let (at, round) = (BEGIN_MS + round * ROUND_MS, round % bodies);
    let body: Value = serde_json::from_str(&node_body(node, round)).unwrap();
    let of = |pointer: &str| body.pointer(pointer).and_then(Value::as_f64).unwrap();
    let own = [
        of("/cpu_millicores") / 1000.0,
        of("/memory_bytes"),
        of("/disk_io/read_bytes"),
        of("/disk_io/write_bytes"),
        of("/network_io/bytes_sent"),
        of("/network_io/bytes_recv"),
    ];
    let mut timeseries = series(node, None, own, at);
    for number in 0..pods {
        let pod = pod(node, number, round);
        let of = |pointer: &str| pod.pointer(pointer).and_then(Value::as_f64).unwrap();
        // In thousandths, as the receiver keeps them.
        let cores = (of("/metrics/cpu/usage") * 1000.0).round() / 1000.0;
        let (sent, received) = (of("/metrics/network/tx_bytes"), of("/metrics/network/rx_bytes"));
        let values = [cores, of("/metrics/memory/usage_bytes"), 0.0, 0.0, sent, received];
        timeseries.extend(series(node, Some(&pod), values, at));
    }
    let body = WriteRequest { timeseries }.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&body).unwrap()
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn bytes_below(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Prints the figures of victoria-metrics for the samples that the receiver had.
pub fn run(nodes: usize, pods: usize, rounds: u64) {
    let bodies = rounds_of_bodies(nodes, pods);
    let dir = tempfile::tempdir().unwrap();
    let address: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let start = || {
        let mut command = Command::new("victoria-metrics");
        command.arg(format!("-storageDataPath={}", dir.path().display()));
        command.arg(format!("-httpListenAddr={address}")).arg("-retentionPeriod=10y");
        command.args(["-loggerLevel=ERROR"]).stdout(Stdio::null()).stderr(Stdio::null());
        let begun = Instant::now();
        let child = Killed(command.spawn().expect("victoria-metrics is to be installed"));
        while TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        (child, begun.elapsed())
    };
    let (mut server, _) = start();
    let mut client = Client::connect(address);
    let begun = Instant::now();
    for round in 0..rounds {
        for node in 0..nodes {
            client.write(&request(node, pods, round, bodies));
        }
    }
    let (took, cpu) = (begun.elapsed(), cpu_of(server.0.id()));
    let rows = nodes as u64 * (pods as u64 + 1) * rounds;
    println!("{nodes} nodes, {pods} pods each, one client: {rows} rows in {took:.1?}");
    println!("rows a second of the server's CPU: {:.0}", rows as f64 / cpu.as_secs_f64());
    let of = |key| status_of(server.0.id(), key);
    println!("resident: {} KiB, peak {} KiB", of("VmRSS:"), of("VmHWM:"));
    // What is in memory is written when it ends.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(server.0.id() as i32),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    server.0.wait().unwrap();
    println!("bytes a value: {:.2}", bytes_below(dir.path()) as f64 / (rows * VALUES) as f64);
    let (_server, opened) = start();
    println!("restart: {opened:.1?}");
}
