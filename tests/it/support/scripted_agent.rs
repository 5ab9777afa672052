//! An agent's socket that answers `GET /sample` with the samples of a test, as the real agent does.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// The newest sample, and what was answered.
#[derive(Default)]
struct Published {
    number: u64,
    lines: String,
    /// Questions that are answered with 503 before there is a sample.
    early: u64,
    /// Answers with the lines, for each sample.
    sent: Vec<u64>,
    /// Answers that there is nothing new.
    unchanged: u64,
}

pub struct ScriptedAgent {
    published: Arc<Mutex<Published>>,
    dir: tempfile::TempDir,
}

/// The socket, below [`ScriptedAgent::dir`].
pub const SOCKET: &str = "run/nodetally/status.sock";

impl ScriptedAgent {
    /// Its first sample has `lines`.
    pub fn start(lines: String) -> Self {
        Self::start_early(lines, 0)
    }

    /// The same of one that has no sample yet for the first `early` questions.
    pub fn start_early(lines: String, early: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join(SOCKET);
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        let published =
            Arc::new(Mutex::new(Published { number: 1, lines, early, ..Published::default() }));
        let shared = Arc::clone(&published);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &shared);
            }
        });
        Self { published, dir }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn publish(&self, lines: String) {
        let mut published = self.published.lock().unwrap();
        published.number += 1;
        published.lines = lines;
    }

    /// The numbers of the samples that were sent, in order.
    pub fn sent(&self) -> Vec<u64> {
        self.published.lock().unwrap().sent.clone()
    }

    /// The number of answers that nothing is new.
    pub fn unchanged(&self) -> u64 {
        self.published.lock().unwrap().unchanged
    }
}

fn answer(mut stream: UnixStream, shared: &Mutex<Published>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let known = head.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("if-none-match").then_some(value)
    });
    let mut published = shared.lock().unwrap();
    let tag = format!("\"1-{}\"", published.number);
    if head.first().is_none_or(|request| request != "GET /sample HTTP/1.1") {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    }
    if let Some(early) = published.early.checked_sub(1) {
        published.early = early;
        return stream.write_all(
            b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
        );
    }
    if known == Some(&*tag) {
        published.unchanged += 1;
        return stream.write_all(b"HTTP/1.1 304 Not Modified\r\n\r\n");
    }
    let number = published.number;
    published.sent.push(number);
    let lines = &published.lines;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\netag: {tag}\r\n\
         content-length: {}\r\n\r\n{lines}",
        lines.len()
    )
}

/// The lines of a captured host.
pub fn lines_of(host: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
        .args(["dump", "--format", "ndjson", "--replay"])
        .arg(format!("{}/fixtures/hosts/{host}", env!("CARGO_MANIFEST_DIR")))
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of a later sample, in which `millicores` of `unit` have moved to `container` of `pod`. The
/// sums of the node stay as they are.
pub fn later(
    lines: &str,
    sampled_at: &str,
    unit: &str,
    (pod, container): (&str, &str),
    millicores: i64,
) -> String {
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is = |line: &Value, key: &str, value: &str| line[key] == value;
    let of_pod = |line: &&Value| is(line, "kind", "pod") && is(line, "pod_name", pod);
    let uid = lines.iter().find(of_pod).unwrap()["uid"].clone();
    let over = lines.iter().find(|line| is(line, "kind", "node")).unwrap()["interval_usec"].clone();
    let usec = millicores * over.as_i64().unwrap() / 1000;
    let add = |value: &mut Value, amount: i64| {
        *value = (value.as_i64().unwrap() + amount).into();
    };
    let mut changed = 0;
    let mut text = String::new();
    for mut line in lines {
        line["sampled_at"] = sampled_at.into();
        let amount = match line["kind"].as_str().unwrap() {
            "pod" if line["uid"] == uid => millicores,
            "container" if line["pod_uid"] == uid && line["container_name"] == container => {
                millicores
            }
            "host_unit" if line["name"] == unit => -millicores,
            "conservation" if line["resource"] == "cpu_usec" => {
                add(&mut line["pods"], usec);
                add(&mut line["host_units"], -usec);
                0
            }
            _ => 0,
        };
        if amount != 0 {
            add(&mut line["cpu_millicores"], amount);
            changed += 1;
        }
        text.push_str(&line.to_string());
        text.push('\n');
    }
    assert_eq!(changed, 3, "{pod}, its container and {unit} are there once");
    text
}
