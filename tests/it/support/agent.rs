//! The real binary over captured trees that change under it, and a receiver for what it posts.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodetally::clock;
use nodetally::receiver::{Receiver, ReceiverBounds};
use serde_json::Value;

use super::scratch::{copy_tree, in_memory};

/// Long enough for a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A copy of a captured host's first instant, for a test to change.
pub struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    pub fn copy(name: &str) -> Self {
        let dir = in_memory();
        let from =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts").join(name).join("t0");
        copy_tree(&from, dir.path());
        Self { dir }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// `nodetally`, pointed at this host.
    pub fn agent(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nodetally"));
        command
            .env_clear()
            // The default is the host's own.
            .env("NODETALLY_RECEIVER_STORE", "none")
            .args(arguments)
            .arg("--path.procfs")
            .arg(self.path("proc"))
            .arg("--path.sysfs")
            .arg(self.path("sys"))
            .arg("--path.rootfs")
            .arg(self.path(""))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Adds `sectors` to what the disk `name` has written.
    pub fn write_sectors(&self, name: &str, sectors: u64) {
        let path = self.path("proc/diskstats");
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| {
            let mut fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            if fields[2] == name {
                fields[9] = (fields[9].parse::<u64>().unwrap() + sectors).to_string();
            }
            fields.join(" ") + "\n"
        });
        let text: String = lines.collect();
        replace(&path, &text);
    }
}

/// As the kernel does it: a reader finds the old text or the new.
pub fn replace(path: &Path, text: &str) {
    // The agent holds the file open, so it must stay the same file; one write of less than a page
    // is not seen in part.
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), 0).unwrap();
    file.set_len(text.len() as u64).unwrap();
}

/// Adds to the number behind `key` in each line that begins with `start`.
pub fn add(host: &Host, file: &str, start: &str, key: &str, amount: u64) {
    let path = host.path(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut found = false;
    let lines = text.lines().map(|line| {
        let Some((before, behind)) = line.split_once(key).filter(|_| line.starts_with(start))
        else {
            return format!("{line}\n");
        };
        found = true;
        let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        let (number, rest) = behind.split_at(end);
        let number: u64 = number.parse().unwrap();
        format!("{before}{key}{}{rest}\n", number + amount)
    });
    let text: String = lines.collect();
    assert!(found, "{file}: no {key}");
    replace(&path, &text);
}

/// A running agent, killed when dropped.
pub struct Agent(pub Child);

impl Agent {
    pub fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }

    /// The exit status and everything on standard error.
    pub fn end(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.0.wait().unwrap(), log)
    }

    /// Reads standard output up to a line that holds `word`.
    pub fn wait_for_output(&mut self, word: &str) -> String {
        let mut lines = BufReader::new(self.0.stdout.as_mut().unwrap());
        loop {
            let mut line = String::new();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "ended before it said {word}");
            if line.contains(word) {
                return line;
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A receiver in this process, so that it outlives the agents.
pub fn receiver(address: SocketAddr) -> SocketAddr {
    let (told, address_of) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bounds = ReceiverBounds::for_interval(Duration::from_secs(1));
            let receiver = Receiver::bind(address, bounds, Arc::new(clock::wall_time)).await;
            let receiver = receiver.unwrap();
            told.send(receiver.local_addr()).unwrap();
            receiver.serve(std::future::pending()).await;
        });
    });
    address_of.recv().unwrap()
}

pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub fn get(address: SocketAddr, path: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    // 1.0, so that a body comes in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// The whole answer to this body.
pub fn post(address: SocketAddr, path: &str, body: &Value) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let body = body.to_string();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

pub fn config(dir: &Path, url: &str) -> PathBuf {
    let path = dir.join("nodetally.toml");
    let text =
        format!("[node]\nname = \"n1\"\n[[endpoint]]\nname = \"central\"\nurl = \"{url}\"\n");
    fs::write(&path, text).unwrap();
    path
}

/// `run` with its own receiver on any port.
pub const EMBEDDED: [&str; 9] = [
    "run",
    "--interval",
    "1s",
    "--listen",
    "127.0.0.1:0",
    "--state-dir",
    "none",
    "--node-name",
    "node-1",
];

pub fn written(series: &Value) -> u64 {
    let points = series.as_array().map_or(&[][..], Vec::as_slice);
    points.iter().map(|point| point["disk_io"]["write_bytes"].as_u64().unwrap()).sum()
}

/// The same command with so few descriptors that each reading opens its file. Of a copy of a host, an
/// open file would stay readable after its removal, which a kernel's does not.
pub fn with_few_descriptors(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    limited
}
