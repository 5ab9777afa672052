//! The host's tree, an agent over it, and what the tree has it say.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::cluster::objects;
use crate::support::agent::{Agent, eventually, get};
use crate::support::host_tree::{Activity, HostTree};

/// The usage of an active pod in a tick: each of two containers 10 ms of CPU, and on the topmost
/// device 8 KiB each way.
pub const CPU_USEC: u64 = 20_000;
pub const DISK_BYTES: u64 = 16_384;

/// This pod keeps a file of so many bytes in an emptyDir volume, and nobody anything else.
pub const WITH_FILES: usize = 3;
pub const FILE_BYTES: u64 = 1 << 20;

pub struct Host {
    pub tree: HostTree,
    /// In how many ticks each pod was active.
    active: Vec<u64>,
    ticks: usize,
    /// The CPU that the ticks added to `/proc/stat`, in microseconds.
    pub node_cpu_usec: u64,
}

impl Host {
    pub fn new(pods: usize) -> Self {
        let tree = HostTree::build(pods);
        let host = Self { tree, active: vec![0; pods], ticks: 0, node_cpu_usec: 0 };
        let root = host.tree.path();
        let mounts = root.join("proc/1/mountinfo");
        let cgroups = std::fs::read_to_string(&mounts).unwrap();
        let disk = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n";
        std::fs::write(mounts, disk.to_owned() + &cgroups).unwrap();
        let uid = HostTree::pod_uid(WITH_FILES);
        let volumes = format!("var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir");
        let volume = root.join(volumes).join("cache");
        std::fs::create_dir_all(&volume).unwrap();
        std::fs::write(volume.join("blob"), vec![7; FILE_BYTES as usize]).unwrap();
        host
    }

    /// A tick passes. The agent does not run meanwhile, so that it reads no file in the middle of a
    /// change.
    pub fn advance(&mut self, agent: &Agent, activity: Activity) {
        let _stopped = Stopped::new(agent);
        let before = cpu_usec(self.tree.path());
        self.tree.advance(activity);
        self.node_cpu_usec += cpu_usec(self.tree.path()) - before;
        for (at, active) in self.active.iter_mut().enumerate() {
            *active += u64::from(activity.includes(at, self.ticks));
        }
        self.ticks += 1;
    }

    /// Bytes that the pod has read since the start, and as many that it has written.
    pub fn disk_bytes(&self, pod: usize) -> u64 {
        self.active[pod] * DISK_BYTES
    }

    /// The kubelet's definition, from what stands in the tree now.
    pub fn working_set(&self, pod: usize) -> u64 {
        let dir = self.tree.pod_dir(pod);
        working_set(dir)
    }

    pub fn command(&self, arguments: &[&str], config: &Path) -> Command {
        let root = self.tree.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_nodetally"));
        command
            .env_clear()
            .args(arguments)
            .arg("--config")
            .arg(config)
            .arg("--path.procfs")
            .arg(root.join("proc"))
            .arg("--path.sysfs")
            .arg(root.join("sys"))
            .arg("--path.rootfs")
            .arg(root)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// User and system time of the node, in microseconds.
fn cpu_usec(root: &Path) -> u64 {
    let stat = std::fs::read_to_string(root.join("proc/stat")).unwrap();
    let ticks = stat.split_whitespace().skip(1).take(3).map(|word| word.parse::<u64>().unwrap());
    ticks.sum::<u64>() * 10_000
}

pub fn working_set(cgroup: &Path) -> u64 {
    let read = |name: &str| std::fs::read_to_string(cgroup.join(name)).unwrap();
    let current: u64 = read("memory.current").trim().parse().unwrap();
    let stat = read("memory.stat");
    let inactive = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")).unwrap();
    current - inactive.parse::<u64>().unwrap()
}

/// An agent that does not run as long as this is held.
pub struct Stopped<'a>(&'a Agent);

impl<'a> Stopped<'a> {
    pub fn new(agent: &'a Agent) -> Self {
        agent.signal(Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", agent.0.id());
        eventually("every thread has stopped", || {
            let mut tasks = std::fs::read_dir(&tasks).unwrap();
            let stopped = tasks.all(|task| {
                // A thread may end meanwhile.
                let stat = std::fs::read_to_string(task.unwrap().path().join("stat"));
                stat.map_or(true, |stat| {
                    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
                })
            });
            stopped.then_some(())
        });
        Self(agent)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.signal(Signal::SIGCONT);
    }
}

/// The receiver, as somebody who reads it sees it.
#[derive(Clone, Copy)]
pub struct Reader(pub std::net::SocketAddr);

impl Reader {
    #[track_caller]
    pub fn get(self, path: &str) -> Value {
        let (status, body) = get(self.0, path);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// A list, not empty, in which no null is anywhere.
    #[track_caller]
    pub fn list(self, path: &str) -> Vec<Value> {
        let body = self.get(path);
        assert!(!holds_null(&body), "{path}: {body}");
        match body {
            Value::Array(list) if !list.is_empty() => list,
            other => panic!("{path}: no list, or an empty one: {other}"),
        }
    }

    /// The bytes that the pod has read and written in all posts, or `None` before the first.
    pub fn disk_bytes(self, pod: usize) -> Option<[u64; 2]> {
        let (namespace, name) = (objects::kind(pod).namespace, objects::name(pod));
        let (status, series) =
            get(self.0, &format!("/api/pods/{name}?window=3600&namespace={namespace}"));
        (status == 200).then(|| ["read_bytes", "write_bytes"].map(|key| disk_sum(&series, key)))
    }

    pub fn metrics(self) -> String {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(self.0).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

pub fn disk_sum(series: &Value, key: &str) -> u64 {
    let points = series.as_array().expect("a series").iter();
    points.map(|point| point["disk_io"][key].as_u64().unwrap()).sum()
}

pub fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.iter().any(holds_null),
        Value::Object(map) => map.values().any(holds_null),
        _ => false,
    }
}
