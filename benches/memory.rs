//! Peak memory and CPU of the real binary's `run` over a generated node of 110 pods.
//!
//! Half a minute at one sample a second, one fifth of the pods active, into its own receiver: more
//! than a real interval asks for. Fails beyond 18 MiB.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a measurement starts the binary and reads what the kernel says of it"
)]

#[allow(dead_code, reason = "other measurements use more of the tree")]
#[path = "../tests/it/support/host_tree.rs"]
mod host_tree;

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use host_tree::{Activity, HostTree};

const PODS: usize = 110;
const SECONDS: u32 = 30;
const PEAK_KIB_MAX: u64 = 18 * 1024;

fn main() {
    let mut tree = HostTree::build(PODS);
    let roots = tree.roots();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_nodetally"))
        .env_clear()
        .args(["run", "--interval", "1s", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(roots.rootfs.join("state"))
        .args(["--node-name", "bench", "--path.procfs"])
        .arg(&roots.procfs)
        .arg("--path.sysfs")
        .arg(&roots.sysfs)
        .arg("--path.rootfs")
        .arg(&roots.rootfs)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..SECONDS {
        sleep(Duration::from_secs(1));
        tree.advance(Activity::NextFifth);
    }
    let pid = agent.id();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |key: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    let (peak, anonymous) = (of("VmHWM:"), of("RssAnon:"));
    println!("run over {PODS} pods, {SECONDS} samples, one fifth active:");
    println!("  peak resident set {peak} KiB, of it anonymous at the end {anonymous} KiB");
    println!("  {} ms of CPU a sample, sending included", ticks * 10 / u64::from(SECONDS));
    assert!(peak < PEAK_KIB_MAX, "more than {PEAK_KIB_MAX} KiB");
}
